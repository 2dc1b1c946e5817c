"""The two-dimensional scan in Triton: a loop over time, and at each step a scan across variates within a program.

A tile is [line, d, n]. Line i holds both states of the variate i - 1 and the coefficients with which the variate i
reads them, so that no number has to pass from one line to the next but in the scan, which gives each line the value of
the line before it. Backward keeps the states before each chunk of steps, writes those of all steps of a chunk to a
scratch, and goes back over them. What sums over d or n is summed over a tile here and over tiles by torch.
"""

import torch
import triton
from torch import Tensor

from tsforge.kernels.gpu.grid_back import adjoint
from tsforge.kernels.gpu.grid_parts import scan
from tsforge.kernels.gpu.launch import flat, launch, power_of_two

CHUNK = 16  # steps from one kept column to the next
TILE = 1024  # numbers of a tile, at best
FORWARD, BACKWARD = 8, 4  # of which so many for each thread, as registers allow
TERMS = {torch.float32: 9, torch.float64: 16}  # of e^z - 1, exact to rounding for |z| < 1/2
SERIES_BELOW = {torch.float32: 0.25, torch.float64: 0.01}  # below, the six terms of g' are exact to rounding


def forward(
    x: Tensor, delta1: Tensor, delta2: Tensor, a1: Tensor, a2: Tensor, a3: Tensor, a4: Tensor, b1: Tensor, b2: Tensor,
    c1: Tensor, c2: Tensor, h1: Tensor, h2: Tensor, exponential: bool, reverse: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, and both states of the last column."""
    given = [flat(tensor) for tensor in (x, delta1, delta2, a1, a2, a3, a4, b1, b2, c1, c2, h1, h2)]
    programs, _, n_tiles, warps, constants = _sizes(x, a1, FORWARD)
    y, end1, end2 = x.new_empty((n_tiles, *x.shape)), h1.new_empty(h1.shape), h2.new_empty(h2.shape)
    constants |= {"EXPONENTIAL": exponential, "REVERSE": reverse}
    launch(scan, programs, [*given, y, end1, end2], *x.shape[1:], a1.shape[1], len(x), warps=warps, **constants)
    return y.sum(0), end1, end2


def backward(grads: list[Tensor], given: list[Tensor], exponential: bool, reverse: bool) -> list[Tensor]:
    """The gradients of all thirteen."""
    x, a, b, h = given[0], given[3], given[7], given[11]
    batch, _, time, _ = x.shape
    programs, d_tiles, n_tiles, warps, constants = _sizes(x, a, BACKWARD)
    cells = [x.new_empty((n_tiles, *x.shape)) for _ in range(4)]  # of x by either axis, and of both steps
    to_b = [x.new_empty((*b.shape[:-1], d_tiles, b.shape[-1])) for _ in range(4)]
    rates = [x.new_empty((batch, *a.shape), dtype=torch.float64) for _ in range(4)]
    to_h = [h.new_empty(h.shape) for _ in range(2)]
    lines, channels, states = (constants[name] for name in ("LINES", "CHANNELS", "STATES"))
    kept, columns = (
        x.new_empty((programs, steps, 2, lines * channels * states)) for steps in (triton.cdiv(time, CHUNK), CHUNK + 1)
    )
    tensors = [*map(flat, grads), *map(flat, given), kept, columns, *cells, *rates, *to_b, *to_h]
    constants |= {"EXPONENTIAL": exponential, "REVERSE": reverse, "CHUNK": CHUNK, "BELOW": SERIES_BELOW[x.dtype]}
    launch(adjoint, programs, tensors, *x.shape[1:], a.shape[1], batch, warps=warps, **constants)
    by_time, by_variate, *ddelta = (cell.sum(0) for cell in cells)
    da = [rate.sum(0).to(x.dtype) for rate in rates]
    return [by_time + by_variate, *ddelta, *da, *(part.sum(-2) for part in to_b), *to_h]


def _sizes(x: Tensor, a: Tensor, thread: int) -> tuple[int, int, int, int, dict[str, int]]:
    """Programs, tiles of d and of n, warps of a program, and the sizes of a tile."""
    batch, variates, _, d = x.shape
    lines = power_of_two(variates + 1)
    states = max(1, min(power_of_two(a.shape[1]), 4 * TILE // lines))
    channels = max(1, min(power_of_two(d), TILE // (lines * states)))
    d_tiles, n_tiles = triton.cdiv(d, channels), max(1, triton.cdiv(a.shape[1], states))
    warps = max(1, min(8, lines * channels * states // (32 * thread)))
    sizes = {"LINES": lines, "CHANNELS": channels, "STATES": states, "TERMS": TERMS[x.dtype]}
    return batch * d_tiles * n_tiles if variates else 0, d_tiles, n_tiles, warps, sizes
