"""Drift: the line through the first and the last observation, continued.

Source    Hyndman & Athanasopoulos (2021), "Forecasting: Principles and Practice", 3rd ed., section 5.2.
Equation  f_{T+k} = y_b + (T + k - b) (y_b - y_a) / (b - a), y_b where a = b;
          a and b the first and the last observed step up to the cutoff T.
"""

import numpy as np

from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed

WHOLE_PAST = 10**9  # more steps than a series has


class Drift(LocalModel):
    """Goes on at the mean change per step between the first and the last observed value."""

    def __init__(self, h: int) -> None:
        super().__init__(h)

    @property
    def lookback(self) -> int:
        """The whole past: its first step counts."""
        return WHOLE_PAST

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        steps = np.where(np.isnan(values), np.nan, np.arange(len(values))[:, None])
        a = (~np.isnan(values)).argmax(axis=0)[None]  # [1, channel]
        b, last = last_observed(steps)[cutoffs], last_observed(values)[cutoffs]  # [window, channel]
        slope = (last - np.take_along_axis(values, a, axis=0)) / np.maximum(b - a, 1)
        ahead = cutoffs[:, None, None] + np.arange(1, self.h + 1)[:, None] - b[:, None]  # [window, h, channel]
        return last[:, None] + ahead * slope[:, None]
