"""Division of an irregular frame: the test part of each series is counted in grid steps back from its last row."""

from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import FrameError, RecipeError
from tsforge.evaluation.backtest import one_per_row
from tsforge.frame.frame import Frame
from tsforge.training.recipe import SplitPart


def parts_by_time(frame: Frame, split: SplitPart, h: int, limit: Any) -> tuple[Frame, pl.DataFrame]:
    """The rows that fitting may look at, and `unique_id, cutoff, window` of the test windows.

    Args:
        frame: An irregular frame.
        split: Its `test`, or its `cutoff`.
        h: Steps ahead.
        limit: `split.cutoff` as a time of the frame, None without one.

    Raises:
        FrameError: the parts do not fit into the series.
        RecipeError: the published split, which counts the steps of regular frames.
    """
    if split.protocol is not None:
        raise RecipeError(
            "split.protocol = published counts steps of a regular frame: give split.test or split.cutoff, or "
            "resample= in the frame."
        )
    spans = frame.spans()
    if split.test is not None:
        low = frame.grid.add(spans["last"], np.full(len(spans), -split.test))
        seen = frame.table["ds"] <= low.gather(frame.table["unique_id"].rle_id())
    else:
        seen = frame.table["ds"] <= limit
        last = frame.table.filter(seen).group_by("unique_id").agg(low=pl.col("ds").last())
        low = spans.join(last, on="unique_id", how="left", maintain_order="left")["low"]
    if not seen.any():
        raise FrameError("split: the test part leaves no row to fit on; make it shorter, or its cutoff later.")
    return frame.rows(seen), _test_cutoffs(frame, spans, low, split, h)


def _test_cutoffs(frame: Frame, spans: pl.DataFrame, low: pl.Series, split: SplitPart, h: int) -> pl.DataFrame:
    """Cutoffs from `low` on that leave h steps, counted from the end; a forecast needs one row to look at."""
    bounds = spans.select("unique_id", "last", low=pl.max_horizontal("first", low))
    step = split.step or (1 if split.windows == "all" else h)
    counts = np.maximum((frame.grid.floor(bounds["last"], bounds["low"]) - h) // step + 1, 0)
    if not counts.any():
        raise FrameError(
            f"split: no test window of h={h} fits into the test part of any series; make it at least {h} steps."
        )
    series = np.repeat(np.arange(len(counts)), counts)
    before = np.cumsum(counts)[series] - 1 - np.arange(len(series))  # windows of the series that come after this one
    cutoffs = pl.DataFrame({
        "unique_id": bounds["unique_id"].gather(series),
        "cutoff": frame.grid.add(bounds["last"].gather(series), -(h + step * before)),
    })
    apart = one_per_row(frame, cutoffs)
    if split.windows != "all":
        apart = apart.group_by("unique_id", maintain_order=True).tail(split.windows)
    return apart.with_columns(window=pl.lit(0))
