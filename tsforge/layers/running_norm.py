"""Normalisation by the running mean and deviation of a series, which needs nothing of what comes later.

Equation  w_t = k w_{t-1} + 1,   s_t = k s_{t-1} + x_t,   mu_t = s_t / w_t,   k = 1 - 1 / (span + 1)
          q_t = k q_{t-1} + (x_t - mu_t)^2,   sd_t = sqrt(q_t / w_t + 1e-5),   x'_t = (x_t - mu_t) / sd_t
          at a missing step w, s and q stay as they are
Shapes    x, mask [batch, time, channel]   moments [batch, 3, channel]: w, s, q
Units     those of x for s, their square for q; span in observed steps

What instance normalisation is to a window, this is to a series that grows: the last `span` observations weigh most, and
from the first step on the mean is a mean, since w counts with the same weights.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsforge.kernels import linear_scan
from tsforge.layers.instance_norm import EPSILON


def running_norm(
    x: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"],
    moments: Float[Tensor, "batch 3 channel"], span: int,
) -> tuple[Float[Tensor, "batch time channel"], Float[Tensor, "batch 3 channel"]]:
    """Each step by the mean and the deviation up to it, and the moments after the last step.

    Args:
        x: Steps in a row; missing ones hold what they were filled with, 0 where nothing was observed yet.
        mask: Where they were observed.
        moments: Those after the steps before; 0 where there were none. They are in float64: a series may have gone
            far from where its training rows lay.
        span: How many observations the moments look back over.
    """
    seen, wide = mask.double(), x.double()
    kept = 1 - seen / (span + 1)
    sums = linear_scan(kept.repeat(1, 1, 2), torch.cat([seen, seen * wide], -1), moments[:, :2].flatten(1))
    weight, total = sums.chunk(2, -1)
    weight = weight.clamp(min=1)
    centred = wide - total / weight
    squares = linear_scan(kept, seen * centred.square(), moments[:, 2])
    after = torch.cat([sums[:, -1], squares[:, -1]], -1).unflatten(-1, (3, -1))
    return (centred / (squares / weight + EPSILON).sqrt()).to(x.dtype), after


def undone(
    y: Float[Tensor, "batch h channel output"], moments: Float[Tensor, "batch 3 channel"]
) -> Float[Tensor, "batch h channel output"]:
    """A forecast brought back by what the last step was normalised by."""
    weight, total, squares = moments[:, :, None, :, None].unbind(1)
    weight = weight.clamp(min=1)
    return (y * (squares / weight + EPSILON).sqrt() + total / weight).to(y.dtype)
