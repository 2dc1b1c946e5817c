"""Store: all series of a frame one after another on their grid, as arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from tsforge.data.calendar import calendar_features
from tsforge.data.rows import CalendarRows, Rows
from tsforge.errors import FrameError
from tsforge.frame.block_frame import BlockFrame
from tsforge.frame.frame import Frame
from tsforge.frame.grid import MONTHS, Grid
from tsforge.frame.schema import Schema


@dataclass(frozen=True)
class Store:
    """Arrays over rows; series `s` has the rows `offsets[s]` to `offsets[s + 1]`, one a step of the grid.

    Rows that the table lacked are there and missing; the last `ahead` rows of each series lie after its data.
    An irregular store has one row per stamp, and `marks` and `times` say when; its rows ahead lie a grid unit apart.
    The store of a block reads its rows when they are asked for.
    """

    schema: Schema
    grid: Grid
    ids: pl.Series  # [series]
    first: pl.Series  # [series] stamp of the first row
    offsets: np.ndarray  # [series + 1]
    ahead: int
    values: np.ndarray | Rows  # [row, channel], NaN where missing
    past: np.ndarray | Rows | None  # [row, p], NaN where missing
    future: np.ndarray | Rows | None  # [row, f] the user's covariates, NaN where missing
    calendar: np.ndarray | CalendarRows | None  # [row, features]
    static: pl.DataFrame | None
    marks: pl.Series | None = None  # [row] stamps; irregular only
    times: np.ndarray | None = None  # [row] grid units since the first row of the series; irregular only

    @property
    def starts(self) -> np.ndarray:
        """First row of each series."""
        return self.offsets[:-1]

    @property
    def ends(self) -> np.ndarray:
        """Row after the last row of data of each series."""
        return self.offsets[1:] - self.ahead

    def series_of(self, rows: np.ndarray) -> np.ndarray:
        """The series that each row belongs to."""
        return np.searchsorted(self.offsets, rows, side="right") - 1

    def stamps(self, series: np.ndarray, rows: np.ndarray) -> pl.Series:
        """The time of rows of series; on a regular grid a row may lie before or after the data."""
        if self.marks is not None:
            return self.marks.gather(rows)
        return self.grid.add(self.first.gather(series), rows - self.starts[series])

    def horizon(self, series: np.ndarray, cutoffs: np.ndarray, h: int) -> tuple[pl.Series, np.ndarray, np.ndarray]:
        """The `h` steps after cutoff rows: stamps [window * h]; rows, and whether there are data, [window, h]."""
        ahead = np.arange(1, h + 1)
        many = np.repeat(series, h)
        if self.times is None or self.marks is None:
            rows = cutoffs[:, None] + ahead
            return self.stamps(many, rows.ravel()), rows, rows < self.ends[series][:, None]
        stamps = self.grid.add(self.marks.gather(np.repeat(cutoffs, h)), np.tile(ahead, len(cutoffs)))
        return stamps, *Nearest(self.times, self.starts, self.ends, h).rows(series, cutoffs)


class Nearest:
    """Finds, for each of the `h` grid steps after a cutoff, the row of its series that lies nearest in time."""

    def __init__(self, times: np.ndarray, starts: np.ndarray, ends: np.ndarray, h: int) -> None:
        self.times, self.starts, self.ends, self.h = times, starts, ends, h
        self.span = float(times.max(initial=0)) + h + 2  # apart enough for all series to stand in one sorted key
        self.keys = times + self.span * np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(times))))

    def rows(self, series: np.ndarray, cutoffs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """[window, h] rows, and whether each lies within half a step."""
        wanted = self.times[cutoffs][:, None] + np.arange(1, self.h + 1)
        after = np.searchsorted(self.keys, wanted + self.span * series[:, None])
        first, last = self.starts[series][:, None], self.ends[series][:, None] - 1
        around = np.clip(np.stack([after - 1, after]), first, last)
        apart = np.abs(self.times[around] - wanted)
        nearest = np.where(apart[1] < apart[0], around[1], around[0])
        return nearest, apart.min(axis=0) <= 0.5  # so never the cutoff itself, a whole step away


def build_store(frame: Frame, *, ahead: int = 0, known: pl.DataFrame | None = None, open_ended: bool = False) -> Store:
    """The arrays of a frame, with `ahead` rows after each series, in which `known` gives the future covariates.

    With `open_ended` the covariates of the rows ahead stay missing: windows inside the data do not read them.

    Raises:
        FrameError: a future covariate is missing in the rows ahead; names series, column, time, count.
    """
    if isinstance(frame, BlockFrame):
        return _of_block(frame, ahead, known, open_ended)
    table, schema, irregular = frame.table, frame.schema, frame.steps is None
    runs = table["unique_id"].rle().struct.unnest()
    ids, lengths = runs["value"].alias("unique_id"), runs["len"].to_numpy().astype(np.int64)
    begins = np.concatenate([[0], np.cumsum(lengths)])
    steps = np.arange(len(table)) - np.repeat(begins[:-1], lengths) if frame.steps is None else frame.steps.to_numpy()
    spans = steps[begins[1:] - 1] + 1
    offsets = np.concatenate([[0], np.cumsum(spans + ahead)])
    packed = not ahead and bool((spans == lengths).all())
    rows = None if packed else steps + np.repeat(offsets[:-1], lengths)

    def placed(columns: Sequence[str]) -> np.ndarray | None:
        return _placed(table, columns, rows, int(offsets[-1])) if columns else None

    store = Store(
        schema, frame.grid, ids, table["ds"].gather(begins[:-1]), offsets, ahead,
        _placed(table, frame.targets, rows, int(offsets[-1])), placed(schema.placed(schema.past)),
        placed(schema.placed(schema.future)), None,
        frame.static,
    )
    if irregular:
        store = _with_times(store, table["ds"], begins, rows)
    if store.future is not None and ahead and not open_ended:
        _fill_ahead(store, known)
    return store if not schema.calendar else _with_calendar(store, table["ds"] if rows is None else None)


def _of_block(frame: BlockFrame, ahead: int, known: pl.DataFrame | None, open_ended: bool) -> Store:
    schema = frame.schema

    def rows(names: Sequence[str]) -> Rows | None:
        return Rows(frame.block.select(schema.placed(names)), ahead) if names else None

    values = rows(schema.targets)
    assert values is not None
    store = Store(
        schema, frame.grid, frame.ids, frame.first, values.offsets, ahead, values, rows(schema.past),
        rows(schema.future), None, frame.static,
    )
    if store.future is not None and ahead and not open_ended:
        _fill_ahead(store, known)
    return store if not schema.calendar else _with_calendar_once(store)


def _with_calendar_once(store: Store) -> Store:
    """Features of each time of the grid that all series stand on; where they share none, of each row."""
    earliest = store.first.new_from_index(int(store.first.arg_min() or 0), len(store.first))
    shifts = store.grid.steps(store.first, earliest)
    apart = store.grid.unit in MONTHS and store.first.n_unique() > 1  # the 31st and the 28th step to other days
    if shifts.has_nulls() or apart:
        return _with_calendar(store, None)
    many = int((shifts.to_numpy() + np.diff(store.offsets)).max())
    stamps = store.grid.add(earliest.new_from_index(0, many), np.arange(many))
    table = calendar_features(stamps, store.schema.calendar, store.schema.encoding)
    return replace(store, calendar=CalendarRows(table, shifts.to_numpy(), store.offsets))


def _placed(table: pl.DataFrame, columns: Sequence[str], rows: np.ndarray | None, total: int) -> np.ndarray:
    given = table.select(columns).to_numpy(order="c")
    if rows is None:
        return given
    placed = np.full((total, len(columns)), np.nan, given.dtype)
    placed[rows] = given
    return placed


def _with_times(store: Store, ds: pl.Series, begins: np.ndarray, rows: np.ndarray | None) -> Store:
    if rows is not None:
        many = np.repeat(np.arange(len(store.ids)), store.ahead)
        steps = np.tile(np.arange(1, store.ahead + 1), len(store.ids))
        after = store.grid.add(ds.gather(begins[1:] - 1).gather(many), steps)
        order = np.argsort(np.concatenate([rows, store.ends[many] + steps - 1]))
        ds = pl.concat([ds, after]).gather(order)
    first = store.first.gather(np.repeat(np.arange(len(store.ids)), np.diff(store.offsets)))
    return replace(store, marks=ds, times=store.grid.fraction(ds, first))


def _with_calendar(store: Store, stamps: pl.Series | None) -> Store:
    if stamps is None:
        rows = np.arange(store.offsets[-1])
        stamps = store.stamps(np.repeat(np.arange(len(store.ids)), np.diff(store.offsets)), rows)
    return replace(store, calendar=calendar_features(stamps, store.schema.calendar, store.schema.encoding))


def _fill_ahead(store: Store, known: pl.DataFrame | None) -> None:
    """Writes the covariates known ahead into the rows after each series."""
    names, future = store.schema.placed(store.schema.future), store.future
    assert future is not None
    if known is None:
        raise FrameError(
            f"The covariate {names[0]!r} is known ahead, so the forecast needs its values after the end of each "
            f"series: give future= (--future-data), a table of unique_id, ds, {', '.join(names)} for the next "
            f"{store.ahead} steps."
        )
    rows, values = _rows_ahead(store, known)
    future[rows] = values
    ahead = (store.ends[:, None] + np.arange(store.ahead)).ravel()
    missing = ~np.isfinite(future[ahead])
    if missing.any():
        at = int(missing.any(axis=1).argmax())
        series = store.series_of(ahead[at : at + 1])
        raise FrameError(
            f"Series {store.ids[int(series[0])]!r}, covariate {names[int(missing[at].argmax())]!r}: its value at "
            f"{store.stamps(series, ahead[at : at + 1])[0]} is missing or infinite in future= ({int(missing.sum())} "
            f"such values of {missing.size}). It needs the {store.ahead} steps after the end of each series."
        )


def _rows_ahead(store: Store, known: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The rows after the series that `known` speaks of, and its values there."""
    ahead = (store.ends[:, None] + np.arange(store.ahead)).ravel()
    series = np.repeat(np.arange(len(store.ids)), store.ahead)
    keys = pl.DataFrame({"unique_id": store.ids.gather(series), "ds": store.stamps(series, ahead), "row": ahead})
    stamps = known["ds"]
    if stamps.dtype != keys.schema["ds"] and stamps.dtype.is_temporal() and keys.schema["ds"].is_temporal():
        known = known.with_columns(stamps.cast(keys.schema["ds"]))
    if known.schema["ds"] != keys.schema["ds"]:
        raise FrameError(f"future=: its time column holds {stamps.dtype}, and that of the series {keys.schema['ds']}.")
    found = known.join(keys, on=["unique_id", "ds"], how="inner", maintain_order="left")
    if found["row"].is_duplicated().any():
        twice = found.filter(found["row"].is_duplicated())
        raise FrameError(
            f"future=: series {twice[0, 'unique_id']!r} has the time {twice[0, 'ds']} more than once "
            f"({len(twice)} such rows). Keep one row for each series and time."
        )
    return found["row"].to_numpy(), found.select(store.schema.placed(store.schema.future)).cast(pl.Float64).to_numpy()
