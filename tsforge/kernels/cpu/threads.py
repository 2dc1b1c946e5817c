"""The batch over threads: numba's loops release the GIL, so each thread takes its part of the batch.

As many threads as torch is told to use (`torch.set_num_threads`). The pool is made at the first use, and anew in a
child that was forked, which has none of its parent's threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import torch

POOL: dict[str, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=POOL.clear)
LEAST = 1 << 15  # elements of work below which a second thread costs more than it gives


def over_batch(run: Callable[[int, int], None], batch: int, work: int) -> None:
    """Calls `run(start, stop)` on parts of the batch.

    Args:
        run: Works on some of the batch; it must write nothing that another part writes.
        batch: Its size.
        work: Elements of the whole, by which it is told whether threads pay.
    """
    parts = min(torch.get_num_threads(), batch, max(1, work // LEAST))
    if parts < 2:
        run(0, batch)
        return
    pool = POOL.get("pool")
    if pool is None or pool._max_workers < parts - 1:
        pool = POOL["pool"] = ThreadPoolExecutor(parts - 1, thread_name_prefix="tsforge-scan")
    edges = [batch * part // parts for part in range(parts + 1)]
    others = [pool.submit(run, *pair) for pair in pairwise(edges[1:])]
    run(edges[0], edges[1])
    for other in others:
        other.result()
