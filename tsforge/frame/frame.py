"""Frame: a long table of series, checked once, with its roles."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from inspect import signature
from typing import Any

import polars as pl

from tsforge.errors import ArgumentError, FrameError, suggest
from tsforge.frame.canonical import (
    How,
    as_static,
    canonical,
    check_static,
    check_words,
    constant_columns,
    find_id,
    from_polars,
    in_order,
    resampled,
    to_polars,
)
from tsforge.frame.check import check_keys, check_observed, read_values, steps_in_series
from tsforge.frame.grid import MONTHS, Grid, grid_of, infer_freq, season_of
from tsforge.frame.labels import check_labels, resampled_labels, take_labels
from tsforge.frame.schema import Encoding, Schema, as_names, choose_roles, find_time, list_names, require
from tsforge.frame.split import Split
from tsforge.frame.wide import as_channels

log = logging.getLogger("tsforge")
STATED = (
    "targets", "past", "future", "calendar", "encoding", "channels_from", "freq", "grid", "season", "id_col",
    "time_col",
)


@dataclass(frozen=True, init=False)
class Frame:
    """One row per series and step, sorted, checked, frozen.

    Args:
        df: A table of polars (eager or lazy), pandas or pyarrow.
        targets: Columns to forecast. None: `y` if there is one, else every undeclared numeric column.
        past: Covariates known up to now.
        future: Covariates known ahead.
        static: A second table with one row per series, or names of constant columns of `df`.
        labels: Classes, outcomes or anomalies, which no forecaster is shown: columns of `df`, or a second table with
            `unique_id`, or with `unique_id` and `ds`.
        id_col: Column that names the series; None looks for `unique_id`, and without one there is one series.
        time_col: Column of time; None looks for `ds`, `date`, `time`, `timestamp`.
        freq: Step of time as polars writes it; None takes the most frequent; "irregular" is declared, never inferred.
        grid: Unit of time of an irregular frame.
        calendar: Features of the stamps: minute, hour, dayofweek, day, dayofyear, week, month, quarter.
        encoding: "linear" (one number in [-0.5, 0.5]), "onehot" or "cyclic" (sine and cosine).
        channels_from: "unique_id" makes all series the channels of one: they are forecast together.
        season: Steps of one season; None follows freq.
        resample: Brings an irregular table onto this grid, `how` telling what a step with several rows becomes.
        how: "last", "mean" or "sum".

    Raises:
        FrameError: the table cannot be read; the text names series, column, time, count and fix.
    """

    table: pl.DataFrame  # unique_id, ds, targets, past, future; sorted by unique_id and ds
    schema: Schema
    grid: Grid
    steps: pl.Series | None = field(repr=False)  # of each row from the first of its series; None where irregular
    static: pl.DataFrame | None = field(repr=False)  # unique_id and the static columns
    labels: pl.DataFrame | None = field(repr=False)  # unique_id, or unique_id and ds, and the labels
    kind: str = field(repr=False)  # "polars", "lazy", "pandas" or "pyarrow": what predictions come back as
    time_dtype: Any = field(repr=False)  # of polars, whose DataType beartype cannot read
    notices: tuple[str, ...] = field(repr=False)
    split: Split | None = field(repr=False)  # the published one, where the source has it
    offered: bool = field(repr=False)  # whether the static columns are the source's, for models that read some

    def __init__(
        self, df: Any, *, targets: str | Sequence[str] | None = None, past: str | Sequence[str] = (),
        future: str | Sequence[str] = (), static: Any = None, labels: Any = None,
        id_col: str | None = None, time_col: str | None = None, freq: str | None = None, grid: str | None = None,
        calendar: str | Sequence[str] = (), encoding: Encoding = "linear", channels_from: str | None = None,
        season: int | None = None, resample: str | None = None, how: How = "last",
    ) -> None:
        table, kind = to_polars(df)
        if len(table) == 0:
            raise FrameError(f"The table is empty: it has no row (columns {list_names(table.columns)}).")
        check_words(as_names(calendar), encoding)
        static_names, apart = as_static(static)
        id_col, time_col = find_id(table.columns, id_col), find_time(table.columns, time_col)
        table, labels = take_labels(table, labels, id_col, time_col)
        schema = Schema(
            as_names(targets), as_names(past), as_names(future), static_names, as_names(calendar), encoding, freq, grid,
            season, id_col, time_col,
        )
        schema, notices = choose_roles(table, schema, static_inside=apart is None)
        time_dtype = table.schema[schema.time_col]
        table, apart = canonical(table, schema, apart)
        table, said = in_order(table)
        table, notices = read_values(table, schema.columns), [*notices, *said]
        if resample is not None:
            table, freq, labels = resampled(table, resample, how), resample, resampled_labels(labels, resample)
            notices.append(f"Resampled to {resample}, {how} of each step.")
        check_keys(table)
        check_observed(table, schema.targets)
        if channels_from is not None:
            table, schema = as_channels(table, schema, channels_from)
        made, steps, said = _grid(table, freq, grid)
        season = _whole_season(season_of(made.every) if season is None else season)
        schema = replace(schema, freq="irregular" if steps is None else made.every, season=season)
        self._set(
            table=table, schema=schema, grid=made, steps=steps, static=check_static(apart, table),
            labels=check_labels(labels, table), kind=kind, time_dtype=time_dtype, notices=(*notices, *said), split=None,
            offered=False,
        )
        for notice in self.notices:
            log.info(notice)

    def _set(self, **parts: Any) -> None:
        for name, part in parts.items():
            object.__setattr__(self, name, part)

    def _with(self, **changes: Any) -> "Frame":
        made = object.__new__(type(self))
        made._set(**{name: changes.get(name, getattr(self, name)) for name in self.__dataclass_fields__})
        return made

    @property
    def targets(self) -> tuple[str, ...]:
        """The target columns of `table`, which are the channels of a model."""
        return self.schema.placed(self.schema.targets)

    @property
    def freq(self) -> str:
        return self.schema.freq or self.grid.every

    @property
    def season(self) -> int:
        return self.schema.season or 1

    @property
    def ids(self) -> pl.Series:
        """The series, in the order of the key table."""
        return self.table["unique_id"].unique(maintain_order=True)

    def __len__(self) -> int:
        return len(self.table)

    def __repr__(self) -> str:
        return (
            f"Frame({len(self.ids)} series, {len(self)} rows, targets {list_names(self.targets, 4)}, freq {self.freq}, "
            f"season {self.season})"
        )

    def to_polars(self) -> pl.DataFrame:
        """The checked long table: `unique_id`, `ds`, targets, covariates."""
        return self.table

    def rows(self, keep: pl.Expr | pl.Series) -> "Frame":
        """The same roles over some of the rows.

        Raises:
            FrameError: no row is left.
        """
        table = self.table.filter(keep)
        if len(table) == 0:
            raise FrameError("No row of the frame is left.")
        static = self.static
        if static is not None:
            static = static.filter(pl.col("unique_id").is_in(table["unique_id"].unique().implode()))
        steps = None if self.steps is None else steps_in_series(table, self.grid)
        labels = check_labels(self.labels, table)
        return self._with(table=table, steps=steps, static=static, labels=labels, notices=(), split=None)

    def spans(self) -> pl.DataFrame:
        """`unique_id`, `first`, `last`: the first and the last time of each series."""
        return self.table.group_by("unique_id", maintain_order=True).agg(
            first=pl.col("ds").first(), last=pl.col("ds").last()
        )

    def up_to(self, cutoffs: pl.DataFrame) -> "Frame":
        """The rows of each series at or before its time in `cutoffs` (`unique_id`, `cutoff`).

        One time that all of them share holds for every series, also for those that are not named.

        Raises:
            FrameError: no row is left.
        """
        if cutoffs["cutoff"].n_unique() == 1:
            return self.rows(pl.col("ds") <= cutoffs[0, "cutoff"])
        keys = self.table.select("unique_id")
        ends = keys.join(cutoffs, on="unique_id", how="left", maintain_order="left")["cutoff"]
        return self.rows((self.table["ds"] <= ends).fill_null(False))

    def with_split(self, split: Split | None) -> "Frame":
        """The same frame with a published split."""
        return self._with(split=split)

    def offering(self) -> "Frame":
        """The same frame, whose static columns are left out where a model reads none."""
        return self._with(offered=self.static is not None)

    def without_offered(self) -> "Frame":
        """The frame without the static columns that its source offers."""
        if not self.offered or self.static is None:
            return self
        return self._with(schema=replace(self.schema, static=()), static=None, offered=False)

    def observations(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the targets, one row per series and step, also where series are channels."""
        table, names = self.table.select("unique_id", "ds", *self.targets), self.schema.targets
        if self.schema.channels_from is None:
            return table
        apart = [
            table.select(pl.lit(key).alias("unique_id"), "ds", *(pl.col(f"{key}/{name}").alias(name) for name in names))
            for key in self.schema.channel_ids
        ]
        return pl.concat(apart)

    def last_steps(self, count: int) -> "Frame":
        """The last `count` steps of each series."""
        last = pl.col("ds").len().over("unique_id")
        if self.steps is None:
            return self.rows(pl.int_range(pl.len()).over("unique_id") >= last - count)
        end = self.table.select(pl.col("unique_id"), steps=self.steps).select(pl.col("steps").max().over("unique_id"))
        return self.rows(self.steps > end.to_series() - count)

    def since_observed(self, count: int) -> "Frame":
        """The steps of each series from which every phase of `count` steps was last observed, on to its end.

        A target without missing values keeps its last `count` steps; a phase that was never observed keeps none.
        """
        step = pl.int_range(pl.len()).over("unique_id") if self.steps is None else self.steps
        table = self.table.select("unique_id", *self.targets).with_columns(step=step).with_columns(
            phase=pl.col("step") % count
        )
        observed = [pl.when(pl.col(t).is_not_null()).then("step").max().alias(t) for t in self.targets]
        last = table.group_by("unique_id", "phase").agg(observed).group_by("unique_id").agg(
            since=pl.min_horizontal(pl.col(*self.targets).min()).fill_null(0)
        )
        kept = table.join(last, on="unique_id", how="left", maintain_order="left")
        return self.rows(kept.select(pl.col("step") >= pl.col("since")).to_series())

    @classmethod
    def stored(cls, table: pl.DataFrame, schema: Schema, *, month_end: bool, kind: str, time_dtype: Any) -> "Frame":
        """The frame of some rows of one that was checked, with the schema and the grid of that one.

        Raises:
            FrameError: the rows and the schema do not fit together.
        """
        placed = schema.as_placed()
        require(table.columns, ("unique_id", "ds", *placed.columns, *placed.static), "stored rows")
        if len(table) == 0:
            raise FrameError("There is no stored row.")
        static = constant_columns(table, placed.static) if placed.static else None
        table, _ = in_order(table.select("unique_id", "ds", *placed.columns))
        table = read_values(table, placed.columns)
        check_keys(table)
        every = schema.grid if schema.irregular else schema.freq
        grid = replace(grid_of(every or "1i", table["ds"]), month_end=month_end)
        made = object.__new__(cls)
        made._set(
            table=table, schema=schema, grid=grid, steps=None if schema.irregular else steps_in_series(table, grid),
            static=check_static(static, table), labels=None, kind=kind, time_dtype=time_dtype, notices=(), split=None,
            offered=False,
        )
        return made

    def without_covariates(self, keep: Sequence[str] = ()) -> "Frame":
        """The same series and targets with the covariates of the roles in `keep`, out of past and future."""
        schema = self.schema.without_covariates(keep)
        columns = [*self.targets, *schema.placed(schema.past), *schema.placed(schema.future)]
        return self._with(table=self.table.select("unique_id", "ds", *columns), schema=schema, static=None)

    def give_back(self, table: pl.DataFrame) -> Any:
        """A result under the user's column names and in the kind of table that came in."""
        names = {"ds": self.schema.time_col, "unique_id": self.schema.id_col}
        unit: Any = getattr(self.time_dtype, "time_unit", "us")
        columns = []
        for column in table:  # column by column, since a query of polars takes longer than all of this
            name = names.get(column.name, column.name)
            if column.name in ("ds", "cutoff") and unit != getattr(column.dtype, "time_unit", unit):
                column = column.dt.cast_time_unit(unit)
            if name is not None:
                columns.append(column.alias(name))
        return from_polars(pl.DataFrame(columns), self.kind)


KNOWN = tuple(name for name in signature(Frame).parameters if name != "df")


def as_frame(df: Any, schema: Schema | None = None, **roles: Any) -> Frame:
    """A Frame of whatever a face was given; a plain table takes its roles from `schema` where they are not given.

    Raises:
        FrameError: the table lacks a column that the roles name.
    """
    if isinstance(df, Frame):
        if roles:
            raise ArgumentError(f"{list_names(list(roles))}: a Frame has its roles; give them where it is made.")
        return df
    if schema is not None:
        roles = {name: getattr(schema, name) for name in STATED} | {"static": schema.static or None} | roles
    for name in roles:
        if name not in KNOWN:
            raise ArgumentError(f"A frame has no role {name!r}.{suggest(name, KNOWN)}")
    return Frame(df, **roles)


def _grid(table: pl.DataFrame, freq: str | None, grid: str | None) -> tuple[Grid, pl.Series | None, list[str]]:
    """The grid, the step of each row on it (None where irregular), and the notice that says what was inferred."""
    if freq == "irregular":
        if grid is None:
            raise FrameError(
                "freq='irregular' needs grid=, the unit in which time is counted, for example grid='1h'."
            )
        made = grid_of(grid, table["ds"])
        if made.unit in MONTHS:
            raise FrameError(f"grid={grid!r}: months differ in length, so they are no unit of time. Use grid='1d'.")
        return made, None, []
    if grid is not None:
        raise FrameError(f"grid={grid!r} belongs to freq='irregular'; a regular frame has freq= alone.")
    said = []
    if freq is None:
        freq = infer_freq(table)
        if freq is None:
            raise FrameError(
                "No series has two rows, so the step of time is not to be seen: give it with freq= (--freq), as '1h' "
                "or '1d'."
            )
        said.append(f"freq is {freq}, the most frequent step; freq= (--freq) states another.")
    made = grid_of(freq, table["ds"])
    return made, steps_in_series(table, made), said


def _whole_season(season: float | int) -> int:
    if season < 1 or season % 1:
        raise ArgumentError(
            f"season={season} is no length of a season: wanted a whole number of steps, 1 for none."
        )
    return int(season)
