"""Croston: for intermittent series, the size of a demand and how often there is one, smoothed apart.

Source    Croston (1972), "Forecasting and Stock Control for Intermittent Demands", Oper. Res. Quarterly 23.
          sba: Syntetos & Boylan (2005), "The accuracy of intermittent demand estimates", Int. J. Forecasting 21.
          tsb: Teunter, Syntetos & Babai (2011), "Intermittent demand", Eur. J. Oper. Research 214.
Equation  at a demand y_t != 0:   z = z + alpha (y_t - z),   p = p + beta (q - p),   q the steps since the last demand
          croston  f = z / p      sba  f = (1 - beta/2) z / p
          tsb      f = z d,   d = d + beta ([y_t != 0] - d) at every step
          z and p begin at the first demand and its place in the series, d at [y_1 != 0]
Shapes    values [time, channel] -> [window, h, channel], each channel by itself, the same for all steps ahead
Units     those of the series
Differs   missing steps are left out: they are no demand, no sign that there was none, and do not count as waiting
"""

from typing import ClassVar

import numpy as np
from scipy.signal import lfilter

from tsforge.errors import ArgumentError
from tsforge.local.base import NONE, NOTHING, Covariates, LocalModel, State
from tsforge.local.regression import WHOLE_PAST
from tsforge.space import Choice, Declared, Real

VARIANTS = ("croston", "sba", "tsb")


class Croston(LocalModel):
    """A flat forecast of the mean demand per step; 0 before the first demand.

    Args:
        h: Steps ahead.
        variant: `"croston"`, too large on average by a factor of up to 1 / (1 - beta/2); `"sba"`, which takes that off;
            or `"tsb"`, which sinks while there is no demand.
        alpha: Weight of the last demand in its size.
        beta: Weight of the last interval, or of the last step in the probability of a demand.

    Raises:
        ArgumentError: an argument has a value that cannot work.
    """

    space: ClassVar[Declared] = {
        "variant": Choice("croston", "sba", "tsb"), "alpha": Real(0.02, 0.5, log=True),
        "beta": Real(0.02, 0.5, log=True),
    }

    def __init__(self, h: int, *, variant: str = "sba", alpha: float | int = 0.1, beta: float | int = 0.1) -> None:
        super().__init__(h)
        if variant not in VARIANTS:
            raise ArgumentError(f"variant={variant!r}: wanted {' or '.join(map(repr, VARIANTS))}.")
        for name, weight in (("alpha", alpha), ("beta", beta)):
            if isinstance(weight, bool) or not 0 < weight <= 1:
                raise ArgumentError(f"{name}={weight!r}: wanted a weight above 0, 1 at most.")
        self.variant, self.alpha, self.beta = variant, alpha, beta

    @property
    def lookback(self) -> int:
        """All that there is."""
        return WHOLE_PAST

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """[window, h, channel]."""
        seen = np.cumsum(~np.isnan(values), axis=0)[cutoffs]  # [window, channel] observed steps up to the cutoff
        flat = np.full(seen.shape, np.nan)
        for c, column in enumerate(values.T):
            after = self._after(column[~np.isnan(column)])
            flat[:, c] = np.concatenate([[np.nan], after])[seen[:, c]]
        return np.repeat(flat[:, None], self.h, axis=1)

    def _after(self, y: np.ndarray) -> np.ndarray:
        """The forecast after each step; y [time] without missing steps."""
        there = y != 0
        if not there.any():
            return np.zeros(len(y))
        last = np.cumsum(there) - 1  # the number of the last demand at each step, -1 before the first
        at = np.flatnonzero(there)
        size = _smoothed(y[at], self.alpha)
        if self.variant == "tsb":
            rate = _smoothed(there.astype(float), self.beta)
            return np.where(last >= 0, size[last] * rate, 0.0)
        mean = size / _smoothed(np.diff(at, prepend=-1).astype(float), self.beta)
        return np.where(last >= 0, mean[last] * (1 - self.beta / 2 if self.variant == "sba" else 1), 0.0)


def _smoothed(x: np.ndarray, weight: float) -> np.ndarray:
    """[time] weight x_t + (1 - weight) times the one before, from x_0 on."""
    return lfilter([weight], [1, weight - 1], x, zi=[(1 - weight) * x[0]])[0]
