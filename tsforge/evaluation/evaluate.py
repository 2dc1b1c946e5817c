"""Scores of a forecast frame: by series, cutoff, step or overall, in one long table.

Frame     forecast frame with the truth as `y`  ->  the `by` columns, model, metric, value, cells
Units     those of the metric; with scale="train" y is counted in training standard deviations.
Mean      A value that spans several (series, target) pairs is the mean of the pairs' values, so that a long or a large
          series does not count more. A root or a ratio is taken inside each pair. pool=True takes all rows as one.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import narwhals as nw
import numpy as np
import polars as pl

from tsforge.errors import ArgumentError, UnknownNameError, suggest
from tsforge.evaluation.metrics import METRICS, Metric
from tsforge.evaluation.scale import as_eager, require_columns, training_statistics

KEYS = ("unique_id", "ds", "target", "cutoff", "y")
BY = ("unique_id", "target", "cutoff", "ds", "step")
BAND = re.compile(r"(?P<model>.*)-(?P<kind>lo|hi|q)-(?P<number>\d+(\.\d+)?(e-?\d+)?)")

# One term of a loss: its weight, the columns it reads, and its level or quantile.
Term = tuple[float, tuple[str, ...], tuple[float, ...]]
log = logging.getLogger("tsforge")


def evaluate(
    forecasts: Any, metrics: str | Sequence[str] = ("mse", "mae"), *, by: str | Sequence[str] = ("unique_id",),
    scale: str | None = None, train: Any = None, season: int | None = None, pool: bool = False,
) -> Any:
    """Score every model of a forecast frame by every metric.

    Args:
        forecasts: Forecast frame with the truth as `y`; polars, pandas or another eager frame narwhals reads.
        metrics: Names out of `METRICS`. `coverage` and `interval_score` give a row per level (`coverage-80`), `pinball`
            one per quantile (`pinball-0.1`). Intervals count as quantiles too: `-lo-80` is the quantile 0.1.
        by: Groups, out of unique_id, target, cutoff, ds and `step`, the rank of ds among the rows of its series,
            target and cutoff (1 is the first step ahead). `()` is the overall table.
        scale: "train" standardises truth and forecast by the training mean and sd (ddof 0; 0 counts as 1) of each
            series and target, as published tables do.
        train: Long frame for `scale`, `mase` and `rmsse`: unique_id, ds and the targets as columns, each row one step,
            missing values null. Rows after the first cutoff of a series (without cutoffs: from its first forecast on)
            are never used.
        season: Steps in a season, for `mase` and `rmsse`.
        pool: Take all rows of a group as one, instead of the mean over its (series, target) pairs.

    Returns:
        Frame of the kind that was given: the `by` columns, `model`, `metric`, `value` (NaN where nothing could be
        scored) and `cells`, the number of observed cells scored; sorted by the `by` columns.

    Raises:
        UnknownNameError: no such metric; names the nearest.
        ArgumentError: a column, the training rows or `season` are needed and missing, a column holds no numbers, or an
            argument has an unknown value.
    """
    table = as_eager(forecasts, "forecasts")
    chosen, by = [_metric(name) for name in _names(metrics)], _names(by)
    if not chosen:
        raise ArgumentError(f"metrics is empty: name some of {', '.join(METRICS)}.")
    models = _models(table, by)
    pair = [name for name in ("unique_id", "target") if name in table.columns]
    training = training_statistics(table, pair, chosen, scale, train, season)
    rows = _rows(table, by if pool else [*by, *(name for name in pair if name not in by)], pair, training,
                 scaled=scale is not None)
    results: dict[str, list[pl.DataFrame]] = {model: [] for model in models}
    for metric in chosen:
        scored = _scored(rows, metric)
        _notice(rows, scored, metric, averaged=len(rows.groups.columns) - 1 > len(by))
        for model in models:
            for label, terms in _questions(metric, model, table.columns).items():
                keys = {"model": pl.lit(model), "metric": pl.lit(label)}
                values = _values(rows, scored, metric, terms).with_columns(**keys)
                results[model].append(_mean_over_pairs(values, [*by, *keys]))
    result = pl.concat([part for parts in results.values() for part in parts])
    return _like(forecasts, result.sort(by, maintain_order=True) if by else result)


def scores_table(evaluated: Any) -> Any:
    """One row per model (and per `by` key, where there are any), one column per metric, for printing.

    Args:
        evaluated: What `evaluate` returned; with `by=()` there is one row per model.

    Returns:
        Frame of the kind that was given.

    Raises:
        ArgumentError: a column of `evaluate` is missing.
    """
    table = as_eager(evaluated, "evaluated")
    require_columns(table, ("model", "metric", "value"), "evaluated", "Give what evaluate(...) returned")
    index = [name for name in table.columns if name not in ("metric", "value", "cells")]
    return _like(evaluated, table.pivot(on="metric", index=index, values="value", maintain_order=True))


@dataclass(frozen=True)
class _Rows:
    """The rows of a forecast frame as they are scored.

    Args:
        table: The forecast frame.
        groups: One row per group: its keys and `group`, its number.
        group: `[row]`, the number of each row's group.
        training: `[row]` each: mean, sd, and scale_1, scale_2 as the metrics need them.
        scaled: Whether columns are standardised by mean and sd.
    """

    table: pl.DataFrame
    groups: pl.DataFrame
    group: np.ndarray
    training: dict[str, np.ndarray]
    scaled: bool

    @cached_property
    def y(self) -> np.ndarray:
        """`[row]`, the truth; NaN where missing."""
        return self.column("y")

    def column(self, name: str) -> np.ndarray:
        """`[row]`; NaN where missing."""
        values = _floats(self.table, name)
        return (values - self.training["mean"]) / self.training["sd"] if self.scaled else values

    def divisor(self, metric: Metric) -> np.ndarray | None:
        """`[row]`, the seasonal scale in the units of `column`; NaN where there is none."""
        if metric.needs_scale is None:
            return None
        divisor = self.training[f"scale_{metric.needs_scale}"]
        return divisor / self.training["sd"] ** metric.needs_scale if self.scaled else divisor

    def sums(self, values: np.ndarray, used: np.ndarray) -> np.ndarray:
        """`[group]`, sums over the rows in `used`."""
        return np.bincount(self.group[used], weights=values[used], minlength=len(self.groups))


@dataclass(frozen=True)
class _Scored:
    """Which cells a metric scores: it depends on the truth alone, so all models are scored on the same cells.

    Args:
        used: `[row]`, whether the cell is scored.
        cells: `[group]`, how many are; 0 also where their size is 0.
        size: `[group]`, what the summed loss is divided by.
    """

    used: np.ndarray
    cells: np.ndarray
    size: np.ndarray


def _rows(
    table: pl.DataFrame, by: list[str], pair: list[str], training: pl.DataFrame | None, *, scaled: bool
) -> _Rows:
    keys = table.select(name for name in by if name != "step")
    if "step" in by:
        window = [*pair, "cutoff"] if "cutoff" in table.columns else pair
        keys = keys.with_columns(table.select(step=pl.col("ds").rank("dense").over(window).cast(pl.Int64)))
    groups, group = _numbered(keys, len(table))
    by_row: dict[str, np.ndarray] = {}
    if training is not None:
        pairs, number = _numbered(table.select(pair), len(table))
        known = pairs.join(training, on=pair, how="left", maintain_order="left")
        by_row = {name: _floats(known, name)[number] for name in training.columns if name not in pair}
    return _Rows(table, groups, group, by_row, scaled)


def _numbered(keys: pl.DataFrame, n_rows: int) -> tuple[pl.DataFrame, np.ndarray]:
    """The distinct keys with their number as `group`, and the number of each row."""
    if not keys.columns:
        return pl.DataFrame({"group": [0]}), np.zeros(n_rows, dtype=np.int64)
    groups = keys.unique().with_row_index("group")
    rows = keys.join(groups, on=keys.columns, how="left", maintain_order="left", nulls_equal=True)
    return groups, rows["group"].to_numpy().astype(np.int64)


def _scored(rows: _Rows, metric: Metric) -> _Scored:
    used, divisor = ~np.isnan(rows.y), rows.divisor(metric)
    if divisor is not None:
        used &= ~np.isnan(divisor)
    cells = np.bincount(rows.group[used], minlength=len(rows.groups))
    size = rows.sums(np.abs(rows.y), used) if metric.reduce == "ratio" else cells.astype(float)
    return _Scored(used, np.where(size > 0, cells, 0), size)


def _values(rows: _Rows, scored: _Scored, metric: Metric, terms: list[Term]) -> pl.DataFrame:
    """`groups` with `value` and `cells`."""
    loss = np.zeros(len(rows.y))
    for weight, columns, level in terms:
        loss += weight * metric.loss(rows.y, *map(rows.column, columns), *level)
    absent = np.count_nonzero(np.isnan(loss[scored.used]))
    if absent:
        names = " and ".join(dict.fromkeys(name for _, columns, _ in terms for name in columns))
        log.info("%s: %d of %d observed cells have no forecast in %s, so its scores there are nan.", metric.name,
                 absent, np.count_nonzero(scored.used), names)
    divisor = rows.divisor(metric)
    total = rows.sums(loss if divisor is None else loss / divisor, scored.used)
    value = np.divide(total, scored.size, out=np.full(len(total), np.nan), where=scored.size > 0)
    return rows.groups.with_columns(
        value=pl.Series(np.sqrt(value) if metric.reduce == "root" else value),
        cells=pl.Series(scored.cells, dtype=pl.Int64),
    )


def _mean_over_pairs(values: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Mean over the groups of each `by` key that have cells; unless pooled, these are (series, target) pairs."""
    mean = pl.col("value").filter(pl.col("cells") > 0).mean().fill_null(np.nan)
    return values.group_by(by).agg(mean, pl.col("cells").sum())


def _notice(rows: _Rows, scored: _Scored, metric: Metric, *, averaged: bool) -> None:
    """Say what is left out: observed cells without a seasonal scale, and groups left out of a mean."""
    unscaled = np.count_nonzero(~np.isnan(rows.y) & ~scored.used)
    if unscaled:
        log.info("%s: %d observed cells are left out: training holds no seasonal difference of their series, "
                 "or only zeros.", metric.name, unscaled)
    empty = np.count_nonzero(scored.cells == 0)
    if empty and averaged:
        keys = ", ".join(name for name in rows.groups.columns if name != "group")
        reason = " or only zeros" if metric.reduce == "ratio" else ""
        log.info("%s: %d of %d (%s) groups have no cell to score%s and are left out of the means.",
                 metric.name, empty, len(rows.groups), keys, reason)


def _questions(metric: Metric, model: str, columns: list[str]) -> dict[str, list[Term]]:
    """Each result a metric gives for a model, and the terms of its loss."""
    if metric.needs == "point":
        return {metric.name: [(1.0, (model,), ())]}
    own = ((name, found) for name, found in _bands(columns) if found["model"] == model)
    bands = {(found["kind"], float(found["number"])): name for name, found in own}
    levels = sorted(level for kind, level in bands if kind == "lo" and ("hi", level) in bands and 0 < level < 100)
    if metric.needs == "interval":
        wanted, option = f"'{model}-lo-80' and '{model}-hi-80'", "level=[80]"
        terms = {f"{metric.name}-{level:.12g}": [(1.0, (bands["lo", level], bands["hi", level]), (level,))]
                 for level in levels}
    else:
        wanted, option = f"'{model}-q-0.1'", "quantiles=[0.1, 0.5, 0.9] or level=[80]"
        terms = _quantile_terms(metric, bands, levels)
    if not terms:
        raise ArgumentError(f"{metric.name} needs columns such as {wanted}, but there are none: "
                            f"give {option} to predict or backtest.")
    return terms


def _quantile_terms(metric: Metric, bands: dict[tuple[str, float], str], levels: list[float]) -> dict[str, list[Term]]:
    found = {round((100 - level) / 200, 12): bands["lo", level] for level in levels}
    found |= {round((100 + level) / 200, 12): bands["hi", level] for level in levels}
    found |= {round(number, 12): name for (kind, number), name in bands.items() if kind == "q" and 0 < number < 1}
    quantiles = sorted(found)
    if metric.weights is None or not quantiles:
        return {f"{metric.name}-{q:.12g}": [(1.0, (found[q],), (q,))] for q in quantiles}
    weights = metric.weights(quantiles)
    return {metric.name: [(float(weight), (found[q],), (q,)) for weight, q in zip(weights, quantiles, strict=True)]}


def _metric(name: str) -> Metric:
    if name not in METRICS:
        hint = suggest(name, METRICS) or f" There are: {', '.join(METRICS)}."
        raise UnknownNameError(f"There is no metric named {name!r}.{hint}")
    return METRICS[name]


def _models(table: pl.DataFrame, by: list[str]) -> list[str]:
    """The forecast columns, after a look at the columns the frame must have."""
    require_columns(table, ("unique_id", "ds"), "forecasts", "Rename or add them")
    require_columns(table, ("y",), "forecasts", "Join the truth on unique_id and ds, or score what backtest returns")
    for name in by:
        if name not in BY:
            raise ArgumentError(f"by={name!r} is not one of {', '.join(BY)}.{suggest(name, BY)}")
    require_columns(table, [name for name in by if name != "step"], "forecasts", "Leave them out of by=")
    bands = {name for name, _ in _bands(table.columns)}
    values = ["y", *(name for name in table.columns if name not in KEYS)]
    for name in values:
        if not (table.schema[name].is_numeric() or table.schema[name] == pl.Null):
            raise ArgumentError(f"Column {name!r} holds {table.schema[name]}, wanted numbers: drop or cast it.")
    models = [name for name in values[1:] if name not in bands]
    if not models or "sample" in models:
        raise ArgumentError(f"forecasts has the columns {table.columns}: wanted one per model, and no sample paths.")
    return models


def _bands(columns: list[str]) -> Iterator[tuple[str, re.Match[str]]]:
    return ((name, found) for name in columns if name not in KEYS and (found := BAND.fullmatch(name)))


def _names(given: str | Sequence[str]) -> list[str]:
    return [given] if isinstance(given, str) else list(dict.fromkeys(given))


def _floats(table: pl.DataFrame, name: str) -> np.ndarray:
    return table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()


def _like(given: Any, table: pl.DataFrame) -> Any:
    return nw.from_arrow(table, backend=nw.from_native(given, eager_only=True).implementation).to_native()
