"""Metrics of an interval, cell by cell.

Shapes    y, lo, hi [...], the same; the result is one float, of covered and outside the loss of each cell.
Units     level in percent.
"""

import numpy as np
from numpy.typing import ArrayLike

from tsforge.evaluation.metrics.arrays import Number, alike, inside, mean_observed, positive


def coverage(y: ArrayLike, lo: ArrayLike, hi: ArrayLike) -> float:
    """Share of the truth that lies in the interval, its ends included.

    Formula   mean(lo <= y <= hi)
    Range     0 to 1; best is the level of the interval.   Units  none.
    Missing   Truth: left out, none left gives NaN. An end of the interval: NaN.
    Source    Christoffersen (1998), "Evaluating Interval Forecasts", IER 39(4).
    """
    y, lo, hi = alike(y, lo, hi)
    return mean_observed(y, covered(y, lo, hi))


def interval_score(y: ArrayLike, lo: ArrayLike, hi: ArrayLike, level: Number) -> float:
    """Width of the interval, plus a penalty for the truth outside (the Winkler score).

    Formula   mean((hi - lo) + 2/a max(lo - y, 0) + 2/a max(y - hi, 0)),   a = 1 - level / 100
    Range     0 to inf where lo <= hi, 0 is best.   Units  of y.   level in percent.
    Missing   Truth: left out, none left gives NaN. An end of the interval: NaN.
    Source    Winkler (1972), JASA 67(337); Gneiting & Raftery (2007), JASA 102(477), equation 43.
    """
    y, lo, hi = alike(y, lo, hi)
    inside("level", (level,), 100)
    return mean_observed(y, outside(y, lo, hi, level))


def msis(y: ArrayLike, lo: ArrayLike, hi: ArrayLike, level: Number, scale: Number) -> float:
    """Mean scaled interval score of one series.

    Formula   interval_score(y, lo, hi, level) / scale,   scale = seasonal_scale(train, season, power=1)
    Range     0 to inf where lo <= hi, 0 is best.   Units  none.   level in percent.
    Missing   Truth: left out, none left gives NaN. An end of the interval: NaN. A scale that is 0 or NaN: NaN.
    Source    Makridakis, Spiliotis & Assimakopoulos (2020), "The M4 Competition", IJF 36(1).
    """
    return interval_score(y, lo, hi, level) / positive(scale)


def covered(y: np.ndarray, lo: np.ndarray, hi: np.ndarray, level: Number | None = None) -> np.ndarray:
    """Loss of `coverage`: 1 inside, 0 outside, NaN where an end is missing."""
    return np.where(np.isnan(lo) | np.isnan(hi), np.nan, (lo <= y) & (y <= hi))


def outside(y: np.ndarray, lo: np.ndarray, hi: np.ndarray, level: Number) -> np.ndarray:
    """Loss of `interval_score` and `msis`."""
    return hi - lo + 2 / (1 - level / 100) * (np.maximum(lo - y, 0) + np.maximum(y - hi, 0))
