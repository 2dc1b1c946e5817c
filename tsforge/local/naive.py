"""Naive: the last observation, repeated.

Source    Hyndman & Athanasopoulos (2021), "Forecasting: Principles and Practice", 3rd ed., section 5.2.
Equation  f_{T+k} = y_T, with T the last observed step up to the cutoff.
"""

import numpy as np

from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State, last_observed


class Naive(LocalModel):
    """Repeats the last observed value."""

    def __init__(self, h: int) -> None:
        super().__init__(h)

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        return np.repeat(last_observed(values)[cutoffs][:, None, :], self.h, axis=1)
