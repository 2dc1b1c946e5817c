"""What the calendar tells of a day long before: its weekday, whether it is a holiday, how far the pay-day is.

Source    Public holidays: the package `holidays` (MIT), which is imported only where they are asked for.
Frame     monday ... sunday 1 on that day of the week   holiday 1 on a public holiday
          days_to_pay_day, days_since_pay_day 0 on the day itself
"""

from dataclasses import dataclass
from datetime import date
from typing import Any

import polars as pl

from tsforge.errors import ArgumentError, PackageError, UnknownNameError, suggest

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


@dataclass(frozen=True)
class KnownAhead:
    """Covariates made of the date alone.

    Args:
        day_of_week: Seven one-hot columns.
        holidays: A country as ISO 3166 has it, with a part of it after a hyphen: "GB", "GB-ENG", "IN".
        pay_day: Day of the month on which wages are paid, 1 to 31 (the last day of a shorter month), or "last". It is
            not moved off weekends.

    Raises:
        ArgumentError: `pay_day` is no such day.
        UnknownNameError: the package knows no such country or part.
        PackageError: holidays are asked for and the package is not installed.
    """

    day_of_week: bool = False
    holidays: str | None = None
    pay_day: int | str | None = None

    def __post_init__(self) -> None:
        number = isinstance(self.pay_day, int) and not isinstance(self.pay_day, bool)
        if self.pay_day not in (None, "last") and not (number and 1 <= int(self.pay_day or 0) <= 31):
            raise ArgumentError(f"pay_day={self.pay_day!r}: wanted a day of the month, 1 to 31, or 'last'.")
        if self.holidays is not None:
            _place(self.holidays)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that were asked for."""
        pay_day = ("days_to_pay_day", "days_since_pay_day") if self.pay_day is not None else ()
        return (*(WEEKDAYS if self.day_of_week else ()), *(("holiday",) if self.holidays else ()), *pay_day)

    def add_to(self, table: pl.DataFrame) -> pl.DataFrame:
        """The table with these columns; `ds` holds dates."""
        ds, made = pl.col("ds"), []
        if self.day_of_week:
            made = [(ds.dt.weekday() == day).cast(pl.Int8).alias(name) for day, name in enumerate(WEEKDAYS, start=1)]
        if self.holidays is not None:
            first, last = (date.year for date in (table["ds"].min(), table["ds"].max()))  # pyright: ignore
            dates = pl.Series(_holidays(self.holidays, first, last), dtype=pl.Date)
            made.append(ds.is_in(dates.implode()).cast(pl.Int8).alias("holiday"))
        return table.with_columns(*made, *([] if self.pay_day is None else _pay_day(self.pay_day)))


def _pay_day(day: int | str) -> list[pl.Expr]:
    """Days to the next and since the last pay-day."""
    month = pl.col("ds").dt.month_start()

    def paid(start: pl.Expr) -> pl.Expr:
        end = start.dt.month_end()
        return end if day == "last" else pl.min_horizontal(start + pl.duration(days=int(day) - 1), end)

    this = paid(month)
    following = pl.when(pl.col("ds") <= this).then(this).otherwise(paid(month.dt.offset_by("1mo")))
    before = pl.when(pl.col("ds") >= this).then(this).otherwise(paid(month.dt.offset_by("-1mo")))
    return [
        (following - pl.col("ds")).dt.total_days().alias("days_to_pay_day"),
        (pl.col("ds") - before).dt.total_days().alias("days_since_pay_day"),
    ]


def _holidays(place: str, first: int, last: int) -> list[date]:
    """The public holidays from the first to the last year; the package warns of years that it knows in part."""
    country, part = _place(place)
    return sorted(_package(place).country_holidays(country, subdiv=part or None, years=range(first, last + 1)))


def _place(place: str) -> tuple[str, str]:
    """Country and part of it, "" for the whole.

    Raises:
        UnknownNameError: the package knows no such country or part.
    """
    country, _, part = place.partition("-")
    known: dict[str, Any] = _package(place).list_supported_countries(include_aliases=True)
    if country not in known:
        hint = suggest(country, known) or " Write the two letters of ISO 3166, as in 'GB' or 'IN'."
        raise UnknownNameError(f"holidays={place!r}: the package holidays knows no country {country!r}.{hint}")
    if part and part not in known[country]:
        there = ", ".join(known[country]) or "none"
        raise UnknownNameError(f"holidays={place!r}: {country} has no part {part!r}. There are: {there}.")
    return country, part


def _package(place: str) -> Any:
    try:
        import holidays
    except ImportError:
        raise PackageError(
            f"holidays={place!r} needs the package holidays, which is not installed: pip install holidays."
        ) from None
    return holidays
