"""Windows that a metric needs whole: a delay vector or a spectrum cannot leave a step out."""

from collections.abc import Callable

import numpy as np

from tsforge.errors import ArgumentError

Score = Callable[[np.ndarray, np.ndarray], float]


def each_whole(y: np.ndarray, y_hat: np.ndarray, score: Score) -> np.ndarray:
    """[window]: `score(y, y_hat)` of each [h, channel] of [window, h, channel].

    Steps after the last truth are cut off both. NaN where a truth is missing before that, where the truth cannot be
    scored, or where the forecast is not finite.

    Raises:
        ArgumentError: what `score` raises, where it does for every window.
    """
    values, faults, done = np.full(len(y), np.nan), [], 0
    for window, (truth, forecast) in enumerate(zip(y, y_hat, strict=True)):
        known = np.flatnonzero(~np.isnan(truth).all(axis=1))
        stop = int(known[-1]) + 1 if len(known) else 0
        if not stop or np.isnan(truth[:stop]).any():
            continue
        try:
            values[window] = score(truth[:stop], forecast[:stop]) if np.isfinite(forecast[:stop]).all() else np.nan
            done += 1
        except ArgumentError as fault:
            faults.append(fault)
    if faults and not done:
        raise faults[0]
    return values


def or_nan(estimate: Callable[[np.ndarray], float], forecast: np.ndarray) -> float:
    """An estimate on a forecast; NaN where it has none, as a forecast that stands still has no exponent."""
    try:
        return estimate(forecast)
    except ArgumentError:
        return float("nan")
