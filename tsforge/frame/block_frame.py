"""BlockFrame: a frame whose values stay in one array, which may be mapped from a file."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import FrameError
from tsforge.frame.block import Block, Column, check_names
from tsforge.frame.canonical import as_static, check_static, check_words
from tsforge.frame.check import read_times
from tsforge.frame.frame import Frame
from tsforge.frame.grid import grid_of, season_of
from tsforge.frame.schema import Encoding, Schema, as_names
from tsforge.frame.wide import ALL

log = logging.getLogger("tsforge")
SHARED = ("schema", "grid", "static", "labels", "kind", "time_dtype", "notices", "split", "offered")
CHUNK = 1 << 18  # rows


class BlockFrame(Frame):
    """Series on a regular grid in a `Block`: what a `Frame` does, and no long table before something asks for one.

    Building stores, windows, scalings and forecasts read the array a window or a run of rows at a time. `table`,
    `to_polars()`, `rows()` and `observations()` collect the whole table, and say how large it is.

    Args:
        block: The values; each series has a step for every time from its first to its last, NaN where missing.
        ids: Names of the series, texts or integers.
        first: The time of the first step, one for all or one for each series.
        freq: Step of time as polars writes it.
        targets: Columns to forecast; None takes all that have no other role.
        past: Covariates known up to now.
        future: Covariates known ahead.
        static: A table with one row per series.
        calendar: Features of the stamps.
        encoding: How they are written.
        season: Steps of one season; None follows freq.
        month_end: Whether every step is the last day of its month; None takes the first step's word.

    Raises:
        FrameError: names, times or columns do not fit the block. Its values are looked at when they are read.
    """

    block: Block
    first: pl.Series

    def __init__(
        self, block: Block, *, ids: Any, first: Any, freq: str, targets: str | Sequence[str] | None = None,
        past: str | Sequence[str] = (), future: str | Sequence[str] = (), static: Any = None,
        calendar: str | Sequence[str] = (), encoding: Encoding = "linear", season: int | None = None,
        month_end: bool | None = None,
    ) -> None:
        check_words(as_names(calendar), encoding)
        others = (*as_names(past), *as_names(future))
        chosen = as_names(targets) if targets is not None else tuple(n for n in block.names if n not in others)
        check_names((*chosen, *others), block.names)
        ids, first = pl.Series("unique_id", ids), pl.Series("ds", first if isinstance(first, pl.Series) else [first])
        first = read_times(first, "first").extend_constant(None, 0)
        first = first.new_from_index(0, len(ids)) if len(first) == 1 else first
        order = _order(ids, first, block)
        ids, first, block = ids.gather(order), first.gather(order), block.choose(order)
        grid = grid_of(freq, first)
        grid = grid if month_end is None else replace(grid, month_end=month_end)
        static_names, apart = as_static(static)
        if static_names and apart is None:
            raise FrameError(f"static={static!r}: a block has no static columns; give a table with a row per series.")
        schema = Schema(chosen, as_names(past), as_names(future), static_names, as_names(calendar), encoding,
                        grid.every, season=season_of(grid.every) if season is None else season)
        self._set(
            block=block.select(schema.columns), first=first, schema=schema, grid=grid, labels=None,
            static=check_static(apart, pl.DataFrame({"unique_id": ids})), kind="polars", time_dtype=first.dtype,
            notices=(), split=None, offered=False, _ids=ids,
        )

    def _with(self, **changes: Any) -> Frame:
        """Changes of what every frame has leave the block alone; rows of the table stand by themselves."""
        if "table" in changes:
            made = object.__new__(Frame)
            names = tuple(Frame.__dataclass_fields__)
        else:
            made = object.__new__(BlockFrame)
            names = (*SHARED, "block", "first", "_ids")
        made._set(**{name: changes[name] if name in changes else getattr(self, name) for name in names})
        return made

    @property
    def ids(self) -> pl.Series:
        """The series, in the order of the key table."""
        return self._ids  # pyright: ignore[reportAttributeAccessIssue]

    def __len__(self) -> int:
        return int(self.block.offsets[-1])

    @cached_property
    def table(self) -> pl.DataFrame:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The long table, collected when it is first asked for."""
        wide = len(self) * (16 + self.block.dtype.itemsize * len(self.block.columns))
        log.info("Collecting %d rows of %d columns from the block, about %.1f MB.", len(self),
                 len(self.block.columns), wide / 1e6)
        return self._collected()

    @cached_property
    def steps(self) -> pl.Series:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The step of each row of the long table from the first of its series."""
        return pl.Series(np.arange(len(self)) - np.repeat(self.block.offsets[:-1], self.block.lengths))

    def _collected(self) -> pl.DataFrame:
        series = np.repeat(np.arange(len(self.ids)), self.block.lengths)
        stamps = self.grid.add(self.first.gather(series), self.steps.to_numpy()).alias("ds")
        columns = [np.empty(len(self), self.block.dtype) for _ in self.block.columns]
        for low in range(0, len(self), CHUNK):
            part = self.block.rows(low, min(low + CHUNK, len(self)))
            for column, values in zip(columns, part.T, strict=True):
                column[low : low + len(values)] = values
        named = zip(self.block.names, columns, strict=True)
        values = [pl.Series(name, column, nan_to_null=True) for name, column in named]
        return pl.DataFrame([self.ids.gather(series), stamps, *values])

    def spans(self) -> pl.DataFrame:
        """`unique_id`, `first`, `last`: the first and the last time of each series."""
        last = self.grid.add(self.first, self.block.lengths - 1)
        return pl.DataFrame({"unique_id": self.ids, "first": self.first, "last": last})

    def up_to(self, cutoffs: pl.DataFrame) -> Frame:
        """The rows of each series at or before its time in `cutoffs` (`unique_id`, `cutoff`), still in the block."""
        if cutoffs["cutoff"].n_unique() == 1:
            last = self.first.new_from_index(0, 1).clear().extend_constant(cutoffs[0, "cutoff"], len(self.ids))
        else:
            named = pl.DataFrame({"unique_id": self.ids})
            last = named.join(cutoffs, on="unique_id", how="left", maintain_order="left")["cutoff"]
        known = last.is_not_null().to_numpy()
        steps = self.grid.floor(last.fill_null(self.first), self.first) + 1
        ends = np.where(known, np.clip(steps, 0, self.block.lengths), 0)
        return self._cut(np.zeros_like(ends), ends)

    def last_steps(self, count: int) -> Frame:
        """The last `count` steps of each series, as a table that stands by itself."""
        return self._apart(np.maximum(self.block.lengths - count, 0))

    def since_observed(self, count: int) -> Frame:
        """As for any frame; a table that stands by itself."""
        targets = self.block.select(self.targets)
        since = np.maximum(targets.lengths - count, 0)
        for s, length in enumerate(targets.lengths):
            begin = int(targets.offsets[s])
            if np.isnan(targets.rows(begin + int(since[s]), begin + int(length))).any():
                since[s] = _since(targets.rows(begin, begin + int(length)), count)
        return self._apart(since)

    def without_covariates(self, keep: Sequence[str] = ()) -> Frame:
        """As for any frame."""
        schema = self.schema.without_covariates(keep)
        columns = [*self.targets, *schema.placed(schema.past), *schema.placed(schema.future)]
        return self._with(block=self.block.select(columns), schema=schema, static=None)

    def as_channels(self) -> "BlockFrame":
        """The series as the channels of one, as `channels_from="unique_id"` has it.

        Raises:
            FrameError: the series do not begin and end together, or there are static columns.
        """
        if self.first.n_unique() > 1 or len(np.unique(self.block.lengths)) > 1:
            raise FrameError(
                "Series that begin or end apart are no channels of one block: make a frame of the table with "
                "Frame(frame.to_polars(), channels_from='unique_id', ...), which masks what is absent."
            )
        if self.schema.static:
            raise FrameError(f"static={list(self.schema.static)}: no model reads static columns of channels.")
        ids = tuple(self.ids.to_list())
        columns = tuple(
            Column(f"{key}/{column.name}", int(base) + column.offset, column.change)
            for key, base in zip(ids, self.block.base, strict=True) for column in self.block.columns
        )
        block = replace(self.block, base=np.array([0]), lengths=self.block.lengths[:1], columns=columns)
        schema = replace(self.schema, channels_from="unique_id", channel_ids=ids)
        made = self._with(block=block, first=self.first.head(1), schema=schema, _ids=pl.Series("unique_id", [ALL]))
        assert isinstance(made, BlockFrame)
        return made

    def _cut(self, begins: np.ndarray, ends: np.ndarray) -> "BlockFrame":
        """Some steps of each series; one without any is no longer there.

        Raises:
            FrameError: no row is left.
        """
        kept = np.flatnonzero(ends > begins)
        if not len(kept):
            raise FrameError("No row of the frame is left.")
        ids, static = self.ids.gather(kept), self.static
        if static is not None:
            static = static.filter(pl.col("unique_id").is_in(ids.implode()))
        made = self._with(
            block=self.block.cut(begins, ends).choose(kept), first=self.grid.add(self.first, begins).gather(kept),
            _ids=ids, static=static, notices=(), split=None,
        )
        assert isinstance(made, BlockFrame)
        return made

    def _apart(self, begins: np.ndarray) -> Frame:
        """A plain frame of each series from a step on."""
        cut = self._cut(begins, self.block.lengths)
        return cut._with(table=cut._collected())


def _order(ids: pl.Series, first: pl.Series, block: Block) -> np.ndarray:
    """The series by name, as a table is sorted.

    Raises:
        FrameError: a name stands twice, or there are not as many as the block has series.
    """
    if not len(ids) == len(first) == len(block.lengths):
        raise FrameError(
            f"ids= and first= have {len(ids)} and {len(first)} entries: wanted one for each of {len(block.lengths)} "
            "series of the block."
        )
    if not len(ids) or not block.lengths.all():
        raise FrameError("The block is empty, or one of its series has no step.")
    if ids.has_nulls() or not (ids.dtype == pl.String or ids.dtype.is_integer()):
        raise FrameError(f"ids= of {ids.dtype}: wanted texts or integers, none of them missing.")
    if ids.is_duplicated().any():
        name = ids.filter(ids.is_duplicated())[0]
        raise FrameError(f"Series {name!r} stands in ids= more than once: wanted one name for each series.")
    return ids.arg_sort().to_numpy()


def _since(values: np.ndarray, count: int) -> int:
    """The step from which every phase of `count` steps that was ever observed was last observed."""
    steps, columns = np.nonzero(~np.isnan(values))
    last = np.full((min(count, len(values)), values.shape[1]), -1)  # some models ask for more steps than there are
    np.maximum.at(last, (steps % count, columns), steps)
    return int(last[last >= 0].min(initial=len(values))) if len(steps) else 0
