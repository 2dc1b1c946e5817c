"""The station files of Weather2K 1.0, `Weather2K-S/<i>.csv`: their header is not documented, so it is read."""

from pathlib import Path

import polars as pl

from tsforge.data.files import read_table
from tsforge.data.wind import wind_components
from tsforge.errors import FrameError
from tsforge.frame.canonical import constant_columns
from tsforge.frame.check import read_times
from tsforge.frame.schema import TIME_NAMES, find_time, list_names

POSITION = ("lat", "lon", "alt")


def read_stations(path: Path, wind: str) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """The long table of a file or a folder of them, and the positions where the files have all three.

    Columns are known by their short names (`t`, `rh`, ...) in any case of letters. Without a column of time, row k is
    2017-01-01 00:00 and k hours.

    Raises:
        FrameError: no file is called by the index of a station, or two files have different columns.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.csv"))
    files = sorted((file for file in files if file.stem.isdecimal()), key=lambda file: int(file.stem))
    if not files:
        raise FrameError(
            f"{path} holds neither weather2k.npy nor data.npy nor station files such as 79.csv, called by their index."
        )
    tables = [_read(file) for file in files]
    for file, table in zip(files, tables, strict=True):
        if table.columns != tables[0].columns:
            differ = sorted({*table.columns} ^ {*tables[0].columns}) or table.columns
            raise FrameError(f"{file} has other columns than {files[0].name}: {list_names(differ)}.")
    whole = pl.concat(tables, how="vertical_relaxed")
    if wind == "sincos":
        for column in ("wd", "mwd"):
            whole = wind_components(whole, column) if column in whole.columns else whole
    if not {*POSITION} <= {*whole.columns}:
        return whole, None
    return whole.drop(POSITION), constant_columns(whole, POSITION)


def _read(path: Path) -> pl.DataFrame:
    table = read_table(path)
    table = table.rename({name: name.strip().lower() for name in table.columns})
    if any(name in table.columns for name in TIME_NAMES):
        name = find_time(table.columns, None)
        stamps, table = read_times(table[name], name), table.drop(name)
    else:
        first = pl.datetime(2017, 1, 1)
        stamps = table.select(first + pl.duration(hours=pl.int_range(pl.len()))).to_series()
    values = [column for column in table if column.dtype.is_numeric() and column.name]
    return pl.DataFrame([pl.Series("unique_id", [int(path.stem)] * len(table), dtype=pl.Int64),
                         stamps.alias("ds"), *values])
