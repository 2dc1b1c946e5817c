"""Cash drawn at machines, by the day: three ways to draw nothing, what the calendar says, and delays.

Rules     A day of a machine shows an amount, zero (open, and nobody drew), no value (missing: the machine was down, or
          the record is lost), or no row (absent: a list of transactions has none of that day). `zero` and `absent` say
          what the second and the fourth count as. Every day from the first to the last of a machine gets a row.
Source    Delays as in Sarveswararao & Ravi (2020), arXiv:2008.10365: see cash_delays.py.
"""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.cash_calendar import KnownAhead
from tsforge.data.cash_delays import Delays
from tsforge.errors import ArgumentError
from tsforge.frame.check import check_keys, read_values
from tsforge.frame.frame import Frame

COUNTS_AS = ("zero", "missing")


class Cash(Adapter):
    """What the sources of cash data share; each of them gives `amounts`.

    Args:
        targets: The columns to forecast.
        also_ahead: Columns of `amounts` that are known ahead, and end with the file.
        zero: What a 0 of the source counts as: "zero", or "missing" where it means a machine out of order.
        absent: What a day without a row counts as: "missing", or "zero" where it means that nobody drew.
        ahead: Covariates made of the date.
        delays: Lagged targets as past covariates.
        states: Whether to give the label `state`: "amount", "zero", "missing" or "absent" as the source has it.

    Raises:
        ArgumentError: `zero` or `absent` is neither word.
    """

    def __init__(
        self, targets: Sequence[str], *, also_ahead: Sequence[str] = (), zero: str = "zero", absent: str = "missing",
        ahead: KnownAhead, delays: Delays, states: bool,
    ) -> None:
        for name, word in (("zero", zero), ("absent", absent)):
            if word not in COUNTS_AS:
                raise ArgumentError(f"{name}={word!r}: wanted 'zero' or 'missing', what such a day counts as.")
        self.targets, self.also_ahead, self.zero, self.absent = tuple(targets), tuple(also_ahead), zero, absent
        self.ahead, self.delays, self.states = ahead, delays, states

    def amounts(self) -> pl.DataFrame:
        """`unique_id`, `ds` (dates), the targets and the columns known ahead, as the source has them."""
        raise NotImplementedError(f"{type(self).__name__} has no amounts.")

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds`, the targets, covariates and `state`, as far as they were asked for.

        Raises:
            DataNotFoundError: the file is not there, or is not the published one.
            FrameError: the file cannot be read as days of machines.
            ArgumentError: no series can tell a lag and a dimension.
        """
        return self._table

    def roles(self) -> dict[str, Any]:
        other = ("unique_id", "ds", "state", *self.targets, *self.also_ahead, *self.ahead.columns)
        past = [name for name in self._table.columns if name not in other]
        return {
            "targets": self.targets, "past": past, "future": (*self.also_ahead, *self.ahead.columns), "freq": "1d",
            "season": 7, "labels": "state" if self.states else None,
        }

    def frame(self, **roles: Any) -> Frame:
        """The checked frame; `roles` given here win over those of the source.

        Raises:
            ArgumentError: another step of time is asked for together with covariates of days.
        """
        coarser = roles.get("resample") or roles.get("freq", "1d") != "1d"
        if coarser and (self.ahead.columns or self.also_ahead or self.delays.rule):
            raise ArgumentError(
                f"{type(self).__name__}: covariates and delays are counted in days, and resample= or freq= asks for "
                "another step. Leave out one or the other; calendar= follows any step."
            )
        return super().frame(**roles)

    def known_ahead(self, frame: Frame, h: int) -> pl.DataFrame:
        """`unique_id`, `ds` and the covariates of the `h` days after each series of `frame`: `predict(future=...)`.

        Raises:
            ArgumentError: nothing is known ahead, or the file alone knows it; `h` is no number of days.
        """
        name = type(self).__name__
        if isinstance(h, bool) or h < 1:
            raise ArgumentError(f"h={h!r}: wanted a number of days, 1 or more.")
        if self.also_ahead:
            raise ArgumentError(
                f"{name}: {', '.join(self.also_ahead)} end with the file. Give future= of your own, or take "
                "holidays= instead."
            )
        if not self.ahead.columns:
            raise ArgumentError(f"{name} knows nothing ahead: make it with day_of_week=, holidays= or pay_day=.")
        spans = frame.spans().select("unique_id", "last")
        if frame.schema.channels_from is not None:
            ids = pl.DataFrame({"unique_id": frame.schema.channel_ids})
            spans = ids.join(spans.select("last"), how="cross")
        days = spans.join(pl.DataFrame({"step": np.arange(1, h + 1)}), how="cross", maintain_order="left_right")
        later = pl.col("last") + pl.duration(days="step")
        return self.ahead.add_to(days.select("unique_id", later.alias("ds")))

    @cached_property
    def _table(self) -> pl.DataFrame:
        taken = self.amounts().sort("unique_id", "ds", maintain_order=True)
        check_keys(taken)
        table = every_day(read_values(taken, self.targets))
        if self.states:
            table = table.with_columns(_state(self.targets[0]))
        if self.zero == "missing":
            table = table.with_columns(pl.when(pl.col(name) != 0).then(name).alias(name) for name in self.targets)
        if self.absent == "zero":
            table = table.with_columns(pl.when("given").then(name).otherwise(0.0).alias(name) for name in self.targets)
        return self.delays.add_to(self.ahead.add_to(table.drop("given")), self.targets)


def every_day(table: pl.DataFrame) -> pl.DataFrame:
    """All days of each series from its first to its last; `given` tells which of them `table` has."""
    first, last = pl.col("ds").min(), pl.col("ds").max()
    days = table.group_by("unique_id", maintain_order=True).agg(pl.date_range(first, last).alias("ds")).explode("ds")
    found = days.join(table.with_columns(given=True), on=["unique_id", "ds"], how="left", maintain_order="left")
    return found.with_columns(pl.col("given").fill_null(False))


def _state(target: str) -> pl.Expr:
    """What the source has of a day."""
    absent = pl.when(pl.col("given").not_()).then(pl.lit("absent"))
    missing = absent.when(pl.col(target).is_null()).then(pl.lit("missing"))
    return missing.when(pl.col(target) == 0).then(pl.lit("zero")).otherwise(pl.lit("amount")).alias("state")
