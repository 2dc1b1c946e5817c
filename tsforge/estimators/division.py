"""Division: the rows of a recipe's frame that are fitted, and the windows that test."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.splits import split_rows
from tsforge.data.store import Store, build_store
from tsforge.errors import FrameError, RecipeError
from tsforge.estimators.base import Estimator
from tsforge.estimators.irregular_division import parts_by_time
from tsforge.frame.frame import Frame
from tsforge.training.recipe import SplitPart


@dataclass(frozen=True)
class Divided:
    """A frame and its parts.

    Args:
        frame: All rows.
        fitted: The rows that fitting may look at: training and validation.
        cutoffs: `unique_id, cutoff, window` of the test windows, None without a test part.
        test: The rows of the test part, where no forecast is asked for.
    """

    frame: Frame
    fitted: Frame
    cutoffs: pl.DataFrame | None
    test: Frame | None = None


def divide(frame: Frame, split: SplitPart, h: int) -> Divided:
    """The parts of a frame.

    Raises:
        FrameError: the parts do not fit into the series.
        RecipeError: the split is not one that the data have.
    """
    if not split.tests:
        return Divided(frame, frame, None)
    if frame.steps is None:
        limit = None if split.cutoff is None else _stamp(split.cutoff, frame)
        return Divided(frame, *parts_by_time(frame, split, h, limit))
    steps = frame.table.select("unique_id", step=frame.steps)
    first, end = _test_steps(frame, steps, split)
    if not (steps["step"] < first).any():
        raise FrameError("split: the test part leaves no row to fit on; make it shorter, or its cutoff later.")
    return Divided(frame, frame.rows(steps["step"] < first), _test_cutoffs(frame, first, end, split, h))


def divide_rows(frame: Frame, split: SplitPart) -> Divided:
    """The parts of a frame of which no forecast is asked for: the test part is its rows.

    Raises:
        FrameError: nothing is left to fit on, or the frame is irregular.
        RecipeError: the split is not one that the data have.
    """
    if not split.tests:
        return Divided(frame, frame, None)
    if frame.steps is None:
        raise FrameError("split: no model reconstructs irregular rows; give Frame(..., resample='1h').")
    steps = frame.table.select("unique_id", step=frame.steps)
    first, end = _test_steps(frame, steps, split)
    fitted, test = steps["step"] < first, (steps["step"] >= first) & (steps["step"] < end)
    if not (fitted.any() and test.any()):
        raise FrameError("split: the test part leaves no row to fit on, or has none; make it shorter or longer.")
    return Divided(frame, frame.rows(fitted), None, frame.rows(test))


def _test_steps(frame: Frame, steps: pl.DataFrame, split: SplitPart) -> tuple[pl.Series, pl.Series]:
    """For each row, the first step of its series' test part and the step after the last."""
    length = steps.select(pl.col("step").max().over("unique_id") + 1).to_series()
    if split.protocol == "published":
        if frame.split is None:
            raise RecipeError(
                "split.protocol = published: this dataset states no split; give split.test or split.cutoff."
            )
        first = pl.repeat(frame.split.train + frame.split.val, len(steps), eager=True)
        short = steps.filter(length < first + frame.split.test)
        if len(short):
            raise RecipeError(
                f"split.protocol = published: series {short[0, 'unique_id']!r} ends before step {first[0]} + "
                f"{frame.split.test}, where the published test part ends. Give split.test or split.cutoff."
            )
        return first, first + frame.split.test
    if split.test is not None:
        return length - split.test, length
    seen = frame.table["ds"] <= _stamp(split.cutoff, frame)
    past = steps.with_columns(seen=seen).select(
        pl.when("seen").then("step").max().over("unique_id").fill_null(-1) + 1
    )
    return past.to_series(), length


def _stamp(value: Any, frame: Frame) -> Any:
    """A time as the frame counts it; without an offset it is a time of the frame's own zone."""
    dtype = frame.table.schema["ds"]
    if dtype.is_integer():
        if isinstance(value, int):
            return value
        raise RecipeError(f"split.cutoff = {value!r}: time is counted in whole numbers here, so give one.")
    try:
        stamp = datetime.fromisoformat(str(value))
    except ValueError:
        raise RecipeError(
            f"split.cutoff = {value!r}: wanted a time such as 2020-01-31 or 2020-01-31 13:00:00."
        ) from None
    zone: str | None = getattr(dtype, "time_zone", None)
    if stamp.tzinfo is not None and zone is None:
        raise RecipeError(f"split.cutoff = {value!r}: the times of the frame have no zone, so give one without.")
    times = pl.Series([stamp])
    if zone is not None:
        times = times.dt.convert_time_zone(zone) if stamp.tzinfo is not None else times.dt.replace_time_zone(zone)
    return times.cast(dtype)[0]


def _test_cutoffs(frame: Frame, first: pl.Series, end: pl.Series, split: SplitPart, h: int) -> pl.DataFrame:
    """Cutoffs whose whole horizon lies in the test part, counted from its end; a forecast needs one row to look at."""
    spans = (
        frame.table.select("unique_id", "ds")
        .with_columns(first=first, end=end)
        .group_by("unique_id", maintain_order=True)
        .first()
    )
    step = split.step or (1 if split.windows == "all" else h)
    parts = []
    for name, begin, low, high in spans.select("unique_id", "ds", "first", "end").iter_rows():
        steps = np.arange(high - h - 1, max(low, 1) - 2, -step)
        steps = (steps if split.windows == "all" else steps[: split.windows])[::-1]
        stamps = frame.grid.add(pl.Series([begin] * len(steps), dtype=frame.table.schema["ds"]), steps)
        ids = pl.Series([name] * len(steps), dtype=frame.table.schema["unique_id"])
        parts.append(pl.DataFrame({"unique_id": ids, "cutoff": stamps}))
    cutoffs = pl.concat(parts)
    if not len(cutoffs):
        raise FrameError(
            f"split: no test window of h={h} fits into the test part of any series; make it at least {h} steps."
        )
    return cutoffs.with_columns(window=pl.lit(0))


def training_rows(frame: Frame, model: Estimator) -> pl.DataFrame:
    """The rows of a frame that train an estimator, without those it holds back: what scores are scaled by."""
    val_size = model.get_params()["val_size"]
    store = build_store(frame.without_covariates())
    return _dense(frame, store, split_rows(store, model.h, val_size, 0.0, model.lookback(frame)).train - store.starts)


def every_step(frame: Frame) -> pl.DataFrame:
    """`unique_id, ds` and the targets with one row for each series and step, also where the table has none.

    Of an irregular frame these are its rows.
    """
    store = build_store(frame.without_covariates())
    return _dense(frame, store, store.ends - store.starts)


def _dense(frame: Frame, store: Store, lengths: np.ndarray) -> pl.DataFrame:
    """The first `lengths` steps of each series."""
    series = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.concatenate([np.arange(start, start + n) for start, n in zip(store.starts, lengths, strict=True)])
    table = pl.DataFrame(store.values[rows], schema=list(frame.targets)).select(
        store.ids.gather(series).alias("unique_id"), store.stamps(series, rows).alias("ds"), pl.all()
    )
    dense = Frame.stored(
        table, store.schema, month_end=frame.grid.month_end, kind="polars", time_dtype=frame.time_dtype
    )
    return dense.observations()
