"""A backtest as the command line runs it: forecasts, scores beside seasonal naive, a folder with a report."""

import io
import json
import logging
import time
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from tsforge.estimators.base import Estimator
from tsforge.estimators.checks import check_h
from tsforge.estimators.division import every_step
from tsforge.estimators.exponents import with_exponents
from tsforge.estimators.fitted import versions
from tsforge.estimators.reporting import report_backtest
from tsforge.estimators.shards.backtest import forecasts_in_shards, work_folder
from tsforge.estimators.shards.engines import check_engine
from tsforge.evaluation.asked import Spec
from tsforge.evaluation.backtest import Align, cutoffs_of, forecasts_at, same_h
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.evaluation.intervals import check_levels
from tsforge.frame.frame import Frame
from tsforge.training.artifact import write_folder

log = logging.getLogger("tsforge")


class Backtest:
    """Forecasts of models after cutoffs, and their scores.

    Args:
        models: Estimators, cloned before they are fitted.
        frame: The series.
        n_windows: Cutoffs.
        step_size: Steps between them; None is h.
        refit: Whether models are fitted anew at every cutoff.
        align: "time" or "end", see `tsforge.backtest`.
        level: Percents of intervals; each is scored by its coverage.
        metrics: Metrics, as `evaluate` takes them; `exponent` may also name an estimate of dysts.
        engine: None forecasts in one pass; "local" or "ray" in shards, see `tsforge.backtest`.
        workers: Processes or actors of an engine.
        folder: Where its shards are kept, for a call that goes on; None keeps them until the forecasts are there.
        overwrite: Throws away shards of other forecasts in the folder.

    Raises:
        ArgumentError: two models have one name or different `h`, or an argument has a value that cannot work.
        UnknownNameError: there is no such metric.
        FrameError: the series are too short for the cutoffs.
        ArtifactError: the folder holds shards of other forecasts, and `overwrite` was not given.
    """

    def __init__(
        self,
        models: Sequence[Estimator],
        frame: Frame,
        *,
        n_windows: int,
        step_size: int | None,
        refit: bool,
        align: Align,
        level: Sequence[float | int],
        metrics: Sequence[Spec],
        engine: str | None = None,
        workers: int | None = None,
        folder: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        check_engine(engine, workers)
        self.models, self.frame, self.windows, self.level = list(models), frame, n_windows, check_levels(level)
        h = check_h(same_h(self.models))
        step_size = h if step_size is None else step_size
        self.cutoffs = cutoffs_of(frame, h, n_windows, step_size, align)
        self.metrics = with_exponents([*metrics, *(["coverage"] if level else [])], frame)
        check_metrics(self.metrics, self.level, h, frame.ids[0])
        self.arguments = {
            "n_windows": n_windows,
            "step_size": step_size,
            "refit": refit,
            "align": align,
            "level": list(level),
            "metrics": list(metrics),
            "models": [model.to_recipe() for model in models],
        }
        if engine is None:
            self.forecasts = self._forecasts(refit)
            return
        with work_folder(folder) as work:
            self.forecasts = forecasts_in_shards(self.models, frame, self.cutoffs, work, engine, workers, refit=refit,
                                                 level=self.level, overwrite=overwrite)

    def _forecasts(self, refit: bool) -> pl.DataFrame:
        """All models side by side; says which one is at work, for a fit may take long."""
        tables = []
        for number, model in enumerate(self.models, 1):
            fits = f"{self.windows} fits" if refit and self.windows > 1 else "one fit"
            log.info(f"{model.name} ({number} of {len(self.models)}): {fits}, {self.windows} windows ...")
            began = time.monotonic()
            tables.append(forecasts_at([model], self.frame, self.cutoffs, refit=refit, level=self.level))
            log.info(f"{model.name}: {time.monotonic() - began:.1f} s")
        keys = [name for name in ("unique_id", "ds", "target", "cutoff") if name in tables[0].columns]
        joined = tables[0].drop("y")
        for table in tables[1:]:
            joined = joined.join(table.drop("y"), on=keys, how="left", maintain_order="left")
        return joined.with_columns(tables[0]["y"])

    @cached_property
    def scores(self) -> pl.DataFrame:
        """One row per model, one column per metric: means over series and targets."""
        first = self.forecasts.group_by("unique_id").agg(first=pl.col("cutoff").min())
        rows = every_step(self.frame).join(first, on="unique_id", maintain_order="left")
        train = rows.filter(pl.col("ds") <= pl.col("first")).drop("first")
        return scores_table(evaluate(self.forecasts, self.metrics, by=(), train=train, season=self.frame.season))


def check_metrics(metrics: Sequence[Spec], level: Sequence[float], h: int, series: Any) -> None:
    """Scores one made-up forecast, so that a fault shows before anything is fitted.

    Args:
        metrics: As `evaluate` takes them.
        level: Percents of intervals.
        h: Steps of a window.
        series: Its unique_id, for metrics that are told something of each series.

    Raises:
        UnknownNameError: there is no such metric.
        UnknownArgumentError: a metric has no such argument.
        ArgumentError: a metric needs intervals and there is no level, or cannot be had from h steps.
    """
    y = logistic_map(h)  # chaotic, so that metrics of dynamics have something to find
    bands = {f"model-{side}-{percent:.12g}": y for percent in level for side in ("lo", "hi")}
    keys = {"unique_id": [series] * h, "ds": range(2, h + 2), "cutoff": [1] * h}
    forecast = pl.DataFrame({**keys, "model": y, **bands, "y": y})
    train = pl.DataFrame({"unique_id": [series] * 2, "ds": [0, 1], "y": [0.0, 1.0]})
    evaluate(forecast, metrics, by=(), train=train, season=1)


def logistic_map(n: int) -> list[float]:
    """n iterates of x -> 4 x (1 - x), from 0.3 on."""
    return list(accumulate(range(n - 1), lambda x, _: 4 * x * (1 - x), initial=0.3))


def write_backtest(run: Backtest, out: Path, source: dict[str, Any], *, overwrite: bool = False) -> None:
    """Writes forecasts.parquet, scores.csv, backtest.json and report.html as one folder, whole or not at all.

    Raises:
        OutputExistsError: the folder exists and `overwrite` was not given.
    """
    table = io.BytesIO()
    run.forecasts.write_parquet(table)
    arguments = {"format": 1, "data": source, **run.arguments, "season": run.frame.season, "versions": versions()}
    names = ", ".join(model.name for model in run.models)
    summary = {
        "models": names,
        "windows": run.windows,
        "h": run.models[0].h,
        "season": run.frame.season,
        "freq": run.frame.freq,
    }
    with TemporaryDirectory() as aside:
        page = report_backtest(
            Path(aside) / "report.html",
            run.frame,
            run.forecasts,
            run.scores,
            title=f"Backtest of {names}",
            summary=summary,
        )
        contents = {
            "forecasts.parquet": table.getvalue(),
            "scores.csv": run.scores.write_csv().encode(),
            "backtest.json": json.dumps(arguments, indent=1, default=str).encode(),
            "report.html": page.read_bytes(),
        }
    write_folder(out, contents, overwrite=overwrite)
