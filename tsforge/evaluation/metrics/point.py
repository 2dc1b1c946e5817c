"""Metrics of a point forecast, cell by cell.

Shapes    y, y_hat [...], the same; the result is one float, of squared, absolute and symmetric the loss of each cell.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics.arrays import Number, alike, mean_observed, positive


def mse(y: ArrayLike, y_hat: ArrayLike) -> float:
    """Mean squared error.

    Formula   mean((y - y_hat)²)
    Range     0 to inf, 0 is best.   Units  of y, squared.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy", IJF 22(4).
    """
    y, y_hat = alike(y, y_hat)
    return mean_observed(y, squared(y, y_hat))


def mae(y: ArrayLike, y_hat: ArrayLike) -> float:
    """Mean absolute error.

    Formula   mean(|y - y_hat|)
    Range     0 to inf, 0 is best.   Units  of y.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Hyndman & Koehler (2006), IJF 22(4).
    """
    y, y_hat = alike(y, y_hat)
    return mean_observed(y, absolute(y, y_hat))


def rmse(y: ArrayLike, y_hat: ArrayLike) -> float:
    """Root of the mean squared error.

    Formula   sqrt(mean((y - y_hat)²))
    Range     0 to inf, 0 is best.   Units  of y.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Hyndman & Koehler (2006), IJF 22(4).
    """
    return mse(y, y_hat) ** 0.5


def smape(y: ArrayLike, y_hat: ArrayLike) -> float:
    """Symmetric mean absolute percentage error, as the M4 competition takes it.

    Formula   200 mean(|y - y_hat| / (|y| + |y_hat|)), where 0 / 0 counts as 0
    Range     0 to 200, 0 is best.   Units  percent.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Makridakis, Spiliotis & Assimakopoulos (2020), "The M4 Competition", IJF 36(1).
    """
    y, y_hat = alike(y, y_hat)
    return mean_observed(y, symmetric(y, y_hat))


def mase(y: ArrayLike, y_hat: ArrayLike, scale: Number) -> float:
    """Mean absolute scaled error of one series.

    Formula   mean(|y - y_hat|) / scale,   scale = seasonal_scale(train, season, power=1)
    Range     0 to inf; 1 is the mean error of seasonal naive one season ahead in training.   Units  none.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN. A scale that is 0 or NaN: NaN.
    Source    Hyndman & Koehler (2006), IJF 22(4).
    """
    return mae(y, y_hat) / positive(scale)


def rmsse(y: ArrayLike, y_hat: ArrayLike, scale: Number) -> float:
    """Root mean squared scaled error of one series.

    Formula   sqrt(mean((y - y_hat)²) / scale),   scale = seasonal_scale(train, season, power=2)
    Range     0 to inf; 1 is the error of seasonal naive one season ahead in training.   Units  none.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN. A scale that is 0 or NaN: NaN.
    Source    Makridakis, Spiliotis & Assimakopoulos (2022), "M5 accuracy competition", IJF 38(4).
    """
    return (mse(y, y_hat) / positive(scale)) ** 0.5


def seasonal_scale(train: ArrayLike, season: int, power: Literal[1, 2] = 1) -> float:
    """Mean of |y_t - y_(t - season)| ** power over the steps of one series.

    Args:
        train: `[time]`, consecutive steps; missing ones are NaN, and a difference with one is left out.
        season: Steps in a season; 1 compares with the step before.
        power: 1 for `mase`, 2 for `rmsse`.

    Returns:
        0 to inf, in the units of `train` to that power; NaN where no difference is left.
    """
    if season < 1 or power not in (1, 2):
        raise ArgumentError(f"season={season}, power={power}: season must be 1 or more, power 1 or 2.")
    values = np.asarray(train, dtype=float)
    steps = np.abs(values[season:] - values[:-season]) ** power
    return mean_observed(steps, steps)


def squared(y: np.ndarray, y_hat: np.ndarray) -> np.ndarray:
    """Loss of `mse`, `rmse` and `rmsse`."""
    return (y - y_hat) ** 2


def absolute(y: np.ndarray, y_hat: np.ndarray) -> np.ndarray:
    """Loss of `mae` and `mase`."""
    return np.abs(y - y_hat)


def symmetric(y: np.ndarray, y_hat: np.ndarray) -> np.ndarray:
    """Loss of `smape`, in percent."""
    size = np.abs(y) + np.abs(y_hat)
    return 200 * np.divide(np.abs(y - y_hat), size, out=np.zeros_like(size), where=size != 0)
