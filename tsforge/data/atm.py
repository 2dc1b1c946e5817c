"""Atm: a bank's own export of the cash drawn at its machines.

Source    The user's file: .csv, .csv.gz, .parquet, .arrow or a folder of parquet; one row a machine and day, or one row
          a transaction.
Frame     unique_id the machine   ds the day   y the amount
Units     those of the file.
"""

from pathlib import Path

import polars as pl

from tsforge.data.cash import Cash
from tsforge.data.cash_calendar import KnownAhead
from tsforge.data.cash_delays import Delays
from tsforge.data.files import read_table
from tsforge.errors import ArgumentError, FrameError
from tsforge.frame.check import read_times, read_values
from tsforge.frame.schema import require


class Atm(Cash):
    """One series a machine, one row a day.

    Args:
        path: The file.
        id: Column that names the machine; None where the file is of one.
        date: Column of the day or the time.
        amount: Column of the amount; empty where it is not known.
        down: Column that is true, or 1, where the machine was out of order: the amount of that day is missing.
        zero: What an amount of 0 counts as, "zero" or "missing".
        absent: What a day without a row counts as, "missing" or "zero"; "zero" fits a list of transactions.
        aggregate: "sum" adds up the rows of a day, which is missing as soon as one of them is; None expects one row.
        day_of_week, holidays, pay_day: Covariates known ahead, see `KnownAhead`.
        delay_embed, train: Lagged values as past covariates, see `Delays`.
        states: Whether to give the label `state`: "amount", "zero", "missing" or "absent".

    Raises:
        ArgumentError, UnknownNameError, PackageError: there is no `path`, or an argument cannot work.
    """

    def __init__(
        self, *, path: str | Path | None = None, id: str | None = "unique_id", date: str = "ds", amount: str = "y",
        down: str | None = None, zero: str = "zero", absent: str = "missing", aggregate: str | None = None,
        day_of_week: bool = False, holidays: str | None = None, pay_day: int | str | None = None,
        delay_embed: bool | str = False, train: int | float | None = None, states: bool = False,
    ) -> None:
        if path is None:
            raise ArgumentError("Atm reads an export of your own: give path=, and id=, date=, amount=, its columns.")
        if aggregate not in (None, "sum"):
            raise ArgumentError(f"aggregate={aggregate!r}: wanted 'sum', which adds up the rows of a day, or None.")
        ahead, delays = KnownAhead(day_of_week, holidays, pay_day), Delays(delay_embed, train)
        super().__init__(["y"], zero=zero, absent=absent, ahead=ahead, delays=delays, states=states)
        self.path, self.id, self.date, self.amount = path, id, date, amount
        self.down, self.aggregate = down, aggregate

    def amounts(self) -> pl.DataFrame:
        table = read_table(self.path)
        named = [name for name in (self.id, self.down) if name is not None]
        require(table.columns, [*named, self.date, self.amount], str(self.path))
        if self.id is not None and table[self.id].null_count():
            row = int(table[self.id].is_null().arg_max() or 0) + 1
            raise FrameError(f"Column {self.id!r}, row {row}: the machine has no name ({table[self.id].null_count()} "
                             "such rows). Name it, or leave the row out.")
        ids = pl.lit("atm") if self.id is None else pl.col(self.id)
        days = _days(table[self.date], self.date)
        taken = table.select(ids.alias("unique_id"), days.alias("ds"), pl.col(self.amount).alias("y"))
        taken = read_values(taken, ["y"])
        if self.down is not None:
            taken = taken.with_columns(pl.when(~_is_down(table[self.down])).then("y").alias("y"))
        return self._one_a_day(taken)

    def _one_a_day(self, taken: pl.DataFrame) -> pl.DataFrame:
        if self.aggregate == "sum":
            known = pl.col("y").null_count() == 0
            return taken.group_by("unique_id", "ds").agg(pl.when(known).then(pl.col("y").sum()).alias("y"))
        again = taken.filter(taken.select("unique_id", "ds").is_duplicated())
        if len(again):
            name, day = again.row(0)[:2]
            count = len(again.filter(pl.col("unique_id") == name, pl.col("ds") == day))
            raise FrameError(
                f"Machine {name!r} has {count} rows on {day} ({len(again)} rows share their day). Give "
                "aggregate='sum' where rows are transactions; else keep one row for each machine and day."
            )
        return taken


def _days(stamps: pl.Series, name: str) -> pl.Series:
    """Dates.

    Raises:
        FrameError: the column holds integer steps, or cannot be read.
    """
    read = read_times(stamps, name)
    if read.dtype.is_integer():
        raise FrameError(f"Column {name!r} holds integers, wanted days such as 2024-01-31. Name another in date=.")
    return read.dt.date()


def _is_down(status: pl.Series) -> pl.Series:
    """Whether the machine was out of order; an empty cell says that it was not.

    Raises:
        FrameError: the column is neither true and false nor 1 and 0.
    """
    numbers = {"1": "true", "0": "false", "1.0": "true", "0.0": "false"}
    words = status.cast(pl.String).str.to_lowercase().replace(numbers).fill_null("false")
    odd = words.is_in(["true", "false"]).not_()
    if odd.any():
        row = int(odd.arg_max() or 0)
        raise FrameError(
            f"Column {status.name!r}, row {row + 1}: {status[row]!r} does not say whether the machine was down "
            f"({odd.sum()} such rows): wanted true and false, or 1 and 0."
        )
    return words == "true"
