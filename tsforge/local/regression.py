"""Regression on lags: a learner of numbers becomes a forecaster of a series.

Recursive  y_{t+1} = f(y_t, y_{t-1}, ..., known_{t+1}); forecasts are fed back as if they had been observed
Direct     y_{t+k} = f_k(y_t, y_{t-1}, ..., past_t, known_{t+1..t+h}), one f_k for each step ahead
Shapes     values [time, channel] -> rows [row, feature], targets [row]
Units      every column is standardised by the training rows of its series
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from tsforge.dynamics import embedding_dimension, lag_by_acf
from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed
from tsforge.local.scaling import loc_and_scale, require_finite

MOST_DIMENSIONS = 10  # of the embedding
WHOLE_PAST = 10**9  # more steps than a series has
Lags = int | Sequence[int] | str | None


class LagRegression(LocalModel):
    """A forecaster that learns the next step from the last ones, each series by itself.

    A subclass says how one regression is learned (`learn`) and asked (`answer`), and what its arrays must be
    (`check_learned`).

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        lags: The last so many steps, the lags themselves (`[1, 2, 7]`), or `"embedding"`: delays from the
            autocorrelation (its first zero) and as many as Cao's method finds, of each series' training rows. None is
            two seasons, or 8 steps where the season is 1; never more than a quarter of the training rows.
        strategy: `"recursive"` or `"direct"`. Past covariates are read by the direct one alone.
        channels: `"independent"`: a channel is learned from its own lags. `"mixed"`: from those of all channels.

    Raises:
        ArgumentError: a word is unknown, or the lags are none.
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")
    missing: ClassVar[str] = "filled"
    learns: ClassVar[bool] = True

    def __init__(
        self, h: int, *, season: int | None = None, lags: Lags = None, strategy: str = "recursive",
        channels: str = "independent",
    ) -> None:
        super().__init__(h, season=1 if season is None else season)
        words = ("strategy", strategy, ("recursive", "direct")), ("channels", channels, ("independent", "mixed"))
        for name, word, known in words:
            if word not in known:
                raise ArgumentError(f"{name}={word!r}: wanted {' or '.join(map(repr, known))}.")
        self.lags, self.strategy, self.channels = _checked(lags), strategy, channels

    @property
    def lookback(self) -> int:
        """The longest lag that there may be."""
        if self.lags == "embedding":
            return WHOLE_PAST
        return 2 * self.season if self.season > 1 and self.lags is None else int(np.max(self._stated(WHOLE_PAST)))

    def learn(self, x: np.ndarray, y: np.ndarray) -> State:
        """One regression: [row, feature] and [row] to arrays."""
        raise NotImplementedError(f"{type(self).__name__} learns nothing.")

    def answer(self, x: np.ndarray, learned: State) -> np.ndarray:
        """[row] of what `learn` made."""
        raise NotImplementedError(f"{type(self).__name__} answers nothing.")

    def check_learned(self, learned: State, features: int) -> None:
        """Raises ArtifactError where `learn` cannot have made these arrays for so many features."""
        raise NotImplementedError(f"{type(self).__name__} checks nothing.")

    def fit(self, values: np.ndarray, covariates: Covariates = NONE) -> State:
        """A regression for each channel, and for each step where they are direct.

        Raises:
            FrameError: too few steps are observed.
        """
        state: dict[str, np.ndarray] = dict(_scalings(values, covariates))
        y, observed = _standard(last_observed(values), state, "y"), ~np.isnan(values)
        for c in range(values.shape[1]):
            lags = state[f"{c}/lags"] = self._lags(y[:, c], int(observed[:, c].sum()))
            for k in self._steps():
                origins = np.arange(int(lags.max()) - 1, len(y) - k)
                origins = origins[observed[origins + k, c]]
                if len(origins) < 2:
                    raise FrameError(
                        f"{observed[:, c].sum()} observed training steps are too few for {type(self).__name__} with "
                        f"lags up to {lags.max()} and h={self.h}: take fewer lags, or Naive."
                    )
                x = self._features(y, c, lags, origins, state, covariates)
                learned = self.learn(x, y[origins + k, c])
                state |= {f"{c}/{k}/{name}": array for name, array in learned.items()}
        return state

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        y, channels = _standard(last_observed(values), state, "y"), values.shape[1]
        ahead = np.zeros((len(cutoffs), self.h, channels))
        for step in range(self.h):
            for c in range(channels):
                lags = state[f"{c}/lags"]
                k = 1 if self.strategy == "recursive" else step + 1
                origins, made = (cutoffs + step, ahead[:, :step]) if self.strategy == "recursive" else (cutoffs, None)
                x = self._features(y, c, lags, origins, state, covariates, made)
                ahead[:, step, c] = self.answer(x, _under(state, f"{c}/{k}/"))
        seen = ~np.isnan(last_observed(values)[cutoffs])[:, None]
        return np.where(seen, ahead * state["y/scale"] + state["y/loc"], np.nan)

    def check(self, state: State, channels: int) -> None:
        """See LocalModel."""
        for name in ("y/loc", "y/scale"):
            require_finite(state, name, (channels,))
        widths = {part: len(state[f"{part}/loc"]) if f"{part}/loc" in state else 0 for part in ("past", "known")}
        for c in range(channels):
            lags = state.get(f"{c}/lags")
            if lags is None or lags.ndim != 1 or not len(lags) or lags.dtype.kind != "i" or lags.min() < 1:
                raise ArtifactError(f"The lags of channel {c} are none.")
            own = len(lags) * (channels if self.channels == "mixed" else 1)
            extra = widths["known"] if self.strategy == "recursive" else widths["past"] + self.h * widths["known"]
            for k in self._steps():
                self.check_learned(_under(state, f"{c}/{k}/"), own + extra)

    def _steps(self) -> range:
        return range(1, 2 if self.strategy == "recursive" else self.h + 1)

    def _features(
        self, y: np.ndarray, c: int, lags: np.ndarray, origins: np.ndarray, state: State, covariates: Covariates,
        made: np.ndarray | None = None,
    ) -> np.ndarray:
        """[row, feature]: lags of the last step seen, `origins`; the last steps of `made` stand before it."""
        own = slice(c, c + 1) if self.channels == "independent" else slice(None)
        rows = origins[:, None] + 1 - lags
        lagged = np.where((rows >= 0)[..., None], y[np.clip(rows, 0, len(y) - 1)][..., own], 0.0)
        if made is not None and made.shape[1]:
            recent = lags <= made.shape[1]
            lagged[:, recent] = made[:, made.shape[1] - lags[recent]][..., own]
        return np.concatenate([lagged.reshape(len(origins), -1), *self._others(origins, state, covariates)], axis=1)

    def _others(self, origins: np.ndarray, state: State, covariates: Covariates) -> list[np.ndarray]:
        parts = []
        if self.strategy == "direct" and covariates.past is not None:
            parts.append(_standard(last_observed(covariates.past), state, "past")[origins])
        if covariates.known is not None:
            steps = 1 if self.strategy == "recursive" else self.h
            rows = np.minimum(origins[:, None] + np.arange(1, steps + 1), len(covariates.known) - 1)
            parts.append(_standard(covariates.known, state, "known")[rows].reshape(len(origins), -1))
        return parts

    def _lags(self, y: np.ndarray, observed: int) -> np.ndarray:
        if self.lags != "embedding":
            return self._stated(observed)
        if y.min() == y.max():
            return np.array([1])
        most = max(1, len(y) // (3 * MOST_DIMENSIONS))
        delay = min(lag_by_acf(y), most)
        try:
            dimension = embedding_dimension(y, delay, MOST_DIMENSIONS)
        except (ArgumentError, ValueError):  # the curve does not level off, as for noise: all that are allowed
            dimension = MOST_DIMENSIONS
        return 1 + delay * np.arange(dimension)

    def _stated(self, observed: int) -> np.ndarray:
        assert not isinstance(self.lags, str)
        if self.lags is None:
            many = 2 * self.season if self.season > 1 else 8
            return np.arange(1, max(1, min(many, observed // 4)) + 1)
        return np.arange(1, self.lags + 1) if isinstance(self.lags, int) else np.array(self.lags)


def _checked(lags: Lags) -> Any:
    if lags is None or lags == "embedding":
        return lags
    known = range(1, lags + 1) if isinstance(lags, int) else lags if isinstance(lags, Sequence) else ()
    whole = all(isinstance(lag, int | np.integer) and lag >= 1 for lag in known)
    if isinstance(lags, bool) or not whole or not len(known) or len({*known}) < len(known):
        raise ArgumentError(
            f"lags={lags!r}: wanted a number of steps, different lags such as [1, 2, 7], 'embedding' or None."
        )
    return lags if isinstance(lags, int) else tuple(int(lag) for lag in known)


def _scalings(values: np.ndarray, covariates: Covariates) -> State:
    """loc and scale of every column of the training rows."""
    known = None if covariates.known is None else covariates.known[: len(values)]
    made = {}
    for name, part in (("y", values), ("past", covariates.past), ("known", known)):
        if part is not None:
            loc, scale = loc_and_scale(part)
            made |= {f"{name}/loc": loc, f"{name}/scale": scale}
    return made


def _standard(values: np.ndarray, state: State, name: str) -> np.ndarray:
    return np.nan_to_num((values - state[f"{name}/loc"]) / state[f"{name}/scale"])


def _under(state: State, prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}

