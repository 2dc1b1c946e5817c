"""The selective scan in Triton: a tile of channels and all n of their states in the registers of one warp.

Backward takes up the state kept before a chunk, writes the state before each few steps of it to a scratch of its own,
and goes back over them: of states and decays of single steps no more is held than registers have room for. dB and dC
are summed over the channels of a tile, and by torch over tiles; the gradient of A in the type of the inputs over a
chunk, in float64 over chunks.
"""

import torch
import triton
from torch import Tensor

from tsforge.kernels.gpu.launch import flat, launch, power_of_two
from tsforge.kernels.gpu.selective_back import adjoint
from tsforge.kernels.gpu.selective_parts import scan

STEPS = 4  # steps at a time; divides the chunk
FORWARD, BACKWARD = 512, 256  # numbers of a tile and a warp, at most: 16 and 8 for each thread, as registers allow
LANES = 8
PROGRAMS = 512  # where there are fewer, tiles are halved: about one for each scheduler of a large GPU


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    delta_bias: Tensor | None, h0: Tensor | None, softplus: bool, reverse: bool, chunk: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the last state, and the states before each chunk [batch, chunks, n, channel]."""
    (batch, time, channels), size = u.shape, B.shape[2]
    y, last = torch.empty_like(u, memory_format=torch.contiguous_format), u.new_empty((batch, size, channels))
    kept = u.new_empty((batch, -(-time // chunk), size, channels))
    start = u.new_zeros((batch, size, channels)) if h0 is None else flat(h0.mT)
    tensors = [*_given(u, delta, A, B, C, D, z, delta_bias), start, y, last, kept]
    programs, warps, constants = _sizes(u, size, FORWARD)
    constants |= {"GATED": z is not None, "SOFT": softplus, "REVERSE": reverse}
    launch(scan, programs, tensors, time, channels, chunk, warps=warps, **constants)
    return y, last.mT.contiguous(), kept


def backward(
    dy: Tensor, dlast: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, delta_bias: Tensor | None, kept: Tensor, softplus: bool, reverse: bool, chunk: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D, z, delta_bias and h0; of z empty where there is none."""
    (batch, time, channels), size = u.shape, B.shape[2]
    programs, warps, constants = _sizes(u, size, BACKWARD)
    tiles = programs // max(batch, 1)
    du, ddelta = (torch.empty_like(u, memory_format=torch.contiguous_format) for _ in range(2))
    dB, dC = (u.new_empty((batch, time, tiles, size)) for _ in range(2))
    dz, dh0 = u.new_empty((0, 0, 0) if z is None else z.shape), u.new_empty((batch, size, channels))
    scratch = u.new_empty((batch, chunk // STEPS, size, channels))
    dA = u.new_empty((batch, size, channels), dtype=torch.float64)
    dD, dbias = (u.new_empty((batch, channels), dtype=torch.float64) for _ in range(2))
    given = [flat(dy), flat(dlast.mT), *_given(u, delta, A, B, C, D, z, delta_bias), kept, scratch]
    made = [du, ddelta, dA, dB, dC, dD, dz, dbias, dh0]
    constants |= {"GATED": z is not None, "SOFT": softplus, "REVERSE": reverse}
    launch(adjoint, programs, [*given, *made], time, channels, chunk, warps=warps, **constants)
    totals = [part.sum(0).to(u.dtype) for part in (dA, dD, dbias)]
    return du, ddelta, totals[0].T.contiguous(), dB.sum(2), dC.sum(2), totals[1], dz, totals[2], dh0.mT.contiguous()


def _sizes(u: Tensor, size: int, numbers: int) -> tuple[int, int, dict[str, int]]:
    """Programs, their warps, and their tiles: all of n, and some channels."""
    batch, _, channels = u.shape
    states = power_of_two(size)
    groups = max(1, min(numbers // (LANES * states), power_of_two(channels) // LANES))
    while groups > 1 and batch * triton.cdiv(channels, groups * LANES) < PROGRAMS:
        groups //= 2
    programs, warps = batch * triton.cdiv(channels, groups * LANES), max(1, min(8, LANES * states // numbers))
    return programs, warps, {"SIZE": size, "GROUPS": groups, "STATES": states, "LANES": LANES, "STEPS": STEPS}


def _given(u, delta, A, B, C, D, z, delta_bias):
    none = u.new_zeros(u.shape[2])
    D, delta_bias = (none if given is None else given for given in (D, delta_bias))
    z = u.new_zeros((1, 1, 1)) if z is None else z
    return [flat(tensor) for tensor in (u, delta, A.T, B, C, D, z, delta_bias)]
