"""Metrics: pure functions of arrays, and the table that names them.

Shapes    y, y_hat, lo, hi, q_hat [...], all the same;   q_hats [..., quantile];   the result is one float
Units     levels are percents (80), quantiles are shares (0.1).
Missing   A cell without truth (NaN) is left out, and with no cell left the result is NaN. A forecast that is missing
          where the truth is observed makes the result NaN: a forecast that is not there must not look good.
Errors    ShapeError where the arrays differ in shape; ArgumentError for a level, a quantile, a season or a power that
          cannot be.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError, ShapeError

Number = float | int
Quantiles = Sequence[Number] | np.ndarray  # [quantile]


def mse(y: ArrayLike, y_hat: ArrayLike) -> float:
    """Mean squared error.

    Formula   mean((y - y_hat)²)
    Range     0 to inf, 0 is best.   Units  of y, squared.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Hyndman & Koehler (2006), "Another look at measures of forecast accuracy", IJF 22(4).
    """
    y, y_hat = _alike(y, y_hat)
    return _mean(y, _squared(y, y_hat))


def mae(y: ArrayLike, y_hat: ArrayLike) -> float:
    """Mean absolute error.

    Formula   mean(|y - y_hat|)
    Range     0 to inf, 0 is best.   Units  of y.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Hyndman & Koehler (2006), IJF 22(4).
    """
    y, y_hat = _alike(y, y_hat)
    return _mean(y, _absolute(y, y_hat))


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
    y, y_hat = _alike(y, y_hat)
    return _mean(y, _symmetric(y, y_hat))


def mase(y: ArrayLike, y_hat: ArrayLike, scale: Number) -> float:
    """Mean absolute scaled error of one series.

    Formula   mean(|y - y_hat|) / scale,   scale = seasonal_scale(train, season, power=1)
    Range     0 to inf; 1 is the mean error of seasonal naive one season ahead in training.   Units  none.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN. A scale that is 0 or NaN: NaN.
    Source    Hyndman & Koehler (2006), IJF 22(4).
    """
    return mae(y, y_hat) / _positive(scale)


def rmsse(y: ArrayLike, y_hat: ArrayLike, scale: Number) -> float:
    """Root mean squared scaled error of one series.

    Formula   sqrt(mean((y - y_hat)²) / scale),   scale = seasonal_scale(train, season, power=2)
    Range     0 to inf; 1 is the error of seasonal naive one season ahead in training.   Units  none.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN. A scale that is 0 or NaN: NaN.
    Source    Makridakis, Spiliotis & Assimakopoulos (2022), "M5 accuracy competition", IJF 38(4).
    """
    return (mse(y, y_hat) / _positive(scale)) ** 0.5


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
    return _mean(steps, steps)


def pinball(y: ArrayLike, q_hat: ArrayLike, quantile: Number) -> float:
    """Pinball loss of one quantile; at 0.5 it is half the mean absolute error.

    Formula   mean(max(quantile (y - q_hat), (quantile - 1) (y - q_hat)))
    Range     0 to inf, 0 is best.   Units  of y.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Koenker & Bassett (1978), "Regression Quantiles", Econometrica 46(1).
    """
    y, q_hat = _alike(y, q_hat)
    _inside("quantile", (quantile,), 1)
    return _mean(y, _tilted(y, q_hat, quantile))


def wql(y: ArrayLike, q_hats: ArrayLike, quantiles: Quantiles) -> float:
    """Weighted quantile loss: pinball losses over the size of the truth, averaged over the quantiles.

    Formula   mean over quantiles of (2 sum(pinball) / sum(|y|))
    Range     0 to inf, 0 is best.   Units  none.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN. Truth that is zero in every cell: NaN.
    Source    Salinas et al. (2020), "DeepAR", IJF 36(3), where it is the rho-risk.
    """
    size = np.abs(np.asarray(y, dtype=float))
    return _over_quantiles(y, q_hats, quantiles, _equal_weights) / _positive(_mean(size, size))


def coverage(y: ArrayLike, lo: ArrayLike, hi: ArrayLike) -> float:
    """Share of the truth that lies in the interval, its ends included.

    Formula   mean(lo <= y <= hi)
    Range     0 to 1; best is the level of the interval.   Units  none.
    Missing   Truth: left out, none left gives NaN. An end of the interval: NaN.
    Source    Christoffersen (1998), "Evaluating Interval Forecasts", IER 39(4).
    """
    y, lo, hi = _alike(y, lo, hi)
    return _mean(y, _covered(y, lo, hi))


def interval_score(y: ArrayLike, lo: ArrayLike, hi: ArrayLike, level: Number) -> float:
    """Width of the interval, plus a penalty for the truth outside (also called the Winkler score).

    Formula   mean((hi - lo) + 2/a max(lo - y, 0) + 2/a max(y - hi, 0)),   a = 1 - level / 100
    Range     0 to inf where lo <= hi, 0 is best.   Units  of y.   level in percent.
    Missing   Truth: left out, none left gives NaN. An end of the interval: NaN.
    Source    Gneiting & Raftery (2007), "Strictly Proper Scoring Rules", JASA 102(477), equation 43.
    """
    y, lo, hi = _alike(y, lo, hi)
    _inside("level", (level,), 100)
    return _mean(y, _interval(y, lo, hi, level))


def crps(y: ArrayLike, q_hats: ArrayLike, quantiles: Quantiles) -> float:
    """Continuous ranked probability score, approximated from quantiles.

    Formula   mean(2 ∫ pinball(y, q(u), u) du) over u from 0 to 1, as sum_k w_k 2 pinball(y, q_k, u_k)
    Rule      w_k is the length of the levels u that are nearest to u_k, so the w_k sum to 1 and the sum tends to the
              integral as the levels grow dense. Below the lowest and above the highest level the loss of that level
              is held, which overstates thin tails a little. All w_k are positive, so the score stays proper; with
              the median alone it is the mean absolute error.
    Range     0 to inf, 0 is best.   Units  of y.
    Missing   Truth: left out, none left gives NaN. Forecast: NaN.
    Source    Matheson & Winkler (1976), Management Science 22(10); as an integral of pinball losses in
              Laio & Tamea (2007), HESS 11(4).
    """
    return _over_quantiles(y, q_hats, quantiles, _nearest_weights)


def _squared(y: np.ndarray, y_hat: np.ndarray) -> np.ndarray:
    return (y - y_hat) ** 2


def _absolute(y: np.ndarray, y_hat: np.ndarray) -> np.ndarray:
    return np.abs(y - y_hat)


def _symmetric(y: np.ndarray, y_hat: np.ndarray) -> np.ndarray:
    size = np.abs(y) + np.abs(y_hat)
    return 200 * np.divide(np.abs(y - y_hat), size, out=np.zeros_like(size), where=size != 0)


def _tilted(y: np.ndarray, q_hat: np.ndarray, quantile: Number) -> np.ndarray:
    return np.maximum(quantile * (y - q_hat), (quantile - 1) * (y - q_hat))


def _covered(y: np.ndarray, lo: np.ndarray, hi: np.ndarray, level: Number | None = None) -> np.ndarray:
    return np.where(np.isnan(lo) | np.isnan(hi), np.nan, (lo <= y) & (y <= hi))


def _interval(y: np.ndarray, lo: np.ndarray, hi: np.ndarray, level: Number) -> np.ndarray:
    return hi - lo + 2 / (1 - level / 100) * (np.maximum(lo - y, 0) + np.maximum(y - hi, 0))


def _equal_weights(quantiles: Quantiles) -> np.ndarray:
    return np.full(len(quantiles), 2 / len(quantiles))


def _nearest_weights(quantiles: Quantiles) -> np.ndarray:
    order = np.argsort(quantiles)
    levels = np.asarray(quantiles, dtype=float)[order]
    weights = np.empty(len(levels))
    weights[order] = 2 * np.diff((levels[1:] + levels[:-1]) / 2, prepend=0, append=1)
    return weights


def _over_quantiles(y: ArrayLike, q_hats: ArrayLike, quantiles: Quantiles, weigh: Callable) -> float:
    q_hats = np.asarray(q_hats, dtype=float)
    if not len(quantiles) or q_hats.shape[-1:] != (len(quantiles),):
        raise ShapeError(f"q_hats {q_hats.shape} does not end in the {len(quantiles)} quantiles: give [..., quantile].")
    _inside("quantile", quantiles, 1)
    y, *columns = _alike(y, *np.moveaxis(q_hats, -1, 0))
    terms = zip(weigh(quantiles), columns, quantiles, strict=True)
    return _mean(y, sum((weight * _tilted(y, q_hat, q) for weight, q_hat, q in terms), np.zeros_like(y)))


def _mean(y: np.ndarray, loss: np.ndarray) -> float:
    observed = loss[~np.isnan(y)]
    return float(observed.mean()) if observed.size else float("nan")


def _positive(scale: Number) -> float:
    return scale if scale > 0 else float("nan")


def _alike(*arrays: ArrayLike) -> list[np.ndarray]:
    """As float arrays of one shape: a [n, 1] that broadcasts against [n] would be scored n times."""
    found = [np.asarray(array, dtype=float) for array in arrays]
    if len({array.shape for array in found}) > 1:
        raise ShapeError(f"Shapes {', '.join(str(a.shape) for a in found)} differ: truth and forecast need the same.")
    return found


def _inside(name: str, values: Quantiles, top: int) -> None:
    for value in values:
        if not 0 < value < top:
            raise ArgumentError(f"{name}={value} is not between 0 and {top}: a level is a percent, a quantile a share.")


@dataclass(frozen=True)
class Metric:
    """One row of `METRICS`.

    Args:
        name: What `evaluate` calls it.
        function: The pure function above.
        needs: The forecast columns it reads; `interval` gives one result per level.
        loss: Loss of each cell, `loss(y, *columns, *level_or_quantile) -> [...]`.
        summary: What it is, in one line.
        range: Its values, and the best of them.
        reduce: From losses to the value: their mean, its root, or their sum over the sum of |y|.
        needs_scale: The power of the `seasonal_scale` that divides the loss.
        weights: Weights of the quantiles, which are then summed; without, one result per quantile.
        direction: `min`, or `level` where the level of the interval is best.
    """

    name: str
    function: Callable[..., float]
    needs: Literal["point", "interval", "quantiles"]
    loss: Callable[..., np.ndarray]
    summary: str
    range: str
    reduce: Literal["mean", "root", "ratio"] = "mean"
    needs_scale: Literal[1, 2] | None = None
    weights: Callable[[Quantiles], np.ndarray] | None = None
    direction: Literal["min", "level"] = "min"


def _table(*rows: Metric) -> dict[str, Metric]:
    return {row.name: row for row in rows}


METRICS = _table(
    Metric("mse", mse, "point", _squared, "mean squared error", "0 to inf, in y squared"),
    Metric("mae", mae, "point", _absolute, "mean absolute error", "0 to inf, in y"),
    Metric("rmse", rmse, "point", _squared, "root of the mean squared error", "0 to inf, in y", "root"),
    Metric("smape", smape, "point", _symmetric, "symmetric mean absolute percentage error", "0 to 200 percent"),
    Metric("mase", mase, "point", _absolute, "mean absolute error over seasonal differences in training",
           "0 to inf, 1 is seasonal naive", needs_scale=1),
    Metric("rmsse", rmsse, "point", _squared, "root of squared error over squared seasonal differences in training",
           "0 to inf, 1 is seasonal naive", "root", needs_scale=2),
    Metric("coverage", coverage, "interval", _covered, "share of the truth in the interval",
           "0 to 1, best at the level", direction="level"),
    Metric("interval_score", interval_score, "interval", _interval, "width of the interval and penalty outside it",
           "0 to inf, in y"),
    Metric("pinball", pinball, "quantiles", _tilted, "pinball loss, one row per quantile", "0 to inf, in y"),
    Metric("wql", wql, "quantiles", _tilted, "pinball losses over the size of the truth", "0 to inf", "ratio",
           weights=_equal_weights),
    Metric("crps", crps, "quantiles", _tilted, "distance of the law from the truth, from quantiles", "0 to inf, in y",
           weights=_nearest_weights),
)
