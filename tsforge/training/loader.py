"""Loaders: which windows make up step k. A function of (seed, step), so a stopped run goes on with the same batches."""

from collections.abc import Iterator

import numpy as np

from tsforge.batch import Batch
from tsforge.data.windows import Windows
from tsforge.models.base import Model
from tsforge.training.keys import key


def steps_per_epoch(count: int, batch_size: int, drop_last: bool) -> int:
    """Batches of one pass over `count` windows; at least one."""
    return max(1, count // batch_size if drop_last else -(-count // batch_size))


class TrainLoader:
    """Batches of the steps `start` to `stop` of a training; each epoch is a permutation keyed by (seed, epoch).

    With several processes each gathers its share of every batch; shares are filled up with empty windows to one size.
    """

    def __init__(
        self, windows: Windows, batch_size: int, *, seed: int, start: int, stop: int, drop_last: bool = False,
        rank: int = 0, world: int = 1,
    ) -> None:
        self.windows, self.batch_size, self.seed, self.start, self.stop = windows, batch_size, seed, start, stop
        self.rank, self.world = rank, world
        self.per_epoch = steps_per_epoch(len(windows), batch_size, drop_last)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[Batch]:
        for epoch in range(self.start // self.per_epoch, -(-self.stop // self.per_epoch)):
            order = np.random.default_rng(key(self.seed, "epoch", epoch)).permutation(len(self.windows))
            first = epoch * self.per_epoch
            steps = range(max(self.start - first, 0), min(self.stop - first, self.per_epoch))
            batches = [order[step * self.batch_size : (step + 1) * self.batch_size] for step in steps]
            made = self.windows.batches([share(numbers, self.rank, self.world) for numbers in batches])
            if not self.windows.drawn:
                yield from made
                continue
            for step, batch in zip(steps, made, strict=True):
                yield self.windows.pose(batch, key(self.seed, "pose", first + step, self.rank))


class EvalLoader:
    """All windows in order, each exactly once over all processes together."""

    def __init__(self, windows: Windows, batch_size: int, *, rank: int = 0, world: int = 1) -> None:
        self.windows, self.batch_size, self.rank, self.world = windows, batch_size, rank, world

    def __len__(self) -> int:
        return -(-len(self.windows) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        count = len(self.windows)
        batches = [np.arange(at, min(at + self.batch_size, count)) for at in range(0, count, self.batch_size)]
        yield from self.windows.batches([share(numbers, self.rank, self.world) for numbers in batches])


def evaluation_batch(network: Model, batch_size: int) -> int:
    """Windows of an evaluation batch: large, unless the forecast of this network depends on its batch-mates."""
    return batch_size if network.mixes_windows else max(batch_size, 256)


def share(numbers: np.ndarray, rank: int, world: int) -> np.ndarray:
    """Every `world`-th number from `rank` on, filled up with -1 so that all shares have one size."""
    if world == 1:
        return numbers
    mine = numbers[rank::world]
    return np.concatenate([mine, np.full(-(-len(numbers) // world) - len(mine), -1, dtype=mine.dtype)])
