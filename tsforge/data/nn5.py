"""NN5: cash drawn at machines in the United Kingdom, by the day.

Source    NN5 forecasting competition (2008), by way of data/nn5.rda of https://github.com/robjhyndman/tscompdata; Ben
          Taieb et al. (2012), arXiv:1108.3259. The package is GPL-3; the file is not shipped.
Frame     unique_id "NN5-001" to "NN5-111" (the file at hand: 74 of them)   ds 1996-03-18 to 1998-05-17, 791 days
          y cash drawn; 0 where nobody drew, missing where it is not known
Units     none: scaled by the source.
"""

import re
from pathlib import Path

import polars as pl

from tsforge.data.cash import Cash
from tsforge.data.cash_calendar import KnownAhead
from tsforge.data.cash_delays import Delays
from tsforge.data.files import read_table
from tsforge.data.places import find_data
from tsforge.frame.check import read_times
from tsforge.frame.schema import require
from tsforge.frame.split import Split


class NN5(Cash):
    """One series a machine; the last 56 days are the test part of the competition, and are `published`.

    Args:
        zero: What 0 counts as, "zero" or "missing".
        day_of_week, holidays, pay_day: Covariates known ahead, see `KnownAhead`.
        delay_embed, train: Lagged values as past covariates, see `Delays`.
        states: Whether to give the label `state`: "amount", "zero" or "missing".
        path: The user's own file of the same layout, or the .tsf file of the Monash archive, in which T7 is NN5-007.

    Raises:
        ArgumentError, UnknownNameError, PackageError: an argument cannot work.
    """

    published = Split(train=735, val=0, test=56)

    def __init__(
        self, *, zero: str = "zero", day_of_week: bool = False, holidays: str | None = None,
        pay_day: int | str | None = None, delay_embed: bool | str = False, train: int | float | None = None,
        states: bool = False, path: str | Path | None = None,
    ) -> None:
        ahead, delays = KnownAhead(day_of_week, holidays, pay_day), Delays(delay_embed, train)
        super().__init__(["y"], zero=zero, ahead=ahead, delays=delays, states=states)
        self.path = path

    def amounts(self) -> pl.DataFrame:
        path = find_data("nn5", "atm_nn5/nn5_daily.csv", self.path)
        table = read_table(path)
        if path.name.lower().endswith(".tsf"):
            names = [re.sub(r"^T(\d+)$", lambda found: f"NN5-{int(found[1]):03d}", name) for name in table["unique_id"]]
            return table.select(pl.Series("unique_id", names), pl.col("ds").cast(pl.Date), "y")
        require(table.columns, ("date",), str(path))
        empty = [pl.col(name).cast(pl.Float64) for name in table.columns[1:] if table[name].count() == 0]
        long = table.with_columns(empty).unpivot(index="date", variable_name="unique_id", value_name="y")
        return long.select("unique_id", read_times(long["date"], "date").cast(pl.Date).alias("ds"), "y")
