"""What the Triton kernels share: where a step lies, and how a kernel is started.

A program takes one batch and a tile of channels, and runs over time with the state in registers. Loads of some steps
are written before what is computed from them, so that the memory works while the arithmetic waits: a compiler may not
move a load over a store. Inputs are float32 or float64, for the doors cast halves; sums are taken in their type.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def row_of(batch, step, time, REVERSE: tl.constexpr):
    """The row of [batch * time, ...] of a step in the order of the scan, of the last for steps past the end.

    It has 64 bits, as `batch` has, since times the channels it may pass 2^31.
    """
    step = tl.minimum(step, time - 1)
    return batch * time + (time - 1 - step if REVERSE else step)


@triton.jit
def until(step, time, count):
    """`count` within the series, and 0 past its end: `index < until(...)` is the mask of a step."""
    return tl.where(step < time, count, 0)


def launch(
    kernel: Any, programs: int, tensors: Sequence[Tensor], *numbers: int, warps: int = 1, **constants: Any
) -> None:
    """Runs a kernel on the device of its tensors, once for each program; no program: not at all."""
    if programs:
        with torch.cuda.device_of(tensors[0]):
            kernel[(programs,)](*tensors, *numbers, num_warps=warps, enable_fp_fusion=True, **constants)


def power_of_two(count: int) -> int:
    """The least power of two that is no less: the sizes of Triton's blocks."""
    return 1 << max(count - 1, 0).bit_length()


def flat(tensor: Tensor) -> Tensor:
    """Contiguous, without a gradient; complex numbers as pairs of real ones."""
    tensor = tensor.detach()
    if tensor.is_complex():
        return torch.view_as_real(tensor.resolve_conj().contiguous())
    return tensor.contiguous()
