"""Calibration of a forecast frame: how often the truth lies below each quantile and inside each interval, and its PIT.

Frame     forecast frame with the truth as `y`, and intervals, quantiles or sample paths  ->  one long table
Mean      As in `evaluate`: over (series, target) pairs, unless pool=True.
Missing   Truth: left out. A quantile, an end or a path that is missing where there is a truth: NaN.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import ArgumentError
from tsforge.evaluation.cell_scores import cell_groups
from tsforge.evaluation.evaluate import like
from tsforge.evaluation.forecasts import models_of, one_row_per_cell, quantile_columns
from tsforge.evaluation.metrics.interval import covered
from tsforge.evaluation.metrics.pit import mass, pit_bounds
from tsforge.evaluation.rows import Rows, mean_over_pairs, rows_of
from tsforge.evaluation.scale import as_eager

TENTHS = tuple(k / 10 for k in range(1, 10))  # shares at which sample paths are looked at

# One row of the table: what stands in it beside the keys, and the share that each cell adds [row].
Line = tuple[dict[str, Any], np.ndarray]
Lines = Callable[[Rows, str], Iterator[Line]]


def calibration_table(forecasts: Any, *, by: str | Sequence[str] = (), pool: bool = False) -> Any:
    """Stated and observed share of every quantile and interval.

    Args:
        forecasts: Forecast frame with the truth as `y`. Of sample paths the shares 0.1 to 0.9 are looked at.
        by: Groups, as in `evaluate`.
        pool: As in `evaluate`.

    Returns:
        Frame of the kind that was given: the `by` columns, `model`, `kind` ("quantile" or "interval"), `stated` (0.8
        for the level 80), `observed` (the share of the truth at or below, or inside) and `cells`.

    Raises:
        ArgumentError: as `evaluate`, or the models have neither quantiles, intervals nor paths.
    """
    return _table(forecasts, by, pool, _calibration, "observed")


def pit_table(forecasts: Any, *, bins: int = 10, by: str | Sequence[str] = (), pool: bool = False) -> Any:
    """Histogram of the probability integral transform, flat for a law that is right.

    Args:
        forecasts: Forecast frame with the truth as `y`. Few quantiles leave the histogram coarse: between two of them
            it is flat.
        bins: Of equal width.
        by: Groups, as in `evaluate`.
        pool: As in `evaluate`.

    Returns:
        Frame of the kind that was given: the `by` columns, `model`, `low`, `high` (ends of the bin), `share` (1 / bins
        in each is best) and `cells`.

    Raises:
        ArgumentError: as `calibration_table`, or fewer than 1 bin.
    """
    if bins < 1:
        raise ArgumentError(f"bins={bins}: wanted 1 or more.")

    def lines(rows: Rows, model: str) -> Iterator[Line]:
        below = mass(*_bounds(rows, model), np.arange(bins + 1) / bins)
        for k, share in enumerate(np.diff(below, axis=1).T):
            yield {"low": k / bins, "high": (k + 1) / bins}, share

    return _table(forecasts, by, pool, lines, "share")


def _table(forecasts: Any, by: str | Sequence[str], pool: bool, lines: Lines, value_name: str) -> Any:
    table, by = as_eager(forecasts, "forecasts"), [by] if isinstance(by, str) else list(by)
    models = models_of(table, by)
    table, paths = one_row_per_cell(table, models)
    rows = rows_of(table, paths, None, scaled=False)
    groups, seen = cell_groups(rows, by, pool=pool), ~np.isnan(rows.y)
    count = groups.counts(seen)
    parts = []
    for model in models:
        for told, share in lines(rows, model):
            value = np.divide(groups.sums(share, seen), count, out=np.full(len(groups), np.nan), where=count > 0)
            keys = {name: pl.lit(given) for name, given in ({"model": model} | told).items()}
            scored = groups.keys.with_columns(value=value, cells=pl.Series(count, dtype=pl.Int64), **keys)
            parts.append(mean_over_pairs(scored, [*by, *keys]).rename({"value": value_name}))
    result = pl.concat(parts)
    return like(forecasts, result.sort(by, maintain_order=True) if by else result)


def _calibration(rows: Rows, model: str) -> Iterator[Line]:
    lower, upper = _bounds(rows, model)
    if rows.paths:
        for share, below in zip(TENTHS, mass(lower, upper, np.array(TENTHS)).T, strict=True):
            yield {"kind": "quantile", "stated": share}, below
        return
    intervals, quantiles = quantile_columns(rows.table.columns, model)
    for share, name in quantiles.items():
        column = rows.column(name)
        yield {"kind": "quantile", "stated": share}, np.where(np.isnan(column), np.nan, rows.y <= column)
    for level, (lo, hi) in intervals.items():
        yield {"kind": "interval", "stated": level / 100}, covered(rows.y, rows.column(lo), rows.column(hi))


def _bounds(rows: Rows, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Of the PIT, [row] both."""
    if rows.paths:
        return pit_bounds(rows.y, rows.samples(model))
    _, quantiles = quantile_columns(rows.table.columns, model)
    if not quantiles:
        raise ArgumentError(f"Calibration needs columns such as '{model}-q-0.1' or '{model}-lo-80', or sample paths, "
                            "and there are none: give quantiles=[0.1, 0.5, 0.9] or level=[80] to predict or backtest.")
    columns = np.stack([rows.column(name) for name in quantiles.values()], axis=-1)
    return pit_bounds(rows.y, columns, list(quantiles))
