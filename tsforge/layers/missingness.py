"""Flexible inputs: what is known of a channel at a moment at which it may not have been observed.

Paper     Singh et al. (2019), "Multi-resolution Networks For Flexible Irregular Time Series Modeling (Multi-FIT)",
          arXiv:1905.00125; the definitions as recorded of the authors' published program, whose text is not to hand.
Equation  f_k = [v_k, mu, m_k, d_k]
          m_k = 1 where the channel is missing at t_k, else 0;   mu = mean of what was observed, 0 of nothing
          v_k = the last observed value up to t_k, mu before the first
          d_k = t_k - t_last, t_k - t_1 before the first observation      (delta="time")
          d_k = k - k_last,   k - 2   before the first observation        (delta="count"; k counts the grid from 1)
Shapes    values, mask, grid [batch, time, channel]   times [batch, time] -> [batch, time, channel, 4]
Units     v, mu those of the values; d those of the times, or steps of the grid
Differs   The clock starts at the first time of the grid, not at the start of a record that a window does not see.
          `mean="running"` (mean of what was observed up to t_k) and the logarithm of d are ours.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

VIEWS = 4  # value, mean, missing, delta


def flexible_inputs(
    values: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"],
    times: Float[Tensor, "batch time"], grid: Bool[Tensor, "batch time channel"], *,
    delta: str = "time", mean: str = "sequence",
) -> Float[Tensor, "batch time channel 4"]:
    """Value, mean, missing flag and time since the last observation, of each channel at each step.

    Args:
        values: What was observed; what stands under a false mask is not read.
        mask: Where.
        times: When, ascending.
        grid: Which steps are on the grid of each channel: those of its own observations and perhaps others. The rest
            has no part in any number, and is 0 in the result.
        delta: Whether time is told by the clock, "time", or by steps of the grid, "count".
        mean: Over the whole window, "sequence", or over what came up to each step, "running", so that nothing later
            has a part in any number.
    """
    last = _last_observed(mask)
    seen, at = last >= 0, last.clamp(min=0)
    values = torch.where(mask, values, 0.0)
    if mean == "sequence":
        average = (values.sum(1, keepdim=True) / mask.sum(1, keepdim=True).clamp(min=1)).expand_as(values)
    else:
        average = values.cumsum(1) / mask.cumsum(1).clamp(min=1)
    value = torch.where(seen, values.gather(1, at), average)
    if delta == "time":
        first = grid.to(torch.int32).argmax(1, keepdim=True)  # [batch, 1, channel]
        clock = times[..., None].expand_as(values)
        since = clock - clock.gather(1, torch.where(seen, at, first))
    else:
        number = grid.cumsum(1)
        since = (number - torch.where(seen, number.gather(1, at), 2)).to(values.dtype)
    views = torch.stack([value, average, (~mask).to(values.dtype), since], -1)
    return torch.where(grid[..., None], views, 0.0)


def signed_log(x: Tensor) -> Tensor:
    """log(1 + |x|) with the sign of x: hours and weeks on one scale, and a count of -1 stays finite."""
    return x.sign() * x.abs().log1p()


def _last_observed(mask: Bool[Tensor, "batch time channel"]) -> Tensor:
    """The step of the last observation up to each step, -1 where there is none."""
    steps = torch.arange(mask.shape[1], device=mask.device)[None, :, None]
    return torch.where(mask, steps, -1).cummax(dim=1).values
