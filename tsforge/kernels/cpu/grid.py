"""The fused two-dimensional scan: sixteen of the n states of a channel go through the whole grid in vector registers.

Coefficients are computed on the way. The forward pass keeps the states of two variates; the backward pass computes
those of the grid again, for the sixteen states at hand: so beside inputs, outputs and their gradients nothing larger
than [variate, time, 16] is held by a thread. Where n is no multiple of sixteen it is filled up with zeros.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tsforge.kernels.cpu.grid_loops import adjoint_batch, fill_tables, scan_batch
from tsforge.kernels.cpu.grid_parts import SUMS
from tsforge.kernels.cpu.held import TABLE
from tsforge.kernels.cpu.lanes import WIDTH
from tsforge.kernels.cpu.threads import over_batch


def forward(
    x: Tensor, delta1: Tensor, delta2: Tensor, a1: Tensor, a2: Tensor, a3: Tensor, a4: Tensor, b1: Tensor, b2: Tensor,
    c1: Tensor, c2: Tensor, h1: Tensor, h2: Tensor, exponential: bool, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, and both states of the last column."""
    n, y = a1.shape[1], x.new_empty(x.shape)
    ends = [h1.new_empty((*h1.shape[:-1], n + -n % WIDTH)) for _ in range(2)]
    given = _arrays(x, delta1, delta2, *(_filled(tensor) for tensor in (b1, b2, c1, c2, h1, h2)))
    rates, made = _rates(a1, a2, a3, a4), _arrays(y, *ends)
    over_batch(lambda i, j: scan_batch(given, rates, exponential, reverse, *made, i, j), len(x), x.numel() * n)
    return y, ends[0][..., :n].contiguous(), ends[1][..., :n].contiguous()


def backward(grads: list[Tensor], given: list[Tensor], exponential: bool, reverse: bool) -> list[Tensor]:
    """The gradients of all thirteen."""
    x, delta1, delta2, a1, a2, a3, a4, *rest = given  # rest: b1, b2, c1, c2, h1, h2
    n, rest = a1.shape[1], [_filled(tensor) for tensor in rest]
    rates, inputs = _rates(a1, a2, a3, a4), _arrays(x, delta1, delta2, *rest)
    incoming = _arrays(grads[0], *(_filled(grad) for grad in grads[1:]))
    made = [tensor.new_empty(tensor.shape) for tensor in (x, delta1, delta2, *rest)]
    drates = x.new_empty((len(x), *rates.shape[:2], 2 * SUMS, WIDTH))
    arrays = *_arrays(*made), drates.numpy()

    def run(start: int, stop: int) -> None:
        adjoint_batch(*incoming, inputs, rates, exponential, reverse, arrays[:-1], arrays[-1], start, stop)

    over_batch(run, len(x), x.numel() * n)
    da1, da2, da4, da3 = drates.sum(0).transpose(1, 2).flatten(2)[..., :n].unbind(1)
    to_rates = [da.clone(memory_format=torch.contiguous_format) for da in (da1, da2, da3, da4)]  # not views of one sum
    return [*made[:3], *to_rates, *(tensor[..., :n].contiguous() for tensor in made[3:])]


def _rates(*rates: Tensor) -> np.ndarray:
    """The tables of both axes for each sixteen states: [d, n / 16, 12, 16]."""
    arrays = _arrays(*rates)
    channels, n = arrays[0].shape
    tables = np.empty((channels, -(-n // WIDTH), 2 * TABLE, WIDTH), arrays[0].dtype)
    fill_tables(*arrays, tables)
    return tables


def _filled(tensor: Tensor) -> Tensor:
    """With zeros up to a multiple of sixteen in the last axis."""
    short = -tensor.shape[-1] % WIDTH
    return F.pad(tensor, (0, short)) if short else tensor


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    return tuple(tensor.detach().contiguous().numpy() for tensor in tensors)
