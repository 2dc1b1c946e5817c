"""Scalar quantisation of vectors: each by its own range, in 8 bits, or in 4 with two numbers in a byte.

Papers    per-vector ranges after a mean is taken off: Tepper et al. (2024), "LeanVec", arXiv:2312.16335, after
          Aguerrebere et al. (2023), "Similarity search in the blink of an eye with compressed indices", 2304.04759
Equation  code = round((v - low) / step),   step = (high - low) / (2^bits - 1),   v' = low + step code
Shapes    v [row, d] -> codes [row, bytes] uint8, ranges [row, 2] float32;   bytes = d at 8 bits, ceil(d / 2) at 4
"""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from tsforge.errors import ArgumentError


def check_bits(bits: int) -> None:
    """Raises ArgumentError unless there are 4 or 8."""
    if bits not in (4, 8):
        raise ArgumentError(f"bits={bits!r}: wanted 8, or 4 with two numbers in a byte.")


def width_of(d: int, bits: int) -> int:
    """Bytes of a vector of d numbers."""
    return d if bits == 8 else (d + 1) // 2


def quantise(
    vectors: Float[Tensor, "row d"], bits: int = 8
) -> tuple[UInt8[Tensor, "row byte"], Float[Tensor, "row 2"]]:
    """Codes, and the low end and the step of each vector; |v' - v| is at most half a step.

    Raises:
        ArgumentError: bits is neither 4 nor 8.
    """
    check_bits(bits)
    values = vectors.double()
    low, high = values.aminmax(dim=1, keepdim=True)
    ranges = torch.cat([low, (high - low) / (2**bits - 1)], 1).float()
    low, step = ranges.double()[:, :1], ranges.double()[:, 1:]
    codes = ((values - low) / torch.where(step > 0, step, 1.0)).round().clamp(0, 2**bits - 1).to(torch.uint8)
    if bits == 4:
        codes = torch.nn.functional.pad(codes, (0, codes.shape[1] % 2))
        codes = codes[:, ::2] | (codes[:, 1::2] << 4)
    return codes, ranges


def dequantise(
    codes: UInt8[Tensor, "row byte"], ranges: Float[Tensor, "row 2"], d: int, bits: int = 8
) -> Float[Tensor, "row {d}"]:
    """The vectors that the codes stand for, in the precision of the ranges."""
    if bits == 4:
        codes = torch.stack([codes & 15, codes >> 4], -1).flatten(1)[:, :d]
    return codes.to(ranges.dtype) * ranges[:, 1:] + ranges[:, :1]
