"""Engines: who does the shards of a work folder."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tsforge import errors
from tsforge.data.workers import counting
from tsforge.errors import ArgumentError, WorkerError
from tsforge.estimators.series_pool import check_workers
from tsforge.estimators.shards.contract import Shard
from tsforge.estimators.shards.folder import WorkFolder
from tsforge.estimators.shards.local_engine import run_local
from tsforge.estimators.shards.ray_engine import import_ray, run_ray
from tsforge.estimators.shards.worker import words_of

ENGINES = {"local": run_local, "ray": run_ray}
log = logging.getLogger("tsforge")


def check_engine(engine: Any, workers: Any, folder: Any = None) -> None:
    """Raises where shards cannot be done so, before anything is fitted.

    Raises:
        ArgumentError: there is no such engine, `workers` is no number, or something is given that does nothing.
        PackageError: ray is not installed.
    """
    if engine is not None and engine not in ENGINES:
        raise ArgumentError(f"engine={engine!r}: wanted 'local' or 'ray', or None for one pass in this process.")
    if engine is None and (workers is not None or folder is not None):
        given = "workers" if workers is not None else "folder"
        raise ArgumentError(f"{given}= belongs to forecasts in shards: give engine='local' or engine='ray' with it.")
    if folder is not None and not isinstance(folder, str | Path):
        raise ArgumentError(f"folder={folder!r}: wanted the path of a folder, or None.")
    check_workers(workers)
    if engine == "ray":
        import_ray()


def run_shards(work: WorkFolder, shards: Sequence[Shard], engine: str, workers: int | None) -> None:
    """Does all shards. Those that are done already are not done again.

    Raises:
        TsforgeError: a shard fails, for the reason that its worker says.
        WorkerError: workers die.
    """
    done = work.finished()
    left = [words_of(shard) for shard in shards if shard.key not in done]
    if len(left) < len(shards):
        log.info(f"{len(shards) - len(left)} of {len(shards)} shards are done already.")
    if left:
        with counting("shards", len(left)) as tick:
            for answer in ENGINES[engine](str(work.path), left, workers):
                if "error" in answer:
                    raise getattr(errors, answer["error"], WorkerError)(answer["text"])
                work.note(answer)
                tick()
