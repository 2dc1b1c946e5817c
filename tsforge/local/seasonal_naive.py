"""SeasonalNaive: the last season, repeated.

Source    Hyndman & Athanasopoulos (2021), "Forecasting: Principles and Practice", 3rd ed., section 5.2.
Equation  f_{T+k} = y_{T+k-m j}, m the season, j the smallest number of seasons that leads to an observed step up to T;
          where that phase was never observed, the last observed value.
"""

import numpy as np

from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed


class SeasonalNaive(LocalModel):
    """Repeats the value of the same phase in the last season that has it.

    Args:
        h: Steps ahead.
        season: Steps of one season; None takes that of the frame.
    """

    def __init__(self, h: int, *, season: int | None = None) -> None:
        super().__init__(h, season=1 if season is None else season)

    @property
    def lookback(self) -> int:
        """One season."""
        return self.season

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        m = self.season
        padded = np.concatenate([np.full((-len(values) % m, values.shape[1]), np.nan), values])
        shift = len(padded) - len(values)
        by_phase = padded.reshape(-1, m, values.shape[1])  # [season, phase, channel]
        same_phase = last_observed(by_phase.reshape(len(by_phase), -1)).reshape(padded.shape)
        back = cutoffs[:, None] + shift - m + 1 + np.arange(self.h) % m  # [window, h]
        seasonal = np.where((back >= 0)[..., None], same_phase[np.maximum(back, 0)], np.nan)
        plain = last_observed(values)[cutoffs][:, None, :]
        return np.where(np.isnan(seasonal), plain, seasonal)
