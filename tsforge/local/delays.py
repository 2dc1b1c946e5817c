"""Models of a dynamical system in delay coordinates: one step is learned, and iterated.

Equation  x_t = (y_t, y_{t-s}, ..., y_{t-(k-1)s}) of all channels,   y_{t+1} = y_t + f(x_t)
          f learns the change, so that a finely sampled flow, which moves little in a step, is no near-identity to learn
Choice    What is not stated (delays, widths, penalties, neighbours) is chosen by blocked validation: models learned
          from the first rows run freely over the last ones from several starts, and the one whose errors, cut off at
          one sd, have the least mean is learned again from all rows.
Shapes    values [time, channel] -> delay vectors [row, delay * channel], changes [row, channel]
Units     each channel standardised by the training rows
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed
from tsforge.local.scaling import loc_and_scale, require_finite

STARTS = 8  # free runs of the validation
VALIDATED = 0.25  # share of the rows they run over
LONGEST = 200  # steps of a free run
REACH = 1.0  # a free run stays within the range of the training rows, widened by this share of it on either side


class DelayModel(LocalModel):
    """A forecaster that learns one step of a system from delay vectors of all channels, and runs freely.

    A subclass gives candidates that share their costs (`candidates`), learns one of them again (`again`), and says what
    changes in a step (`step`) and what its arrays must be (`check_learned`).

    Args:
        h: Steps ahead.
        delays: Delays in a vector, or several among which validation chooses.
        stride: Steps between them, or several.

    Raises:
        ArgumentError: a number of delays or steps is below 1.
    """

    missing: ClassVar[str] = "filled"
    learns: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    def __init__(self, h: int, *, delays: int | Sequence[int], stride: int | Sequence[int]) -> None:
        super().__init__(h)
        self.delays, self.stride = whole_numbers("delays", delays), whole_numbers("stride", stride)

    @property
    def lookback(self) -> int:
        """The steps of the longest delay vector."""
        return 1 + (max(self.delays) - 1) * max(self.stride)

    def candidates(self, x: np.ndarray, change: np.ndarray) -> Iterator[State]:
        """What may be learned from these rows, one for each setting that is not stated, always in the same order."""
        raise NotImplementedError(f"{type(self).__name__} has no candidates.")

    def again(self, x: np.ndarray, change: np.ndarray, chosen: State) -> State:
        """A candidate's setting, learned from other rows."""
        raise NotImplementedError(f"{type(self).__name__} learns nothing.")

    def step(self, learned: State) -> Callable[[np.ndarray], np.ndarray]:
        """The function from delay vectors [row, delay * channel] to what changes in a step, [row, channel]."""
        raise NotImplementedError(f"{type(self).__name__} knows no step.")

    def check_learned(self, learned: State, features: int, channels: int) -> None:
        """Raises ArtifactError where these arrays cannot have been learned."""
        raise NotImplementedError(f"{type(self).__name__} checks nothing.")

    def fit(self, values: np.ndarray, covariates: Covariates = NONE) -> State:
        """The delays and the setting with the best free runs, learned from all rows.

        Raises:
            FrameError: too few steps are observed.
        """
        loc, scale = loc_and_scale(values)
        y = np.nan_to_num((last_observed(values) - loc) / scale)
        scaling = {"loc": loc, "scale": scale, "low": y.min(0), "high": y.max(0)}
        seen: np.ndarray = np.isnan(values).sum(axis=1) == 0
        pairs = [(k, s) for s in self.stride for k in self.delays if fits(k, s, int(seen.sum()))]
        if not pairs:
            raise FrameError(
                f"{int(seen.sum())} observed training steps are too few for {type(self).__name__} with "
                f"{min(self.delays)} delays: take fewer delays, or Naive."
            )
        best, lags = self._best(y, seen, scaling, pairs)
        learned = self.again(*delay_rows(y, seen, lags), best)
        return scaling | {"lags": lags} | {f"f/{name}": array for name, array in learned.items()}

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        filled = last_observed(values)
        y = np.nan_to_num((filled - state["loc"]) / state["scale"])
        ahead = self._run(y, cutoffs, self.h, state, under(state))
        return np.where(~np.isnan(filled[cutoffs])[:, None], ahead * state["scale"] + state["loc"], np.nan)

    def check(self, state: State, channels: int) -> None:
        """See LocalModel."""
        for name in ("loc", "scale", "low", "high"):
            require_finite(state, name, (channels,))
        lags = require_lags(state, max(self.delays), self.lookback)
        self.check_learned(under(state), len(lags) * channels, channels)

    def _best(
        self, y: np.ndarray, seen: np.ndarray, scaling: dict[str, np.ndarray], pairs: list[tuple[int, int]]
    ) -> tuple[State, np.ndarray]:
        """The candidate with the best free runs, and its lags; where there is one only it is not tried out."""
        until = max(len(y) - max(int(len(y) * VALIDATED), min(self.h, len(y) // 3)), self.lookback + 1)
        steps = min(self.h, len(y) - until, LONGEST)
        starts = np.unique(np.linspace(until - 1, len(y) - 1 - steps, STARTS).astype(int))
        truth, known = (part[starts[:, None] + np.arange(1, steps + 1)] for part in (y, seen))
        best: tuple[float, Any, Any] = (np.inf, None, None)
        for k, s in pairs:
            lags = 1 + s * np.arange(k)
            rows = delay_rows(y[:until], seen[:until], lags)
            for number, learned in enumerate(self.candidates(*rows)):
                if number == 0 and best[1] is None:
                    best = (np.inf, learned, lags)
                if not known.any():
                    continue
                run = self._run(y, starts, steps, scaling | {"lags": lags}, learned)
                error = np.minimum(np.abs(run - truth), 1.0)[known].mean()
                if error < best[0]:
                    best = (float(error), learned, lags)
        return best[1], best[2]

    def _run(self, y: np.ndarray, origins: np.ndarray, steps: int, state: State, learned: State) -> np.ndarray:
        """[window, step, channel] of free runs from each origin."""
        return free_runs(self.step(learned), y, origins, steps, state)


def free_runs(
    change: Callable[[np.ndarray], np.ndarray], y: np.ndarray, origins: np.ndarray, steps: int, state: State
) -> np.ndarray:
    """[window, step, channel] of free runs from each origin, kept near the range of training.

    Args:
        change: What changes in a step, [row, delay * channel] -> [row, channel].
        y: [time, channel].
        origins: [window] the last step that each run sees.
        steps: Steps ahead.
        state: `lags`, and the range of training as `low` and `high`.
    """
    lags, reach = state["lags"], REACH * (state["high"] - state["low"])
    low, high = state["low"] - reach, state["high"] + reach
    longest = int(lags[-1])
    rows = origins[:, None] + np.arange(1 - longest, 1)
    path = np.empty((len(origins), longest + steps, y.shape[1]))
    path[:, :longest] = np.where((rows >= 0)[..., None], y[np.maximum(rows, 0)], 0.0)
    for step in range(longest, longest + steps):
        x = path[:, step - lags].reshape(len(origins), -1)
        path[:, step] = np.clip(path[:, step - 1] + change(x), low, high)
    return path[:, longest:]


def whole_numbers(name: str, given: Any) -> tuple[int, ...]:
    """One number or several, as a tuple.

    Raises:
        ArgumentError: one is no whole number of at least 1.
    """
    numbers = (given,) if isinstance(given, int | np.integer) else tuple(given)
    if not numbers or any(isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1 for n in numbers):
        raise ArgumentError(f"{name}={given!r}: wanted a number, 1 or more, or several to choose from.")
    return tuple(int(n) for n in numbers)


def require_lags(state: State, most: int, longest: int) -> np.ndarray:
    """The lags of a delay vector as they were learned.

    Raises:
        ArtifactError: there are none or more than `most`, or one is longer than `longest`.
    """
    lags = state.get("lags")
    if lags is None or lags.ndim != 1 or lags.dtype.kind != "i" or not 0 < len(lags) <= most:
        raise ArtifactError("The delays that were learned are missing, or none.")
    if lags[0] != 1 or (np.diff(lags) < 1).any() or lags[-1] > longest:
        raise ArtifactError("The delays that were learned are none of those to choose from.")
    return lags


def fits(delays: int, stride: int, observed: int) -> bool:
    """Whether three times as many steps are observed as a vector spans, and some to learn from."""
    return observed >= max(3 * (1 + (delays - 1) * stride), 8)


def delay_rows(y: np.ndarray, seen: np.ndarray, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Delay vectors, and what changed in the next step where that was observed."""
    origins = np.arange(int(lags[-1]) - 1, len(y) - 1)
    origins = origins[seen[origins + 1]]
    return y[origins[:, None] + 1 - lags].reshape(len(origins), -1), y[origins + 1] - y[origins]


def under(state: State, prefix: str = "f/") -> dict[str, np.ndarray]:
    """The arrays whose names begin so, without that beginning."""
    return {name.removeprefix(prefix): array for name, array in state.items() if name.startswith(prefix)}
