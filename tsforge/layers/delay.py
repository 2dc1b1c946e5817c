"""Delay vectors of every step of a window: `tsforge.dynamics.delay_embed` for tensors.

Equation  v_t = (x_t, x_{t - lag}, ..., x_{t - (dimension - 1) lag}),   0 for steps before the window
Shapes    x [batch, time, channel]   lag [channel] -> [batch, time, channel, dimension]
Units     those of x; lag in steps
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def delayed(
    x: Float[Tensor, "batch time channel"], lag: Int[Tensor, " channel"], dimension: int
) -> Float[Tensor, "batch time channel dimension"]:
    """The delay vectors, the step itself first; each channel has a lag of its own."""
    back = lag[:, None] * torch.arange(dimension, device=x.device)  # [channel, dimension]
    steps = torch.arange(x.shape[1], device=x.device)[:, None, None] - back  # [time, channel, dimension]
    spread = x[..., None].expand(*x.shape, dimension)
    vectors = spread.gather(1, steps.clamp(min=0).expand(len(x), *steps.shape))
    return torch.where(steps >= 0, vectors, 0.0)
