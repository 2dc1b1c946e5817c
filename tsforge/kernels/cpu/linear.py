"""The linear scan in one pass over memory; the inner loop runs over channels, which lie side by side."""

import torch
from torch import Tensor

from tsforge.kernels.cpu.compiled import compiled
from tsforge.kernels.cpu.threads import over_batch


@compiled(fastmath={"contract"})
def _scan(a, x, h0, out, start, stop, reverse):
    time, channels = x.shape[1], x.shape[2]
    for b in range(start, stop):
        for step in range(time):
            t = time - 1 - step if reverse else step
            before = t + 1 if reverse else t - 1
            if step == 0:
                for c in range(channels):
                    out[b, t, c] = a[b, t, c] * h0[b, c] + x[b, t, c]
            else:
                for c in range(channels):
                    out[b, t, c] = a[b, t, c] * out[b, before, c] + x[b, t, c]


@compiled(fastmath={"contract"})
def _adjoint(grad, a, h, h0, da, dx, dh0, start, stop, reverse):
    time, channels = grad.shape[1], grad.shape[2]
    for b in range(start, stop):
        for step in range(time):  # from the last state of the scan to its first
            t = step if reverse else time - 1 - step
            after, before = (t - 1, t + 1) if reverse else (t + 1, t - 1)
            if step == 0:
                for c in range(channels):
                    dx[b, t, c] = grad[b, t, c]
            else:
                for c in range(channels):
                    dx[b, t, c] = grad[b, t, c] + a[b, after, c].conjugate() * dx[b, after, c]
            if step == time - 1:
                for c in range(channels):
                    da[b, t, c] = dx[b, t, c] * h0[b, c].conjugate()
                    dh0[b, c] = a[b, t, c].conjugate() * dx[b, t, c]
            else:
                for c in range(channels):
                    da[b, t, c] = dx[b, t, c] * h[b, before, c].conjugate()


def forward(a: Tensor, x: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    """All states."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    if x.numel():
        given = [_flat(tensor) for tensor in (a, x)]
        state, result = _state(h0, x), _flat(out)
        over_batch(lambda i, j: _scan(*given, state, result, i, j, reverse), x.shape[0], x.numel())
    return out


def backward(
    grad: Tensor, a: Tensor, h: Tensor, h0: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """da, dx, dh0."""
    da, dx = (torch.empty_like(h, memory_format=torch.contiguous_format) for _ in range(2))
    dh0 = h.new_zeros((h.shape[0], *h.shape[2:]))
    if h.numel():
        given = [_flat(tensor) for tensor in (grad, a, h)]
        made = [_flat(da), _flat(dx), dh0.view(len(h), -1).numpy()]
        state = _state(h0, h)
        over_batch(lambda i, j: _adjoint(*given, state, *made, i, j, reverse), len(h), h.numel())
    return da, dx, dh0


def _flat(tensor: Tensor):
    """[batch, time, channel] of numpy, without a copy where the tensor is contiguous."""
    return tensor.detach().resolve_conj().contiguous().view(*tensor.shape[:2], -1).numpy()


def _state(h0: Tensor | None, x: Tensor):
    h0 = x.new_zeros((x.shape[0], *x.shape[2:])) if h0 is None else h0
    return h0.detach().resolve_conj().contiguous().view(len(x), -1).numpy()
