"""Parts of a batch over threads: torch's own, or those of a pool."""

import os
import threading
import warnings

import pytest
import torch

from tsforge.kernels.cpu import threads
from tsforge.kernels.cpu.threads import LEAST, over_batch


@pytest.fixture(params=["team", "pool", "one"])
def way(request, monkeypatch):
    if request.param == "team" and threads._openmp() is None:
        pytest.skip("torch has another kind of OpenMP library here")
    if request.param == "pool":
        monkeypatch.setattr(threads, "_openmp", lambda: None)
    before = torch.get_num_threads()
    torch.set_num_threads(1 if request.param == "one" else 2)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 8, 9, 100])
def test_each_of_the_batch_is_worked_on_once(way, batch):
    done = []
    over_batch(lambda start, stop: done.extend(range(start, stop)), batch, batch * LEAST)
    assert sorted(done) == list(range(batch))


def test_two_threads_work_at_once_and_little_work_stays_in_one(way):
    seen, both = set(), threading.Barrier(2)

    def meet(start, stop):
        if threading.get_ident() not in seen:  # the first part of each thread waits for that of the other
            seen.add(threading.get_ident())
            both.wait(timeout=20)

    over_batch(lambda start, stop: seen.add(threading.get_ident()), 8, LEAST)
    assert seen == {threading.get_ident()}
    if way != "one":
        seen.clear()
        over_batch(meet, 8, 8 * LEAST)
        assert len(seen) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_takes_threads_of_its_own(way):
    def numbers() -> list[int]:
        done: list[int] = []
        over_batch(lambda start, stop: done.extend(range(start, stop)), 8, 8 * LEAST)
        return sorted(done)

    expected = numbers()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads: the case in question
        child = os.fork()
    if child == 0:
        os._exit(0 if numbers() == expected else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_an_error_in_any_part_reaches_the_caller_and_the_next_call_works(way):
    for bad in (0, 5, 7):
        def run(start, stop, bad=bad):
            if start <= bad < stop:
                raise ValueError(f"part of {bad}")

        with pytest.raises(ValueError, match=f"part of {bad}"):
            over_batch(run, 8, 8 * LEAST)
    done = []
    over_batch(lambda start, stop: done.append((start, stop)), 8, 8 * LEAST)
    assert done
