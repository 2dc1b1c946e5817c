"""STLETS: the season by loess, the rest by exponential smoothing.

Source    Cleveland, Cleveland, McRae & Terpenning (1990), "STL", J. Official Statistics 6; Hyndman & Athanasopoulos
          (2021), "Forecasting: Principles and Practice", 3rd ed., section 5.7. STL is statsmodels'.
Equation  y = season + rest by STL;   f_{T+k} = ETS of the rest + the last season, repeated
Shapes    values [time, channel] -> [window, h, channel], each channel by itself
Units     those of the series
Differs   STL looks both ways, so it is computed anew of the steps up to each cutoff, of the last 1000 or 20 seasons
          where there are more. Missing steps are carried forward.
"""

from typing import ClassVar

import numpy as np
from statsmodels.tsa.seasonal import STL

from tsforge.errors import ArgumentError, FrameError
from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed
from tsforge.local.ets import START, channel, check_smoothers, forms_of, learned
from tsforge.local.exponential import begins, forecasts, smoother_of
from tsforge.local.regression import WHOLE_PAST
from tsforge.space import Choice, Declared

LONG = 1000  # steps of a decomposition, or 20 seasons
SMALL = 1e-6  # of the largest value: what is left of the series below that is rounding, and is not multiplied


class STLETS(LocalModel):
    """A seasonal decomposition, its last season repeated, and ETS of what is left. A season of 1 is ETS alone.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
        model: Error and trend, then `N`, as in ETS: `"ZZN"` chooses them by AICc.
        window: Seasons that a value of the season is smoothed over, odd, 7 or more.
        robust: Whether outliers get less weight.

    Raises:
        ArgumentError: an argument has a value that cannot work.
    """

    missing: ClassVar[str] = "filled"
    learns: ClassVar[bool] = True
    slow: ClassVar[bool] = True

    space: ClassVar[Declared] = {"window": Choice(7, 13, 25), "robust": Choice(False, True)}

    def __init__(
        self, h: int, *, season: int | None = None, model: str = "ZZN", window: int = 7, robust: bool = False,
    ) -> None:
        super().__init__(h, season=1 if season is None else season)
        if not isinstance(model, str) or not model.endswith("N"):
            raise ArgumentError(f"model={model!r}: wanted no season, such as 'ZZN'; STL has taken it.")
        if isinstance(window, bool) or window % 2 != 1 or window < 7:
            raise ArgumentError(f"window={window!r}: wanted an odd number of seasons, 7 or more.")
        self.model, self.forms = model, forms_of(model, 1)
        self.window, self.robust = window, robust

    @property
    def lookback(self) -> int:
        """All that there is."""
        return WHOLE_PAST

    def fit(self, values: np.ndarray, covariates: Covariates = NONE) -> State:
        """As ETS.

        Raises:
            FrameError: fewer than two seasons and a step are observed, or too few for ETS.
        """
        state: dict[str, np.ndarray] = {}
        for c, y in enumerate(last_observed(values).T):
            y = y[~np.isnan(y)]
            observed = int((~np.isnan(values[:, c])).sum())
            if observed <= 2 * self.season and self.season > 1:
                raise FrameError(f"{observed} observed training steps are too few for STLETS with "
                                 f"season={self.season}: take ETS, or Naive.")
            least = SMALL * np.abs(y).max(initial=0)
            found = learned(y - self._season(y), observed, 1, self.model, self.forms, "STLETS", float(least))
            state |= {f"{c}/{name}": part for name, part in found.items()} | {f"{c}/start": y[:START]}
        return state

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        filled = last_observed(values)
        answer = np.repeat(filled[cutoffs][:, None], self.h, axis=1)
        for c, column in enumerate(filled.T):
            first, learned_then = int(np.isnan(column).sum()), channel(state, c)
            for window, cutoff in enumerate(cutoffs):
                if cutoff >= first:
                    answer[window, :, c] = self._ahead(column[first : cutoff + 1], learned_then)
        return answer

    def check(self, state: State, channels: int) -> None:
        """See LocalModel."""
        check_smoothers(state, channels, 1)

    def _ahead(self, y: np.ndarray, state: State) -> np.ndarray:
        """[h] after the end of one history."""
        smoother, m, longest = smoother_of(state, 1), self.season, max(LONG, 20 * self.season)
        end = np.array([len(y) - 1])
        known = begins(y, end, state["start"]) & (len(y) <= longest)
        y = y[-longest:]
        season = self._season(y)
        rest = y - season
        if smoother.form.multiplies:
            rest = np.maximum(rest, SMALL * np.abs(y).max() + 1e-300)
        ahead = forecasts(smoother, rest, np.minimum(end, longest - 1), known, self.h)[0]
        ahead = np.where(np.isfinite(ahead), ahead, rest[-1])
        return ahead + season[-m:][np.arange(self.h) % m] if len(y) >= m else ahead

    def _season(self, y: np.ndarray) -> np.ndarray:
        """[time] 0 where there are no two seasons and a step."""
        if self.season == 1 or len(y) <= 2 * self.season:
            return np.zeros(len(y))
        return STL(y, period=self.season, seasonal=self.window, robust=self.robust).fit().seasonal
