"""Metrics of the shape of a window: dynamic time warping, and the direction of its moves.

Shapes    y, y_hat [h] or [h, channel], the same; the result is one float.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics.arrays import one_window

CHUNK = 128  # windows that are warped at once: what fits in the cache


def dtw(y: ArrayLike, y_hat: ArrayLike, *, band: int | None = None) -> float:
    """Dynamic time warping: the distance of truth and forecast after their steps were matched in the best order.

    Formula   min over monotone paths of sqrt(sum of |y_i - y_hat_j|² over the pairs (i, j) of the path), the norm over
              channels; paths go from (1, 1) to (h, h) by (1, 0), (0, 1) and (1, 1)
    Args      band: most steps that a pair may lie apart; None has no bound, 0 is the Euclidean distance.
    Range     0 to the Euclidean distance, 0 is best.   Units  of y; it grows with h.
    Missing   A step of which a truth is missing is left out of both, none left gives NaN. Forecast: NaN.
    Source    Sakoe & Chiba (1978), IEEE Transactions on Acoustics, Speech, and Signal Processing 26(1).
    """
    return float(dtw_distances(*one_window(y, y_hat), band=band)[0])


def directional_accuracy(
    y: ArrayLike, y_hat: ArrayLike, *, reference: Literal["forecast", "truth"] = "forecast",
) -> float:
    """Share of the moves from step to step whose direction was forecast.

    Formula   mean over t = 2 .. h of [sign(y_t - y_(t-1)) = sign(y_hat_t - r_(t-1))],   r = y_hat, or y
    Args      reference: "forecast" compares a forecast with the step before it in the same forecast; "truth" with the
              true step before it, which a forecast of several steps has not seen.
    Range     0 to 1, 1 is best; no move is a direction of its own.   Units  none.
    Missing   Truth: its moves are left out, none left (as with h = 1) gives NaN. Forecast: NaN.
    Source    Pesaran & Timmermann (1992), Journal of Business & Economic Statistics 10(4).
    """
    return float(directions(*one_window(y, y_hat), reference=reference)[0])


def dtw_distances(y: np.ndarray, y_hat: np.ndarray, *, band: int | None = None) -> np.ndarray:
    """`dtw` of windows [window, h, channel] -> [window]."""
    if band is not None and band < 0:
        raise ArgumentError(f"band={band}: wanted a number of steps, 0 or more, or None.")
    seen = np.all(~np.isnan(y), axis=2)
    steps = seen.sum(axis=1)
    distances = np.full(len(y), np.nan)
    for count in np.unique(steps[steps > 0]):
        own = steps == count
        truth, forecast = (
            np.moveaxis(values[own][seen[own]].reshape(own.sum(), count, -1), 0, 2) for values in (y, y_hat)
        )
        parts = [slice(at, at + CHUNK) for at in range(0, own.sum(), CHUNK)]
        distances[own] = np.concatenate(
            [_warped(truth[..., part].copy(), forecast[..., part].copy(), band) for part in parts]
        )
    return distances


def _warped(y: np.ndarray, y_hat: np.ndarray, band: int | None) -> np.ndarray:
    """Distances of complete windows [h, channel, window], one antidiagonal i + j = k of all of them at a time."""
    h, _, n = y.shape
    reach = h if band is None else band
    before, last = np.full((2, h + 1, n), np.inf)  # the best sums of the two antidiagonals before, at i + 1
    before[0] = 0.0  # the empty path, which (0, 0) continues
    for k in range(2 * h - 1):
        first, stop = max(0, k - h + 1, -((reach - k) // 2)), min(k, h - 1, (k + reach) // 2) + 1
        here = np.full((h + 1, n), np.inf)
        if first < stop:
            cost = ((y[first:stop] - y_hat[k - stop + 1 : k - first + 1][::-1]) ** 2).sum(axis=1)
            best = np.minimum(last[first:stop], last[first + 1 : stop + 1])
            here[first + 1 : stop + 1] = cost + np.minimum(best, before[first:stop])
        before, last = last, here
    return np.sqrt(last[h])


def directions(y: np.ndarray, y_hat: np.ndarray, *, reference: str = "forecast") -> np.ndarray:
    """`directional_accuracy` of windows [window, h, channel] -> [window]."""
    if reference not in ("forecast", "truth"):
        raise ArgumentError(f"reference={reference!r}: wanted 'forecast' or 'truth'.")
    with np.errstate(invalid="ignore"):  # a forecast that has left for infinity moves nowhere
        moves = np.diff(y, axis=1)
        told = y_hat[:, 1:] - (y_hat if reference == "forecast" else y)[:, :-1]
    right = np.where(np.isnan(told), np.nan, np.sign(moves) == np.sign(told))
    counted = ~np.isnan(moves)
    count = counted.sum(axis=(1, 2))
    total = np.where(counted, right, 0.0).sum(axis=(1, 2))
    return np.divide(total, count, out=np.full(len(y), np.nan), where=count > 0)
