"""The batch over threads: numba's loops release the GIL, so each thread takes its part of the batch.

As many threads as torch is told to use (`torch.set_num_threads`), and where they can be had torch's own: after an
operator its OpenMP threads spin for some milliseconds, in which threads of another pool would wait for their cores.
Elsewhere, and in a child that was forked, where OpenMP has no threads left, they are those of a pool. Parts are small,
and a thread takes the next one when it is free.
"""

import ctypes
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import torch

POOL: dict[str, ThreadPoolExecutor] = {}
FORKED: list[bool] = []
os.register_at_fork(after_in_child=lambda: (POOL.clear(), FORKED.append(True)))
LEAST = 1 << 15  # elements of work below which a second thread costs more than it gives
FINER = 4  # parts for each thread
PART = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def over_batch(run: Callable[[int, int], None], batch: int, work: int) -> None:
    """Calls `run(start, stop)` on parts of the batch.

    Args:
        run: Works on some of the batch; it must write nothing that another part writes.
        batch: Its size.
        work: Elements of the whole, by which it is told whether threads pay.
    """
    threads = min(torch.get_num_threads(), batch, max(1, work // LEAST))
    if threads < 2:
        run(0, batch)
        return
    parts = min(batch, FINER * threads)
    waiting = deque(pairwise(batch * part // parts for part in range(parts + 1)))
    if FORKED or _openmp() is None:
        _in_pool(lambda: _take(run, waiting), threads)
    else:
        _in_team(lambda: _take(run, waiting))


def _take(run: Callable[[int, int], None], waiting: deque[tuple[int, int]]) -> None:
    """Parts until none is left."""
    while True:
        try:
            part = waiting.popleft()
        except IndexError:
            return
        run(*part)


@cache
def _openmp() -> Any:
    """`GOMP_parallel(function, argument, threads, flags)` of the OpenMP library that torch uses, or None."""
    try:
        found = ctypes.CDLL(torch._C.__file__).GOMP_parallel
    except (OSError, AttributeError, TypeError):  # another kind of library, or another way of linking
        return None
    found.argtypes, found.restype = [PART, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    return found


def _in_team(job: Callable[[], None]) -> None:
    errors: list[BaseException] = []

    def part(_: Any) -> None:
        try:
            job()
        except BaseException as error:  # an exception does not pass through C
            errors.append(error)

    _openmp()(PART(part), None, torch.get_num_threads(), 0)  # of another size the team would be made anew each time
    if errors:
        raise errors[0]


def _in_pool(job: Callable[[], None], threads: int) -> None:
    pool = POOL.get("pool")
    if pool is None or pool._max_workers < threads - 1:
        pool = POOL["pool"] = ThreadPoolExecutor(threads - 1, thread_name_prefix="tsforge-scan")
    others = [pool.submit(job) for _ in range(threads - 1)]
    job()
    for other in others:
        other.result()
