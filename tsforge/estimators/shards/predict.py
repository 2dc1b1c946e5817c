"""Forecasts of a run in shards: after the end of new data, or of what the run was fitted on."""

from pathlib import Path
from typing import Any

import polars as pl

from tsforge.estimators.fitted import versions
from tsforge.estimators.run import open_run
from tsforge.estimators.shards.aside import aside
from tsforge.estimators.shards.contract import FEWEST, MOST, PARTS, Shard, ids_known
from tsforge.estimators.shards.engines import check_engine, run_shards
from tsforge.estimators.shards.folder import WorkFolder
from tsforge.estimators.shards.frames import digest_of, roles_of, write_frame
from tsforge.evaluation.intervals import check_levels, check_quantiles
from tsforge.forecaster import Levels
from tsforge.frame.canonical import to_polars
from tsforge.frame.frame import as_frame
from tsforge.training.artifact import SUMS


def predict_in_shards(
    run: str | Path, data: Any, work: WorkFolder, engine: str, workers: int | None, *, h: int | None = None,
    future: Any = None, level: Levels | None = None, quantiles: Levels | None = None, overwrite: bool = False,
) -> pl.DataFrame:
    """What `open_run(run).predict(data, ...)` returns, in polars.

    Args:
        run: A run folder, which all workers see.
        data: A table or Frame after whose end it forecasts; None is the end of what the run was fitted on.
        work: Where the shards are kept.
        engine: "local" or "ray".
        workers: Processes or actors; None takes one for each core.
        h: Fewer steps than the model was made for.
        future: Covariates known ahead.
        level: Percents of intervals.
        quantiles: Levels of single quantiles.
        overwrite: Throws away shards of other forecasts.

    Raises:
        ArtifactError: the run is not whole, or the folder holds shards of other forecasts.
        TsforgeError: what `predict` raises, of the shard where it happens.
        WorkerError: workers die.
    """
    check_engine(engine, workers)
    folder = Path(run).absolute()
    model = open_run(folder)
    frame = None if data is None else as_frame(data, model.schema_)
    level, quantiles = check_levels(level), check_quantiles(quantiles)
    known = None if future is None else to_polars(future)[0]
    work.begin({
        "what": "predict", "run": (folder / SUMS).read_text(encoding="utf-8"), "h": h, "level": level,
        "quantiles": quantiles, "frame": digest_of(None if frame is None else frame.table),
        "static": digest_of(None if frame is None else frame.static), "future": digest_of(known),
        **({} if frame is None else roles_of(frame)), "versions": versions(),
    }, overwrite=overwrite)
    if frame is not None:
        write_frame(frame, work.path)
    if known is not None:
        with aside(work.path / "future.arrow") as path:
            known.write_ipc(path)
    series = len(ids_known(model) if frame is None else frame.ids)
    size = max(FEWEST, min(MOST, series // PARTS))
    shards = [
        Shard(f"{low // size:07d}", str(folder), (low, min(low + size, series)), None, level, quantiles, h)
        for low in range(0, series, size)
    ]
    run_shards(work, shards, engine, workers)
    return work.together(shards)
