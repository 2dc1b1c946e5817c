"""Theta: a smoothed level and half of the linear trend.

Source    Assimakopoulos & Nikolopoulos (2000), "The theta model", Int. J. Forecasting 16, in the form of Hyndman &
          Billah (2003), "Unmasking the Theta method", Int. J. Forecasting 19.
Equation  x the seasonally adjusted series of T steps, b its slope, l_t = l_{t-1} + alpha (x_t - l_{t-1}), l_0 = x_1
          f_{T+k} = s_{T+k} (l_T + b/2 (k - 1 + (1 - (1 - alpha)^T) / alpha))
Shapes    values [time, channel] -> [window, h, channel], each channel by itself
Units     those of the series
Differs   As statsmodels' ThetaModel, which it equals after the end of the training rows: seasonal indices by classical
          decomposition where the autocorrelation at the season is significant (10 %), as factors where the series is
          positive. alpha, b and whether there are indices are learned; the indices are of the history up to each
          cutoff, as a history need not begin at the phase of the training rows. Missing steps are carried forward.
"""

from typing import ClassVar

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.signal import lfilter

from tsforge.errors import ArtifactError, FrameError
from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed
from tsforge.local.regression import WHOLE_PAST
from tsforge.local.scaling import require_finite

LEAST = 4  # observed steps
AT_ONCE = 2**22  # numbers of a block of windows
SIGNIFICANT = 1.6448536269514722**2  # chi-squared of one degree, 10 %
PLAIN, ADDED, MULTIPLIED = 0, 1, 2  # the season


class Theta(LocalModel):
    """The Theta method, each channel by itself.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
    """

    missing: ClassVar[str] = "filled"
    learns: ClassVar[bool] = True

    def __init__(self, h: int, *, season: int | None = None) -> None:
        super().__init__(h, season=1 if season is None else season)

    @property
    def lookback(self) -> int:
        """All that there is."""
        return WHOLE_PAST

    def fit(self, values: np.ndarray, covariates: Covariates = NONE) -> State:
        """`alpha`, `slope` and `kind` of season, [channel].

        Raises:
            FrameError: too few steps are observed.
        """
        observed = (~np.isnan(values)).sum(axis=0)
        if (observed < LEAST).any():
            raise FrameError(f"{observed.min()} observed training steps are too few for Theta: take Naive.")
        found = [self._learn(y[~np.isnan(y)]) for y in last_observed(values).T]
        alpha, slope, kind = map(np.array, zip(*found, strict=True))
        return {"alpha": alpha, "slope": slope, "kind": kind}

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        filled = last_observed(values)
        answer = np.repeat(filled[cutoffs][:, None], self.h, axis=1)
        for c, column in enumerate(filled.T):
            first = int(np.isnan(column).sum())
            mine = np.flatnonzero(cutoffs >= first)
            learned = float(state["alpha"][c]), float(state["slope"][c]), int(state["kind"][c])
            for part in np.array_split(mine, max(1, len(mine) * len(values) // AT_ONCE)):
                if len(part):
                    answer[part, :, c] = self._ahead(column[first:], cutoffs[part] - first, *learned)
        return answer

    def check(self, state: State, channels: int) -> None:
        """See LocalModel."""
        for name in ("alpha", "slope"):
            require_finite(state, name, (channels,))
        kind = state.get("kind")
        if kind is None or kind.shape != (channels,) or kind.dtype.kind != "i" or not np.isin(kind, (0, 1, 2)).all():
            raise ArtifactError("The kinds of season of Theta are not 0, 1 or 2.")
        if not ((state["alpha"] > 0) & (state["alpha"] <= 1)).all():
            raise ArtifactError("The alpha of Theta is not above 0, 1 at most.")

    def _learn(self, y: np.ndarray) -> tuple[float, float, int]:
        kind, m = PLAIN, self.season
        if m > 1 and len(y) > 2 * m and is_seasonal(y, m):
            kind = MULTIPLIED if y.min() > 0 else ADDED
            indices = seasonal_indices(y, m, kind, np.array([len(y) - 1]))[0]
            if kind == MULTIPLIED and indices.min() <= 0:
                kind, indices = ADDED, seasonal_indices(y, m, ADDED, np.array([len(y) - 1]))[0]
            y = _adjusted(y, indices[np.arange(len(y)) % m], kind)
        t = np.arange(len(y)) - (len(y) - 1) / 2
        slope, scale = float(t @ y / (t @ t)), float(y.std())
        if scale <= 1e-12 * np.abs(y).max():
            return 1.0, slope, kind
        x = (y - y[0]) / scale

        def cost(alpha: float) -> float:
            return float(((x[1:] - _levels(x, alpha)[:-1]) ** 2).sum())

        start = min(np.linspace(0.05, 1, 20), key=cost)
        found = minimize_scalar(cost, bounds=(max(start - 0.05, 1e-4), min(start + 0.05, 1)), method="bounded",
                                options={"xatol": 1e-8})
        return float(found.x), slope, kind  # pyright: ignore[reportAttributeAccessIssue]

    def _ahead(self, y: np.ndarray, cutoffs: np.ndarray, alpha: float, slope: float, kind: int) -> np.ndarray:
        """[window, h]."""
        m, last = self.season, int(cutoffs.max()) + 1
        y, k = y[:last], np.arange(self.h)
        indices = seasonal_indices(y, m, kind, cutoffs)  # [window, phase]
        x = _adjusted(y, indices[:, np.arange(last) % m], kind)
        level = _levels(x, alpha)[np.arange(len(cutoffs)), cutoffs][:, None]
        age = (1 - (1 - alpha) ** (cutoffs[:, None] + 1)) / alpha
        phase = (cutoffs[:, None] + 1 + k) % m
        return _seasoned(level + slope / 2 * (k + age), np.take_along_axis(indices, phase, axis=1), kind)


def is_seasonal(y: np.ndarray, m: int) -> bool:
    """Whether the autocorrelation at lag m is significant, by that at the lags below."""
    centred = y - y.mean()
    centred = centred / (np.abs(centred).max() or 1.0)
    rho = np.array([centred[lag:] @ centred[: len(y) - lag] for lag in range(m + 1)])
    return bool(rho[0] > 0 and len(y) * rho[-1] ** 2 > SIGNIFICANT * (rho[:-1] ** 2).sum())


def seasonal_indices(y: np.ndarray, m: int, kind: int, cutoffs: np.ndarray) -> np.ndarray:
    """[window, phase] of the steps up to each cutoff, counted from the first; neutral below two seasons.

    Args:
        y: [time].
        m: Steps of one season.
        kind: PLAIN, ADDED or MULTIPLIED.
        cutoffs: [window].
    """
    neutral = np.full((len(cutoffs), m), float(kind == MULTIPLIED))
    if kind == PLAIN or len(y) < 2 * m:
        return neutral
    weights = np.ones(m) if m % 2 else np.r_[0.5, np.ones(m - 1), 0.5]
    half = len(weights) // 2
    middle = np.convolve(y, weights / m, "valid")  # of the steps half ... time - half
    own = y[half : half + len(middle)]
    off = own / np.where(middle == 0, 1, middle) if kind == MULTIPLIED else own - middle
    by_phase = np.zeros((len(off) + 1, m))
    by_phase[np.arange(1, len(off) + 1), (half + np.arange(len(off))) % m] = off
    counts = _counts(len(off), half, m)
    there = np.clip(cutoffs + 1 - 2 * half, 0, len(off))
    means = np.cumsum(by_phase, axis=0)[there] / np.maximum(counts[there], 1)
    centre = means.mean(axis=1, keepdims=True)
    means = means / np.where(centre == 0, 1, centre) if kind == MULTIPLIED else means - centre
    usable = (cutoffs + 1 >= 2 * m) & ((means > 0).all(axis=1) | (kind == ADDED))
    return np.where(usable[:, None], means, neutral)


def _counts(steps: int, half: int, m: int) -> np.ndarray:
    """[steps + 1, phase] how often each phase came in the first so many steps from `half` on."""
    until = half + np.arange(steps + 1)[:, None]
    return (until - np.arange(m) + m - 1) // m - (half - np.arange(m) + m - 1) // m


def _levels(x: np.ndarray, alpha: float) -> np.ndarray:
    """[..., time] from the first step on."""
    return lfilter([alpha], [1, alpha - 1], x, axis=-1, zi=(1 - alpha) * x[..., :1])[0]


def _adjusted(y: np.ndarray, indices: np.ndarray, kind: int) -> np.ndarray:
    return y / indices if kind == MULTIPLIED else y - indices


def _seasoned(x: np.ndarray, indices: np.ndarray, kind: int) -> np.ndarray:
    return x * indices if kind == MULTIPLIED else x + indices
