"""Task vectors: what others have learned from the same start, added up with a coefficient for each of their weights.

Paper     Zhang et al. (2024), "Knowledge Composition using Task Vectors with Learned Anisotropic Scaling", NeurIPS,
          arXiv:2407.02880.
Equation  theta_j = theta0_j + sum_i Lambda_ij tau_ij,   tau_i = theta_i - theta0        for each block j
Shapes    a block is one weight, whatever its shape;   Lambda [n, m], [n, 1] or [n, m, partitions] of n tasks, m blocks
Units     none: weights are changed and no value.
Differs   Composition, the start at 0, blocks and random partitions (of weights of two or more dimensions alone) are
          those of the published code. That the tasks are forecasters fine-tuned on other series is ours.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from tsforge.encoders.adapter.base import Adapter, slug
from tsforge.errors import ArgumentError, ShapeError
from tsforge.space import Choice, Declared

MODES = ("block", "isotropic", "partition")


class TaskVectorAdapter(Adapter):
    """n m coefficients (`"block"`), n (`"isotropic"`) or n m partitions (`"partition"`) for n tasks and m weights.

    The tasks are held while it is attached and are not part of its state. Statistics of norms stay those of the base.

    Args:
        tasks: Networks, or their states, with the same weights as the one that this is attached to; they make sense
            where they were trained from its weights on.
        mode: One coefficient for each task and weight, each task, or each task and random group of the entries of a
            weight of two or more dimensions.
        partitions: Groups of `"partition"`.
        init: Coefficients at the start, one for all tasks or one for each.
        seed: Key of the draw of the groups.
        include: A pattern (`re.search`) that the name of a weight must hold to be changed; "" is all of them.
        exclude: A pattern of names that are left; "" leaves none.

    Raises:
        ArgumentError: there is no task, `mode` is not known, `partitions` is below 1, or `init` is of other tasks.
        ShapeError: a task lacks a weight, or has one of another shape.
    """

    given: ClassVar[tuple[str, ...]] = ("tasks",)
    space: ClassVar[Declared] = {"mode": Choice(*MODES)}
    least_ndim: ClassVar[int] = 1
    learning_rate: ClassVar[float] = 3e-2

    def __init__(
        self, tasks: Sequence[nn.Module | Mapping[str, Tensor]], *, mode: str = "block", partitions: int = 8,
        init: float | int | Sequence[float | int] = 0.0, seed: int = 0, include: str = "", exclude: str = "",
    ) -> None:
        super().__init__(include, exclude)
        if not tasks:
            raise ArgumentError("tasks: there is none. Give at least one network that was trained from the same start.")
        if mode not in MODES:
            raise ArgumentError(f"mode={mode!r} is not known: give one of {', '.join(map(repr, MODES))}.")
        if partitions < 1:
            raise ArgumentError(f"partitions={partitions} leaves nothing to learn: give at least 1.")
        start = [float(init)] * len(tasks) if isinstance(init, float | int) else [float(value) for value in init]
        if len(start) != len(tasks):
            raise ArgumentError(f"init={init!r} has {len(start)} coefficients for {len(tasks)} tasks: give one each.")
        self.mode, self.partitions, self.start, self.seed = mode, partitions, start, seed
        states = [task.state_dict() if isinstance(task, nn.Module) else task for task in tasks]
        self.states: list[Mapping[str, Tensor]] = states  # until it is attached
        self.least = 2 if mode == "partition" else 1
        self.blocks: dict[str, int] = {}

    def takes(self, owner: nn.Module, name: str, weight: Tensor) -> bool:
        """Biases and norms, too, unless weights are partitioned."""
        return super().takes(owner, name, weight) and weight.ndim >= self.least

    def prepare(self, weights: Mapping[str, Tensor]) -> None:
        """Takes the differences, and one coefficient for each block."""
        generator, first = torch.Generator().manual_seed(self.seed), next(iter(weights.values()))
        for block, (name, weight) in enumerate(weights.items()):
            self.blocks[name] = 0 if self.mode == "isotropic" else block
            self.register_buffer(f"tau {slug(name)}", self._differences(name, weight), persistent=False)
            if self.mode == "partition":
                groups = torch.randint(self.partitions, weight.shape, generator=generator).to(weight.device)
                self.register_buffer(f"groups {slug(name)}", groups, persistent=False)
        self.states = []
        shape = (max(self.blocks.values()) + 1, *([self.partitions] if self.mode == "partition" else []))
        start = first.new_tensor(self.start).view(-1, *(1 for _ in shape))
        self.coefficients = nn.Parameter(start.expand(-1, *shape).clone())

    def _differences(self, name: str, weight: Tensor) -> Tensor:
        """[task, ...] of one weight."""
        for number, state in enumerate(self.states):
            found = state[name].shape if name in state else None
            if found != weight.shape:
                has = "does not have it" if found is None else f"has {list(found)}"
                raise ShapeError(f"The weight {name} has the shape {list(weight.shape)}, and task {number} {has}: all "
                                 "tasks need the same model with the same arguments.")
        return torch.stack([state[name].to(weight) - weight for state in self.states])

    def by_weight(self) -> dict[str, Tensor]:
        """The coefficients of each weight: [task], or [task, partition]."""
        return {name: self.coefficients.detach()[:, block] for name, block in self.blocks.items()}

    def changed(self, name: str, weight: Tensor) -> Tensor:
        """The weight, and what the tasks add to it."""
        tau = self.get_buffer(f"tau {slug(name)}")
        own = self.coefficients[:, self.blocks[name]]
        if self.mode == "partition":
            return weight + (own[:, self.get_buffer(f"groups {slug(name)}")] * tau).sum(0)
        return weight + torch.tensordot(own, tau, dims=1)
