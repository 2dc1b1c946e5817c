"""What every local model is: one series at a time, numpy in and out."""

from typing import ClassVar

import numpy as np

from tsforge.errors import ArgumentError


class LocalModel:
    """A per-series forecaster.

    Args:
        h: Steps ahead.
        season: Steps of one season, as the frame says it unless the user does.
    """

    covariates: ClassVar[tuple[str, ...]] = ()  # none is read; a frame may have them
    missing: ClassVar[str] = "mask"
    irregular: ClassVar[bool] = False
    learns: ClassVar[bool] = False
    mixes_windows: ClassVar[bool] = False

    def __init__(self, h: int, *, season: int = 1) -> None:
        if season < 1 or season % 1:
            raise ArgumentError(f"season={season!r}: wanted a whole number of steps, 1 or more.")
        self.h, self.season = h, int(season)

    @property
    def lookback(self) -> int:
        """Phases of which a forecast reads the last observed step: see `Frame.since_observed`."""
        return 1

    def forecast(self, values: np.ndarray, cutoffs: np.ndarray) -> np.ndarray:
        """The forecasts of one series at several cutoffs.

        Args:
            values: [time, channel], NaN where missing.
            cutoffs: [window] the last step that each forecast may see.

        Returns:
            [window, h, channel]; NaN where nothing was observed up to the cutoff.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forecast.")


def last_observed(values: np.ndarray) -> np.ndarray:
    """[time, channel] the last value observed up to each step, NaN before the first."""
    steps = np.where(np.isnan(values), -1, np.arange(len(values))[:, None])
    last = np.maximum.accumulate(steps, axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)
