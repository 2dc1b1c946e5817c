"""Scalers: the place and width of each series and channel, from observed training rows only.

Rows are read in blocks, so a scaler holds no more than a block beside the values; "robust" sorts a series at a time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tsforge.errors import ArgumentError

CHUNK = 1 << 18  # rows


@dataclass(frozen=True)
class Scaling:
    """`(x - loc) / scale`, with loc and scale of shape [series, channel], or [1, channel] where one holds for all.

    `constant` counts the observed series and channels (or channels) whose width was 0 and counts as 1.
    """

    loc: np.ndarray
    scale: np.ndarray
    constant: int = 0

    def of(self, series: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """loc and scale of these series, each [len(series), channel]."""
        rows = np.zeros_like(series) if len(self.loc) == 1 else series
        return self.loc[rows], self.scale[rows]


def check_scaler(scaler: str | None, scope: str) -> None:
    """Raises ArgumentError for a scaler or a scope that is none."""
    if scaler not in (None, "standard", "minmax", "robust"):
        raise ArgumentError(f"scaler={scaler!r}: wanted 'standard', 'minmax', 'robust' or None.")
    if scope not in ("series", "global"):
        raise ArgumentError(f"scaler_scope={scope!r}: wanted 'series' or 'global'.")


def fit_scaling(
    values: np.ndarray, starts: np.ndarray, ends: np.ndarray, scaler: str | None, scope: str = "series",
) -> Scaling:
    """The scaling of series that stand one after another.

    Args:
        values: [row, channel], NaN where missing.
        starts: First row of each series.
        ends: Row after the last that may be looked at, the end of training.
        scaler: "standard" (mean, sd with ddof 0), "minmax" (minimum, range), "robust" (median, interquartile range).
        scope: One scaling for each series, or one for all.

    A width of 0 counts as 1, and so does a series without an observed row.
    """
    if scaler is None:
        return Scaling(np.zeros((1, values.shape[1])), np.ones((1, values.shape[1])))
    fit = {"standard": _standard, "minmax": _minmax, "robust": _robust}[scaler]
    loc, scale = fit(values, starts, ends, scope == "global")
    observed, wide = np.isfinite(loc), np.isfinite(scale) & (scale > 0)
    return Scaling(np.where(observed, loc, 0.0), np.where(wide, scale, 1.0), int((observed & (scale == 0)).sum()))


@dataclass(frozen=True)
class Block:
    """Some rows, and the run of series that they belong to: `lengths` rows of each."""

    rows: slice
    series: slice
    lengths: np.ndarray

    def spread(self, per_series: np.ndarray) -> np.ndarray:
        """[series, ...] -> [row, ...]; one row for all stays one row."""
        return per_series if len(per_series) == 1 else np.repeat(per_series[self.series], self.lengths, axis=0)


def blocks(starts: np.ndarray, stop: int) -> Iterator[Block]:
    """All rows from the first start to `stop`, `CHUNK` at a time; a row belongs to the series that started last."""
    for low in range(int(starts[0]) if len(starts) else stop, stop, CHUNK):
        high = min(low + CHUNK, stop)
        series = slice(int(np.searchsorted(starts, low, side="right")) - 1, int(np.searchsorted(starts, high)))
        edges = np.append(np.maximum(starts[series], low), high)
        yield Block(slice(low, high), series, np.diff(edges))


Reduced = tuple[np.ndarray, np.ndarray]


def _standard(values: np.ndarray, starts: np.ndarray, ends: np.ndarray, together: bool) -> Reduced:
    """Sums are taken around the minimum and then around the mean: exact for constants, precise far from 0."""
    series = (values, starts, ends, together)
    count = _per_series(*series, np.add, lambda x, _: ~np.isnan(x), 0.0)
    low = _per_series(*series, np.fmin, lambda x, _: x, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = low + _per_series(*series, np.add, lambda x, m: np.nan_to_num(x - m), 0.0, low) / count
        squares = _per_series(*series, np.add, lambda x, m: np.nan_to_num(x - m) ** 2, 0.0, mean)
        return mean, np.sqrt(squares / count)


def _minmax(values: np.ndarray, starts: np.ndarray, ends: np.ndarray, together: bool) -> Reduced:
    series = (values, starts, ends, together)
    low, high = (_per_series(*series, most, lambda x, _: x, np.nan) for most in (np.fmin, np.fmax))
    return low, high - low


def _robust(values: np.ndarray, starts: np.ndarray, ends: np.ndarray, together: bool) -> Reduced:
    parts = [values[start:end] for start, end in zip(starts, ends, strict=True)]
    quartiles = np.stack([_quartiles(part) for part in ([np.concatenate(parts)] if together else parts)])
    return quartiles[:, 1], quartiles[:, 2] - quartiles[:, 0]


def _quartiles(part: np.ndarray) -> np.ndarray:
    columns = [column[~np.isnan(column)].astype(np.float64) for column in part.T]
    return np.stack([np.quantile(c, (0.25, 0.5, 0.75)) if len(c) else np.full(3, np.nan) for c in columns], axis=1)


def _per_series(
    values: np.ndarray, starts: np.ndarray, ends: np.ndarray, together: bool, reduce: np.ufunc,
    change: Callable[[np.ndarray, np.ndarray | None], np.ndarray], empty: float, around: np.ndarray | None = None,
) -> np.ndarray:
    """`reduce` over the rows of each series of `change(values, around)`: [series, channel], or [1, channel]."""
    out = np.full((len(starts), values.shape[1]), empty)
    for block in blocks(starts, int(ends.max(initial=0))):
        low, own = block.rows.start, np.arange(block.series.start, block.series.stop)
        edges = np.stack([np.maximum(starts[own], low), np.minimum(ends[own], block.rows.stop)], axis=1) - low
        here = edges[:, 0] < edges[:, 1]
        rows = values[block.rows].astype(np.float64, copy=False)
        changed = change(rows, None if around is None else block.spread(around)).astype(np.float64, copy=False)
        changed = np.concatenate([changed, np.full((1, values.shape[1]), empty)])  # so that an end may be the end
        if here.any():
            sums = reduce.reduceat(changed, edges[here].ravel(), axis=0)[::2]
            out[own[here]] = reduce(out[own[here]], sums)
    return reduce.reduce(out, axis=0, keepdims=True, initial=empty) if together else out
