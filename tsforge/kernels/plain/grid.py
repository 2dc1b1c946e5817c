"""The fused two-dimensional scan in torch: coefficients in memory, the scan of `grid_coefficients`, all back by hand.

Each axis has its own half of the work: a step, the rate of its own state, the coupling to the other, and an input.
"""

import torch
from torch import Tensor

from tsforge.kernels.plain import grid_coefficients as cells

SERIES_BELOW = {torch.float32: 0.25, torch.float64: 0.01}  # below, the six terms of g' are exact to rounding
NO_RATE = 1e-20  # below, (e^(step a) - 1) / a is the step


def forward(
    x: Tensor, delta1: Tensor, delta2: Tensor, a1: Tensor, a2: Tensor, a3: Tensor, a4: Tensor, b1: Tensor, b2: Tensor,
    c1: Tensor, c2: Tensor, h1: Tensor, h2: Tensor, exponential: bool, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, and both states of the last column."""
    given = (x, delta1, delta2, a1, a2, a3, a4, b1, b2, c1, c2, h1, h2)
    if not x.numel() or not a1.numel():
        return torch.zeros_like(x), torch.zeros_like(h1), torch.zeros_like(h2)
    first, second = _states(given, exponential, reverse)[1]
    y = torch.einsum("bvtdn,bvtn->bvtd", first, c1) + torch.einsum("bvtdn,bvtn->bvtd", second, c2)
    return y, first[:, :, -1].clone(), second[:, :, -1].clone()


def backward(grads: list[Tensor], given: list[Tensor], exponential: bool, reverse: bool) -> list[Tensor]:
    """The gradients of all thirteen."""
    x, delta1, delta2, a1, a2, a3, a4, b1, b2, c1, c2, h1, h2 = given
    if not x.numel() or not a1.numel():
        return [torch.zeros_like(tensor) for tensor in given]
    (A1, A2, A3, A4), (first, second) = _states(given, exponential, reverse)
    gy, *ends = grads
    g1, g2 = (gy[..., None] * c[..., None, :] for c in (c1, c2))
    for g, end in zip((g1, g2), ends, strict=True):
        g[:, :, -1] += end
    dA1, dA2, dA3, dA4, l1, l2 = cells.backward(g1, g2, A1, A2, A3, A4, first, second, reverse)
    dA1[:, :, 0], dA2[:, :, 0] = l1[:, :, 0] * h1, l1[:, :, 0] * h2
    dx1, ddelta1, da1, da2, db1 = _axis_back(x, delta1, a1, a2, b1, dA1, dA2, l1, exponential)
    dx2, ddelta2, da4, da3, db2 = _axis_back(x, delta2, a4, a3, b2, dA4, dA3, l2, exponential)
    dc1, dc2 = (torch.einsum("bvtdn,bvtd->bvtn", h, gy) for h in (first, second))
    dh1, dh2 = A1[:, :, 0] * l1[:, :, 0], A2[:, :, 0] * l1[:, :, 0]
    return [dx1 + dx2, ddelta1, ddelta2, da1, da2, da3, da4, db1, db2, dc1, dc2, dh1, dh2]


def _states(given, exponential: bool, reverse: bool) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    """The four coefficients, and the states of all cells."""
    x, delta1, delta2, a1, a2, a3, a4, b1, b2, _, _, h1, h2 = given
    A1, A2, u1 = _axis(x, delta1, a1, a2, b1, exponential)
    A4, A3, u2 = _axis(x, delta2, a4, a3, b2, exponential)
    u1[:, :, 0] += A1[:, :, 0] * h1 + A2[:, :, 0] * h2
    return [A1, A2, A3, A4], cells.forward(A1, A2, A3, A4, u1, u2, reverse)


def _axis(x: Tensor, step: Tensor, a: Tensor, other: Tensor, b: Tensor, exponential: bool) -> tuple[Tensor, ...]:
    """What is kept of the own state, what is taken of the other, and what enters."""
    z = step[..., None] * a
    held = _held(z, step, a)
    across = torch.exp(step[..., None] * other) if exponential else held * other
    return torch.exp(z), across, held * (b[..., None, :] * x[..., None])


def _held(z: Tensor, step: Tensor, a: Tensor) -> Tensor:
    flat = a.abs() < NO_RATE
    return torch.where(flat, step[..., None], torch.expm1(z) / torch.where(flat, 1.0, a))


def _axis_back(
    x: Tensor, step: Tensor, a: Tensor, other: Tensor, b: Tensor, dkept: Tensor, dacross: Tensor, dentered: Tensor,
    exponential: bool,
) -> tuple[Tensor, ...]:
    """dx, dstep, da, dother, db from the gradients of what `_axis` gave."""
    step_, x_, b_ = step[..., None], x[..., None], b[..., None, :]
    z = step_ * a
    kept, held = torch.exp(z), _held(z, step, a)
    dheld = dentered * b_ * x_
    if exponential:
        across = torch.exp(step_ * other) * dacross
        dstep, dother = (other * across).sum(-1), torch.einsum("bvtd,bvtdn->dn", step, across)
    else:
        dstep, dother = torch.zeros_like(step), (held * dacross).sum((0, 1, 2))
        dheld += dacross * other
    dstep += (kept * (a * dkept + dheld)).sum(-1)
    da = (step_ * kept * dkept + _held_by_rate(z, step_, a, kept, held) * dheld).sum((0, 1, 2))
    entered = held * dentered
    dx, db = torch.einsum("bvtdn,bvtn->bvtd", entered, b), torch.einsum("bvtdn,bvtd->bvtn", entered, x)
    return dx, dstep, da, dother, db


def _held_by_rate(z: Tensor, step: Tensor, a: Tensor, kept: Tensor, held: Tensor) -> Tensor:
    """d held / da = step^2 g'(z), g(z) = (e^z - 1) / z."""
    near = z.abs() < SERIES_BELOW[z.dtype]
    series = 1 / 2 + z * (1 / 3 + z * (1 / 8 + z * (1 / 30 + z * (1 / 144 + z / 840))))
    return torch.where(near, step.square() * series, (step * kept - held) / torch.where(near, 1.0, a))
