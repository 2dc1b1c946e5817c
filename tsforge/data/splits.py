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
    """Rows of each series: training before `train`, then stopping before `stop`, then calibration before `end`."""

    starts: np.ndarray
    train: np.ndarray
    stop: np.ndarray
    end: np.ndarray


def split_rows(
    store: Store, h: int, val_size: float | int | np.integer | None, calibration_share: float, input_size: int = 1,
) -> Parts:
    """The parts of each series.

    Args:
        store: The series.
        h: Steps ahead; a part with fewer steps holds no window.
        val_size: Last steps of each series that are held back (int), or a share of its length (then at least h).
        calibration_share: Share of the held-back steps, the later ones, that calibrate intervals.
        input_size: Steps that a training window sees.

    A series too short to train and to hold back trains only. Where both halves of the held-back part cannot hold a
    window, all of it stops the training.
    """
    _check(val_size, calibration_share, h)
    lengths = store.ends - store.starts
    if val_size is None or val_size == 0:
        held = np.zeros_like(lengths)
    elif isinstance(val_size, Integral):
        held = np.full_like(lengths, int(val_size))
    else:
        held = np.maximum(np.floor(np.round(lengths * val_size, 9)).astype(np.int64), h)
    held = np.where(lengths - held >= input_size + h, held, 0)
    late = np.round(held * calibration_share).astype(np.int64)
    late = np.where((late >= h) & (held - late >= h), late, 0)
    return Parts(store.starts, store.ends - held, store.ends - late, store.ends)


def training_cutoffs(parts: Parts, input_size: int, h: int, short: str, ids: pl.Series) -> CutoffRanges:
    """Windows whose look-back and target lie in the training rows.

    Raises:
        FrameError: a series is too short and `short="raise"`, or none is long enough.
    """
    low, high = parts.starts + input_size - 1, parts.train - h
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
    stopping = np.where(parts.stop > parts.train, parts.stop - h, parts.train - 1)
    calibrating = np.where(parts.end > parts.stop, parts.end - h, parts.stop - 1)
    return CutoffRanges(parts.train - 1, stopping), CutoffRanges(parts.stop - 1, calibrating)


def _too_short(parts: Parts, ids: pl.Series, series: int, count: int, input_size: int, h: int) -> str:
    return (
        f"Series {ids[series]!r} has {parts.train[series] - parts.starts[series]} training rows, and a window needs "
        f"input_size + h = {input_size} + {h} = {input_size + h} ({count} series are too short). Take a smaller "
        "input_size or h, a smaller val_size, or short='pad', which masks what is not there."
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
