"""Schema: which column plays which role, and how time runs. What an estimator remembers of a frame."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import polars as pl
import polars.selectors as cs

from tsforge.errors import FrameError, suggest

TIME_NAMES = ("ds", "date", "time", "timestamp")
CALENDAR = ("minute", "hour", "dayofweek", "day", "dayofyear", "week", "month", "quarter")
Encoding = Literal["linear", "onehot", "cyclic"]


@dataclass(frozen=True)
class Schema:
    """Roles of the columns of a long table.

    Args:
        targets: Columns to forecast; they move together and are the channels of a model.
        past: Covariates known up to the cutoff.
        future: Covariates known ahead.
        static: Columns that are constant over a series.
        calendar: Features made of the time stamps, see `CALENDAR`.
        encoding: How calendar features are written: one number in [-0.5, 0.5], one-hot, or sine and cosine.
        freq: Step of the grid, or "irregular".
        grid: Unit of time of an irregular frame.
        season: Steps of one season.
        id_col: The user's name of `unique_id`; None where the table has one series and no such column.
        time_col: The user's name of `ds`.
        channels_from: "unique_id" where the series are the channels of one; None where each is a series of its own.
        channel_ids: Those series, sorted.
    """

    targets: tuple[str, ...]
    past: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    static: tuple[str, ...] = ()
    calendar: tuple[str, ...] = ()
    encoding: Encoding = "linear"
    freq: str | None = None
    grid: str | None = None
    season: int | None = None
    id_col: str | None = "unique_id"
    time_col: str = "ds"
    channels_from: str | None = None
    channel_ids: tuple[Any, ...] = ()

    @property
    def irregular(self) -> bool:
        return self.freq == "irregular"

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that change in time."""
        return (*self.targets, *self.past, *self.future)

    def placed(self, names: Sequence[str]) -> tuple[str, ...]:
        """What columns with these names are called in the table of a frame: `"station/y"` where series are channels."""
        return tuple(f"{key}/{name}" for key in self.channel_ids for name in names) if self.channels_from else (*names,)

    def as_placed(self) -> "Schema":
        """The roles as they stand in the table of a frame, under `unique_id` and `ds`."""
        roles = {role: self.placed(getattr(self, role)) for role in ("targets", "past", "future")}
        return replace(self, **roles, channels_from=None, channel_ids=(), id_col="unique_id", time_col="ds")

    def without_covariates(self, keep: Sequence[str] = ()) -> "Schema":
        """The roles of the targets, and those of past and future that are in `keep`; the calendar is of the future."""
        roles = {"past": "past", "future": "future", "calendar": "future", "static": "static"}
        return replace(self, **{role: () for role, kind in roles.items() if kind not in keep})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Schema":
        """The inverse of `to_dict`."""
        known = {field.name for field in fields(cls)}
        own: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items() if k in known}
        return cls(**own)


def as_names(value: str | Sequence[str] | None) -> tuple[str, ...]:
    """`"temp"` and `["temp"]` both mean the one column `temp`.

    Raises:
        FrameError: what is given is no name and holds something that is none.
    """
    names = () if value is None else (value,) if isinstance(value, str) else tuple(value)
    if not all(isinstance(name, str) for name in names):
        raise FrameError(f"{value!r}: wanted a name, or a flat list of names such as ['temp', 'price'].")
    return names


def find_time(columns: Sequence[str], time_col: str | None) -> str:
    """The time column: the one named, else the first of `ds`, `date`, `time`, `timestamp`, in any case of letters.

    Raises:
        FrameError: there is none.
    """
    if time_col is not None:
        require(columns, (time_col,), "time_col")
        return time_col
    lowered = {name.lower(): name for name in reversed(columns)}
    found = next((lowered[name] for name in TIME_NAMES if name in lowered), None)
    if found is None:
        raise FrameError(
            f"There is no time column: the columns are {list_names(columns)}, and none is called "
            f"{', '.join(TIME_NAMES)}. Name it with time_col= (--time-col)."
        )
    return found


def require(columns: Sequence[str], wanted: Sequence[str], role: str) -> None:
    """Raises FrameError where a column named for a role is not in the table."""
    absent = [name for name in wanted if name not in columns]
    if absent:
        more = f" (nor {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise FrameError(
            f"{role}: the table has no column {absent[0]!r}{more}. Its columns are {list_names(columns)}."
            f"{suggest(absent[0], columns)}"
        )


def choose_roles(table: pl.DataFrame, schema: Schema, *, static_inside: bool) -> tuple[Schema, list[str]]:
    """The roles with their targets, and the notices that say what was chosen and what is left out.

    Args:
        table: The table as it was given.
        schema: The roles that were stated.
        static_inside: Whether the static columns stand in the table.

    Raises:
        FrameError: a column is not there, has two roles, or no numeric column is left to be the target.
    """
    keys = [schema.time_col, *([schema.id_col] if schema.id_col else [])]
    static = schema.static if static_inside else ()
    require(table.columns, [*schema.past, *schema.future, *static], "covariates")
    notices: list[str] = []
    if not schema.targets:
        declared = {*keys, *schema.past, *schema.future, *schema.static}
        targets, notices = _choose_targets(table, [name for name in table.columns if name not in declared])
        schema = replace(schema, targets=targets)
    require(table.columns, schema.targets, "targets")
    _refuse_twice([*schema.columns, *static], keys)
    used = {*keys, *schema.columns, *schema.static}
    ignored = [name for name in table.columns if name not in used]
    if ignored:
        notices.append(f"Columns without a role are left out: {list_names(ignored)}.")
    return schema, notices


def _choose_targets(table: pl.DataFrame, left: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """`y`, else every numeric column."""
    numeric = [name for name in left if name in cs.expand_selector(table, cs.numeric() | cs.boolean())]
    chosen = ("y",) if "y" in left else tuple(numeric)
    if not chosen:
        raise FrameError(
            f"There is no target: none of the columns {list_names(left)} is numeric. Name the columns to forecast with "
            "targets= (--target), and turn text into numbers first."
        )
    if chosen == ("y",):
        return chosen, []
    return chosen, [f"Targets are the numeric columns {list_names(chosen)}; targets= (--target) chooses others."]


def _refuse_twice(columns: Sequence[str], keys: Sequence[str]) -> None:
    """Raises FrameError where one column has two roles, or is called as the frame calls its keys."""
    twice = next((name for name in columns if [*columns, *keys].count(name) > 1), None)
    if twice is not None:
        raise FrameError(
            f"Column {twice!r} has two roles: a column is the series, the time, a target, a past, a future or a static "
            "covariate."
        )
    taken = next((name for name in columns if name in ("unique_id", "ds")), None)
    if taken is not None:
        raise FrameError(
            f"Column {taken!r} cannot hold values: the frame keeps its {'time' if taken == 'ds' else 'series'} under "
            "this name. Rename the column, or leave it out with targets= (--target)."
        )


def list_names(names: Sequence[str], most: int = 12) -> str:
    """`'a', 'b' and 3 more`."""
    shown = ", ".join(repr(name) for name in list(names)[:most]) or "none"
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
