"""A worker: does shards of one work folder one after another, and keeps the model open for the next."""

import json
import os
import socket
import sys
from dataclasses import asdict
from functools import cached_property
from queue import SimpleQueue
from threading import Thread
from typing import Any

import polars as pl

from tsforge.errors import TsforgeError
from tsforge.estimators.base import Estimator
from tsforge.estimators.run import open_run
from tsforge.estimators.shards.contract import Shard, ids_known, members_of, run_shard
from tsforge.estimators.shards.folder import WorkFolder
from tsforge.estimators.shards.frames import StoredFrame
from tsforge.frame.frame import Frame
from tsforge.frame.schema import Schema

PROGRAM = "from tsforge.estimators.shards.worker import serve; serve()"


class Worker:
    """Whoever does shards: this process, one beside it, or an actor on another machine.

    Args:
        folder: The work folder, which all workers see under this path.
    """

    def __init__(self, folder: str) -> None:
        self.work, self.stored = WorkFolder(folder), StoredFrame(WorkFolder(folder).path)
        self._open: tuple[str, Estimator] | None = None

    def ready(self) -> bool:
        """Answers once the worker is there."""
        return True

    def answer(self, job: dict[str, Any]) -> dict[str, Any]:
        """Does a shard, writes its part, and returns its line; or the class and the text of the error."""
        try:
            return self.work.write_part(job["key"], self.forecasts(Shard.read(job))) | {"by": whoami()}
        except TsforgeError as error:
            return {"error": type(error).__name__, "text": f"{error}"}
        except Exception as error:
            return {"error": "WorkerError", "text": f"Shard {job['key']} failed: {type(error).__name__}: {error}"}

    def forecasts(self, shard: Shard) -> pl.DataFrame:
        """The table of a shard."""
        model = self.model(shard)
        frame = self.stored.of(*shard.series) if self.stored.exists else None
        cutoffs = None if shard.windows is None or frame is None else self._cutoffs_of(frame, *shard.windows)
        future = self.work.path / "future.arrow"
        known = pl.read_ipc(future) if future.exists() else None
        if known is not None:
            ids = ids_known(model)[slice(*shard.series)] if frame is None else frame.ids
            known = _of_series(known, model.schema_, ids)
        return run_shard(shard, model, frame, cutoffs, known)

    def model(self, shard: Shard) -> Estimator:
        """The artifact of a shard. Shards of one model follow one another, so a worker opens each model once."""
        if self._open is None or self._open[0] != shard.artifact:
            self._open = None  # two large models need not be there at once
            model = open_run(self.work.artifact(shard))
            _alone(model)
            self._open = shard.artifact, model
        return self._open[1]

    def _cutoffs_of(self, frame: Frame, low: int, high: int) -> pl.DataFrame:
        mine = pl.col("unique_id").is_in(frame.ids.implode()) & pl.col("window").is_between(low, high - 1)
        return self._cutoffs.filter(mine).drop("window")

    @cached_property
    def _cutoffs(self) -> pl.DataFrame:
        return pl.read_ipc(self.work.path / "cutoffs.arrow")


def _alone(model: Any) -> None:
    """A series takes no processes here: a worker's own would be one too many for each core."""
    if hasattr(model, "workers"):
        vars(model)["workers"] = 1
    for member in members_of(model):
        _alone(member)


def _of_series(known: pl.DataFrame, schema: Schema, ids: pl.Series) -> pl.DataFrame:
    """The rows of `future` that speak of these series; of series that are channels, all."""
    if schema.channels_from or schema.id_col not in known.columns:
        return known
    return known.filter(pl.col(schema.id_col).cast(ids.dtype, strict=False).is_in(ids.implode()))


def whoami() -> str:
    """Machine and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


def words_of(shard: Shard) -> dict[str, Any]:
    """A shard as it crosses processes."""
    return asdict(shard)


def serve() -> None:
    """The life of a process beside: a line of standard input is a shard, a line of standard output its answer.

    The first line is the work folder. When standard input ends, the one that asks is gone, maybe killed, and the
    process ends with it at once, or it would work beside the one that goes on.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever prints does not print among the answers
    lines: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    Thread(target=read, daemon=True).start()
    worker = Worker(json.loads(lines.get()))
    while True:
        print(json.dumps(worker.answer(json.loads(lines.get()))), file=answers, flush=True)
