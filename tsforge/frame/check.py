"""The one check of a table: stamps, keys and values. Each fault names the series, column, time, count and fix."""

from collections.abc import Sequence

import polars as pl

from tsforge.errors import FrameError
from tsforge.frame.grid import Grid

DATE_FORMATS = ("%Y-%m-%d", "%Y/%m/%d", "%Y%m%d")
TIME_FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S%z",
    "%Y-%m-%dT%H:%M:%S%.fZ",
)


def read_times(stamps: pl.Series, name: str) -> pl.Series:
    """Stamps as Int64, Date or Datetime in microseconds; text and integers that all read as 20240131 become dates.

    Raises:
        FrameError: a stamp is missing or cannot be read; names the first row.
    """
    if stamps.dtype in (pl.String, pl.Categorical, pl.Enum):
        parsed = _parse(stamps.cast(pl.String))
    elif stamps.dtype.is_integer():
        parsed = _read_integers(stamps)
    elif stamps.dtype.is_float() and (stamps.drop_nulls() % 1 == 0).all():
        parsed = stamps.cast(pl.Int64)
    elif isinstance(stamps.dtype, pl.Datetime):
        parsed = stamps.dt.cast_time_unit("us")
    elif stamps.dtype == pl.Date:
        parsed = stamps
    else:
        raise FrameError(
            f"Column {name!r} of type {stamps.dtype} cannot be read as time: wanted dates, datetimes, text that shows "
            "them, or integer steps."
        )
    if parsed.null_count():
        row = int(parsed.is_null().arg_max() or 0)
        raise FrameError(
            f"Column {name!r}, row {row + 1}: {_quoted(stamps[row])} is no time stamp "
            f"({parsed.null_count()} of {len(parsed)} rows). Write stamps as 2024-01-31 or 2024-01-31 13:00, or parse "
            "the column before; rows without a time have to go."
        )
    return parsed


def check_keys(table: pl.DataFrame) -> None:
    """Raises FrameError where a series has the same stamp twice (the table is sorted)."""
    again = (pl.col("unique_id") == pl.col("unique_id").shift(1)) & (pl.col("ds") == pl.col("ds").shift(1))
    repeated = table.select(again).to_series()
    if repeated.any():
        doubles = table.select("unique_id", "ds").filter(repeated)
        first = doubles.row(0)
        raise FrameError(
            f"Series {first[0]!r} has the time {first[1]} more than once ({len(doubles)} repeated rows in "
            f"{doubles['unique_id'].n_unique()} series). Keep one row for each series and time, for example with "
            "df.unique(['unique_id', 'ds'], keep='last'), or name the series with id_col= (--id-col)."
        )


def read_values(table: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    """Value columns as floats with one kind of missing: null and NaN both become null.

    Raises:
        FrameError: a column holds text or infinity; names series, time, count.
    """
    casts, schema = [], table.schema  # looked up once: polars makes it anew each time
    for name in columns:
        dtype = schema[name]
        if table[name].null_count() == len(table):  # an empty column has any type
            casts.append(pl.lit(None, pl.Float64).alias(name))
        elif not (dtype.is_numeric() or dtype == pl.Boolean):
            raise FrameError(_not_numeric(table, name))
        else:
            floats = pl.col(name) if dtype.is_float() else pl.col(name).cast(pl.Float64)
            casts.append(floats.fill_nan(None))
    table = table.with_columns(casts)
    infinite = table.select(pl.col(*columns).is_infinite().sum()).row(0) if columns else ()
    for name, count in zip(columns, infinite, strict=True):
        if count:
            first = table.filter(pl.col(name).is_infinite()).row(0, named=True)
            raise FrameError(
                f"Series {first['unique_id']!r}, column {name!r}: the value at {first['ds']} is infinite ({count} such "
                "values). Replace infinities by a number, or by null where the value is not known."
            )
    return table


def check_observed(table: pl.DataFrame, targets: Sequence[str]) -> None:
    """Raises FrameError where a target has no observed value at all."""
    for name, count in zip(targets, table.select(pl.col(*targets).count()).row(0), strict=True):
        if count == 0:
            raise FrameError(
                f"Target {name!r} has no observed value in any of {len(table)} rows of {table['unique_id'].n_unique()} "
                "series: nothing can be learned from it. Leave it out of targets= (--target), or look at how the file "
                "is read."
            )


def steps_in_series(table: pl.DataFrame, grid: Grid) -> pl.Series:
    """Steps of each row from the first row of its series.

    Raises:
        FrameError: a stamp lies off the grid.
    """
    first = table.select(pl.col("ds").first().over("unique_id")).to_series()
    steps = grid.steps(table["ds"], first)
    if steps.null_count():
        bad = table.filter(steps.is_null())
        raise FrameError(
            f"Series {bad[0, 'unique_id']!r}: the time {bad[0, 'ds']} is not a whole number of steps of "
            f"{grid.every} after the first ({len(bad)} rows in {bad['unique_id'].n_unique()} series). Give the right "
            "step with freq= (--freq), mend the stamps, or declare freq='irregular' with grid=."
        )
    return steps


def _parse(text: pl.Series) -> pl.Series:
    formats = [(pl.Date, form) for form in DATE_FORMATS] + [(pl.Datetime("us"), form) for form in TIME_FORMATS]
    fewest, best = len(text) + 1, text.str.to_date("%Y-%m-%d", strict=False)
    for dtype, form in formats:
        parsed = text.str.strptime(dtype, form, strict=False)
        if parsed.null_count() < fewest:
            fewest, best = parsed.null_count(), parsed
        if fewest == 0:
            return best
    months = (text + "-01").str.to_date("%Y-%m-%d", strict=False)  # "1949-01"
    return months if months.null_count() < fewest else best


def _read_integers(stamps: pl.Series) -> pl.Series:
    """Steps; but numbers such as 20240131 are dates, whose steps as integers would jump at the end of each month."""
    steps = stamps.cast(pl.Int64)
    if steps.is_between(18000101, 22001231).all():
        dates = steps.cast(pl.String).str.to_date("%Y%m%d", strict=False)
        if not dates.null_count():
            return dates
    return steps


def _not_numeric(table: pl.DataFrame, name: str) -> str:
    text = table.filter(pl.col(name).cast(pl.String).str.strip_chars().cast(pl.Float64, strict=False).is_null()
                        & pl.col(name).is_not_null())
    rows = text if len(text) else table.filter(pl.col(name).is_not_null())
    first = rows.row(0, named=True)
    return (
        f"Series {first['unique_id']!r}, column {name!r}: the value at {first['ds']} is the text {first[name]!r}, "
        f"wanted a number ({len(rows)} such values). Replace it by a number, or by an empty cell where the value is "
        "not known."
    )


def _quoted(value: object) -> str:
    return "an empty cell" if value is None else repr(value)
