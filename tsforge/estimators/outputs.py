"""Windows of a store by number: where their cutoffs lie, what a model says of them, and what came."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from tsforge.data.store import Nearest, Store, build_store
from tsforge.data.windows import forecast_frame
from tsforge.evaluation.intervals import check_levels
from tsforge.frame.frame import Frame


@dataclass(frozen=True)
class Outputs:
    """Scaled outputs of windows, and the way back.

    Args:
        values: [window, h, channel, output].
        known: [window] row in the training key table, -1 where unseen.
        loc: [window, channel].
        scale: [window, channel].
    """

    values: np.ndarray
    known: np.ndarray
    loc: np.ndarray
    scale: np.ndarray


def cutoff_rows(store: Store, cutoffs: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Series and rows of cutoffs, sorted: the last step of each series at or before its cutoff.

    A cutoff before or after the data of its series is left out. Irregular rows have no step without data: two cutoffs
    between which there is no row are one.
    """
    keys = pl.DataFrame({"unique_id": store.ids, "first": store.first, "series": np.arange(len(store.ids))})
    stated = cutoffs.select(pl.col("unique_id").cast(store.ids.dtype, strict=False), "cutoff")
    joined = stated.join(keys, on="unique_id", how="inner").sort("series", "cutoff")
    if store.marks is not None:
        return _rows_before(store, joined)
    series = joined["series"].to_numpy()
    steps = store.grid.floor(joined["cutoff"].cast(store.first.dtype), joined["first"])
    rows = store.starts[series] + steps
    inside = (steps >= 0) & (rows < store.ends[series])
    return series[inside], rows[inside]


def _rows_before(store: Store, asked: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Series and rows of cutoffs on irregular rows: stamps are compared as they are, so none after a cutoff is seen."""
    assert store.marks is not None
    numbers = np.repeat(np.arange(len(store.ids)), store.ends - store.starts)
    rows = np.arange(len(numbers)) + store.ahead * numbers  # without those that lie after the data
    seen = pl.DataFrame({"series": numbers, "ds": store.marks.gather(rows), "row": rows}).sort("ds")
    wanted = asked.select("series", pl.col("cutoff").cast(store.marks.dtype)).sort("cutoff")
    found = wanted.join_asof(
        seen, left_on="cutoff", right_on="ds", by="series", strategy="backward", check_sortedness=False
    ).drop_nulls("row")
    last = store.marks.gather(store.ends[found["series"].to_numpy()] - 1)
    after = store.grid.add(last, np.ones(len(found), dtype=np.int64))
    inside = found.filter(found["cutoff"] < after).unique("row").sort("row")
    return inside["series"].to_numpy(), inside["row"].to_numpy()


def truth_of(store: Store, series: np.ndarray, rows: np.ndarray, h: int) -> np.ndarray:
    """[window, h, channel] of observed values, NaN where missing: on irregular rows, those nearest to each step."""
    if store.times is None:
        ahead = rows[:, None] + np.arange(1, h + 1)
        there = ahead < store.ends[series][:, None]
    else:
        ahead, there = Nearest(store.times, store.starts, store.ends, h).rows(series, rows)
    values = store.values[np.minimum(ahead, len(store.values) - 1)]
    return np.where(there[..., None], values, np.nan).astype(np.float64)


def last_rows(frame: Frame, cutoffs: pl.DataFrame, h: int, level: Sequence[float | int]) -> pl.DataFrame:
    """A forecast frame with the truth in which the last row goes on, and each of its intervals is that one value.

    What is missing there counts as 0: this is for trying out scores, not a model.

    Raises:
        ArgumentError: a level is no percent.
    """
    store = build_store(frame.without_covariates())
    series, rows = cutoff_rows(store, cutoffs)
    values = np.repeat(np.nan_to_num(store.values[rows].astype(np.float64))[:, None], h, axis=1)
    bands = [f"LastRow-{side}-{percent:.12g}" for percent in check_levels(level) for side in ("lo", "hi")]
    columns = dict.fromkeys(["LastRow", *bands], values)
    return forecast_frame(store, series, rows, columns, with_cutoff=True, truth=True)
