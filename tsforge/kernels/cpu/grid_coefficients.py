"""The two-dimensional scan of given coefficients, a variate at a time; rows are [time * d * n] or one step of them."""

import numpy as np
import torch
from torch import Tensor

from tsforge.kernels.cpu.compiled import compiled
from tsforge.kernels.cpu.threads import over_batch


@compiled(fastmath={"contract"})
def _add(out, a, x):
    for i in range(out.size):
        out[i] += a[i] * x[i]


@compiled(fastmath={"contract"})
def _multiply(out, a, x):
    for i in range(out.size):
        out[i] = a[i] * x[i]


@compiled(fastmath={"contract"})
def _scan(A1, A2, A3, A4, h1, h2, width, reverse, start, stop):
    """h1, h2 come with what enters, and leave as the states."""
    variates, row = h1.shape[1:]
    for b in range(start, stop):
        for order in range(variates):
            v = variates - 1 - order if reverse else order
            above = v + 1 if reverse else v - 1
            if order:
                _add(h2[b, v], A3[b, v], h1[b, above])
                _add(h2[b, v], A4[b, v], h2[b, above])
            _add(h1[b, v, width:], A2[b, v, width:], h2[b, v])
            for i in range(width, row, width):
                _add(h1[b, v, i : i + width], A1[b, v, i : i + width], h1[b, v, i - width : i])


@compiled(fastmath={"contract"})
def _adjoint(A1, A2, A3, A4, l1, l2, width, reverse, start, stop):
    """l1, l2 come with the gradients of the states, and leave as the adjoint states."""
    variates, row = l1.shape[1:]
    for b in range(start, stop):
        for order in range(variates - 1, -1, -1):
            v = variates - 1 - order if reverse else order
            below = v - 1 if reverse else v + 1
            if order < variates - 1:
                _add(l1[b, v], A3[b, below], l2[b, below])
                _add(l2[b, v], A4[b, below], l2[b, below])
            for i in range(row - width, 0, -width):
                _add(l1[b, v, i - width : i], A1[b, v, i : i + width], l1[b, v, i : i + width])
            _add(l2[b, v, : row - width], A2[b, v, width:], l1[b, v, width:])


@compiled()
def _gradients(l1, l2, h1, h2, dA1, dA2, dA3, dA4, width, reverse, start, stop):
    """An adjoint state times the states that its cell read."""
    variates = l1.shape[1]
    for b in range(start, stop):
        for order in range(variates):
            v = variates - 1 - order if reverse else order
            above = v + 1 if reverse else v - 1
            dA1[b, v, :width] = 0
            dA2[b, v, :width] = 0
            _multiply(dA1[b, v, width:], l1[b, v, width:], h1[b, v])
            _multiply(dA2[b, v, width:], l1[b, v, width:], h2[b, v])
            if order:
                _multiply(dA3[b, v], l2[b, v], h1[b, above])
                _multiply(dA4[b, v], l2[b, v], h2[b, above])
            else:
                dA3[b, v] = 0
                dA4[b, v] = 0


def forward(
    A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, u1: Tensor, u2: Tensor, reverse: bool
) -> tuple[Tensor, Tensor]:
    """All states."""
    h1, h2 = (u.clone(memory_format=torch.contiguous_format) for u in (u1, u2))
    if h1.numel():
        given, width = [_rows(tensor) for tensor in (A1, A2, A3, A4, h1, h2)], u1.shape[3] * u1.shape[4]
        over_batch(lambda start, stop: _scan(*given, width, reverse, start, stop), len(u1), u1.numel())
    return h1, h2


def backward(
    g1: Tensor, g2: Tensor, A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, h1: Tensor, h2: Tensor, reverse: bool
) -> list[Tensor]:
    """dA1, dA2, dA3, dA4, du1, du2."""
    l1, l2 = (g.clone(memory_format=torch.contiguous_format) for g in (g1, g2))
    grads = [torch.empty_like(l1) for _ in range(4)]
    if l1.numel():
        given = [_rows(tensor) for tensor in (A1, A2, A3, A4, l1, l2)]
        made = [_rows(tensor) for tensor in (l1, l2, h1, h2, *grads)]
        width = h1.shape[3] * h1.shape[4]

        def run(start: int, stop: int) -> None:
            _adjoint(*given, width, reverse, start, stop)
            _gradients(*made, width, reverse, start, stop)

        over_batch(run, len(l1), l1.numel())
    return [*grads, l1, l2]


def _rows(tensor: Tensor) -> np.ndarray:
    """[batch, variate, time * d * n], without a copy where the tensor is contiguous."""
    return tensor.detach().contiguous().flatten(2).numpy()
