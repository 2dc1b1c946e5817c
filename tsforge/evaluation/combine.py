"""Several forecasts as one: means and medians, and weights out of validation windows.

Shapes    forecasts [model, ...], truth [...], the same behind the model
Missing   A forecast that is missing (NaN) is left out and the weights of the others grow; none left: NaN. Cells whose
          truth is missing judge nothing.
Order     Of two forecasts the one that leaves fewer observed cells without a value is better, then the one with the
          smaller error; of equals the first. So a model that forecasts only what is easy does not win.
Source    Caruana, Niculescu-Mizil, Crew & Ksikes (2004), "Ensemble selection from libraries of models", ICML.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tsforge.errors import ArgumentError, ShapeError, UnknownNameError, suggest
from tsforge.evaluation.metrics import METRICS, Metric


@dataclass(frozen=True)
class Judge:
    """What a forecast of some cells is worth: the mean over groups of each group's mean loss, or of its root.

    Args:
        truth: [cell], NaN where missing.
        group: [cell] number of the group, such as the (series, target) pair; no long series counts more then.
        loss: `loss(truth, forecast) -> [cell]`, as that of a row of `METRICS`.
        root: Whether the root of a group's mean is taken.
    """

    truth: np.ndarray
    group: np.ndarray
    loss: Callable[..., np.ndarray]
    root: bool = False

    def by_group(self, forecast: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
        """Of each group, [group]: observed cells without a forecast, and the error of the others (NaN: none)."""
        absent = ~np.isnan(self.truth) & np.isnan(forecast)
        there = ~np.isnan(self.truth) & ~np.isnan(forecast)
        own = self.group[there]
        count = np.bincount(own, minlength=n_groups)
        total = np.bincount(own, weights=self.loss(self.truth[there], forecast[there]), minlength=n_groups)
        mean = np.divide(total, count, out=np.full(n_groups, np.nan), where=count > 0)
        return np.bincount(self.group[absent], minlength=n_groups), np.sqrt(mean) if self.root else mean

    def __call__(self, forecast: np.ndarray) -> tuple[int, float]:
        """(missing cells, error) of a forecast [cell]; the smaller pair is better. Without any cell: inf."""
        missing, error = self.by_group(forecast, int(self.group.max(initial=-1)) + 1)
        scored = error[~np.isnan(error)]
        return int(missing.sum()), float(scored.mean()) if len(scored) else np.inf


def point_metric(name: str) -> Metric:
    """The metric of this name that judges a point forecast cell by cell.

    Raises:
        UnknownNameError: there is no such metric.
        ArgumentError: it needs intervals, whole windows or training rows.
    """
    able = [key for key, m in METRICS.items() if isinstance(m, Metric) and m.needs == "point" and not m.needs_scale]
    if name not in METRICS:
        raise UnknownNameError(f"There is no metric named {name!r}.{suggest(name, able) or f' Take {able}.'}")
    metric = METRICS[name]
    if name not in able or not isinstance(metric, Metric):
        raise ArgumentError(f"metric={name!r} does not judge point forecasts cell by cell: take one of {able}.")
    return metric


def weighted_mean(forecasts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """[...], the mean of forecasts [model, ...] by weights [model], or [model, window] where each window has its own.

    Missing forecasts are left out and the weights of the others renormalised.

    Raises:
        ShapeError: there is not one weight for each forecast.
    """
    if weights.shape != forecasts.shape[: weights.ndim]:
        raise ShapeError(f"weights of the shape {weights.shape} do not fit forecasts of the shape {forecasts.shape}: "
                         "wanted one for each model, or for each model and window.")
    weights = weights.reshape(weights.shape + (1,) * (forecasts.ndim - weights.ndim))
    there = ~np.isnan(forecasts) & (weights > 0)
    total = np.where(there, forecasts * weights, 0.0).sum(axis=0)
    size = np.where(there, weights, 0.0).sum(axis=0)
    return np.divide(total, size, out=np.full(total.shape, np.nan), where=size > 0)


def median(forecasts: np.ndarray) -> np.ndarray:
    """[...], the median of the forecasts [model, ...] that are there."""
    ordered = np.sort(forecasts, axis=0)  # NaN goes last
    count = (~np.isnan(forecasts)).sum(axis=0)
    low, high = (np.take_along_axis(ordered, np.maximum(k, 0)[None], axis=0)[0]
                 for k in ((count - 1) // 2, count // 2))
    return np.where(count > 0, (low + high) / 2, np.nan)


def greedy_weights(forecasts: np.ndarray, judge: Judge, rounds: int) -> np.ndarray:
    """[model], the shares of the models in the best bag that forward selection with replacement passes.

    Each round puts the model into the bag whose joining makes the mean of the bag best, also one that is in it already
    and also where that makes it worse. Of all rounds the best bag is kept, the earliest of equals. The first bag is the
    best model by itself, so the kept one is never worse on these cells. The paper's sorted start and its bagging of
    models are left out.

    Args:
        forecasts: [model, cell].
        judge: What a mean is worth.
        rounds: Models in the largest bag.
    """
    there = ~np.isnan(forecasts)
    filled = np.where(there, forecasts, 0.0)
    bag = np.zeros(len(forecasts), dtype=np.int64)
    total, size = np.zeros(forecasts.shape[1]), np.zeros(forecasts.shape[1])
    best, kept = (np.inf, np.inf), bag
    for _ in range(rounds):
        worth = [judge(_mean(total + filled[m], size + there[m])) for m in range(len(forecasts))]
        chosen = worth.index(min(worth))
        bag = bag + (np.arange(len(bag)) == chosen)
        total, size = total + filled[chosen], size + there[chosen]
        if worth[chosen] < best:
            best, kept = worth[chosen], bag
    return kept / max(kept.sum(), 1)


def best_models(forecasts: np.ndarray, judge: Judge, series: np.ndarray, n_series: int) -> np.ndarray:
    """[series], the best model of each; -1 where no cell of it was observed.

    Args:
        forecasts: [model, cell].
        judge: Its groups may be finer than series; the errors of those of a series are averaged.
        series: [group] the series of each group of `judge`.
        n_series: Number of series.
    """
    found = [judge.by_group(forecast, len(series)) for forecast in forecasts]
    missing = np.stack([np.bincount(series, weights=absent, minlength=n_series) for absent, _ in found])
    scored = [~np.isnan(error) for _, error in found]
    count = np.stack([np.bincount(series[ok], minlength=n_series) for ok in scored])
    total = np.stack([np.bincount(series[ok], weights=error[ok], minlength=n_series)
                      for ok, (_, error) in zip(scored, found, strict=True)])
    error = np.divide(total, count, out=np.full(total.shape, np.inf), where=count > 0)
    fewest = missing == missing.min(axis=0)
    chosen = np.where(fewest, error, np.inf).argmin(axis=0)
    observed = np.bincount(judge.group[~np.isnan(judge.truth)], minlength=len(series)) > 0
    return np.where(np.bincount(series[observed], minlength=n_series) > 0, chosen, -1)


def _mean(total: np.ndarray, size: np.ndarray) -> np.ndarray:
    return np.divide(total, size, out=np.full(total.shape, np.nan), where=size > 0)
