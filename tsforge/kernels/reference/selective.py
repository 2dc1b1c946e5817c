"""The selective scan as a loop, and one step of it."""

import torch
import torch.nn.functional as F
from torch import Tensor


def steps(delta: Tensor, delta_bias: Tensor | None, softplus: bool) -> Tensor:
    """Sizes of the steps; not torch's own softplus, which is the identity above 20 and loses float64 there."""
    delta = delta if delta_bias is None else delta + delta_bias
    return torch.logaddexp(delta, torch.zeros_like(delta)) if softplus else delta


def step(
    u: Tensor, size: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None, state: Tensor
) -> tuple[Tensor, Tensor]:
    """y [batch, channel] and the next state [batch, channel, n]."""
    state = torch.exp(size[..., None] * A) * state + (size * u)[..., None] * B[:, None]
    y = (state * C[:, None]).sum(-1)
    y = y if D is None else y + D * u
    return y if z is None else y * F.silu(z), state


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    delta_bias: Tensor | None, h0: Tensor | None, softplus: bool, reverse: bool,
) -> tuple[Tensor, Tensor]:
    """All outputs and the last state."""
    state = u.new_zeros((*u.shape[::2], A.shape[1])) if h0 is None else h0
    if not u.shape[1]:
        return u.clone(), state.clone()
    sizes, outputs, times = steps(delta, delta_bias, softplus), [], range(u.shape[1])
    for t in reversed(times) if reverse else times:
        y, state = step(u[:, t], sizes[:, t], A, B[:, t], C[:, t], D, None if z is None else z[:, t], state)
        outputs.append(y)
    return torch.stack(outputs[::-1] if reverse else outputs, dim=1), state
