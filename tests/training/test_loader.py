"""Every window once an epoch, in an order that (seed, epoch) give, whatever the number of processes."""


import jaxtyping
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tsforge.data.windows import Windows
from tsforge.training.loader import EvalLoader, TrainLoader, share


class Numbers(Windows):
    """Windows that are their numbers."""

    def __init__(self, count: int) -> None:
        self.count, self.drawn = count, False

    def __len__(self) -> int:
        return self.count

    def batches(self, parts):
        return iter([numbers.tolist() for numbers in parts])


@pytest.fixture(autouse=True)
def no_type_checks():
    """A number is no Batch."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 3), st.integers(1, 4))
def test_an_epoch_holds_every_window_once(count, batch_size, epoch, world):
    windows = Numbers(count)
    steps = -(-count // batch_size)
    seen = []
    for rank in range(world):
        steps_of_epoch = {"start": epoch * steps, "stop": (epoch + 1) * steps}
        loader = TrainLoader(windows, batch_size, seed=3, rank=rank, world=world, **steps_of_epoch)
        seen += [number for batch in loader for number in batch if number >= 0]
    assert sorted(seen) == list(range(count))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 30))
def test_the_batch_of_a_step_does_not_depend_on_where_the_loader_began(count, batch_size, step):
    windows = Numbers(count)

    def batches(start):
        return list(TrainLoader(windows, batch_size, seed=1, start=start, stop=step + 3))

    assert batches(0)[step:] == batches(step)


def test_epochs_and_seeds_differ():
    windows = Numbers(50)

    def order(seed, start):
        return list(TrainLoader(windows, 50, seed=seed, start=start, stop=start + 1))[0]  # noqa: RUF015

    assert len({tuple(order(0, 0)), tuple(order(0, 1)), tuple(order(1, 0))}) == 3


def test_drop_last_leaves_out_the_smaller_batch_of_an_epoch():
    loader = TrainLoader(Numbers(10), 4, seed=0, start=0, stop=2, drop_last=True)
    assert [len(batch) for batch in loader] == [4, 4]
    assert loader.per_epoch == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 4))
def test_evaluation_counts_each_window_once(count, batch_size, world):
    loaders = [EvalLoader(Numbers(count), batch_size, rank=rank, world=world) for rank in range(world)]
    assert sorted(n for loader in loaders for batch in loader for n in batch if n >= 0) == list(range(count))


@pytest.mark.parametrize(("count", "world"), [(7, 2), (1, 3), (6, 3)])
def test_shares_have_one_size(count, world):
    shares = [share(np.arange(count), rank, world) for rank in range(world)]
    assert len({len(s) for s in shares}) == 1
    assert sum(int((s >= 0).sum()) for s in shares) == count
