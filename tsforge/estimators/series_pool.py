"""One job for each series, in this process or in several, and a bar that shows how far they are."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tsforge.data.workers import cores, counting
from tsforge.errors import ArgumentError

MANY = 8  # series from which on processes are worth their start


def check_workers(workers: Any) -> None:
    """Raises ArgumentError where `workers` is no number of processes."""
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 1):
        raise ArgumentError(f"workers={workers!r}: wanted a number of processes, 1 or more, or None.")


def over_series(
    job: Callable[..., Any], arguments: Iterable[tuple[Any, ...]], total: int, *, workers: int | None, slow: bool,
) -> Iterator[Any]:
    """The answers of `job(*arguments)` in order.

    Args:
        job: A function of a module.
        arguments: Those of each series, made as they are needed: a process gets the rows of its series, not of all.
        total: Number of series.
        workers: Processes; None takes one for each core where a series is slow and there are many, else this one.
        slow: Whether a series takes long.
    """
    workers = workers or (cores() if slow and total >= MANY else 1)
    with counting("series", total) as done:
        if min(workers, total) < 2:
            answers: Iterable[Any] = (job(*each) for each in arguments)
        else:
            from joblib import Parallel, delayed, parallel_config  # loky needs no guard in the user's script

            with parallel_config("loky", inner_max_num_threads=1):  # a thread of BLAS for each worker
                pool = Parallel(n_jobs=workers, return_as="generator", pre_dispatch="2*n_jobs")
                answers = pool(delayed(job)(*each) for each in arguments)
        for answer in answers:
            done()
            yield answer
