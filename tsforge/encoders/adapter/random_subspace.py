"""Random subspace: all weights move along a few random directions, and only the steps along those are learnt.

Paper     Li et al. (2018), "Measuring the Intrinsic Dimension of Objective Landscapes", ICLR, arXiv:1804.08838.
Equation  theta = theta0 + P s;   dense, sparse: columns of P of norm 1
          fastfood: P s = (H G Pi H B [s; 0])_1..D / sqrt(L sum G^2),   L = 2^ceil(log2 D)
Shapes    theta [D], all weights one after another   s [dim]   P [D, dim];   H [L, L] of Walsh and Hadamard, G, B [L]
Units     none: weights are changed and no value.
Differs   The three projections, their norms and the start at s = 0 are those of the published layers, which are layers
          of their own; here the weights of any network are read through the projection. Draws are keyed by `seed`.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.encoders.adapter.base import Adapter, Network
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared

PROJECTIONS = ("dense", "sparse", "fastfood")
MOST = 200_000_000  # numbers of a dense projection
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


class RandomSubspaceAdapter(Adapter):
    """`dim` numbers for all weights together, biases among them.

    A training is described by them and the seed: `state_dict()` holds nothing else, and the same adapter attached to
    another copy of the network makes the same weights of it. How small `dim` can be measures how hard the task is.
    A step along one direction moves each weight by about 1 / sqrt(D): learning rates are larger than usual. A dense
    projection holds D dim numbers and costs as many products, "sparse" about sqrt(D) dim, "fastfood" D log D whatever
    `dim` is.

    Args:
        dim: Directions.
        projection: `"dense"`, `"sparse"` or `"fastfood"`.
        norms: Whether the weights of norms move, too.
        seed: Key of the draw of the directions.
        include: A pattern (`re.search`) that the name of a weight must hold to be changed; "" is all of them.
        exclude: A pattern of names that are left; "" leaves none.

    Raises:
        ArgumentError: `dim` is below 1 or above the number of weights, `projection` is not known, or a dense one is
            too large.
    """

    space: ClassVar[Declared] = {"dim": Choice(10, 30, 100, 300)}
    least_ndim: ClassVar[int] = 1
    learning_rate: ClassVar[float] = 3e-2

    def __init__(
        self, *, dim: int = 100, projection: str = "dense", norms: bool = False, seed: int = 0, include: str = "",
        exclude: str = "",
    ) -> None:
        super().__init__(include, exclude)
        if dim < 1:
            raise ArgumentError(f"dim={dim} leaves nothing to learn: give at least 1.")
        if projection not in PROJECTIONS:
            known = ", ".join(map(repr, PROJECTIONS))
            raise ArgumentError(f"projection={projection!r} is not known: give one of {known}.")
        self.dim, self.projection, self.norms, self.seed = dim, projection, norms, seed
        self.spans: dict[str, slice] = {}
        self.offset: Tensor | None = None  # of all weights, while the network is called
        self.handles: list[Any] = []

    def takes(self, owner: nn.Module, name: str, weight: Tensor) -> bool:
        """Norms only if they are asked for."""
        return super().takes(owner, name, weight) and (self.norms or not isinstance(owner, NORMS))

    def attach(self, module: Network) -> Network:
        """As for any adapter; the projection is computed once in each call of the module."""
        super().attach(module)
        self.handles = [module.register_forward_pre_hook(self._begin),
                        module.register_forward_hook(self._end, always_call=True)]
        return module

    def merge(self, module: Network) -> Network:
        """As for any adapter."""
        super().merge(module)
        for handle in self.handles:
            handle.remove()
        self.handles = []
        return module

    def prepare(self, weights: Mapping[str, Tensor]) -> None:
        """Draws the projection."""
        total, first = 0, next(iter(weights.values()))
        for name, weight in weights.items():
            self.spans[name] = slice(total, total + weight.numel())
            total += weight.numel()
        if self.dim > total:
            raise ArgumentError(f"dim={self.dim} is more than the {total} weights that could move: give fewer.")
        if self.projection == "dense" and total * self.dim > MOST:
            raise ArgumentError(
                f"A dense projection of {total} weights to dim={self.dim} has {total * self.dim} numbers, more than "
                f"{MOST}: take projection='fastfood', which holds none of them."
            )
        self.total, self.steps = total, nn.Parameter(first.new_zeros(self.dim))
        generator = torch.Generator().manual_seed(self.seed)
        drawn = {"dense": dense, "sparse": sparse, "fastfood": fastfood}[self.projection](total, self.dim, generator)
        for name, part in drawn.items():
            part = part.to(first) if part.is_floating_point() else part.to(first.device)
            self.register_buffer(name, part, persistent=False)

    def project(self) -> Float[Tensor, " total"]:
        """P s: how far each weight has moved."""
        held = {name: buffer for name, buffer in self.named_buffers(recurse=False)}
        if self.projection == "dense":
            return held["directions"] @ self.steps
        if self.projection == "sparse":
            moves = held["values"] * self.steps[held["columns"]]
            return self.steps.new_zeros(self.total).index_add(0, held["rows"], moves)
        padded = torch.cat([self.steps, self.steps.new_zeros(len(held["signs"]) - self.dim)])
        mixed = held["normal"] * hadamard(held["signs"] * padded)[held["order"]]
        return hadamard(mixed)[: self.total] / (len(padded) * held["normal"].square().sum()).sqrt()

    def changed(self, name: str, weight: Tensor) -> Tensor:
        """The weight and how far it has moved."""
        offset = self.project() if self.offset is None else self.offset
        return weight + offset[self.spans[name]].view_as(weight)

    def _begin(self, module: nn.Module, inputs: Any) -> None:
        self.offset = self.project()

    def _end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        self.offset = None


def dense(total: int, dim: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Normal directions of norm 1 over all weights."""
    drawn = torch.randn(total, dim, generator=generator, dtype=torch.float32)
    return {"directions": drawn / drawn.norm(dim=0)}


def sparse(total: int, dim: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Directions of random signs, of which a share of 1 / sqrt(total) is not 0, at least one in each."""
    rows, values = [], []
    for _ in range(dim):
        found = torch.nonzero(torch.rand(total, generator=generator, dtype=torch.float32) < total**-0.5)[:, 0]
        found = found if len(found) else torch.randint(total, (1,), generator=generator)
        signs = torch.randint(2, (len(found),), generator=generator) * 2.0 - 1.0
        rows.append(found)
        values.append(signs * len(found) ** -0.5)
    columns = torch.repeat_interleave(torch.arange(dim), torch.tensor([len(found) for found in rows]))
    return {"rows": torch.cat(rows), "values": torch.cat(values), "columns": columns}


def fastfood(total: int, dim: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Signs B, order Pi and normal numbers G of the product of Walsh-Hadamard matrices."""
    size = 1 << (total - 1).bit_length()
    return {"signs": torch.randint(2, (size,), generator=generator) * 2.0 - 1.0,
            "order": torch.randperm(size, generator=generator),
            "normal": torch.randn(size, generator=generator, dtype=torch.float32)}


def hadamard(x: Float[Tensor, " size"]) -> Float[Tensor, " size"]:
    """H x for a power of two, with entries of 1 and -1, in size log2(size) sums."""
    step = 1
    while step < len(x):
        first, second = x.view(-1, 2, step).unbind(1)
        x = torch.stack([first + second, first - second], 1).flatten()
        step *= 2
    return x
