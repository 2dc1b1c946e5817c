"""Workers of a study: its cells in this process one after the other, or in several spawned ones."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread

from tsforge.estimators.grid import Cell
from tsforge.estimators.study_cells import Frames, Outcome, by_frame, run_cell

AtWork = dict[Connection, tuple[BaseProcess, Cell]]
THREADS = ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")


def run_here(cells: Sequence[Cell], out: Path, frames: Frames, *, overwrite: bool, verbose: bool) -> Iterator[Outcome]:
    """Runs cells in this process."""
    left = by_frame(cells)
    while left:
        frames.keep(cell.recipe.frame for cell in left)
        yield run_cell(left.pop(0), out, frames, overwrite=overwrite, verbose=verbose)


def run_in_workers(cells: Sequence[Cell], out: Path, workers: int, *, overwrite: bool) -> Iterator[Outcome]:
    """Runs cells in `workers` processes that share the cores; outcomes come as they are ready.

    A process that dies costs its cell alone. Whatever ends this generator ends the processes: their checkpoints stay.
    """
    waiting, at_work = by_frame(cells), AtWork()
    try:
        while waiting or at_work:
            while waiting and len(at_work) < workers:
                with _threads(max(1, _cores() // workers)):
                    pipe, process = _started(out, overwrite)
                _hand(at_work, pipe, process, waiting)
            for pipe in wait(list(at_work)):
                assert isinstance(pipe, Connection)
                process, cell = at_work.pop(pipe)
                try:
                    outcome = pipe.recv()
                except EOFError:
                    process.join()
                    outcome = Outcome(cell.name, [], f"its process ended with exit code {process.exitcode}")
                else:
                    _hand(at_work, pipe, process, waiting)
                yield outcome
    finally:
        for process, _ in at_work.values():
            process.kill()  # checkpoints are whole after any kill, and lightning answers a gentler end with a traceback
        for process, _ in at_work.values():
            process.join()


def _hand(at_work: AtWork, pipe: Connection, process: BaseProcess, waiting: list[Cell]) -> None:
    """Gives a process the next cell, or lets it end."""
    if not waiting:
        pipe.close()
        process.join()
        return
    at_work[pipe] = process, waiting.pop(0)
    with suppress(OSError):  # it died; then the pipe says so
        pipe.send(at_work[pipe][1])


def _started(out: Path, overwrite: bool) -> tuple[Connection, BaseProcess]:
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_work, args=(there, out, overwrite))
    process.start()
    there.close()  # so that the end of the process is the end of the pipe
    return here, process


def _work(pipe: Connection, out: Path, overwrite: bool) -> None:
    """The life of a worker: a cell comes, its outcome goes, until none is left or the study is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the study ends its workers itself
    Thread(target=_end_with_the_study, daemon=True).start()
    frames = Frames()
    while True:
        try:
            cell = pipe.recv()
        except EOFError:
            return
        frames.keep([cell.recipe.frame])
        pipe.send(run_cell(cell, out, frames, overwrite=overwrite, verbose=False))


def _end_with_the_study() -> None:
    """A study that is killed takes its workers along, or they would train beside the one that goes on."""
    study = parent_process()
    assert study is not None
    study.join()
    os._exit(1)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _threads(number: int) -> Iterator[None]:
    """Processes started meanwhile use so many threads, unless the environment says another number."""
    missing = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, str(number)))
    try:
        yield
    finally:
        for name in missing:
            del os.environ[name]
