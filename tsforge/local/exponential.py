"""Exponential smoothing with known parameters: the states of a series after each step, and forecasts from them.

Source    Hyndman, Koehler, Ord & Snyder (2008), "Forecasting with Exponential Smoothing", chapter 2; the recursion is
          that of statsmodels' ETSModel.
Equation  y_t = l_{t-1} + phi b_{t-1} + s_{t-m} + e_t
          l_t = l_{t-1} + phi b_{t-1} + alpha e_t,   b_t = phi b_{t-1} + beta e_t,   s_t = s_{t-m} + gamma e_t
          multiplicative trend: l b^phi;   season: times s;   error: e_t in units of the forecast
Shapes    y [time] -> states [time, 2 + m]: level, trend, and the m seasonal states, the next one first
Units     those of y
"""

import warnings
from typing import NamedTuple

import numpy as np
from statsmodels.tsa.exponential_smoothing.ets import ETSModel

from tsforge.errors import ArtifactError
from tsforge.local.base import State

ERRORS, TRENDS, SEASONS = ("A", "M"), ("N", "A", "Ad", "M", "Md"), ("N", "A", "M")
WORDS = {"N": None, "A": "add", "M": "mul"}
FIRST = 10  # steps from which a history without fitted initial states gets them, or two seasons


class Form(NamedTuple):
    """Error, trend and season: N none, A additive, M multiplicative, d damped."""

    error: str
    trend: str
    season: str

    @property
    def multiplies(self) -> bool:
        """Whether the series must be positive."""
        return "M" in "".join(self)

    def initial_states(self, m: int) -> int:
        """Length of the initial states; without a season there is one seasonal state, which does nothing."""
        return 2 + (1 if self.season == "N" else m)

    def parameters(self, m: int) -> int:
        """How many numbers are estimated, the variance among them."""
        seasonal = 0 if self.season == "N" else m
        return 3 + 2 * (self.trend != "N") + ("d" in self.trend) + seasonal

    def neutral(self) -> tuple[float, float]:
        """The trend and the seasonal state that change nothing."""
        return float("M" in self.trend), float(self.season == "M")


class Smoother(NamedTuple):
    """A form with its parameters.

    Args:
        form: Error, trend and season.
        weights: [4] alpha, beta, gamma, phi; 0, and 1 for phi, where the form has none.
        initial: [2 + m] the states before the first step.
    """

    form: Form
    weights: np.ndarray
    initial: np.ndarray

    def arrays(self) -> State:
        """What a run folder keeps."""
        code = [part.index(letter) for part, letter in zip((ERRORS, TRENDS, SEASONS), self.form, strict=True)]
        return {"form": np.array(code), "weights": self.weights, "initial": self.initial}

    def smooth(self, y: np.ndarray) -> np.ndarray:
        """[time, 2 + m]."""
        model, given = self.model(y)
        with np.errstate(all="ignore"):
            _, found = model.smooth(given, return_raw=True)
        level, trend = found[:, 0], found[:, 1] if self.form.trend != "N" else np.full(len(y), self.form.neutral()[0])
        if self.form.season == "N":
            return np.column_stack([level, trend, np.full(len(y), self.form.neutral()[1])])
        m = len(self.initial) - 2
        seasonal = np.concatenate([self.initial[2:], found[:, -1]])
        return np.column_stack([level, trend, np.lib.stride_tricks.sliding_window_view(seasonal, m)[1:]])

    def ahead(self, states: np.ndarray, h: int) -> np.ndarray:
        """[window, h] from the states [window, 2 + m] at each cutoff."""
        damped = np.cumsum(self.weights[3] ** np.arange(1, h + 1))
        level, trend, seasonal = states[:, :1], states[:, 1:2], states[:, 2:]
        with np.errstate(all="ignore"):
            if "M" in self.form.trend:
                level = level * np.maximum(trend, 1e-8) ** damped
            elif self.form.trend != "N":
                level = level + trend * damped
            seasonal = seasonal[:, np.arange(h) % seasonal.shape[1]]
            if self.form.season == "M":
                return level * seasonal
            return np.broadcast_to(level, seasonal.shape) + (seasonal if self.form.season == "A" else 0)

    def model(self, y: np.ndarray) -> tuple[ETSModel, np.ndarray]:
        """statsmodels' model of a series with these initial states, and its parameters."""
        form, weights = self.form, self.weights
        level, trend, *seasonal = self.initial
        words = {"error": WORDS[form.error], "trend": WORDS[form.trend[0]], "damped_trend": "d" in form.trend}
        words |= {"initial_level": level, "initial_trend": trend} if form.trend != "N" else {"initial_level": level}
        if form.season != "N":
            words |= {"seasonal": WORDS[form.season], "seasonal_periods": len(seasonal)}
            words |= {"initial_seasonal": np.array(seasonal)}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = ETSModel(y, initialization_method="known", **words)
        return model, weights[has_weight(form)]

    def begun(self, y: np.ndarray) -> "Smoother":
        """With initial states from the first steps of another history: phase means, a level and no trend."""
        trend, none = self.form.neutral()
        seasonal = np.full(len(self.initial) - 2, none)
        m = len(seasonal)
        level = y.mean()
        if self.form.season != "N" and len(y) >= 2 * m:
            level = y[: 2 * m].mean()
            means = y[: 2 * m].reshape(2, m).mean(axis=0)
            seasonal = means / level if self.form.season == "M" else means - level
        return self._replace(initial=np.concatenate([[level, trend], seasonal]))


def has_weight(form: Form) -> np.ndarray:
    """[4] which of alpha, beta, gamma, phi the form has, in the order of statsmodels."""
    return np.array([True, form.trend != "N", form.season != "N", "d" in form.trend])


def smoother_of(arrays: State, m: int) -> Smoother:
    """The inverse of `Smoother.arrays`.

    Raises:
        ArtifactError: an array is missing or is not what a smoother of season m has.
    """
    code = arrays.get("form")
    sizes = (len(ERRORS), len(TRENDS), len(SEASONS))
    if code is None or code.shape != (3,) or code.dtype.kind != "i" or (code < 0).any() or (code >= sizes).any():
        raise ArtifactError("The form of an exponential smoother is not three known numbers.")
    form = Form(ERRORS[code[0]], TRENDS[code[1]], SEASONS[code[2]])
    if m < 2 and form.season != "N":
        raise ArtifactError(f"An exponential smoother has a season, and a season of {m} step is none.")
    for name, length in (("weights", 4), ("initial", form.initial_states(m))):
        part = arrays.get(name)
        if part is None or part.shape != (length,) or part.dtype.kind != "f" or not np.isfinite(part).all():
            raise ArtifactError(f"The {name} of an exponential smoother are not {length} finite numbers.")
    return Smoother(form, np.asarray(arrays["weights"]), np.asarray(arrays["initial"]))


def begins(y: np.ndarray, cutoffs: np.ndarray, start: np.ndarray) -> np.ndarray:
    """[window] whether a history, as far as it is seen at a cutoff, begins with these values."""
    many = min(len(y), len(start))
    same = np.concatenate([[True], np.logical_and.accumulate(y[:many] == start[:many])])
    return same[np.minimum(cutoffs + 1, many)]


def forecasts(smoother: Smoother, y: np.ndarray, cutoffs: np.ndarray, known: np.ndarray, h: int) -> np.ndarray:
    """[window, h] of one history without missing steps, by one pass over it.

    Args:
        smoother: The form and its parameters.
        y: [time].
        cutoffs: [window].
        known: [window] whether the history begins as the training rows did. Then it goes on from the fitted initial
            states, else from its own, of its first 10 steps or two seasons: see `Smoother.begun`.
        h: Steps ahead.
    """
    answer = np.empty((len(cutoffs), h))
    first = np.where(known, 0, np.minimum(cutoffs + 1, max(FIRST, 2 * (len(smoother.initial) - 2))))
    for count in np.unique(first):
        mine, here = first == count, smoother.begun(y[:count]) if count else smoother
        answer[mine] = here.ahead(here.smooth(y[: cutoffs[mine].max() + 1])[cutoffs[mine]], h)
    return answer
