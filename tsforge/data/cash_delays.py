"""Delays of a target as past covariates: a lag and a dimension that training rows alone have chosen.

Paper     Sarveswararao & Ravi (2020), "ATM Cash demand forecasting in an Indian Bank with chaos and deep learning",
          arXiv:2008.10365; of the paper only the abstract was at hand, the steps are those of its sources: Cao (1997).
Equation  features of day t: x[t], x[t - lag], ..., x[t - (dimension - 1) lag]; targets x[t+1], ..., x[t+h]
Frame     y_lag_k is x[t - k] for k = lag, 2 lag, ..., (dimension - 1) lag; x[t] is the target itself
Units     those of the target;   lag in days.
Differs   Many series share one lag and one dimension, the medians over them, so that they share the columns. Only to
          choose these, a missing day is the median of its weekday in training; the frame keeps it missing.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median_low

import numpy as np
import polars as pl

from tsforge.errors import ArgumentError

log = logging.getLogger("tsforge")
TEST = 56  # days at the end that do not choose, as the NN5 competition tests them
LARGEST = 10  # dimension; noise has none, and gets this
MOST = 100  # series that choose: Cao's method takes 0.1 s for two years of one


@dataclass(frozen=True)
class Delays:
    """Whether and how targets are delayed.

    Args:
        delay_embed: True or "zero": the lag is the first zero of the autocorrelation; "1/e": where it falls below 1/e,
            which suits series with a trend. The dimension is Cao's.
        train: First rows of each series that choose lag and dimension (int), or a share of them (float); all but the
            last 56 days unless told. In a backtest no cutoff may lie before their end.

    Raises:
        ArgumentError: an argument is none of these, or `train` stands without `delay_embed`.
    """

    delay_embed: bool | str = False
    train: int | float | None = None

    def __post_init__(self) -> None:
        if self.delay_embed not in (True, False, "zero", "1/e"):
            raise ArgumentError(f"delay_embed={self.delay_embed!r}: wanted True, False, 'zero' or '1/e'.")
        share, wrong = isinstance(self.train, float), isinstance(self.train, bool)
        if self.train is not None and (wrong or self.train <= 0 or (share and self.train >= 1)):
            raise ArgumentError(f"train={self.train!r}: wanted a number of rows (int) or a share between 0 and 1.")
        if self.train is not None and not self.rule:
            raise ArgumentError(f"train={self.train!r} belongs to delay_embed=True: give both or none.")

    @property
    def rule(self) -> str | None:
        """Of the lag; None without delays."""
        return {True: "zero", False: None}.get(self.delay_embed, self.delay_embed)  # pyright: ignore

    def add_to(self, table: pl.DataFrame, targets: Sequence[str]) -> pl.DataFrame:
        """The table, with a row for every day, and its delays.

        Raises:
            ArgumentError: no series can tell a lag and a dimension.
        """
        if self.rule is None:
            return table
        seen = training_rows(table, self.train)
        for target in targets:
            lag, dimension = choose(seen, target, self.rule)
            delayed = (pl.col(target).shift(k).over("unique_id").alias(f"{target}_lag_{k}")
                       for k in range(lag, dimension * lag, lag))
            table = table.with_columns(delayed)
        return table


def training_rows(table: pl.DataFrame, train: int | float | None) -> pl.DataFrame:
    """The rows of each series that may choose."""
    row, rows = pl.int_range(pl.len()).over("unique_id"), pl.len().over("unique_id").cast(pl.Int64)
    if train is None:
        return table.filter(row < rows - TEST)
    return table.filter(row < (rows * train).floor() if isinstance(train, float) else row < train)


def choose(seen: pl.DataFrame, target: str, rule: str) -> tuple[int, int]:
    """Lag and dimension for all series together.

    Raises:
        ArgumentError: every series is too short or constant.
    """
    from tsforge.dynamics.lag import lag_by_acf  # brings scipy: only who asks for delays pays

    series = list(_complete(seen, target))
    if not series:
        raise ArgumentError(
            f"delay_embed: of the training rows of {target!r} no series has more than {3 * LARGEST} days that differ. "
            "Give a longer series, a larger train=, or leave delay_embed out."
        )
    wanted = [lag_by_acf(x, rule) for x in series]  # pyright: ignore[reportArgumentType]
    lag = median_low(min(k, _longest(x)) for k, x in zip(wanted, series, strict=True))
    found = [_dimension(x, lag) for x in series if _longest(x) >= lag]
    dimension = median_low(LARGEST if d is None else d for d in found)
    cut = sum(k > _longest(x) for k, x in zip(wanted, series, strict=True))
    log.info(
        "%s: lag %d and dimension %d, chosen on the training rows of %d series (the lag of %d was cut to what their "
        "length allows, Cao's E1 of %d does not level off).", target, lag, dimension, len(series), cut,
        found.count(None),
    )
    return lag, dimension


def _complete(seen: pl.DataFrame, target: str) -> Iterator[np.ndarray]:
    """Series without gaps that are long enough and change; of very many, so many evenly spaced ones."""
    keys = seen["unique_id"].unique(maintain_order=True)
    kept = seen.filter(pl.col("unique_id").is_in(keys.gather_every(-(-len(keys) // MOST) or 1).implode()))
    weekday = pl.col("ds").dt.weekday()
    filled = kept.select(
        "unique_id", pl.col(target).fill_null(pl.col(target).median().over("unique_id", weekday))
        .fill_null(pl.col(target).median().over("unique_id")),
    )
    for part in filled.partition_by("unique_id", maintain_order=True):
        if part[target].n_unique() > 1 and len(part) > 3 * LARGEST:
            yield part[target].to_numpy()


def _longest(x: np.ndarray) -> int:
    """The longest lag at which so many delays span less than a third of the series."""
    return (len(x) - 1) // (3 * LARGEST)


def _dimension(x: np.ndarray, lag: int) -> int | None:
    """Cao's dimension; None where there is none, as in noise."""
    from tsforge.dynamics.cao import embedding_dimension

    try:
        return embedding_dimension(x, lag, LARGEST)
    except ArgumentError:
        return None
