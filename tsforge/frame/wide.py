"""Series as channels: the pairs (unique_id, column) become the columns of one series, masked where absent."""

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from tsforge.errors import FrameError
from tsforge.frame.schema import Schema

ALL = "all"  # the one series whose channels the others become


def as_channels(table: pl.DataFrame, schema: Schema, channels_from: str) -> tuple[pl.DataFrame, Schema]:
    """The table with one row per time, and the schema that knows which series its columns were.

    Raises:
        FrameError: there is nothing to name the channels by.
    """
    if channels_from != "unique_id" or schema.id_col is None:
        raise FrameError(
            f"channels_from={channels_from!r}: wanted 'unique_id', and a column of the table that names the series "
            "(unique_id, or id_col=)."
        )
    if schema.static:
        raise FrameError(f"static={list(schema.static)}: no model reads static columns of channels; leave them out.")
    ids = tuple(table["unique_id"].unique().sort().to_list())
    schema = replace(schema, channels_from=channels_from, channel_ids=ids)
    return widened(table, schema.columns, ids), schema


def widened(table: pl.DataFrame, columns: Sequence[str], ids: Sequence[object]) -> pl.DataFrame:
    """`unique_id, ds` and a column for each pair, series after series; `ids` that the table lacks are null."""
    times = table.select(pl.col("ds").unique().sort())
    wide = {}
    for name in columns:
        apart = table.pivot(on="unique_id", index="ds", values=name)
        apart = times.join(apart, on="ds", how="left", maintain_order="left")
        for key in ids:
            empty = pl.Series([None] * len(times), dtype=table.schema[name])
            wide[f"{key}/{name}"] = apart[str(key)] if str(key) in apart.columns else empty
    ordered = {f"{key}/{name}": wide[f"{key}/{name}"] for key in ids for name in columns}
    return times.select(pl.lit(ALL).alias("unique_id"), "ds").with_columns(**ordered)
