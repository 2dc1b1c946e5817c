"""FLoRA: weights of any number of dimensions changed by a small core and one thin matrix for each dimension.

Paper     Si et al. (2025), "FLoRA: Low-Rank Core Space for N-dimension", ICLR, arXiv:2405.14739.
Equation  W = W0 + s G x_1 A1 x_2 A2 ... x_N AN
Shapes    W0 [I1, ..., IN]   G [r1, ..., rN]   An [In, rn],   rn <= In
Units     none: weights are changed and no value.
Differs   Shapes, the order of contraction and the start (Kaiming-normal matrices, core 0) are those of the published
          code. It adds the layer of the change to the layer of W0, with a dropout of its input between; here the
          weight itself is changed, which is the same without that dropout and serves every weight that a module reads:
          grouped and dilated convolutions, recurrent and state-space layers. Published ranks are given by hand for
          each number of dimensions; here they are `rank`, and `kernel_rank` from the third dimension on.
"""

from collections.abc import Mapping
from math import prod
from typing import ClassVar

import torch
from torch import Tensor, nn

from tsforge.encoders.adapter.base import Adapter, slug
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared, Real


class FLoRAAdapter(Adapter):
    """A change of low Tucker rank for every weight of two or more dimensions.

    It has prod rn + sum In rn numbers for a weight [I1, ..., IN]; biases and norms are left. At the start the change is
    0 and gradients reach the cores first. A dimension with fewer steps than its rank has as many ranks as steps. The
    matrices are small at the start where a dimension is long: learning rates of 1e-3 to 1e-2 are usual here.

    Args:
        rank: Ranks of the first two dimensions, outputs and inputs.
        kernel_rank: Ranks of every further dimension.
        scale: The factor s.
        seed: Key of the draw of the matrices.
        include: A pattern (`re.search`) that the name of a weight must hold to be changed; "" is all of them.
        exclude: A pattern of names that are left; "" leaves none.

    Raises:
        ArgumentError: a rank is below 1, or `scale` is 0.
    """

    space: ClassVar[Declared] = {
        "rank": Choice(2, 4, 8, 16), "kernel_rank": Choice(1, 2, 3), "scale": Real(0.5, 4.0, log=True),
    }
    learning_rate: ClassVar[float] = 3e-3

    def __init__(
        self, *, rank: int = 4, kernel_rank: int = 2, scale: float | int = 1.0, seed: int = 0, include: str = "",
        exclude: str = "",
    ) -> None:
        super().__init__(include, exclude)
        for name, size in (("rank", rank), ("kernel_rank", kernel_rank)):
            if size < 1:
                raise ArgumentError(f"{name}={size} leaves nothing to learn: give at least 1.")
        if scale == 0:
            raise ArgumentError("scale=0 undoes every change: give another number.")
        self.rank, self.kernel_rank, self.scale, self.seed = rank, kernel_rank, scale, seed
        self.cores, self.factors = nn.ParameterDict(), nn.ParameterDict()

    def ranks(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The rank of each dimension of a weight."""
        return tuple(min(self.rank if at < 2 else self.kernel_rank, size) for at, size in enumerate(shape))

    def count(self, shape: tuple[int, ...]) -> int:
        """Numbers that a weight of this shape gets."""
        ranks = self.ranks(shape)
        return prod(ranks) + sum(size * rank for size, rank in zip(shape, ranks, strict=True))

    def prepare(self, weights: Mapping[str, Tensor]) -> None:
        """A core of zeros, and matrices drawn with a variance of 2 / In."""
        generator = torch.Generator().manual_seed(self.seed)
        for name, weight in weights.items():
            ranks = self.ranks(tuple(weight.shape))
            self.cores[slug(name)] = nn.Parameter(weight.new_zeros(ranks))
            for at, (size, rank) in enumerate(zip(weight.shape, ranks, strict=True)):
                drawn = torch.randn(size, rank, generator=generator, dtype=torch.float64) * (2 / size) ** 0.5
                self.factors[f"{slug(name)}/{at}"] = nn.Parameter(drawn.to(weight))

    def delta(self, name: str) -> Tensor:
        """The change of a weight, in its shape."""
        change = self.cores[slug(name)]
        for at in range(change.ndim):  # each contraction takes the first dimension and puts its size last
            change = torch.einsum("r...,ir->...i", change, self.factors[f"{slug(name)}/{at}"])
        return self.scale * change

    def changed(self, name: str, weight: Tensor) -> Tensor:
        """The weight and its change."""
        return weight + self.delta(name)
