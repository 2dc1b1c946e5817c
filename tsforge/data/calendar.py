"""Calendar features of time stamps."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from tsforge.errors import FrameError
from tsforge.frame.schema import Encoding

# name -> (how polars reads it, its smallest value, how many values); linear is (value - smallest) / (many - 1) - 0.5
FEATURES = {
    "minute": (lambda ds: ds.dt.minute(), 0, 60),
    "hour": (lambda ds: ds.dt.hour(), 0, 24),
    "dayofweek": (lambda ds: ds.dt.weekday(), 1, 7),
    "day": (lambda ds: ds.dt.day(), 1, 31),
    "dayofyear": (lambda ds: ds.dt.ordinal_day(), 1, 366),
    "week": (lambda ds: ds.dt.week(), 1, 53),
    "month": (lambda ds: ds.dt.month(), 1, 12),
    "quarter": (lambda ds: ds.dt.quarter(), 1, 4),
}


def calendar_features(ds: pl.Series, calendar: Sequence[str], encoding: Encoding) -> np.ndarray:
    """[row, feature] float32; one column a feature ("linear"), two ("cyclic") or as many as it has values ("onehot").

    Raises:
        FrameError: the time column holds integers, or dates for a feature of the clock.
    """
    if ds.dtype.is_integer():
        raise FrameError(f"calendar={list(calendar)}: the time column holds integers, which have no calendar.")
    parts = []
    for name in calendar:
        if ds.dtype == pl.Date and name in ("minute", "hour"):
            raise FrameError(f"calendar: the time column holds dates, which have no {name}.")
        read, smallest, many = FEATURES[name]
        value = read(ds).cast(pl.Int32).to_numpy() - smallest
        if encoding == "linear":
            parts.append((value / (many - 1) - 0.5)[:, None])
        elif encoding == "cyclic":
            angle = 2 * np.pi * value / many
            parts.append(np.stack([np.sin(angle), np.cos(angle)], axis=1))
        else:
            parts.append(np.eye(many, dtype=np.float32)[value])
    return np.concatenate(parts, axis=1, dtype=np.float32, casting="same_kind")
