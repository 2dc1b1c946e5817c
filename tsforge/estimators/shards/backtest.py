"""Backtests in shards: models are fitted here, once each, and forecast wherever there is room."""

import logging
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from sklearn.base import clone

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.estimators.base import Estimator, recorded_arguments
from tsforge.estimators.fitted import versions
from tsforge.estimators.run import open_run
from tsforge.estimators.shards.aside import aside
from tsforge.estimators.shards.contract import Shard, divide, shard_size
from tsforge.estimators.shards.engines import check_engine, run_shards
from tsforge.estimators.shards.folder import WorkFolder
from tsforge.estimators.shards.frames import digest_of, roles_of, write_frame
from tsforge.evaluation import backtest as plain
from tsforge.evaluation.backtest import Align
from tsforge.evaluation.intervals import check_levels, check_quantiles
from tsforge.forecaster import Forecaster, Levels
from tsforge.frame.frame import Frame, as_frame
from tsforge.training.artifact import SUMS

log = logging.getLogger("tsforge")


def backtest(
    models: Sequence[Forecaster] | Forecaster,
    frame: Any,
    *,
    n_windows: int = 1,
    step_size: int | None = None,
    refit: bool | int = False,
    level: Levels | None = None,
    quantiles: Levels | None = None,
    fit: bool = True,
    align: Align = "time",
    engine: str | None = None,
    workers: int | None = None,
    folder: str | Path | None = None,
    **roles: Any,
) -> Any:
    """Forecasts of several models after `n_windows` cutoffs, beside the truth.

    Models are cloned and fitted on rows up to the first cutoff, so what an earlier fit learned is never used.

    Args:
        models: Estimators; their columns have to have different names.
        frame: A table or Frame.
        n_windows: Cutoffs; the last one leaves `h` steps. On irregular rows the forecast starts from the last row at or
            before a cutoff, whose time stands in the column `cutoff`.
        step_size: Steps between cutoffs; None is `h`.
        refit: False fits once, True at every cutoff, k at every k-th.
        level: Percents of intervals.
        quantiles: Levels of single quantiles.
        fit: False scores fitted models as they are.
        align: "time": a cutoff is one time for all series, so no model sees another series' future. "end": cutoffs are
            counted from the end of each series, for series that do not share a calendar.
        engine: None forecasts in one pass in this process. "local" and "ray" forecast in shards, in processes of this
            machine or in actors of a Ray cluster, and a call that was killed goes on where it was.
        workers: Processes or actors; None takes one for each core. The numbers do not depend on it.
        folder: Where shards are kept, for a call that goes on later; None keeps them until the end of this one. All
            machines of a cluster have to see it.
        roles: Keywords of `Frame` for a plain table.

    Returns:
        `unique_id, ds, (target,) cutoff,` columns of each model, `y`; in the kind of table that came in.

    Raises:
        LeakError: with `fit=False`, a cutoff lies before the end of what a model was fitted on.
        ArgumentError: two models have one name or different `h`; an argument has a value that cannot work or does
            nothing.
        FrameError: the series are too short for the cutoffs.
        PackageError: engine="ray", and ray is not installed.
        ArtifactError: the folder holds shards of other forecasts.
        WorkerError: workers die.
    """
    check_engine(engine, workers, folder)
    if engine is None:
        return plain.backtest(
            models, frame, n_windows=n_windows, step_size=step_size, refit=refit, level=level, quantiles=quantiles,
            fit=fit, align=align, **roles,
        )
    several = list(models) if isinstance(models, Sequence) else [models]
    h = plain.same_h(several)
    made = as_frame(frame, **roles)
    cutoffs = plain.cutoffs_of(made, h, n_windows, h if step_size is None else step_size, align)
    with work_folder(folder) as work:
        return made.give_back(forecasts_in_shards(
            several, made, cutoffs, work, engine, workers, refit=refit, level=level, quantiles=quantiles, fit=fit
        ))


@contextmanager
def work_folder(folder: str | Path | None) -> Iterator[WorkFolder]:
    """The folder that was named, which stays, or one that goes."""
    if folder is not None:
        yield WorkFolder(folder)
        return
    with TemporaryDirectory(prefix="tsforge-shards-") as path:
        yield WorkFolder(path)


def forecasts_in_shards(
    models: Sequence[Forecaster], frame: Frame, cutoffs: pl.DataFrame, work: WorkFolder, engine: str,
    workers: int | None, *, refit: bool | int = False, level: Levels | None = None, quantiles: Levels | None = None,
    fit: bool = True, overwrite: bool = False,
) -> pl.DataFrame:
    """What `forecasts_at` returns, computed in the shards of a work folder; `overwrite` throws other shards away."""
    several = [_estimator(model) for model in models]
    every = plain.refit_every(refit, fit, len(cutoffs))
    level, quantiles = check_levels(level), check_quantiles(quantiles)
    if not fit:
        for model in several:
            plain.refuse_leak(model, cutoffs)
    groups = plain.groups_of(cutoffs, every) if fit else [cutoffs]
    size = shard_size(len(cutoffs))
    work.begin({
        "what": "backtest", "frame": digest_of(frame.table), "static": digest_of(frame.static), **roles_of(frame),
        "cutoffs": digest_of(cutoffs), "models": [_described(model) if fit else _sums(model) for model in several],
        "refit": every if fit else None, "level": level, "quantiles": quantiles, "shard_size": size,
        "versions": versions(),
    }, overwrite=overwrite)
    write_frame(frame, work.path)
    with aside(work.path / "cutoffs.arrow") as path:
        cutoffs.write_ipc(path)
    by_model: list[list[Shard]] = []
    for number, model in enumerate(several):
        shards = []
        for n, group in enumerate(groups):
            name, known = f"{number:02d}-{n:04d}", _artifact(work, f"{number:02d}-{n:04d}", model, frame, group, fit)
            for k, (series, windows) in enumerate(divide(group, frame.ids, known, size)):
                shards.append(Shard(f"{name}-{k:05d}", f"models/{name}", series, windows, level, quantiles))
        by_model.append(shards)
    run_shards(work, [shard for shards in by_model for shard in shards], engine, workers)
    return plain.side_by_side([work.together(shards) for shards in by_model])


def _artifact(
    work: WorkFolder, name: str, model: Estimator, frame: Frame, cutoffs: pl.DataFrame, fit: bool
) -> pl.Series:
    """Fits and saves a model, unless that was done; returns the series it knows."""
    folder, partial = work.models / name, work.models / f"{name}.partial"
    rows = plain.seen(frame, cutoffs) if fit else None
    known = model.trained_until()["unique_id"] if rows is None else rows.ids
    try:
        open_run(folder)
        return known
    except ArtifactError:  # it is not there, or not whole
        shutil.rmtree(folder, ignore_errors=True)
    if rows is not None:
        log.info(f"{model.name}: fit {int(name[3:]) + 1} ...")
        model = _trained(model, rows, partial)
    model.save(folder)
    shutil.rmtree(partial, ignore_errors=True)
    return known


def _trained(model: Estimator, rows: Frame, partial: Path) -> Estimator:
    """A clone fitted on these rows, from the checkpoint of a training that was killed where there is one."""
    made: Any = clone(model)
    try:
        return made.fit(rows, checkpoint=partial)
    except ArtifactError:  # a checkpoint that cannot be gone on from
        shutil.rmtree(partial, ignore_errors=True)
        return made.fit(rows, checkpoint=partial)


def _estimator(model: Forecaster) -> Estimator:
    if isinstance(model, Estimator):
        return model
    raise ArgumentError(
        f"engine=: {type(model).__name__} is no estimator of tsforge, and only these can be opened by a worker. Leave "
        "engine= out to forecast in this process."
    )


def _described(model: Estimator) -> dict[str, Any]:
    """Class and arguments, those of models inside a model too."""
    arguments = {
        name: [_described(m) if isinstance(m, Estimator) else m for m in value] if isinstance(value, list) else value
        for name, value in recorded_arguments(model).items()
    }
    return {"class": type(model).__name__, **arguments}


def _sums(model: Estimator) -> str:
    """What a fitted model is, byte by byte."""
    with TemporaryDirectory() as path:
        return (model.save(Path(path) / "run") / SUMS).read_text(encoding="utf-8")
