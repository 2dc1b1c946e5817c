"""What every local model is: one series at a time, numpy in and out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tsforge.errors import ArgumentError
from tsforge.space import Declared

State = Mapping[str, np.ndarray]  # what a model learned of a series: arrays of numbers, nothing else
NOTHING: State = {}


@dataclass(frozen=True)
class Covariates:
    """What is known of a series besides its targets; NaN where missing.

    Args:
        past: [time, p], known up to the cutoff.
        known: [time + ahead, f], known ahead, calendar features among them; it goes on after the last step.
    """

    past: np.ndarray | None = None
    known: np.ndarray | None = None


NONE = Covariates()


class LocalModel:
    """A per-series forecaster.

    Args:
        h: Steps ahead.
        season: Steps of one season, as the frame says it unless the user does.
    """

    covariates: ClassVar[tuple[str, ...]] = ()  # of "past", "future"; others are left unread
    missing: ClassVar[str] = "mask"
    irregular: ClassVar[bool] = False
    learns: ClassVar[bool] = False
    mixes_windows: ClassVar[bool] = False
    space: ClassVar[Declared] = {}  # what a sweep may set, unless it is told otherwise
    slow: ClassVar[bool] = False  # a series takes long enough to be worth a process

    def __init__(self, h: int, *, season: int = 1) -> None:
        if season < 1 or season % 1:
            raise ArgumentError(f"season={season!r}: wanted a whole number of steps, 1 or more.")
        self.h, self.season = h, int(season)

    @property
    def lookback(self) -> int:
        """Phases of which a forecast reads the last observed step: see `Frame.since_observed`."""
        return 1

    def fit(self, values: np.ndarray, covariates: Covariates = NONE) -> State:
        """What is learned from the training rows of one series; nothing, unless a model says otherwise.

        Args:
            values: [time, channel], NaN where missing.
            covariates: What else is known of these rows.

        Raises:
            FrameError: the series is too short, or has what the model cannot take.
        """
        return NOTHING

    def forecast(
        self, values: np.ndarray, cutoffs: np.ndarray, state: State = NOTHING, covariates: Covariates = NONE,
    ) -> np.ndarray:
        """The forecasts of one series at several cutoffs.

        Args:
            values: [time, channel], NaN where missing; it begins later than the training rows where only the
                context is there.
            cutoffs: [window] the last step that each forecast may see.
            state: What `fit` learned of the series.
            covariates: What else is known; of `known` the h steps after each cutoff too.

        Returns:
            [window, h, channel]; NaN where nothing was observed up to the cutoff.
        """
        raise NotImplementedError(f"{type(self).__name__} has no forecast.")

    def check(self, state: State, channels: int) -> None:
        """Refuses a state that `fit` cannot have made; it is called when a run is opened.

        Raises:
            ArtifactError: an array is missing, has another shape, or holds what cannot be.
        """


def last_observed(values: np.ndarray) -> np.ndarray:
    """[time, channel] the last value observed up to each step, NaN before the first."""
    steps = np.where(np.isnan(values), -1, np.arange(len(values))[:, None])
    last = np.maximum.accumulate(steps, axis=0)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=0), np.nan)
