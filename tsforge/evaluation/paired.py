"""Losses of all models on the same blocks of a forecast frame: what comparisons are made of.

Frame     forecast frame with the truth as `y`  ->  `[block, run]` of each model, the smaller the better
Block     what counts as one observation: a series, a window of a series. The value of a block is the one `evaluate`
          gives for it.
Run       one training of a model. Several columns that differ in the seed alone are runs of one model.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import ArgumentError, UnknownNameError, suggest
from tsforge.evaluation.asked import Asked, Spec, read_metrics
from tsforge.evaluation.evaluate import evaluate
from tsforge.evaluation.forecasts import BAND, KEYS

Runs = Mapping[str, Sequence[str]]
LABEL = re.compile(r"(?P<name>\w+)-[\d.e-]+")  # of a level or a quantile: coverage-80, pinball-0.1
log = logging.getLogger("tsforge")


@dataclass(frozen=True)
class Losses:
    """Losses of several models on the same blocks.

    Args:
        metric: What was scored, as `evaluate` labels it.
        by: The columns that tell blocks apart.
        values: Model to `[block, run]`, in the order of the mean, best first, equals by name.
        sign: What turns a loss into the metric's value: 1, or -1 where more is better.
    """

    metric: str
    by: list[str]
    values: dict[str, np.ndarray]
    sign: int

    @property
    def models(self) -> list[str]:
        return list(self.values)

    @property
    def n(self) -> int:
        """How many blocks."""
        return len(next(iter(self.values.values())))

    def mean(self, model: str) -> np.ndarray:
        """`[block]`, over the runs."""
        return self.values[model].mean(axis=1)

    def table(self) -> np.ndarray:
        """`[block, model]`."""
        return np.stack([self.mean(model) for model in self.values], axis=1)


def losses_of(
    table: pl.DataFrame, metric: Spec, by: str | Sequence[str], *, runs: Runs | None = None, least: int = 2,
    **scoring: Any
) -> Losses:
    """Losses of every model of a forecast frame, in polars, in which no forecast is missing (`complete`).

    Args:
        table: Forecast frame with the truth as `y`.
        metric: One metric of `evaluate`; a label such as `pinball-0.1` where it gives several values.
        by: Groups of `evaluate`, each a block.
        runs: Model to the columns that are its runs. Other columns are models of one run.
        least: How many blocks there have to be.
        scoring: `scale`, `train` and `season` of `evaluate`.

    Raises:
        ArgumentError: fewer than two models or `least` blocks; the metric has no best end, or several values.
        UnknownNameError: no such metric, or no column for a run.
    """
    by = [by] if isinstance(by, str) else list(by)
    scores, sign = _scores(table, metric, by, scoring)
    kept = scores.filter(pl.col("cells") > 0)
    wide = kept.pivot(on="model", index=by, values="value").sort(by)
    n, groups = len(wide), len(scores) // scores["model"].n_unique()
    label = scores["metric"][0]
    if n < groups:
        log.info("%s: %d of %d (%s) groups have nothing to score and are left out of the comparison.", label,
                 groups - n, groups, ", ".join(by))
    if n < least:
        raise ArgumentError(
            f"The frame has {n} scored groups by ({', '.join(by)}), a comparison needs {least} or more: add series, or "
            "windows and count them by=('unique_id', 'cutoff')."
        )
    columns = _grouped(scores["model"].unique(maintain_order=True).to_list(), runs)
    values = {model: sign * wide.select(names).to_numpy().astype(float) for model, names in columns.items()}
    bad = [model for model, loss in values.items() if not np.isfinite(loss).all()]
    if bad:
        raise ArgumentError(f"{label} of {', '.join(bad)} is not finite in some groups: take another metric.")
    order = sorted(values, key=lambda model: (values[model].mean(), model))
    return Losses(label, by, {model: values[model] for model in order}, sign)


def complete(table: pl.DataFrame, metric: Spec, missing: str) -> pl.DataFrame:
    """The table without forecasts that are missing where there is a truth.

    Args:
        missing: "error" refuses them; "drop" takes the truth away there, so that all models are scored on the cells
            that all of them forecast, and says how many cells that costs.

    Raises:
        ArgumentError: with "error", forecasts are missing; names the models and counts cells.
    """
    if missing not in ("error", "drop"):
        raise ArgumentError(f"missing={missing!r}: wanted 'error' or 'drop'.")
    points = _asked(metric).metric.needs in ("point", "window")
    read = [column for column, dtype in table.schema.items()
            if column not in KEYS and dtype.is_numeric() and not (points and BAND.fullmatch(column))]
    if "y" not in table.columns or not table.schema["y"].is_numeric() or not read:
        return table  # what lacks, evaluate says
    observed = table["y"].cast(pl.Float64).is_not_nan().fill_null(False)
    there = table.select(pl.col(read).cast(pl.Float64).is_finite().fill_null(False))
    counts = {column: n for column in read if (n := int((observed & ~there[column]).sum()))}
    if not counts:
        return table
    told = ", ".join(f"{column} ({count})" for column, count in counts.items())
    if missing == "error":
        raise ArgumentError(
            f"Of {observed.sum()} cells with a truth these columns have no forecast for some: {told}. Leave the column "
            "out, or score all models on the cells that all of them forecast with missing='drop'."
        )
    whole = there.select(pl.all_horizontal(pl.all())).to_series()
    log.info("%d of %d cells with a truth are left out for all models, for a forecast is missing there: %s.",
             (observed & ~whole).sum(), observed.sum(), told)
    if "sample" in table.columns:  # a cell is one truth for all paths
        cell = [name for name in ("unique_id", "target", "cutoff", "ds") if name in table.columns]
        return table.with_columns(_whole=whole).with_columns(
            y=pl.when(pl.col("_whole").all().over(cell)).then("y")
        ).drop("_whole")
    return table.with_columns(y=pl.when(whole).then("y"))


def windows_of(table: pl.DataFrame) -> int:
    """How many windows ahead errors may be correlated: 1 where windows do not overlap; the `h` of Diebold-Mariano.

    Raises:
        ArgumentError: the frame has no cutoffs that all series share, or too few of them.
    """
    if "cutoff" not in table.columns:
        raise ArgumentError("Diebold-Mariano needs forecasts after several cutoffs, and there is no column 'cutoff': "
                            "compare what backtest(..., n_windows=) returns.")
    ends = table.group_by("cutoff").agg(pl.col("ds").max()).sort("cutoff")
    most = table.group_by("unique_id").agg(pl.col("cutoff").n_unique())["cutoff"].max()
    if len(ends) != most:
        raise ArgumentError("Diebold-Mariano needs cutoffs that the series share: backtest with align='time'.")
    after = np.searchsorted(ends["cutoff"].to_numpy(), ends["ds"].to_numpy(), side="left")
    h = int((after - np.arange(len(ends))).max(initial=1))
    if len(ends) <= max(h, 1):
        raise ArgumentError(
            f"Diebold-Mariano needs more than {max(h, 1)} windows where {h} overlap, and there are {len(ends)}: give a "
            "larger n_windows to backtest."
        )
    return h


def _asked(metric: Spec) -> Asked:
    found = LABEL.fullmatch(metric) if isinstance(metric, str) else None
    return read_metrics(found["name"] if found else metric)[0]


def _scores(table: pl.DataFrame, metric: Spec, by: list[str], scoring: dict[str, Any]) -> tuple[pl.DataFrame, int]:
    if not by:
        raise ArgumentError("by is empty: name what counts as one observation, such as by=('unique_id',).")
    asked = _asked(metric)
    direction = asked.metric.direction
    if direction == "level":
        raise ArgumentError(f"{metric} is best at its level, not at an end: compare by interval_score.")
    spec = asked.metric.name if isinstance(metric, str) and LABEL.fullmatch(metric) else metric
    scores = evaluate(table, spec, by=by, **scoring)
    labels = scores["metric"].unique(maintain_order=True).to_list()
    label = metric if spec is not metric or len(labels) > 1 else labels[0]
    if label not in labels:
        raise ArgumentError(f"{metric!r} is not one value of the frame: name one of {', '.join(labels)}.")
    return scores.filter(pl.col("metric") == label), 1 if direction == "min" else -1


def _grouped(columns: list[str], runs: Runs | None) -> dict[str, list[str]]:
    """Model to its columns."""
    runs = runs or {}
    taken = [name for names in runs.values() for name in names]
    for name in taken:
        if name not in columns:
            raise UnknownNameError(f"runs names {name!r}, which is no forecast column.{suggest(name, columns)}")
    alone = {name: [name] for name in columns if name not in taken}
    if len(set(taken)) < len(taken) or any(model in alone for model in runs) or not all(runs.values()):
        raise ArgumentError(f"runs={dict(runs)}: each model needs a name and columns of its own.")
    grouped = {model: list(names) for model, names in runs.items()} | alone
    if len(grouped) < 2:
        raise ArgumentError(f"The frame has forecasts of {', '.join(grouped)} alone: a comparison needs two models.")
    return grouped
