"""The linear scan in chunks: within a chunk by doubling, from chunk to chunk in a loop."""

import torch
from torch import Tensor

CHUNK = 32  # steps


def forward(a: Tensor, x: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    """All states."""
    if reverse:
        return forward(a.flip(1), x.flip(1), h0, False).flip(1)
    if not x.shape[1]:
        return torch.empty_like(x)
    state, parts = h0, []
    for a_, x_ in zip(a.split(CHUNK, 1), x.split(CHUNK, 1), strict=True):
        kept, states = _doubled(a_, x_)
        states = states if state is None else states + kept * state[:, None]
        parts.append(states)
        state = states[:, -1]
    return torch.cat(parts, 1)


def _doubled(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(a_1 ... a_t, h_t) of every step from a zero state: after k rounds each step has taken in 2^k steps."""
    reach = 1
    while reach < x.shape[1]:
        x = torch.cat([x[:, :reach], x[:, reach:] + a[:, reach:] * x[:, :-reach]], 1)
        a = torch.cat([a[:, :reach], a[:, reach:] * a[:, :-reach]], 1)
        reach *= 2
    return a, x


def backward(
    grad: Tensor, a: Tensor, h: Tensor, h0: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """da, dx, dh0: the adjoint is the scan the other way."""
    if reverse:
        da, dx, dh0 = backward(grad.flip(1), a.flip(1), h.flip(1), h0, False)
        return da.flip(1), dx.flip(1), dh0
    if not h.shape[1]:
        return torch.empty_like(h), torch.empty_like(h), h.new_zeros((h.shape[0], *h.shape[2:]))
    kept = a.conj()
    after = torch.cat([kept[:, 1:], torch.zeros_like(kept[:, :1])], 1)
    dx = forward(after, grad, None, True)
    start = torch.zeros_like(h[:, :1]) if h0 is None else h0[:, None]
    before = torch.cat([start, h[:, :-1]], 1)
    return dx * before.conj(), dx, kept[:, 0] * dx[:, 0]
