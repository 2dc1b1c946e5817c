"""Any table -> `unique_id`, `ds`, value columns: kinds of tables, keys, static columns, order."""

from collections.abc import Sequence
from typing import Any, Literal

import narwhals.stable.v2 as nw
import polars as pl

from tsforge.errors import ArgumentError, FrameError, suggest
from tsforge.frame.check import read_times
from tsforge.frame.grid import grid_of
from tsforge.frame.schema import CALENDAR, Schema, as_names, list_names, require

How = Literal["last", "mean", "sum"]


def to_polars(df: Any) -> tuple[pl.DataFrame, str]:
    """The table in polars, and what kind it was.

    Raises:
        FrameError: this is no table, or one of its columns has no single type.
    """
    if isinstance(df, pl.DataFrame):
        return df, "polars"
    if isinstance(df, pl.LazyFrame):
        return df.collect(), "lazy"
    try:
        native = nw.from_native(df, eager_only=True)
    except TypeError:
        raise FrameError(
            f"A {type(df).__name__} is no table: wanted a DataFrame of polars or pandas, a pyarrow Table, a LazyFrame "
            "or a tsforge.Frame."
        ) from None
    except nw.exceptions.NarwhalsError as error:
        raise FrameError(f"The table cannot be read: {error}. Each column needs a name of its own.") from error
    try:
        return native.to_polars(), str(native.implementation)
    except Exception as error:  # pyarrow, pandas and polars each raise their own
        raise FrameError(_unreadable(native, error)) from error


def from_polars(table: pl.DataFrame, kind: str) -> Any:
    """The inverse of `to_polars`."""
    give = {"pandas": table.to_pandas, "pyarrow": table.to_arrow, "lazy": table.lazy}
    return give[kind]() if kind in give else table


def check_words(calendar: tuple[str, ...], encoding: str) -> None:
    """Raises ArgumentError for an unknown calendar feature or encoding."""
    for name in calendar:
        if name not in CALENDAR:
            hint = f"{suggest(name, CALENDAR)} There are: {', '.join(CALENDAR)}."
            raise ArgumentError(f"There is no calendar feature {name!r}.{hint}")
    if encoding not in ("linear", "onehot", "cyclic"):
        raise ArgumentError(f"encoding={encoding!r}: wanted 'linear', 'onehot' or 'cyclic'.")


def find_id(columns: Sequence[str], id_col: str | None) -> str | None:
    """The column that names the series, None where there is none."""
    if id_col is not None:
        require(columns, (id_col,), "id_col")
        return id_col
    return "unique_id" if "unique_id" in columns else None


def as_static(static: Any) -> tuple[tuple[str, ...], pl.DataFrame | None]:
    """Names of the static columns, and the second table where they stand in one."""
    if static is None:
        return (), None
    if isinstance(static, str) or (isinstance(static, Sequence) and all(isinstance(name, str) for name in static)):
        return as_names(static), None
    table, _ = to_polars(static)
    if "unique_id" not in table.columns:
        raise FrameError(f"static: the table of series needs unique_id; its columns are {list_names(table.columns)}.")
    return tuple(name for name in table.columns if name != "unique_id"), table


def canonical(
    table: pl.DataFrame, schema: Schema, static: pl.DataFrame | None,
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """`unique_id`, `ds` and the columns with a role; and the static table."""
    ids, id_col = pl.lit("series"), schema.id_col
    if id_col is not None:
        nameless = table[id_col].is_null()
        if nameless.any():
            row = int(nameless.arg_max() or 0) + 1
            raise FrameError(f"Column {id_col!r}, row {row}: the series has no name ({nameless.sum()} such rows).")
        ids = pl.col(id_col) if table.schema[id_col].is_integer() else pl.col(id_col).cast(pl.String)
    times = read_times(table[schema.time_col], schema.time_col)
    inside = schema.static if static is None else ()
    taken = table.select(ids.alias("unique_id"), times.alias("ds"), *schema.columns, *inside)
    if not inside:
        return taken, static
    return taken.drop(inside), constant_columns(taken, inside)


def constant_columns(table: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """One row per series of columns that should be constant over it.

    Raises:
        FrameError: a series has two values.
    """
    distinct = table.group_by("unique_id").agg(pl.col(*names).drop_nulls().n_unique())
    for name in names:
        bad = distinct.filter(pl.col(name) > 1)
        if len(bad):
            raise FrameError(
                f"Series {bad[0, 'unique_id']!r}: the static column {name!r} has {bad[0, name]} values, wanted one "
                f"({len(bad)} such series). A column that changes in time is a past= or future= covariate."
            )
    return table.group_by("unique_id").agg(pl.col(*names).drop_nulls().first())


def check_static(static: pl.DataFrame | None, table: pl.DataFrame) -> pl.DataFrame | None:
    """The static table in the order of the series.

    Raises:
        FrameError: a series is missing in it or stands there twice.
    """
    if static is None:
        return None
    ids = table.select(pl.col("unique_id").unique(maintain_order=True))
    named = pl.col("unique_id").cast(ids.schema["unique_id"], strict=False)
    static = static.with_columns(named).drop_nulls("unique_id")  # a name of another kind is no series of the frame
    if static["unique_id"].n_unique() != len(static):
        twice = static.filter(pl.col("unique_id").is_duplicated())
        name = twice[0, "unique_id"]
        times = twice["unique_id"].eq(name).sum()
        raise FrameError(f"static: series {name!r} stands there {times} times, wanted one row per series.")
    absent = ids.join(static, on="unique_id", how="anti")
    if len(absent):
        raise FrameError(f"static: series {absent[0, 'unique_id']!r} has no row there ({len(absent)} such series).")
    return ids.join(static, on="unique_id", how="left", maintain_order="left")


def in_order(table: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Sorted by series and time; the notice says so where time ran backwards."""
    same = pl.col("unique_id") == pl.col("unique_id").shift(1)
    backwards = table.select((same & (pl.col("ds") < pl.col("ds").shift(1))).sum()).item()
    said = [f"Time was not in order ({backwards} rows go back); the rows were sorted."] if backwards else []
    ordered = table["unique_id"].is_sorted() and not backwards
    return (table if ordered else table.sort("unique_id", "ds", maintain_order=True)), said


def resampled(table: pl.DataFrame, every: str, how: How) -> pl.DataFrame:
    """The rows of each step of the grid put together; a step without rows stays absent."""
    if how not in ("last", "mean", "sum"):
        raise ArgumentError(f"how={how!r}: wanted 'last', 'mean' or 'sum'.")
    values = pl.exclude("unique_id", "ds")
    put = {"last": values.drop_nulls().last(), "mean": values.mean(),
           "sum": pl.when(values.count() > 0).then(values.sum())}[how]
    return table.group_by_dynamic("ds", every=grid_of(every, table["ds"]).every, group_by="unique_id").agg(put).select(
        table.columns
    )


def _unreadable(native: Any, error: Exception) -> str:
    """Names the column that cannot be read, where it is one."""
    for name in native.columns:
        try:
            native[name].to_polars()
        except Exception as fault:
            return f"Column {name!r} has no single type: {fault}. Make it numbers, or text, before."
    return f"The table cannot be read: {error}. Each column needs one type."
