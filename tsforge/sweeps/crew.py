"""The processes of a sweep on this machine: they are begun, watched, replaced where they die, and ended."""

import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from subprocess import PIPE, Popen

from tsforge.errors import WorkerError
from tsforge.sweeps.ledger import Ledger
from tsforge.sweeps.plan import TRIALS
from tsforge.sweeps.worker import PROGRAM

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")
LOOK = 0.25  # seconds


class Crew:
    """Several workers.

    Args:
        ledger: Of the sweep.
        storage: Its address, for the processes.
        workers: How many.
        threads: Of each.
        until: The moment, in seconds of `time.monotonic`, from which on no trial is begun.
    """

    def __init__(self, ledger: Ledger, storage: str, workers: int, threads: int, until: float | None) -> None:
        self.ledger, self.storage, self.workers, self.threads, self.until = ledger, storage, workers, threads, until
        self.processes: list[Popen[str]] = []
        self.crashed: list[int] = []

    def run(self, look: Callable[[], None]) -> None:
        """Keeps so many processes at work until all trials are done; `look` is called again and again meanwhile.

        Whatever ends this ends the processes, and frees their trials.

        Raises:
            WorkerError: a process cannot begin.
        """
        try:
            while self._wanted():
                while len(self.processes) < self.workers and self._open():
                    self.processes.append(self._begun())
                time.sleep(LOOK)
                self._see()
                look()
        finally:
            for process in self.processes:
                process.kill()
            for process in self.processes:
                process.wait()
                _close(process)
            self.ledger.reap()
            look()

    def _wanted(self) -> bool:
        return bool(self.processes) or self._open()

    def _open(self) -> bool:
        """Whether there is a trial to begin, or one that its worker may not live to finish."""
        if self.until is not None and time.monotonic() >= self.until:
            return False
        standing = self.ledger.standing()
        return standing.open(int(self.ledger.study.user_attrs[TRIALS])) is not None

    def _see(self) -> None:
        """Lets go of processes that have ended, and marks their trials."""
        for process in [process for process in self.processes if process.poll() is not None]:
            self.processes.remove(process)
            assert process.stdout
            said = process.stdout.read()
            _close(process)
            if said:
                raise WorkerError(f"A worker cannot begin: {json.loads(said.splitlines()[0])['error']}")
            if process.returncode:
                self.crashed.append(process.pid)
        self.ledger.reap(self.crashed)

    def _begun(self) -> Popen[str]:
        """A new interpreter that runs a program of tsforge and not the user's script, which so needs no guard."""
        known = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 - text, as sys.path is
        missing = [name for name in THREADS if name not in os.environ]
        environment = os.environ | dict.fromkeys(missing, str(self.threads)) | {"PYTHONPATH": known}
        process = Popen(
            [sys.executable, "-P", "-c", PROGRAM], stdin=PIPE, stdout=PIPE, text=True, env=environment,
            start_new_session=True,  # Ctrl-C is for the one that asks, which ends its workers itself
        )
        seconds = None if self.until is None else max(0.0, self.until - time.monotonic())
        said = {"storage": self.storage, "study": self.ledger.study.study_name, "seconds": seconds}
        assert process.stdin
        with suppress(BrokenPipeError):
            print(json.dumps(said), file=process.stdin, flush=True)
        return process


def _close(process: Popen[str]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe
        with suppress(BrokenPipeError):
            pipe.close()
