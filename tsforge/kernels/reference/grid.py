"""The coupled two-dimensional scan as a double loop, and the coefficients of its two couplings."""

import torch
from torch import Tensor

SERIES_BELOW, TERMS = 0.1, 12


def loop(
    A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, u1: Tensor, u2: Tensor, h1: Tensor, h2: Tensor
) -> tuple[Tensor, Tensor]:
    """All states, [batch, variate, time, d, n]; h1, h2 [batch, variate, d, n] stand before the first column."""
    variates, time = u1.shape[1:3]
    if not variates or not time:
        return torch.zeros_like(u1), torch.zeros_like(u2)
    first: dict[tuple[int, int], Tensor] = {(v, -1): h1[:, v] for v in range(variates)}
    second: dict[tuple[int, int], Tensor] = {(v, -1): h2[:, v] for v in range(variates)}
    nothing = torch.zeros_like(u1[:, 0, 0])
    for v in range(variates):
        for t in range(time):
            left, above = (v, t - 1), (v - 1, t)
            first[v, t] = A1[:, v, t] * first[left] + A2[:, v, t] * second[left] + u1[:, v, t]
            from_first, from_second = first.get(above, nothing), second.get(above, nothing)
            second[v, t] = A3[:, v, t] * from_first + A4[:, v, t] * from_second + u2[:, v, t]
    h1, h2 = (
        torch.stack([torch.stack([cells[v, t] for t in range(time)], 1) for v in range(variates)], 1)
        for cells in (first, second)
    )
    return h1, h2


def held(step: Tensor, rate: Tensor) -> Tensor:
    """(exp(step rate) - 1) / rate, and `step` at rate 0: what a unit input held over a step leaves behind."""
    z = step * rate
    small = z.abs() < SERIES_BELOW
    near = torch.ones_like(z)
    for k in range(TERMS, 1, -1):
        near = 1 + torch.where(small, z, 0.0) / k * near
    away = torch.where(small, 1.0, z)
    return step * torch.where(small, near, torch.expm1(away) / away)


def discretise(
    x: Tensor, delta1: Tensor, delta2: Tensor, a1: Tensor, a2: Tensor, a3: Tensor, a4: Tensor, b1: Tensor, b2: Tensor,
    exponential: bool,
) -> tuple[Tensor, ...]:
    """A1, A2, A3, A4, B1 x, B2 x, each [batch, variate, time, d, n]."""
    step1, step2, inflow = delta1[..., None], delta2[..., None], x[..., None]
    held1, held2 = held(step1, a1), held(step2, a4)
    A2, A3 = (torch.exp(step1 * a2), torch.exp(step2 * a3)) if exponential else (held1 * a2, held2 * a3)
    u1, u2 = held1 * b1[..., None, :] * inflow, held2 * b2[..., None, :] * inflow
    return torch.exp(step1 * a1), A2, A3, torch.exp(step2 * a4), u1, u2


def forward(
    x: Tensor, delta1: Tensor, delta2: Tensor, a1: Tensor, a2: Tensor, a3: Tensor, a4: Tensor, b1: Tensor, b2: Tensor,
    c1: Tensor, c2: Tensor, h1: Tensor, h2: Tensor, exponential: bool, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, and both states of the last column."""
    if reverse:
        x, delta1, delta2, b1, b2, c1, c2, h1, h2 = (t.flip(1) for t in (x, delta1, delta2, b1, b2, c1, c2, h1, h2))
    first, second = loop(*discretise(x, delta1, delta2, a1, a2, a3, a4, b1, b2, exponential), h1=h1, h2=h2)
    y = (c1[..., None, :] * first + c2[..., None, :] * second).sum(-1)
    end1, end2 = (first[:, :, -1], second[:, :, -1]) if x.shape[2] else (h1, h2)
    return (y.flip(1), end1.flip(1), end2.flip(1)) if reverse else (y, end1, end2)
