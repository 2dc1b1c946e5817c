"""Overlapping patches of a series: a few steps together make one token.

Paper     Nie et al. (2023), "A Time Series is Worth 64 Words", arXiv:2211.14730.
Equation  p_j = x[j S : j S + P],   j = 0 .. N - 1,   N = (T - P) // S + 2,   x followed by S copies of its last value
Differs   A series shorter than a patch is filled up in front with 0: it makes two patches.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tsforge.errors import ArgumentError


def patch_count(length: int, patch_len: int, stride: int) -> int:
    """How many patches `cut_patches` makes of `length` steps."""
    return max(length - patch_len, 0) // stride + 2


def cut_patches(
    x: Float[Tensor, "batch channel length"], patch_len: int, stride: int
) -> Float[Tensor, "batch channel patch {patch_len}"]:
    """The patches of each channel; the last value goes on for one stride."""
    x = F.pad(x, (max(patch_len - x.shape[-1], 0), 0))
    return torch.cat([x, x[..., -1:].expand(-1, -1, stride)], -1).unfold(-1, patch_len, stride)


def check_patches(patch_len: int, stride: int) -> None:
    """Raises ArgumentError where a size is below 1 or the stride jumps over steps."""
    for name, size in (("patch_len", patch_len), ("stride", stride)):
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if stride > patch_len:
        raise ArgumentError(
            f"stride={stride} jumps over steps between patches of patch_len={patch_len}: give at most {patch_len}."
        )
