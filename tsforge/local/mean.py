"""Mean: the mean of the past, repeated.

Source    Hyndman & Athanasopoulos (2021), "Forecasting: Principles and Practice", 3rd ed., section 5.2.
Equation  f_{T+k} = mean of y_t over the observed steps t up to the cutoff T.
"""

import numpy as np

from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State

WHOLE_PAST = 10**9  # more steps than a series has


class Mean(LocalModel):
    """Repeats the mean of all observed values."""

    def __init__(self, h: int) -> None:
        super().__init__(h)

    @property
    def lookback(self) -> int:
        """The whole past."""
        return WHOLE_PAST

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        observed = ~np.isnan(values)
        first = np.take_along_axis(values, observed.argmax(axis=0)[None], axis=0)  # [1, channel]
        change = np.where(observed, values - first, 0.0)  # sums of changes lose less than sums of values far from 0
        counts = np.cumsum(observed, axis=0)[cutoffs]
        means = np.cumsum(change, axis=0)[cutoffs] / np.where(counts, counts, np.nan) + first
        return np.repeat(means[:, None, :], self.h, axis=1)
