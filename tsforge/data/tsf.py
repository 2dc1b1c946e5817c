"""The text format of the Monash forecasting archive: one line a series.

Source    Godahewa et al. (2021), "Monash Time Series Forecasting Archive", arXiv:2105.06643.
Format    `@attribute name type` lines, `@frequency`, `@data`, then `attribute:...:value,value,...`; "?" is missing.
Frame     unique_id the series_name   ds stamps from start_timestamp, else step numbers   y the values
          other attributes as constant columns
"""

from pathlib import Path

import numpy as np
import polars as pl

from tsforge.errors import FrameError
from tsforge.frame.grid import grid_of

FREQUENCIES = {
    "minutely": "1m", "half_hourly": "30m", "hourly": "1h", "daily": "1d", "weekly": "1w", "monthly": "1mo",
    "quarterly": "1q", "yearly": "1y",
}
UNITS = {"seconds": "s", "minutes": "m", "hours": "h", "days": "d", "weeks": "w"}  # "10_minutes"
STAMP = "%Y-%m-%d %H-%M-%S"


def read_tsf(path: Path) -> pl.DataFrame:
    """Long table: `unique_id`, `ds`, `y` and the other attributes.

    Raises:
        FrameError: the header or a line is not as the format says; names the line.
    """
    attributes, header, lines = _parts(path)
    if not lines:
        raise FrameError(f"{path} is not a .tsf file with series: nothing follows a line @data.")
    rows = []
    for number, line in lines:
        cells = line.split(":")
        if len(cells) != len(attributes) + 1:
            raise FrameError(
                f"{path}, line {number}: {len(cells)} parts between colons, wanted {len(attributes) + 1}: "
                f"{', '.join(attributes)}, values."
            )
        rows.append(cells)
    names = [{"series_name": "unique_id"}.get(name, name) for name in attributes]
    table = pl.DataFrame(rows, schema=dict.fromkeys([*names, "y"], pl.String), orient="row")
    if "unique_id" not in names:
        table = table.with_columns(unique_id=pl.int_range(1, pl.len() + 1).cast(pl.String))
    table = table.with_columns(pl.col(name).cast(pl.Float64) for name in names if attributes.get(name) == "numeric")
    return _exploded(table, header.get("frequency"), path)


def _parts(path: Path) -> tuple[dict[str, str], dict[str, str], list[tuple[int, str]]]:
    """Attributes and their types, the other `@` lines, and the numbered lines of data."""
    attributes, header, lines = {}, {}, []
    for number, line in enumerate(_decoded(path).splitlines(), start=1):
        word, _, rest = line.strip().partition(" ")
        if not line.strip() or line.startswith("#"):
            continue
        if "data" in header:
            lines.append((number, line.strip()))
        elif word.lower() == "@attribute":
            name, _, kind = rest.strip().partition(" ")
            attributes[name] = kind.strip().lower()
        else:
            header[word.lower().removeprefix("@")] = rest.strip()
    return attributes, header, lines


def _decoded(path: Path) -> str:
    """Some files of the archive quote papers in cp1252."""
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _exploded(table: pl.DataFrame, frequency: str | None, path: Path) -> pl.DataFrame:
    """One row per value, with its stamp."""
    values = pl.col("y").str.split(",")
    table = table.with_columns(values, step=pl.int_ranges(values.list.len())).explode("y", "step")
    numbers = table["y"].str.strip_chars().replace("?", None).cast(pl.Float64, strict=False)
    bad = table.filter(numbers.is_null() & (pl.col("y").str.strip_chars() != "?"))
    if len(bad):
        raise FrameError(
            f"{path}, series {bad[0, 'unique_id']!r}, value {bad[0, 'step'] + 1}: {bad[0, 'y']!r} is no number "
            f"({len(bad)} such values). Write '?' where the value is not known."
        )
    table = table.with_columns(numbers.alias("y"))
    stamps = table["step"].cast(pl.Int64)
    if "start_timestamp" in table.columns:
        stamps = _stamps(table["start_timestamp"], table["step"].to_numpy(), frequency, path)
    return table.select("unique_id", stamps.alias("ds"), "y", pl.exclude("unique_id", "y", "step", "start_timestamp"))


def _stamps(start: pl.Series, steps: np.ndarray, frequency: str | None, path: Path) -> pl.Series:
    """The stamp of every value: `steps` steps of the file's frequency after the start of its series."""
    number, _, unit = (frequency or "").partition("_")
    freq = FREQUENCIES.get(frequency or "", number + UNITS[unit] if unit in UNITS else None)
    if freq is None:
        known = ", ".join([*FREQUENCIES, "10_minutes"])
        raise FrameError(f"{path}: @frequency is {frequency or 'absent'}, start_timestamp needs one of {known}.")
    first = start.str.to_datetime(STAMP, strict=False)
    if first.null_count():
        row = int(first.is_null().arg_max() or 0)
        raise FrameError(f"{path}: start_timestamp {start[row]!r} is not written as 2015-07-01 12-00-00.")
    return grid_of(freq, first).add(first, steps)
