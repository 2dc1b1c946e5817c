"""Labels: what is known of a series or of a step beside its values. Kept apart, so that no model is shown them."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from tsforge.errors import FrameError
from tsforge.frame.canonical import resampled, to_polars
from tsforge.frame.check import read_times
from tsforge.frame.schema import as_names, list_names, require

KEYS = ("unique_id", "ds")


def take_labels(
    table: pl.DataFrame, labels: Any, id_col: str | None, time_col: str
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The table without its label columns; and the labels under `unique_id`, and `ds` where each step has its own.

    Args:
        table: The table as it was given.
        labels: Names of columns of `table`, or a second table with `unique_id` or with `unique_id` and `ds`.
        id_col: The column that names the series.
        time_col: The column of time.

    Raises:
        FrameError: a column is not there, or the second table has no `unique_id` or no label.
    """
    if labels is None:
        return table, None
    if not isinstance(labels, str) and not (isinstance(labels, Sequence) and all(isinstance(n, str) for n in labels)):
        return table, _second_table(to_polars(labels)[0])
    names = as_names(labels)
    require(table.columns, names, "labels")
    ids = pl.lit("series") if id_col is None else pl.col(id_col)
    times = read_times(table[time_col], time_col)
    return table.drop(names), table.select(ids.alias("unique_id"), times.alias("ds"), *names)


def _second_table(labels: pl.DataFrame) -> pl.DataFrame:
    if "unique_id" not in labels.columns or not set(labels.columns) - set(KEYS):
        raise FrameError(
            f"labels: the columns are {list_names(labels.columns)}; wanted unique_id, ds where each step has its own "
            "label, and the labels."
        )
    return labels.with_columns(read_times(labels["ds"], "ds").alias("ds")) if "ds" in labels.columns else labels


def resampled_labels(labels: pl.DataFrame | None, every: str) -> pl.DataFrame | None:
    """The last label of each step; those of series stay as they are."""
    if labels is None or "ds" not in labels.columns:
        return labels
    return resampled(labels.sort("unique_id", "ds", maintain_order=True), every, "last")


def check_labels(labels: pl.DataFrame | None, table: pl.DataFrame) -> pl.DataFrame | None:
    """The labels of the series or of the rows of `table`, in their order; null where there is none.

    Raises:
        FrameError: a series, or a step of one, has two labels.
    """
    if labels is None:
        return None
    keys = [key for key in KEYS if key in labels.columns]
    labels = labels.with_columns(pl.col("unique_id").cast(table.schema["unique_id"], strict=False))
    twice = labels.filter(labels.select(keys).is_duplicated())
    if len(twice):
        where = " at ".join(str(twice[0, key]) for key in keys)
        raise FrameError(f"labels: series {where} has more than one row ({len(twice)} such rows), wanted one.")
    rows = table.select(keys).unique(maintain_order=True) if len(keys) == 1 else table.select(keys)
    return rows.join(labels, on=keys, how="left", maintain_order="left")
