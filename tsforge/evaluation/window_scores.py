"""Scores of whole windows: all steps after one cutoff of one series, of each target or of all together."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import ArgumentError
from tsforge.evaluation.asked import Asked
from tsforge.evaluation.metrics import WindowMetric
from tsforge.evaluation.rows import Groups, Rows, grouped, step_of

log = logging.getLogger("tsforge")


@dataclass(frozen=True)
class Windows:
    """Where each row stands in [window, h, channel].

    Args:
        groups: The windows, and the window of each row.
        step: `[row]`, from 0 on.
        channel: `[row]`.
        shape: window, h, channel.
    """

    groups: Groups
    step: np.ndarray
    channel: np.ndarray
    shape: tuple[int, int, int]

    def filled(self, values: np.ndarray) -> np.ndarray:
        """`[row]` as [window, h, channel], or `[sample, row]` as [window, sample, h, channel]; NaN where no row is."""
        n, h, channels = self.shape
        made = np.full((n, *values.shape[:-1], h, channels), np.nan)
        made[self.groups.number, ..., self.step, self.channel] = values.T
        return made

    def of_channel(self, values: np.ndarray) -> np.ndarray:
        """`[row]`, the same at each step, as [window, channel]; NaN where no row is."""
        made = np.full((self.shape[0], self.shape[2]), np.nan)
        made[self.groups.number, self.channel] = values
        return made


def window_scores(
    rows: Rows, asked: Asked, models: list[str], by: list[str], *, pool: bool
) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """(model, label, groups with `value` and `cells`): means over windows, in each pair unless pooled.

    Raises:
        ArgumentError: the metric has no value for a group of `by`, needs paths that are not there, or an argument has a
            value that cannot work.
    """
    metric = asked.metric
    assert isinstance(metric, WindowMetric)
    _check(rows, asked, metric, by)
    windows = _windows(rows, together=asked.together)
    truth, arguments = windows.filled(rows.y), _arguments(rows, windows, asked)
    if "sd" in arguments:
        truth = np.where(np.isnan(arguments["sd"])[:, None], np.nan, truth)
    # Which windows count depends on the truth alone, so that all models are scored on the same: those in which the
    # truth itself can be scored.
    own = metric.values(truth, truth if metric.needs == "window" else truth[:, None], **arguments)
    counted, cells = ~np.isnan(own), (~np.isnan(truth)).sum(axis=(1, 2))
    groups = _groups(rows, windows, by, together=asked.together, pool=pool)
    _notice(asked, counted, cells)
    for model in models:
        forecast = windows.filled(rows.column(model) if metric.needs == "window" else rows.samples(model))
        values = metric.values(truth, forecast, **arguments)
        absent = np.count_nonzero(np.isnan(values[counted]))
        if absent:
            log.info("%s: %s has no value in %d of %d windows, so its scores there are nan.", asked.label, model,
                     absent, np.count_nonzero(counted))
        yield model, asked.label, _means(groups, values, counted, cells)


def _check(rows: Rows, asked: Asked, metric: WindowMetric, by: list[str]) -> None:
    finer = [name for name in by if name in ("ds", "step")]
    if finer:
        raise ArgumentError(f"{metric.name} has one value for a window, none for each {finer[0]}: leave it out of by=.")
    if asked.together and "target" in by:
        raise ArgumentError(f"{metric.name} looks at all targets of a window together: leave target out of by=, or "
                            f"give {{'name': {metric.name!r}, 'together': False}}.")
    if metric.needs == "paths" and not rows.paths:
        raise ArgumentError(f"{metric.name} needs sample paths: a key column 'sample' beside ds, and in each model's "
                            "column the value of that path.")
    if metric.needs == "window" and rows.paths:
        raise ArgumentError(f"{metric.name} scores one path, and forecasts holds several (its column 'sample'): take "
                            "their mean or median over it, or score each by itself.")


def _windows(rows: Rows, *, together: bool) -> Windows:
    keys = rows.window if together else [*rows.window, *(name for name in rows.pair if name == "target")]
    groups = grouped(rows.table.select(keys))
    step = step_of(rows, rows.window).to_numpy() - 1
    channel = np.zeros(len(step), dtype=np.int64)
    if together and "target" in rows.table.columns:
        channel = rows.table["target"].rank("dense").to_numpy().astype(np.int64) - 1
    size = (len(groups), int(step.max(initial=0)) + 1, int(channel.max(initial=0)) + 1)
    return Windows(groups, step, channel, size)


def _arguments(rows: Rows, windows: Windows, asked: Asked) -> dict[str, Any]:
    """The keywords of `values`: those that were given, and of each window the sd and the exponent."""
    made = dict(asked.arguments)
    if made.get("exponent") is not None:
        made["exponent"] = _exponents(made["exponent"], windows.groups.keys["unique_id"], asked.metric.name)
    if asked.needs_sd:
        made["sd"] = windows.of_channel(rows.sd)
    return made


def _exponents(given: Any, ids: pl.Series, name: str) -> np.ndarray:
    """`[window]`, out of one number or one of each series."""
    if isinstance(given, int | float) and not isinstance(given, bool):
        return np.full(len(ids), float(given))
    if not isinstance(given, Mapping):
        raise ArgumentError(f"{name}: exponent={given!r}: wanted the largest Lyapunov exponent in 1 / step, one number "
                            "or {unique_id: number}. Recipes and `tsforge backtest` also know the estimates of chaos "
                            "sets by name.")
    known = {str(series): float(exponent) for series, exponent in given.items()}
    absent = [series for series in ids.unique(maintain_order=True) if str(series) not in known]
    if absent:
        raise ArgumentError(f"{name}: exponent= has no number for {len(absent)} series, the first is {absent[0]!r}.")
    return np.array([known[str(series)] for series in ids])


def _groups(rows: Rows, windows: Windows, by: list[str], *, together: bool, pool: bool) -> Groups:
    """The windows by the `by` columns, and by series (and target) unless pooled."""
    pair = [] if pool else [name for name in rows.pair if name in windows.groups.keys.columns]
    names = [*by, *(name for name in pair if name not in by)]
    keys = windows.groups.keys.select(names)
    return grouped(keys) if names else Groups(pl.DataFrame({"group": [0]}), np.zeros(windows.shape[0], dtype=np.int64))


def _means(groups: Groups, values: np.ndarray, counted: np.ndarray, cells: np.ndarray) -> pl.DataFrame:
    count = groups.counts(counted)
    total = groups.sums(values, counted)
    mean = np.divide(total, count, out=np.full(len(groups), np.nan), where=count > 0)
    return groups.keys.with_columns(
        value=pl.Series(mean), cells=pl.Series(groups.sums(cells, counted).astype(np.int64), dtype=pl.Int64)
    )


def _notice(asked: Asked, counted: np.ndarray, cells: np.ndarray) -> None:
    left = np.count_nonzero(~counted & (cells > 0))
    if left:
        log.info("%s: %d of %d windows with a truth are left out: their truth has gaps, stands still, is too short, or "
                 "was never observed in training.", asked.label, left, np.count_nonzero(cells > 0))
