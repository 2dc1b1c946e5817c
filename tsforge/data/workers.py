"""Workers: processes beside this one that do jobs one after another, and a bar that shows how far they are.

A worker is a new interpreter, never a fork of this one, whose threads a fork would stop in the middle of a step. It
runs a program of tsforge and not the user's script, so a script needs no `if __name__ == "__main__"`.
"""

import json
import logging
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from subprocess import DEVNULL, PIPE, Popen
from typing import Any

log = logging.getLogger("tsforge")


def share_out(program: str, jobs: Sequence[dict[str, Any]], workers: int, done: Callable[[], None]) -> None:
    """Does jobs in several processes, each taking the next job when it is done with one.

    Args:
        program: Python that answers each line of standard input, a job as JSON, by one line.
        jobs: What a worker has to know. A job whose worker dies is left undone, and so are all if no worker lives.
        workers: Processes.
        done: Called after each job, from several threads.
    """
    waiting, running = deque(jobs), []
    with ThreadPoolExecutor(workers) as pool:
        try:
            for _ in pool.map(lambda _: _employ(program, waiting, running, done), range(workers)):
                pass
        except BaseException:
            waiting.clear()
            for process in running:
                process.kill()
            raise


def _employ(program: str, waiting: deque, running: list, done: Callable[[], None]) -> None:
    known = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 - text, as sys.path is
    command, environment = [sys.executable, "-P", "-c", program], os.environ | {"PYTHONPATH": known}
    with Popen(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True, env=environment) as process:
        running.append(process)
        assert process.stdin
        assert process.stdout
        try:
            while waiting:
                print(json.dumps(waiting.popleft()), file=process.stdin, flush=True)
                if not process.stdout.readline():
                    return
                done()
        except (IndexError, BrokenPipeError):  # another thread took the last job; the worker died
            return


@contextmanager
def counting(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A function to call after each of `total` things.

    It moves a bar on standard error where that is a terminal and the logger `tsforge` lets notices through, as on the
    command line without --quiet.
    """
    if total < 2 or not sys.stderr.isatty() or not log.isEnabledFor(logging.INFO):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = BarColumn(bar_width=None), MofNCompleteColumn(), TextColumn(what), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), expand=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
