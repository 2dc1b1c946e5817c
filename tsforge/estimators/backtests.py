"""A backtest as the command line runs it: forecasts, scores beside seasonal naive, a folder with a report."""

import io
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from tsforge.estimators.base import Estimator
from tsforge.estimators.fitted import versions
from tsforge.estimators.reporting import report_backtest
from tsforge.evaluation.backtest import Align, cutoffs_of, forecasts_at
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.evaluation.intervals import check_levels
from tsforge.frame.frame import Frame
from tsforge.training.artifact import write_folder


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
        metrics: Names of metrics.
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
        metrics: Sequence[str],
    ) -> None:
        self.models, self.frame, self.windows, self.level = list(models), frame, n_windows, check_levels(level)
        h = self.models[0].h
        self.cutoffs = cutoffs_of(frame, h, n_windows, step_size or h, align)
        self.metrics = [*metrics, *(["coverage"] if level else [])]
        self.arguments = {
            "n_windows": n_windows,
            "step_size": step_size or h,
            "refit": refit,
            "align": align,
            "level": list(level),
            "metrics": list(metrics),
            "models": [model.to_recipe() for model in models],
        }
        self.forecasts = forecasts_at(self.models, frame, self.cutoffs, refit=refit, level=level)

    @cached_property
    def scores(self) -> pl.DataFrame:
        """One row per model, one column per metric: means over series and targets."""
        first = self.cutoffs.group_by("unique_id").agg(first=pl.col("cutoff").min())
        train = self.frame.table.join(first, on="unique_id", maintain_order="left").filter(
            pl.col("ds") <= pl.col("first")
        )
        train = train.select("unique_id", "ds", *self.frame.targets)
        return scores_table(evaluate(self.forecasts, self.metrics, by=(), train=train, season=self.frame.season))


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
            metrics=[m for m in ("mse", "mae") if m in run.metrics] or run.metrics[:1],
            history=[],
        )
        contents = {
            "forecasts.parquet": table.getvalue(),
            "scores.csv": run.scores.write_csv().encode(),
            "backtest.json": json.dumps(arguments, indent=1, default=str).encode(),
            "report.html": page.read_bytes(),
        }
    write_folder(out, contents, overwrite=overwrite)
