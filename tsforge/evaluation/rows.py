"""The rows of a forecast frame as they are scored: in their units, numbered by group, reduced to means."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from tsforge.evaluation.forecasts import floats


@dataclass(frozen=True)
class Rows:
    """One row per cell.

    Args:
        table: Keys, `y` and the columns of the models.
        paths: `[sample, row]` of each model, where the frame has sample paths.
        training: `[row]` each: mean, sd, and scale_1, scale_2 as the metrics need them.
        scaled: Whether columns are standardised by mean and sd.
    """

    table: pl.DataFrame
    paths: dict[str, np.ndarray]
    training: dict[str, np.ndarray]
    scaled: bool

    @cached_property
    def y(self) -> np.ndarray:
        """`[row]`, the truth; NaN where missing."""
        return self.column("y")

    @property
    def pair(self) -> list[str]:
        """The keys of a (series, target) pair."""
        return pair_of(self.table)

    @property
    def window(self) -> list[str]:
        """The keys of a window of all targets."""
        return [name for name in ("unique_id", "cutoff") if name in self.table.columns]

    def column(self, name: str) -> np.ndarray:
        """`[row]`; NaN where missing."""
        return self._in_units(floats(self.table, name))

    def samples(self, model: str) -> np.ndarray:
        """`[sample, row]`; NaN where missing."""
        return self._in_units(self.paths[model])

    def _in_units(self, values: np.ndarray) -> np.ndarray:
        return (values - self.training["mean"]) / self.training["sd"] if self.scaled else values

    @property
    def sd(self) -> np.ndarray:
        """`[row]`, the training sd in the units of `column`; NaN where training saw nothing."""
        sd = np.ones(len(self.table)) if self.scaled else self.training["sd"]
        return np.where(np.isnan(self.training["mean"]), np.nan, sd)

    def divisor(self, power: int | None) -> np.ndarray | None:
        """`[row]`, the seasonal scale of this power in the units of `column`; NaN where there is none."""
        if power is None:
            return None
        divisor = self.training[f"scale_{power}"]
        return divisor / self.training["sd"] ** power if self.scaled else divisor


@dataclass(frozen=True)
class Groups:
    """Rows numbered by group.

    Args:
        keys: One row per group: its keys and `group`, its number.
        number: `[row]`, the number of each row's group.
    """

    keys: pl.DataFrame
    number: np.ndarray

    def sums(self, values: np.ndarray, used: np.ndarray) -> np.ndarray:
        """`[group]`, sums over the rows in `used`."""
        return np.bincount(self.number[used], weights=values[used], minlength=len(self.keys))

    def counts(self, used: np.ndarray) -> np.ndarray:
        """`[group]`, how many rows are in `used`."""
        return np.bincount(self.number[used], minlength=len(self.keys))

    def __len__(self) -> int:
        return len(self.keys)


def pair_of(table: pl.DataFrame) -> list[str]:
    """The keys of a (series, target) pair."""
    return [name for name in ("unique_id", "target") if name in table.columns]


def rows_of(
    table: pl.DataFrame, paths: dict[str, np.ndarray], training: pl.DataFrame | None, *, scaled: bool
) -> Rows:
    """The rows with what training says of their pair."""
    by_row: dict[str, np.ndarray] = {}
    if training is not None:
        pair = pair_of(table)
        pairs = grouped(table.select(pair))
        known = pairs.keys.join(training, on=pair, how="left", maintain_order="left")
        by_row = {name: floats(known, name)[pairs.number] for name in training.columns if name not in pair}
    return Rows(table, paths, by_row, scaled)


def grouped(keys: pl.DataFrame) -> Groups:
    """Rows numbered by their distinct keys; without any key they are one group."""
    if not keys.columns:
        return Groups(pl.DataFrame({"group": [0]}), np.zeros(keys.height, dtype=np.int64))
    groups = keys.unique().with_row_index("group")
    rows = keys.join(groups, on=keys.columns, how="left", maintain_order="left", nulls_equal=True)
    return Groups(groups, rows["group"].to_numpy().astype(np.int64))


def step_of(rows: Rows, within: list[str]) -> pl.Series:
    """`[row]`, the rank of ds among the rows of one window, from 1 on."""
    return rows.table.select(pl.col("ds").rank("dense").over(within).cast(pl.Int64).alias("step"))["step"]


def mean_over_pairs(values: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """Mean over the groups of each `by` key that have cells; unless pooled, these are (series, target) pairs."""
    mean = pl.col("value").filter(pl.col("cells") > 0).mean().fill_null(np.nan)
    return values.group_by(by).agg(mean, pl.col("cells").sum())
