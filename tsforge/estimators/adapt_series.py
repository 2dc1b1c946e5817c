"""Series of an adapted run: those that the run knew, and after them those that came with new data."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import polars as pl

from tsforge.data.prepare import Preparation
from tsforge.data.rows import Rows
from tsforge.data.store import Store
from tsforge.errors import FrameError
from tsforge.scaling import Scaling, fit_scaling

PARTS = ("targets", "past", "future")


def with_store(known: Preparation, store: Store, train_ends: np.ndarray) -> Preparation:
    """What scales the series of a store: as before where they were known, else by their rows before `train_ends`.

    Raises:
        FrameError: its series have names of another kind.
    """

    def own(values: np.ndarray | Rows | None) -> Scaling | None:
        if values is None or known.scope != "series":
            return None
        return fit_scaling(values, store.starts, train_ends, known.scaler, "series")

    parts = {"targets": own(store.values), "past": own(store.past), "future": own(store.future)}
    return joined(known, store.ids, parts)


def joined(known: Preparation, ids: pl.Series, own: Mapping[str, Scaling | None]) -> Preparation:
    """A preparation with those of `ids` that it lacks after its own, each scaled by its row of `own`.

    Where one scaling holds for all series it holds for these, too.

    Raises:
        FrameError: the names are of another kind.
    """
    if ids.dtype != known.ids.dtype:
        raise FrameError(f"The series are named by {ids.dtype} here, and those of the run by {known.ids.dtype}: give "
                         "the column of names the same type.")
    new = np.flatnonzero(known.series_in(ids) < 0)
    if not len(new):
        return known

    def scaled(part: str) -> Scaling | None:
        before, beside = getattr(known, part), own.get(part)
        if known.scope != "series" or known.scaler is None or before is None or beside is None:
            return before
        rows = zip(before.of(np.arange(len(known.ids))), beside.of(new), strict=True)
        loc, scale = (np.concatenate(pair) for pair in rows)
        return Scaling(loc, scale, before.constant)

    return replace(known, ids=pl.concat([known.ids, ids.gather(new)]), **{part: scaled(part) for part in PARTS})


def seen_until(known: Preparation, until: pl.Series, ids: pl.Series, ends: pl.Series) -> pl.Series:
    """The last stamp of each series of `joined` that any fit looked at: the later one where both did.

    Args:
        known: The preparation before it was joined.
        until: [series] what the run has looked at.
        ids: [other] the series that were joined.
        ends: [other] what was looked at of those.

    Raises:
        FrameError: time is of another kind there.
    """
    if ends.dtype != until.dtype:
        raise FrameError(f"Time is counted as {ends.dtype} here, and as {until.dtype} in the run: give the column of "
                         "time the same type.")
    place, last = known.series_in(ids), until.to_physical().to_numpy().astype(np.int64)
    new = ends.to_physical().to_numpy().astype(np.int64)
    np.maximum.at(last, place[place >= 0], new[place >= 0])
    return pl.Series("ds", np.concatenate([last, new[place < 0]])).cast(until.dtype)
