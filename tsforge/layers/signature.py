"""Truncated signatures of piecewise-linear paths, and the distance of two laws of paths by their expected signatures.

Paper     Chevyrev & Kormilitzin (2016), "A Primer on the Signature Method in Machine Learning", arXiv:1603.03788; as
          the loss of a generator in Min, Hu & Ichiba (2023), arXiv:2304.13131.
Equation  S(x) = exp(dx_1) (x) ... (x) exp(dx_K),   exp(v)_k = v^{(x)k} / k!                    (Chen's identity)
          L = || mean S(augmented x) - mean S(augmented y) ||_2
Shapes    path [batch, time, dim] -> [batch, dim + dim^2 + ... + dim^depth]
Units     level k is in those of the path to the power k and falls like 1 / k!: bring paths to size 1 first
Differs   Without the time as a coordinate a signature does not see how fast a path is run through, without a step from
          the origin not where it starts: `augmented` adds both.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.errors import ArgumentError


def signature_size(dim: int, depth: int) -> int:
    """Numbers of a signature: dim + dim^2 + ... + dim^depth."""
    return sum(dim**k for k in range(1, depth + 1))


def deepest(dim: int, depth: int, at_most: int) -> int:
    """The greatest depth up to `depth` whose signature has no more than `at_most` numbers, at least 1."""
    return max([1, *(k for k in range(1, depth + 1) if signature_size(dim, k) <= at_most)])


def signature(path: Float[Tensor, "batch time dim"], depth: int) -> Float[Tensor, "batch size"]:
    """Levels 1 to `depth` side by side, each in the order of nested loops over the coordinates.

    Raises:
        ArgumentError: the depth is below 1, or the path has no two points.
    """
    if depth < 1 or path.shape[1] < 2:
        raise ArgumentError(f"depth={depth} of {path.shape[1]} points: wanted a depth of 1 or more, and 2 points.")
    steps = path.diff(dim=1).unbind(1)
    levels: Sequence[Tensor] = [torch.zeros_like(steps[0])]
    for k in range(2, depth + 1):
        levels.append(path.new_zeros(len(path), path.shape[2] ** k))
    for step in steps:
        levels = _times_exp(levels, step)
    return torch.cat(list(levels), dim=1)


def _times_exp(levels: Sequence[Tensor], step: Tensor) -> list[Tensor]:
    """S (x) exp(step), by Horner's rule: sum_i S_i (x) step^(k - i) / (k - i)! in k - 1 products."""
    out = []
    for k in range(1, len(levels) + 1):
        term = step / k
        for i in range(1, k):
            term = _outer(term + levels[i - 1], step / (k - i))
        out.append(levels[k - 1] + term)
    return out


def chen(
    first: Float[Tensor, "batch size"], then: Float[Tensor, "batch size"], dim: int
) -> Float[Tensor, "batch size"]:
    """The signature of one path followed by another, from those of the two."""
    a, b = _levels(first, dim), _levels(then, dim)
    out = []
    for k in range(len(a)):
        mixed = [_outer(a[i], b[k - 1 - i]) for i in range(k)]
        out.append(a[k] + b[k] + sum(mixed))
    return torch.cat(out, dim=1)


def augmented(path: Float[Tensor, "batch time dim"], *, origin: bool = True) -> Float[Tensor, "batch points width"]:
    """The path with the time from 0 to 1 in front of its coordinates and, where `origin`, a first point of zeros."""
    time = torch.linspace(0, 1, path.shape[1], dtype=path.dtype, device=path.device)
    timed = torch.cat([time[None, :, None].expand(len(path), -1, -1), path], dim=2)
    return torch.cat([torch.zeros_like(timed[:, :1]), timed], dim=1) if origin else timed


def sig_mmd(
    x: Float[Tensor, "one time dim"], y: Float[Tensor, "other time dim"], depth: int
) -> Float[Tensor, ""]:
    """Distance of the expected signatures of two samples of paths, after time and origin are added."""
    gap = signature(augmented(x), depth).mean(0) - signature(augmented(y), depth).mean(0)
    return torch.linalg.vector_norm(gap)


def _outer(a: Tensor, b: Tensor) -> Tensor:
    return (a[:, :, None] * b[:, None, :]).flatten(1)


def _levels(flat: Tensor, dim: int) -> list[Tensor]:
    sizes, left = [], flat.shape[1]
    while left > 0:
        sizes.append(dim ** (len(sizes) + 1))
        left -= sizes[-1]
    return list(flat.split_with_sizes(sizes, dim=1))
