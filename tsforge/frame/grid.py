"""The grid of time: how many steps lie between two stamps, and which stamp is k steps ahead."""

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from tsforge.errors import FrameError

UNITS = {"ns": 1, "us": 1_000, "ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9,
         "w": 7 * 86_400 * 10**9}  # in nanoseconds
MONTHS = {"mo": 1, "q": 3, "y": 12}
SEASONS = {"30m": 48, "1h": 24, "1d": 7, "1w": 52, "1mo": 12, "1q": 4}


@dataclass(frozen=True)
class Grid:
    """Steps of equal length, as polars writes them: `"1h"`, `"15m"`, `"1d"`, `"1mo"`, `"1i"` for integers.

    Months count by the calendar: a series that always stands on the last day of a month stays there.
    """

    every: str
    month_end: bool = False

    @property
    def number(self) -> int:
        return split_freq(self.every)[0]

    @property
    def unit(self) -> str:
        return split_freq(self.every)[1]

    def steps(self, ds: pl.Series, first: pl.Series) -> pl.Series:
        """Whole steps from `first` to `ds`, row by row; null where a stamp lies off the grid."""
        apart, same = self._apart(ds, first)
        whole, rest = np.divmod(apart, self._length(ds))
        steps, on_grid = pl.Series(whole), (rest == 0) & same
        return steps if on_grid.all() else pl.select(pl.when(pl.Series(on_grid)).then(steps)).to_series()

    def floor(self, ds: pl.Series, first: pl.Series) -> np.ndarray:
        """The last whole step from `first` that lies at or before `ds`, row by row."""
        apart, _ = self._apart(ds, first)
        steps = apart // self._length(ds)
        return steps - (self.add(first, steps) > ds).to_numpy()

    def fraction(self, ds: pl.Series, first: pl.Series) -> np.ndarray:
        """Steps from `first` to `ds` as floats, for irregular stamps."""
        apart, _ = self._apart(ds, first)
        return apart / self._length(ds)

    def add(self, ds: pl.Series, steps: np.ndarray) -> pl.Series:
        """The stamps `steps` after `ds`, row by row."""
        if self.unit in MONTHS or self._by_calendar(ds):
            words = pl.Series(steps * self.number).cast(pl.String) + self.unit
            moved = pl.DataFrame({"ds": ds, "by": words}).select(pl.col("ds").dt.offset_by(pl.col("by"))).to_series()
            return moved.dt.month_end() if self.month_end else moved
        moved = _physical(ds) + steps * self._length(ds)
        return pl.Series(moved).cast(ds.dtype)

    def _apart(self, ds: pl.Series, first: pl.Series) -> tuple[np.ndarray, np.ndarray | bool]:
        """How far `ds` lies after `first` in months or in the unit of the column; whether the day of the month fits."""
        if self.unit in MONTHS:
            later, earlier = (s.dt.year().cast(pl.Int64) * 12 + s.dt.month() for s in (ds, first))
            return (later - earlier).to_numpy(), self._same_day(ds, first).to_numpy()
        if self._by_calendar(ds):
            ds, first = ds.dt.replace_time_zone(None), first.dt.replace_time_zone(None)
        return _physical(ds) - _physical(first), True

    def _same_day(self, ds: pl.Series, first: pl.Series) -> pl.Series:
        last = ds.dt.date().dt.month_end().dt.day()
        day = last if self.month_end else pl.select(pl.min_horizontal(first.dt.day(), last)).to_series()
        same = ds.dt.day() == day
        return same if ds.dtype == pl.Date else same & (ds.dt.time() == first.dt.time())

    def _by_calendar(self, ds: pl.Series) -> bool:
        return self.unit in ("d", "w") and getattr(ds.dtype, "time_zone", None) is not None

    def _length(self, ds: pl.Series) -> int:
        """The step in the physical unit of the column: integers, days of a Date, microseconds of a Datetime."""
        if self.unit in MONTHS:
            return self.number * MONTHS[self.unit]
        if self.unit == "i":
            return self.number
        return self.number * UNITS[self.unit] // (UNITS["d"] if ds.dtype == pl.Date else UNITS["us"])


def _physical(ds: pl.Series) -> np.ndarray:
    return ds.cast(pl.Int64).to_numpy()


def split_freq(freq: str) -> tuple[int, str]:
    """`"15m"` -> (15, "m").

    Raises:
        FrameError: this is no frequency that polars can write.
    """
    match = re.fullmatch(r"(\d*)(ns|us|ms|s|min|m|h|H|d|D|w|W|mo|MS|M|ME|q|QS|Q|y|YS|Y|i)", freq.strip())
    if match is None or int(match[1] or 1) < 1:
        raise FrameError(
            f"freq={freq!r} is not a step of time. Write it as polars does: '15m', '1h', '1d', '1w', '1mo', '1q', "
            "'1y', '1i' for integer steps, or 'irregular' with grid=."
        )
    aliases = {"min": "m", "H": "h", "D": "d", "W": "w", "MS": "mo", "M": "mo", "ME": "mo", "Q": "q", "QS": "q",
               "Y": "y", "YS": "y"}  # as pandas writes them
    return int(match[1] or 1), aliases.get(match[2], match[2])


def grid_of(freq: str, ds: pl.Series) -> Grid:
    """The grid of this frequency for a column of stamps.

    Raises:
        FrameError: the frequency and the type of the column do not go together.
    """
    number, unit = split_freq(freq)
    if (unit == "i") != ds.dtype.is_integer():
        kind = "integers" if ds.dtype.is_integer() else "dates"
        wanted = "'1i'" if ds.dtype.is_integer() else "'1h', '1d', '1mo' or the like"
        raise FrameError(f"freq={freq!r} does not fit a time column of {kind}: use {wanted}.")
    if unit == "ns":
        raise FrameError(f"freq={freq!r} is finer than a microsecond, as fine as time is kept: use integer steps.")
    if ds.dtype == pl.Date and unit not in ("d", "w", *MONTHS):
        raise FrameError(f"freq={freq!r} is finer than the time column, which holds dates: cast it to datetimes first.")
    month_end = unit in MONTHS and len(ds) > 0 and bool((ds.dt.date() == ds.dt.date().dt.month_end()).all())
    return Grid(f"{number}{unit}", month_end)


def infer_freq(table: pl.DataFrame) -> str | None:
    """The most frequent step inside the series (`unique_id`, `ds`, sorted); None where no series has two rows."""
    ds = pl.col("ds")
    same = pl.col("unique_id") == pl.col("unique_id").shift(1)
    if table.schema["ds"].is_integer():
        steps = _most_frequent(table.select(ds.diff().filter(same)).to_series())
        return None if steps is None else f"{steps}i"
    physical = ds.to_physical().cast(pl.Int64)
    apart = _most_frequent(table.select(physical.diff().filter(same)).to_series())
    if apart is None:
        return None
    nanoseconds = apart * (UNITS["d"] if table.schema["ds"] == pl.Date else UNITS["us"])
    if nanoseconds >= 28 * UNITS["d"]:
        month = ds.dt.year().cast(pl.Int64) * 12 + ds.dt.month()
        months = _most_frequent(table.select(month.diff().filter(same)).to_series())
        if months and _by_month(table):
            unit = next(unit for unit in ("y", "q", "mo") if months % MONTHS[unit] == 0)
            return f"{months // MONTHS[unit]}{unit}"
    unit = next(unit for unit in ("w", "d", "h", "m", "s", "ms", "us", "ns") if nanoseconds % UNITS[unit] == 0)
    return f"{nanoseconds // UNITS[unit]}{unit}"


def season_of(freq: str) -> int:
    """Steps of one season: 48 for half hours, 24 for hours, 7 for days, 52 for weeks, 12 for months, 4 for quarters."""
    return SEASONS.get(freq, 1)


def _most_frequent(steps: pl.Series) -> int | None:
    counts = steps.filter(steps > 0).value_counts().sort(["count", steps.name], descending=[True, False])
    return counts[0, steps.name] if len(counts) else None


def _by_month(table: pl.DataFrame) -> bool:
    dates = table["ds"].dt.date()
    return dates.dt.day().n_unique() == 1 or bool((dates == dates.dt.month_end()).all())
