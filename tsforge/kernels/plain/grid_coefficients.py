"""The two-dimensional scan of given coefficients in torch, in three exact orders, each with its adjoint.

Wavefront: all cells with v + t = s at once, one diagonal after the other. Rows: a loop over variates, along time the
linear scan. Columns: the rows of the transposed grid, in which the two states change places.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tsforge.kernels.plain import linear

Cells = list[Tensor]  # A1, A2, A3, A4 and what enters, or l1, l2, each [batch, variate, time, d, n]
Pair = tuple[Tensor, Tensor]


def forward(
    A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, u1: Tensor, u2: Tensor, reverse: bool
) -> Pair:
    """All states."""
    given = [tensor.flip(1) if reverse else tensor for tensor in (A1, A2, A3, A4, u1, u2)]
    h1, h2 = order(u1)[0](*given) if u1.numel() else (torch.empty_like(u1), torch.empty_like(u2))
    return (h1.flip(1), h2.flip(1)) if reverse else (h1, h2)


def backward(
    g1: Tensor, g2: Tensor, A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, h1: Tensor, h2: Tensor, reverse: bool
) -> Cells:
    """dA1, dA2, dA3, dA4, du1, du2."""
    given = [tensor.flip(1) if reverse else tensor for tensor in (A1, A2, A3, A4, g1, g2, h1, h2)]
    l1, l2 = order(h1)[1](*given[:6]) if h1.numel() else (torch.empty_like(h1), torch.empty_like(h2))
    grads = [*products(l1, l2, *given[6:]), l1, l2]
    return [tensor.flip(1) for tensor in grads] if reverse else grads


def order(u: Tensor) -> tuple[Callable[..., Pair], Callable[..., Pair]]:
    """The scan and its adjoint that are quickest here: diagonals touch each number once, which is what a CPU wants; on
    a GPU few large operations win, and a loop over the shorter axis has the fewest."""
    if u.device.type == "cpu":
        return wavefront, wavefront_adjoint
    return (rows, rows_adjoint) if u.shape[1] <= u.shape[2] else (columns, columns_adjoint)


def products(l1: Tensor, l2: Tensor, h1: Tensor, h2: Tensor) -> Cells:
    """dA1, dA2, dA3, dA4: an adjoint state times the states that its cell read."""
    grads = [torch.zeros_like(l1) for _ in range(4)]
    for grad, h in zip(grads[:2], (h1, h2), strict=True):
        torch.mul(l1[:, :, 1:], h[:, :, :-1], out=grad[:, :, 1:])
    for grad, h in zip(grads[2:], (h1, h2), strict=True):
        torch.mul(l2[:, 1:], h[:, :-1], out=grad[:, 1:])
    return grads


def wavefront(A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, u1: Tensor, u2: Tensor) -> Pair:
    """All states, a diagonal at a time."""
    variates, time = u1.shape[1:3]
    A1, A2, A3, A4, u1, u2 = (tensor.flatten(1, 2) for tensor in (A1, A2, A3, A4, u1, u2))
    h1, h2 = torch.clone(u1), torch.clone(u2)
    for s in range(1, variates + time - 1):
        low, high = max(0, s - time + 1), min(variates, s + 1)  # variates of this diagonal
        left = low, min(high, s)  # those that are not in the first column
        to, come = _diagonal(s, *left, time), _diagonal(s - 1, *left, time)
        h1[:, to].addcmul_(A1[:, to], h1[:, come]).addcmul_(A2[:, to], h2[:, come])
        low = max(low, 1)
        to, come = _diagonal(s, low, high, time), _diagonal(s - 1, low - 1, high - 1, time)
        h2[:, to].addcmul_(A3[:, to], h1[:, come]).addcmul_(A4[:, to], h2[:, come])
    return h1.unflatten(1, (variates, time)), h2.unflatten(1, (variates, time))


def wavefront_adjoint(A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, g1: Tensor, g2: Tensor) -> Pair:
    """l1, l2, from the last diagonal to the first."""
    variates, time = g1.shape[1:3]
    A1, A2, A3, A4, g1, g2 = (tensor.flatten(1, 2) for tensor in (A1, A2, A3, A4, g1, g2))
    l1, l2 = torch.clone(g1), torch.clone(g2)
    for s in range(variates + time - 2, 0, -1):  # the diagonal s gives to the one before it what that reads
        low, high = max(0, s - time + 1), min(variates, s + 1)
        left = low, min(high, s)
        come, to = _diagonal(s, *left, time), _diagonal(s - 1, *left, time)
        l1[:, to].addcmul_(A1[:, come], l1[:, come])
        l2[:, to].addcmul_(A2[:, come], l1[:, come])
        low = max(low, 1)
        come, to = _diagonal(s, low, high, time), _diagonal(s - 1, low - 1, high - 1, time)
        l1[:, to].addcmul_(A3[:, come], l2[:, come])
        l2[:, to].addcmul_(A4[:, come], l2[:, come])
    return l1.unflatten(1, (variates, time)), l2.unflatten(1, (variates, time))


def _diagonal(s: int, low: int, high: int, time: int) -> slice:
    """The cells (v, s - v) of the variates low to high among all cells in a row: each lies time - 1 after the last."""
    step = max(time - 1, 1)
    start = low * (time - 1) + s
    return slice(start, start + max(0, high - low - 1) * step + 1 if high > low else start, step)


def rows(A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, u1: Tensor, u2: Tensor) -> Pair:
    """All states, a variate at a time: h2 from the variate above, h1 by a scan along time."""
    first: list[Tensor] = []
    second: list[Tensor] = []
    for v in range(u1.shape[1]):
        h2 = u2[:, v] + A3[:, v] * first[-1] + A4[:, v] * second[-1] if v else u2[:, 0]
        entering = torch.cat([u1[:, v, :1], u1[:, v, 1:] + A2[:, v, 1:] * h2[:, :-1]], 1)
        first.append(linear.forward(A1[:, v], entering, None, False))
        second.append(h2)
    return torch.stack(first, 1), torch.stack(second, 1)


def rows_adjoint(A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, g1: Tensor, g2: Tensor) -> Pair:
    """l1, l2, from the last variate to the first: l1 by a scan against time, then l2."""
    first: list[Tensor] = []
    second: list[Tensor] = []
    last = g1.shape[1] - 1
    for v in range(last, -1, -1):
        below = v + 1
        entering = g1[:, v] if v == last else g1[:, v] + A3[:, below] * second[-1]
        l2 = g2[:, v] if v == last else g2[:, v] + A4[:, below] * second[-1]
        l1 = linear.forward(_next(A1[:, v]), entering, None, True)
        first.append(l1)
        second.append(l2 + _next(A2[:, v] * l1))
    return torch.stack(first[::-1], 1), torch.stack(second[::-1], 1)


def _next(steps: Tensor) -> Tensor:
    """Each step's successor; 0 after the last."""
    return torch.cat([steps[:, 1:], torch.zeros_like(steps[:, :1])], 1)


def columns(A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, u1: Tensor, u2: Tensor) -> Pair:
    """All states, a step at a time."""
    return _transposed(rows, A1, A2, A3, A4, u1, u2)


def columns_adjoint(A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, g1: Tensor, g2: Tensor) -> Pair:
    """l1, l2, from the last step to the first."""
    return _transposed(rows_adjoint, A1, A2, A3, A4, g1, g2)


def _transposed(scan: Callable[..., Pair], *given: Tensor) -> Pair:
    A1, A2, A3, A4, u1, u2 = (tensor.transpose(1, 2) for tensor in given)
    h2, h1 = scan(A4, A3, A2, A1, u2, u1)
    return h1.transpose(1, 2), h2.transpose(1, 2)
