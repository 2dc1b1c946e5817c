"""Scores that are means of losses of single cells."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from tsforge.errors import ArgumentError
from tsforge.evaluation.forecasts import quantile_columns
from tsforge.evaluation.metrics import METRICS, Metric, WindowMetric
from tsforge.evaluation.rows import Groups, Rows, grouped, step_of

log = logging.getLogger("tsforge")


@dataclass(frozen=True)
class Question:
    """One result that a metric gives for a model: its name, the columns it reads, and the loss of each row."""

    label: str
    columns: tuple[str, ...]
    loss: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Scored:
    """Which cells a metric scores: it depends on the truth alone, so all models are scored on the same cells.

    Args:
        used: `[row]`, whether the cell is scored.
        cells: `[group]`, how many are; 0 also where their size is 0.
        size: `[group]`, what the summed loss is divided by.
    """

    used: np.ndarray
    cells: np.ndarray
    size: np.ndarray


def cell_groups(rows: Rows, by: list[str], *, pool: bool) -> Groups:
    """The rows by the `by` columns, and by their (series, target) pair unless pooled."""
    names = by if pool else [*by, *(name for name in rows.pair if name not in by)]
    keys = rows.table.select(name for name in names if name != "step")
    if "step" in by:
        window = [*rows.pair, "cutoff"] if "cutoff" in rows.table.columns else rows.pair
        keys = keys.with_columns(step_of(rows, window))
    return grouped(keys) if names else Groups(pl.DataFrame({"group": [0]}), np.zeros(len(rows.table), dtype=np.int64))


def cell_scores(
    rows: Rows, groups: Groups, metric: Metric, models: list[str], *, averaged: bool
) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """(model, label, groups with `value` and `cells`) of each result.

    Raises:
        ArgumentError: a column that the metric reads is missing.
    """
    scored = _scored(rows, groups, metric)
    _notice(rows, groups, scored, metric, averaged=averaged)
    for model in models:
        for question in questions(rows, metric, model):
            yield model, question.label, _values(rows, groups, scored, metric, question)


def questions(rows: Rows, metric: Metric, model: str) -> list[Question]:
    """Each result a metric gives for a model.

    Raises:
        ArgumentError: the columns it reads are not there.
    """
    if rows.paths:
        return [_of_paths(rows, metric, model)]
    if metric.needs == "point":
        return [Question(metric.name, (model,), lambda: metric.loss(rows.y, rows.column(model)))]
    intervals, quantiles = quantile_columns(rows.table.columns, model)
    if metric.needs == "interval":
        wanted, option = f"'{model}-lo-80' and '{model}-hi-80'", "level=[80]"
        asked = [_of_interval(rows, metric, level, pair) for level, pair in intervals.items()]
    else:
        wanted, option = f"'{model}-q-0.1'", "quantiles=[0.1, 0.5, 0.9] or level=[80]"
        asked = _of_quantiles(rows, metric, quantiles)
    if not asked:
        raise ArgumentError(f"{metric.name} needs columns such as {wanted}, but there are none: "
                            f"give {option} to predict or backtest.")
    return asked


def _of_interval(rows: Rows, metric: Metric, level: float, pair: tuple[str, str]) -> Question:
    return Question(f"{metric.name}-{level:.12g}", pair,
                    lambda: metric.loss(rows.y, rows.column(pair[0]), rows.column(pair[1]), level))


def _of_quantiles(rows: Rows, metric: Metric, quantiles: dict[float, str]) -> list[Question]:
    def loss(terms: list[tuple[float, float]]) -> np.ndarray:
        parts = (weight * metric.loss(rows.y, rows.column(quantiles[q]), q) for weight, q in terms)
        return sum(parts, np.zeros(len(rows.y)))

    if metric.weights is None:
        return [Question(f"{metric.name}-{q:.12g}", (name,), lambda q=q: loss([(1.0, q)]))
                for q, name in quantiles.items()]
    if not quantiles:
        return []
    terms = list(zip(map(float, metric.weights(list(quantiles))), quantiles, strict=True))
    return [Question(metric.name, tuple(quantiles.values()), lambda: loss(terms))]


def _of_paths(rows: Rows, metric: Metric, model: str) -> Question:
    if metric.path_loss is None:
        those = ", ".join(name for name, row in METRICS.items()
                          if (row.needs == "paths" if isinstance(row, WindowMetric) else row.path_loss is not None))
        raise ArgumentError(f"{metric.name} does not score sample paths, which forecasts holds (its column 'sample'): "
                            f"take their mean or quantiles over it first, or score by {those}.")
    path_loss = metric.path_loss
    return Question(metric.name, (model,), lambda: path_loss(rows.y, rows.samples(model)))


def _scored(rows: Rows, groups: Groups, metric: Metric) -> Scored:
    used, divisor = ~np.isnan(rows.y), rows.divisor(metric.needs_scale)
    if divisor is not None:
        used &= ~np.isnan(divisor)
    cells = groups.counts(used)
    size = groups.sums(np.abs(rows.y), used) if metric.reduce == "ratio" else cells.astype(float)
    return Scored(used, np.where(size > 0, cells, 0), size)


def _values(rows: Rows, groups: Groups, scored: Scored, metric: Metric, question: Question) -> pl.DataFrame:
    loss = question.loss()
    absent = np.count_nonzero(np.isnan(loss[scored.used]))
    if absent:
        log.info("%s: %d of %d observed cells have no forecast in %s, so its scores there are nan.", metric.name,
                 absent, np.count_nonzero(scored.used), " and ".join(question.columns))
    divisor = rows.divisor(metric.needs_scale)
    total = groups.sums(loss if divisor is None else loss / divisor, scored.used)
    value = np.divide(total, scored.size, out=np.full(len(total), np.nan), where=scored.size > 0)
    return groups.keys.with_columns(
        value=pl.Series(np.sqrt(value) if metric.reduce == "root" else value),
        cells=pl.Series(scored.cells, dtype=pl.Int64),
    )


def _notice(rows: Rows, groups: Groups, scored: Scored, metric: Metric, *, averaged: bool) -> None:
    """Say what is left out: observed cells without a seasonal scale, and groups left out of a mean."""
    unscaled = np.count_nonzero(~np.isnan(rows.y) & ~scored.used)
    if unscaled:
        log.info("%s: %d observed cells are left out: training holds no seasonal difference of their series, "
                 "or only zeros.", metric.name, unscaled)
    empty = np.count_nonzero(scored.cells == 0)
    if empty and averaged:
        keys = ", ".join(name for name in groups.keys.columns if name != "group")
        reason = " or only zeros" if metric.reduce == "ratio" else ""
        log.info("%s: %d of %d (%s) groups have no cell to score%s and are left out of the means.",
                 metric.name, empty, len(groups), keys, reason)
