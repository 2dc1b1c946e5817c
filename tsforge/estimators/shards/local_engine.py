"""The local engine: shards in this process, or in several beside it."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE, Popen
from threading import Event
from typing import Any

from tsforge.data.workers import cores
from tsforge.estimators.shards.crew import Crew, Died, Job
from tsforge.estimators.shards.worker import PROGRAM, Worker

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS", "NUMBA_NUM_THREADS")


def run_local(folder: str, jobs: Sequence[Job], workers: int | None) -> Iterator[dict[str, Any]]:
    """The answers to jobs, as they come.

    Args:
        folder: The work folder.
        jobs: Shards in words.
        workers: Processes; None takes one for each core. One is this process.
    """
    workers = min(workers or cores(), len(jobs))
    if workers > 1:
        yield from Crew(jobs, lambda: Process(folder), workers).run()
        return
    worker = Worker(folder)
    for job in jobs:
        yield worker.answer(job)


class Process:
    """A new interpreter that runs a program of tsforge and not the user's script, which so needs no guard."""

    def __init__(self, folder: str) -> None:
        known = os.pathsep.join(path or os.getcwd() for path in sys.path)  # noqa: PTH109 - text, as sys.path is
        environment = os.environ | dict.fromkeys(THREADS, "1") | {"PYTHONPATH": known}
        self.process = Popen(
            [sys.executable, "-P", "-c", PROGRAM], stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True, env=environment,
            start_new_session=True,  # Ctrl-C is for the one that asks, which ends its workers itself
        )
        self._say(folder)

    def _say(self, words: Any) -> None:
        assert self.process.stdin
        with suppress(BrokenPipeError):  # it died; then the answer is missing
            print(json.dumps(words), file=self.process.stdin, flush=True)

    def wait(self, over: Event) -> bool:
        """It reads its first job when it is ready."""
        return not over.is_set()

    def ask(self, job: Job) -> dict[str, Any]:
        """The answer to a job."""
        assert self.process.stdout
        self._say(job)
        line = self.process.stdout.readline()
        if not line.endswith("\n"):
            raise Died(f"exit code {self.process.wait()}")
        return json.loads(line)

    def kill(self) -> None:
        """Ends it; the file it was writing stays aside, and is no part."""
        self.process.kill()

    def end(self) -> None:
        """Waits for its end."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe
            with suppress(BrokenPipeError):
                pipe.close()
        self.process.wait()
