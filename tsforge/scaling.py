"""Scalers: the place and width of each series and channel, from observed training rows only.

Rows are read in blocks, so a scaler holds no more than a block beside the values, which may lie in a file. "robust"
sorts a series at a time, and finds the quartiles of all series together by counting.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tsforge.errors import ArgumentError

CHUNK = 1 << 18  # rows
DIGIT = 16  # bits of a number that one reading of the values settles


class Values(Protocol):
    """An array [row, channel], or what reads slices of rows as one."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: slice, /) -> np.ndarray: ...


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
    values: Values, starts: np.ndarray, ends: np.ndarray, scaler: str | None, scope: str = "series",
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


def _standard(values: Values, starts: np.ndarray, ends: np.ndarray, together: bool) -> Reduced:
    """Sums are taken around the minimum and then around the mean: exact for constants, precise far from 0."""
    series = (values, starts, ends, together)
    count = _per_series(*series, np.add, lambda x, _: ~np.isnan(x), 0.0)
    low = _per_series(*series, np.fmin, lambda x, _: x, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = low + _per_series(*series, np.add, lambda x, m: np.nan_to_num(x - m), 0.0, low) / count
        squares = _per_series(*series, np.add, lambda x, m: np.nan_to_num(x - m) ** 2, 0.0, mean)
        return mean, np.sqrt(squares / count)


def _minmax(values: Values, starts: np.ndarray, ends: np.ndarray, together: bool) -> Reduced:
    series = (values, starts, ends, together)
    low, high = (_per_series(*series, most, lambda x, _: x, np.nan) for most in (np.fmin, np.fmax))
    return low, high - low


def _robust(values: Values, starts: np.ndarray, ends: np.ndarray, together: bool) -> Reduced:
    parts = (values[start:end] for start, end in zip(starts, ends, strict=True))
    if not together:
        quartiles = np.stack([_quartiles(part) for part in parts])
    elif (ends - starts).sum() <= CHUNK:
        quartiles = _quartiles(np.concatenate(list(parts)))[None]
    else:
        quartiles = _counted_quartiles(lambda: _training_rows(values, starts, ends), values.shape[1])[None]
    return quartiles[:, 1], quartiles[:, 2] - quartiles[:, 0]


def _quartiles(part: np.ndarray) -> np.ndarray:
    columns = [column[~np.isnan(column)].astype(np.float64) for column in part.T]
    return np.stack([np.quantile(c, (0.25, 0.5, 0.75)) if len(c) else np.full(3, np.nan) for c in columns], axis=1)


def _training_rows(values: Values, starts: np.ndarray, ends: np.ndarray) -> Iterator[np.ndarray]:
    """Training rows of all series, a block at a time."""
    for block in blocks(starts, int(ends.max(initial=0))):
        kept = np.arange(block.rows.start, block.rows.stop) < block.spread(ends)
        rows = values[block.rows]
        yield rows if kept.all() else rows[kept]


def _counted_quartiles(read: Callable[[], Iterable[np.ndarray]], channels: int) -> np.ndarray:
    """As `_quartiles` of all that `read` gives, to the bit, mostly in two readings and without a copy."""
    counts = np.zeros((channels, 1 << DIGIT), np.int64)
    for rows in read():
        for c, column in enumerate(rows.T):
            counts[c] += np.bincount(_leading(_sortable(column), DIGIT).astype(np.uint16), minlength=1 << DIGIT)
    out = np.full((3, channels), np.nan)
    for c, own in enumerate(counts):
        virtual = np.array([0.25, 0.5, 0.75]) * max(own.sum() - 1, 0)
        below = np.floor(virtual).astype(np.int64)
        ranks = np.stack([below, np.minimum(below + 1, max(own.sum() - 1, 0))])
        if own.any():
            found = _ranked(lambda c=c: (rows[:, c] for rows in read()), ranks.ravel(), own).reshape(2, 3)
            out[:, c] = [np.quantile(pair, part) for pair, part in zip(found.T, virtual - below, strict=True)]
    return out


def _ranked(read: Callable[[], Iterable[np.ndarray]], ranks: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The values of these ranks, 0 the smallest, where `counts` says how often each first digit occurs.

    Values with the leading digits of a rank are sorted where they are few; else their next digit is counted.
    """
    left, prefix, counts = ranks.copy(), np.zeros(len(ranks), np.uint64), np.tile(counts, (len(ranks), 1))
    for bits in range(DIGIT, 65, DIGIT):
        until = np.cumsum(counts, axis=-1)
        digit = (until <= left[:, None]).sum(axis=-1)
        left -= np.take_along_axis(until - counts, digit[:, None], axis=-1)[:, 0]
        prefix = (prefix << np.uint64(DIGIT)) | digit.astype(np.uint64)
        if bits == 64:
            break
        heads, which = np.unique(prefix, return_inverse=True)
        same = np.take_along_axis(counts, digit[:, None], axis=-1)[:, 0]
        few = sum(int(same[which == k][0]) for k in range(len(heads))) <= CHUNK
        kept: list[list[np.ndarray]] = [[] for _ in heads]
        counts = np.zeros((len(heads), 1 << DIGIT), np.int64)
        for column in read():
            keys = _sortable(column)
            own = _leading(keys, bits)
            for k, head in enumerate(heads):
                found = keys[own == head]
                if few:
                    kept[k].append(found)
                else:
                    counts[k] += np.bincount(_leading(found, bits + DIGIT).astype(np.uint16), minlength=1 << DIGIT)
        if few:
            ordered = [np.sort(np.concatenate(found)) for found in kept]
            prefix = np.array([ordered[k][rank] for k, rank in zip(which, left, strict=True)])
            break
        counts = counts[which]
    return np.where(prefix >> np.uint64(63), prefix ^ np.uint64(1 << 63), ~prefix).view(np.float64)


def _leading(keys: np.ndarray, bits: int) -> np.ndarray:
    return keys >> np.uint64(64 - bits)


def _sortable(values: np.ndarray) -> np.ndarray:
    """Observed floats as whole numbers in the same order; both zeros are one."""
    bits = (values[~np.isnan(values)].astype(np.float64) + 0.0).view(np.uint64)
    return np.where(bits >> np.uint64(63), ~bits, bits | np.uint64(1 << 63))


def _per_series(
    values: Values, starts: np.ndarray, ends: np.ndarray, together: bool, reduce: np.ufunc,
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
