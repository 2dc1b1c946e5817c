"""ETS: exponential smoothing with error, trend and season, their form chosen by AICc.

Source    Hyndman, Koehler, Snyder & Grose (2002), "A state space framework for automatic forecasting using exponential
          smoothing methods", Int. J. Forecasting 18; recursions by statsmodels' ETSModel.
Equation  exponential.py has the recursion, exponential_fit.py the search
Shapes    values [time, channel] -> [window, h, channel], each channel by itself
Units     those of the series
Differs   Missing steps are the last observation carried forward. Forms with a multiplicative trend, and additive errors
          with a multiplicative season, are never chosen, only taken when named. Bounds are those of statsmodels
          (0 < alpha < 1, beta < alpha, gamma < 1 - alpha, 0.8 < phi < 0.98). Additive forms are fitted by variable
          projection, to the maximum that ETSModel.fit finds or a higher one, some ten times faster. Against AutoETS of
          statsforecast, series of 100 steps take 1.7 times as long, of 735 steps half as long (bench/local.py).
"""

import re
from itertools import product
from typing import ClassVar

import numpy as np

from tsforge.errors import ArgumentError, FrameError
from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed
from tsforge.local.exponential import Form, begins, forecasts, smoother_of
from tsforge.local.exponential_fit import fitted
from tsforge.local.regression import WHOLE_PAST
from tsforge.local.scaling import require_finite

LONGEST, LONGEST_MULTIPLIED = 60, 24  # seasons that the search still gives states, and factors
LEAST = 5  # observed steps
START = 10  # values by which a history is known again


class ETS(LocalModel):
    """Exponential smoothing, each channel by itself. A history that begins as the training rows did goes on from the
    fitted initial states, any other from its own first steps.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        model: Error, trend and season, as `"AAdM"`: `N` none, `A` additive, `M` multiplicative, `d` after a trend that
            is damped, or `Z`: chosen by AICc. A season above 60 steps is never chosen, one above 24 never as
            multiplicative: take STLETS.

    Raises:
        ArgumentError: `model` is no such word, or asks for a season of 1 step.
    """

    missing: ClassVar[str] = "filled"
    learns: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    def __init__(self, h: int, *, season: int | None = None, model: str = "ZZZ") -> None:
        super().__init__(h, season=1 if season is None else season)
        self.model, self.forms = model, forms_of(model, self.season)

    @property
    def lookback(self) -> int:
        """All that there is."""
        return WHOLE_PAST

    def fit(self, values: np.ndarray, covariates: Covariates = NONE) -> State:
        """Form, weights, initial states and the first values of each channel.

        Raises:
            FrameError: too few steps are observed, or a named form multiplies what is not positive.
        """
        state: dict[str, np.ndarray] = {}
        for c, y in enumerate(last_observed(values).T):
            y = y[~np.isnan(y)]
            observed = int((~np.isnan(values[:, c])).sum())
            state |= {f"{c}/{name}": part for name, part in learned(y, observed, self.season, self.model, self.forms,
                                                                    type(self).__name__).items()}
            state[f"{c}/start"] = y[:START]
        return state

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        return by_channel(values, cutoffs, self.h, state, self.season)

    def check(self, state: State, channels: int) -> None:
        """See LocalModel."""
        check_smoothers(state, channels, self.season)


def forms_of(model: str, m: int) -> list[Form]:
    """The forms that a word stands for.

    Raises:
        ArgumentError: it is no such word.
    """
    parts = re.fullmatch(r"([AMZ])(N|Ad?|Md?|Z)([NAMZ])", model) if isinstance(model, str) else None
    if parts is None:
        raise ArgumentError(f"model={model!r}: wanted error (A, M or Z), trend (N, A, Ad, M, Md or Z) and season "
                            "(N, A, M or Z), such as 'ZZZ' or 'AAdA'.")
    error, trend, season = parts.groups()
    if m < 2 and season in "AM":
        raise ArgumentError(f"model={model!r} has a season, and season={m}: give its steps.")
    errors, trends = "AM" if error == "Z" else error, ("N", "A", "Ad") if trend == "Z" else (trend,)
    seasons = season if season != "Z" else "N" if m < 2 or m > LONGEST else "NA" if m > LONGEST_MULTIPLIED else "NAM"
    chosen = [Form(*each) for each in product(errors, trends, seasons)]
    return [form for form in chosen if "Z" not in (error, season) or (form.error, form.season) != ("A", "M")] or chosen


def learned(
    y: np.ndarray, observed: int, m: int, word: str, forms: list[Form], name: str, above: float | int = 0
) -> State:
    """The arrays of the best smoother of a series without missing steps; it may multiply where all values are `above`.

    Raises:
        FrameError: it is too short, or a form multiplies what is not positive.
    """
    positive = len(y) > 0 and y.min() > above
    usable = [form for form in forms if positive or not form.multiplies]
    if not usable and observed >= LEAST:
        raise FrameError(f"{name} with model={word!r} multiplies, and the smallest value is {y.min():g}: take 'ZZZ'.")
    found = fitted(y, m, usable) if observed >= LEAST else None
    if found is None:
        raise FrameError(f"{observed} observed training steps are too few for {name} with model={word!r} and "
                         f"season={m}: take a simpler one, or Naive.")
    return found.arrays()


def by_channel(values: np.ndarray, cutoffs: np.ndarray, h: int, state: State, m: int) -> np.ndarray:
    """[window, h, channel]; the last observation where nothing positive was seen by a form that multiplies."""
    plain = np.repeat(last_observed(values)[cutoffs][:, None], h, axis=1)
    answer = plain.copy()
    for c in range(values.shape[1]):
        smoother = smoother_of(channel(state, c), m)
        column = values[:, c : c + 1]
        if smoother.form.multiplies:
            column = np.where(column > 0, column, np.nan)
        y = last_observed(column)[:, 0]
        first = int(np.isnan(y).sum())
        mine = cutoffs >= first
        if mine.any():
            y, at = y[first:], cutoffs[mine] - first
            answer[mine, :, c] = forecasts(smoother, y, at, begins(y, at, state[f"{c}/start"]), h)
    return np.where(np.isfinite(answer), answer, plain)


def channel(state: State, c: int) -> State:
    """What was learned of one channel."""
    return {name.split("/", 1)[1]: part for name, part in state.items() if name.startswith(f"{c}/")}


def check_smoothers(state: State, channels: int, m: int) -> None:
    """Raises ArtifactError where a channel has no smoother, or no first values."""
    for c in range(channels):
        smoother_of(channel(state, c), m)
        start = state.get(f"{c}/start", np.zeros((0, 0)))
        require_finite(state, f"{c}/start", (min(max(start.size, 1), START),))
