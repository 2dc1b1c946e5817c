"""Valid prediction time: how long a forecast of a chaotic system can be used.

Shapes    y, y_hat [h] or [h, channel], the same; the result is one float. All channels are judged together.
Units     steps, or Lyapunov times with an exponent per step.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics.arrays import Number, one_window
from tsforge.evaluation.metrics.point import symmetric

THRESHOLDS: dict[str, Number] = {"error": 0.4, "smape": 30}  # as in Pathak et al. (2018) and Gilpin (2023)
Rule = Literal["error", "smape"]


def valid_prediction_time(
    y: ArrayLike, y_hat: ArrayLike, *, sd: ArrayLike | Number | None = None, threshold: Number | None = None,
    exponent: Number | None = None, rule: Rule = "error",
) -> float:
    """Steps before the error first exceeds a threshold, times the Lyapunov exponent of a step.

    Formula   exponent * number of steps before the first k with e_k > threshold
              rule "error"   e_k = |y_k - y_hat_k| / sqrt(sum of sd² over channels),   |.| the norm over channels
              rule "smape"   e_k = smape of steps 1 .. k, all channels together
    Args      sd: of each channel in training, for rule "error"; one number serves for all.
              threshold: None is 0.4 for "error" and 30 percent for "smape".
              exponent: the largest Lyapunov exponent, in 1 / step; None counts steps.
    Range     0 to h (times exponent), most is best; h means that the window ended first.
    Missing   Truth: its cells are left out on both sides of the quotient, a step without any cannot be the first; with
              none left NaN. A forecast missing before the first such step: NaN.
    Source    Pathak et al. (2018), PRL 120, for the error; Gilpin (2023), "Model scale versus domain knowledge in
              statistical forecasting of chaotic systems", Physical Review Research 5, for the sMAPE.
    """
    truth, forecast = one_window(y, y_hat)
    sds = None if sd is None else np.broadcast_to(np.asarray(sd, dtype=float), (1, truth.shape[2]))
    given = None if exponent is None else np.array([float(exponent)])
    times = valid_times(truth, forecast, sd=sds, threshold=threshold, exponent=given, rule=rule)
    return float(times[0])


def valid_times(
    y: np.ndarray, y_hat: np.ndarray, *, sd: np.ndarray | None = None, threshold: Number | None = None,
    exponent: np.ndarray | None = None, rule: str = "error",
) -> np.ndarray:
    """`valid_prediction_time` of windows [window, h, channel], sd [window, channel], exponent [window] -> [window]."""
    limit = THRESHOLDS[_known(rule)] if threshold is None else threshold
    if not limit > 0 or (exponent is not None and not (exponent > 0).all()):
        raise ArgumentError(f"threshold={threshold}, exponent={exponent}: wanted numbers above 0; a system whose "
                            "largest exponent is not above 0 is not chaotic and has no Lyapunov time.")
    if rule == "error" and sd is None:
        raise ArgumentError("rule='error' needs sd=, the sd of each target in training.")
    seen = ~np.isnan(y)
    error = _joint_error(y, y_hat, seen, sd) if rule == "error" and sd is not None else _smape_so_far(y, y_hat, seen)
    told = np.any(seen, axis=2)
    h = y.shape[1]
    end = np.where(told.any(axis=1), h - np.argmax(told[:, ::-1], axis=1), 0)  # steps up to the last that is known
    first = _first(told & (error > limit), end)
    lost = _first(told & np.isnan(error), end)
    steps = np.where((lost < first) | (end == 0), np.nan, first)
    return steps if exponent is None else steps * exponent


def needs_sd(given: Mapping[str, Any]) -> bool:
    """Whether the rule that was given reads the sd of training."""
    return _known(given.get("rule", "error")) == "error"


def stated(given: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in the name of a result: the threshold always, else what was given."""
    limit = given.get("threshold")
    return {"threshold": THRESHOLDS[_known(given.get("rule", "error"))] if limit is None else limit} | {
        name: value for name, value in given.items() if name != "threshold" and value is not None}


def _known(rule: str) -> str:
    if rule not in THRESHOLDS:
        raise ArgumentError(f"rule={rule!r}: wanted {' or '.join(map(repr, THRESHOLDS))}.")
    return rule


def _first(where: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """[window], the first step of [window, h] that is true."""
    return np.where(where.any(axis=1), np.argmax(where, axis=1), otherwise)


def _joint_error(y: np.ndarray, y_hat: np.ndarray, seen: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """[window, h]"""
    size = np.where(seen, sd[:, None] ** 2, 0.0).sum(axis=2)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.where(seen, (y - y_hat) ** 2, 0.0).sum(axis=2)
    return np.sqrt(np.divide(distance, size, out=np.full(size.shape, np.nan), where=size > 0))


def _smape_so_far(y: np.ndarray, y_hat: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """[window, h]"""
    with np.errstate(invalid="ignore"):
        each = symmetric(np.where(seen, y, 0.0), np.where(seen, y_hat, 0.0))
    each = np.where(seen & np.isinf(y_hat), 200.0, each)
    count = np.cumsum(seen.sum(axis=2), axis=1)
    total = np.cumsum(each.sum(axis=2), axis=1)
    return np.divide(total, count, out=np.full(count.shape, np.nan), where=count > 0)
