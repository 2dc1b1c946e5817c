"""Windows of a store by number: where their cutoffs lie, what a model says of them, and what came."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from tsforge.data.store import Store


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
    """Series and rows of cutoffs, sorted: the last step of each series at or before its cutoff, on a regular grid.

    A cutoff before or after the data of its series is left out. No model reads irregular frames here.
    """
    keys = pl.DataFrame({"unique_id": store.ids, "first": store.first, "series": np.arange(len(store.ids))})
    stated = cutoffs.select(pl.col("unique_id").cast(store.ids.dtype, strict=False), "cutoff")
    joined = stated.join(keys, on="unique_id", how="inner").sort("series", "cutoff")
    series = joined["series"].to_numpy()
    steps = store.grid.floor(joined["cutoff"].cast(store.first.dtype), joined["first"])
    rows = store.starts[series] + steps
    inside = (steps >= 0) & (rows < store.ends[series])
    return series[inside], rows[inside]


def truth_of(store: Store, series: np.ndarray, rows: np.ndarray, h: int) -> np.ndarray:
    """[window, h, channel] of observed values on a regular grid, NaN where missing."""
    ahead = rows[:, None] + np.arange(1, h + 1)
    there = ahead < store.ends[series][:, None]
    values = store.values[np.minimum(ahead, len(store.values) - 1)]
    return np.where(there[..., None], values, np.nan).astype(np.float64)
