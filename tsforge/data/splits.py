"""Splits: which rows of each series train, stop the training and calibrate, and which windows there are."""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
import polars as pl

from tsforge.data.store import Store
from tsforge.data.windows import CutoffRanges
from tsforge.errors import ArgumentError, FrameError


@dataclass(frozen=True)
class Parts:
    """Rows of each series: training before `train`, then stopping before `stop`, then calibration before `end`.

    With `times`, those of the rows of an irregular store, steps are counted by the clock; else a row is a step.
    """

    starts: np.ndarray
    train: np.ndarray
    stop: np.ndarray
    end: np.ndarray
    times: np.ndarray | None = None

    def after_cutoffs(self, ends: np.ndarray, h: int) -> np.ndarray:
        """The row after the last one of each series whose `h` steps ahead are over by the row before `ends`.

        The observation nearest to such a step is not a later one: the row before `ends` is nearer.
        """
        if self.times is None:
            return ends - h
        over = np.where(ends > self.starts, self.times[ends - 1], -np.inf)
        return _after(self.times, self.starts, np.full_like(ends, h), over)


def split_rows(
    store: Store, h: int, val_size: float | int | np.integer | None, calibration_share: float, input_size: int = 1,
) -> Parts:
    """The parts of each series.

    Args:
        store: The series.
        h: Steps ahead; a part with fewer steps holds no window.
        val_size: Last steps of each series that are held back (int), or a share of its length (then at least h). Steps
            of an irregular series are units of its grid, counted back from its last row.
        calibration_share: Share of the held-back steps, the later ones, that calibrate intervals.
        input_size: Steps that a training window sees.

    A series too short to train and to hold back trains only. Where both halves of the held-back part cannot hold a
    window, all of it stops the training.
    """
    _check(val_size, calibration_share, h)
    starts, ends, times = store.starts, store.ends, store.times
    whole = Parts(starts, ends, ends, ends, times)
    held = _held(ends - starts if times is None else times[ends - 1] + 1, val_size, h)
    train = _before_end(whole, held)
    held = np.where(whole.after_cutoffs(train, h) >= starts + input_size, held, 0)
    train, late = _before_end(whole, held), np.round(held * calibration_share).astype(np.int64)
    stop = _before_end(whole, late)
    both = (whole.after_cutoffs(stop, h) >= train) & (whole.after_cutoffs(ends, h) >= stop)
    return Parts(starts, train, np.where(both, stop, ends), ends, times)


def _held(lengths: np.ndarray, val_size: float | int | np.integer | None, h: int) -> np.ndarray:
    """Steps of each series that are held back, if it is long enough."""
    if val_size is None or isinstance(val_size, Integral) or val_size == 0:
        return np.full(len(lengths), int(val_size or 0))
    return np.maximum(np.floor(np.round(lengths * val_size, 9)).astype(np.int64), h)


def _before_end(whole: Parts, steps: np.ndarray) -> np.ndarray:
    """The row after the last one of each series that lies so many steps before its end."""
    if whole.times is None:
        return whole.end - steps
    return _after(whole.times, whole.starts, steps, whole.times[whole.end - 1])


def _after(times: np.ndarray, starts: np.ndarray, steps: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """The row after the last one of each series from which `steps` lead to its `limit` at most.

    Times are compared inside their series alone, so no rounding lets a series depend on those before it.
    """
    series = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(times))))
    return starts + np.bincount(series[times + steps[series] <= limit[series]], minlength=len(starts))


def training_cutoffs(parts: Parts, input_size: int, h: int, short: str, ids: pl.Series) -> CutoffRanges:
    """Windows whose look-back and target lie in the training rows.

    Raises:
        FrameError: a series is too short and `short="raise"`, or none is long enough.
    """
    low, high = parts.starts + input_size - 1, parts.after_cutoffs(parts.train, h)
    few = high <= low
    if few.any() and short == "raise":
        raise FrameError(_too_short(parts, ids, int(few.argmax()), int(few.sum()), input_size, h))
    if short == "pad":
        low = np.where(few, np.maximum(parts.starts, high - 1), low)
        high = np.where(few & (parts.train - parts.starts > 1), low + 1, high)
    windows = CutoffRanges(low, high)
    if len(windows) == 0:
        longest = int((parts.train - parts.starts).argmax())
        raise FrameError(_too_short(parts, ids, longest, int(few.sum()), input_size, h))
    return windows


def held_back_cutoffs(parts: Parts, h: int) -> tuple[CutoffRanges, CutoffRanges]:
    """Windows whose whole target lies in the stopping part, and in the calibration part."""
    stopping = np.where(parts.stop > parts.train, parts.after_cutoffs(parts.stop, h), parts.train - 1)
    calibrating = np.where(parts.end > parts.stop, parts.after_cutoffs(parts.end, h), parts.stop - 1)
    return CutoffRanges(parts.train - 1, stopping), CutoffRanges(parts.stop - 1, calibrating)


def _too_short(parts: Parts, ids: pl.Series, series: int, count: int, input_size: int, h: int) -> str:
    has = f"Series {ids[series]!r} has {parts.train[series] - parts.starts[series]} training rows"
    needs = f"input_size + h = {input_size} + {h} = {input_size + h}"
    if parts.times is not None:
        has += f" over {parts.times[parts.train[series] - 1]:.6g} grid steps"
        needs = f"input_size = {input_size} rows and h = {h} grid steps after them"
    return (
        f"{has}, and a window needs {needs} ({count} series are too short). Take a smaller input_size or h, a smaller "
        "val_size, or short='pad', which masks what is not there."
    )


def _check(val_size: float | int | np.integer | None, calibration_share: float, h: int) -> None:
    share = not isinstance(val_size, Integral)
    if val_size is not None and (isinstance(val_size, bool) or not val_size >= 0 or (share and val_size >= 1)):
        raise ArgumentError(
            f"val_size={val_size!r}: wanted a number of steps (int) or a share below 1 (float); 0 holds nothing back."
        )
    if val_size and not share and val_size < h:
        raise ArgumentError(f"val_size={val_size!r} holds no window of h={h}: hold back at least {h} steps, or 0.")
    if not 0 <= calibration_share < 1:
        raise ArgumentError(f"calibration_share={calibration_share!r}: wanted a share from 0 up to, not including, 1.")
