"""AtmIndia: cash drawn at machines of an Indian bank, by the day.

Source    atmdata.csv of https://github.com/nitsbat/autodolia; no licence is stated, so the file is not shipped.
Frame     unique_id "Airport ATM", "Big Street ATM", "KK Nagar ATM"   ds 2011-01-01 to 2017-09-29, 2,464 days each
          total_amount_withdrawn, amount_withdrawn_cub_card + amount_withdrawn_other_card
          no_of_withdrawals, no_of_cub_card_withdrawals + no_of_other_card_withdrawals; cub is the bank itself
Units     amounts: Indian rupees.   numbers: withdrawals.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from tsforge.data.cash import Cash
from tsforge.data.cash_calendar import KnownAhead
from tsforge.data.cash_delays import Delays
from tsforge.data.files import read_table
from tsforge.data.places import find_data
from tsforge.errors import UnknownNameError, suggest
from tsforge.frame.check import read_times
from tsforge.frame.schema import as_names, require

MEASURED = (
    "total_amount_withdrawn", "amount_withdrawn_cub_card", "amount_withdrawn_other_card",
    "no_of_withdrawals", "no_of_cub_card_withdrawals", "no_of_other_card_withdrawals",
)
CALENDAR = ("weekday", "festival_religion", "working_day", "holiday_sequence")
FESTIVALS = {"festival_hindu": "H", "festival_muslim": "M", "festival_christian": "C", "festival_national": "N"}
MADE = (*FESTIVALS, "working_day", "holiday_before", "holiday_after")


class AtmIndia(Cash):
    """One series a machine.

    Args:
        targets: One or several of the six measured columns; the total amount unless told.
        festivals: Whether to give the file's own calendar as covariates known ahead, each 0 or 1: `festival_hindu`,
            `festival_muslim`, `festival_christian`, `festival_national`, `working_day`, `holiday_before`,
            `holiday_after`. They end with the file, so a forecast past it needs a `future` of the user's.
        absent: What a day without transactions counts as: "missing" (most are of the winter of 2016, when notes were
            withdrawn and machines stood empty), or "zero".
        day_of_week, holidays, pay_day: Covariates known ahead, see `KnownAhead`.
        delay_embed, train: Lagged values as past covariates, see `Delays`; "1/e" suits, as the amounts rise for years.
        states: Whether to give the label `state`: "amount" or "absent".
        path: The user's own file of the same layout.

    Raises:
        UnknownNameError: a target is not measured.
        ArgumentError, PackageError: an argument cannot work.
    """

    def __init__(
        self, *, targets: str | Sequence[str] = "total_amount_withdrawn", festivals: bool = False,
        absent: str = "missing", day_of_week: bool = False, holidays: str | None = None,
        pay_day: int | str | None = None, delay_embed: bool | str = False, train: int | float | None = None,
        states: bool = False, path: str | Path | None = None,
    ) -> None:
        names = as_names(targets)
        for name in names:
            if name not in MEASURED:
                raise UnknownNameError(
                    f"AtmIndia measures no {name!r}.{suggest(name, MEASURED)} There are: {', '.join(MEASURED)}."
                )
        ahead, delays = KnownAhead(day_of_week, holidays, pay_day), Delays(delay_embed, train)
        super().__init__(
            names or MEASURED[:1], also_ahead=MADE if festivals else (), absent=absent, ahead=ahead, delays=delays,
            states=states,
        )
        self.path = path

    def amounts(self) -> pl.DataFrame:
        path = find_data("atm_india", "atm_india/atm_transactions.csv", self.path)
        table = read_table(path)
        wanted = ("atm_name", "transaction_date", *self.targets, *(CALENDAR if self.also_ahead else ()))
        require(table.columns, wanted, str(path))
        written = table["transaction_date"].cast(pl.String)
        american = written.str.to_date("%m/%d/%Y", strict=False).dt.strftime("%Y-%m-%d")
        stamps = read_times(american.zip_with(american.is_not_null(), written), "transaction_date").cast(pl.Date)
        table = table.with_columns(stamps.alias("ds")).rename({"atm_name": "unique_id"})
        return (mended(table) if self.also_ahead else table).select("unique_id", "ds", *self.targets, *self.also_ahead)


def mended(table: pl.DataFrame) -> pl.DataFrame:
    """The file's calendar in numbers, working days of 2012 put right.

    Where the file's weekday is not that of the date, its calendar is that of the last holiday, carried on over the
    working days that follow: such a day is a working day without a festival, between what its neighbours are.
    """
    carried = pl.col("weekday") != pl.col("ds").dt.strftime("%A")
    flags = [(~carried & (pl.col("festival_religion") == letter)).alias(name) for name, letter in FESTIVALS.items()]
    table = table.with_columns(*flags, working_day=carried | (pl.col("working_day") == "W"), carried=carried)
    days = table.group_by("ds").agg(pl.col("working_day").first())
    for name, letter, apart in (("holiday_before", 0, "1d"), ("holiday_after", 2, "-1d")):
        near = days.select(pl.col("ds").dt.offset_by(apart), beside=~pl.col("working_day"))
        table = table.join(near, on="ds", how="left", maintain_order="left")
        said = pl.col("holiday_sequence").str.slice(letter, 1) == "H"
        table = table.with_columns(pl.when("carried").then("beside").otherwise(said).alias(name)).drop("beside")
    return table.with_columns(pl.col(*MADE).cast(pl.Int8))
