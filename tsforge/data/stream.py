"""Stream: rows of files of any size, read in parts: where each series begins and ends, where each row belongs."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.files import MISSING
from tsforge.errors import DataNotFoundError, FrameError
from tsforge.frame.canonical import canonical, find_id
from tsforge.frame.check import read_values
from tsforge.frame.grid import MONTHS, Grid, grid_of, infer_freq
from tsforge.frame.schema import Schema, as_names, choose_roles, find_time, list_names

log = logging.getLogger("tsforge")
PART = 1 << 20  # rows


@dataclass(frozen=True)
class Stream:
    """Rows that are read anew, in parts, each time they are asked for.

    Args:
        rows: Where they come from.
        schema: Their roles, under the user's names.
        dtype: float32 where all columns are, else float64.
        ids: The type of the series' names, None for the one that they have.
    """

    rows: pl.LazyFrame
    schema: Schema
    dtype: np.dtype
    ids: Any = None

    @classmethod
    def of(
        cls, source: Any, *, id_col: str | None, time_col: str | None, ids: Any = None, **roles: Any,
    ) -> "Stream":
        """The rows of a file, a folder of parquet files or a polars table, with roles as a `Frame` finds them.

        Raises:
            DataNotFoundError: there is no such file.
            FrameError: it cannot be read, or lacks a column.
        """
        rows = _scan(source)
        try:
            empty = pl.DataFrame(schema=rows.collect_schema())
        except (pl.exceptions.PolarsError, OSError) as error:
            raise FrameError(f"{source} cannot be read: {error}.") from error
        named = {role: as_names(names) for role, names in roles.items()}
        keys = {"id_col": find_id(empty.columns, id_col), "time_col": find_time(empty.columns, time_col)}
        schema, notices = choose_roles(empty, Schema(**named, **keys), static_inside=False)
        for notice in notices:
            log.info(notice)
        narrow = all(empty.schema[name] == pl.Float32 for name in schema.columns)
        return cls(rows, schema, np.dtype(np.float32 if narrow else np.float64), ids)

    def parts(self, *, values: bool) -> Iterator[pl.DataFrame]:
        """`unique_id`, `ds` and, where asked for, the values, in parts as they come."""
        schema = self.schema if values else replace(self.schema, targets=(), past=(), future=())
        keys = [schema.time_col, *([schema.id_col] if schema.id_col else [])]
        try:
            for part in self.rows.select(*keys, *schema.columns).collect_batches(chunk_size=PART, engine="streaming"):
                if len(part):
                    part, _ = canonical(part, schema, None)
                    yield part if self.ids is None else part.with_columns(pl.col("unique_id").cast(self.ids))
        except (pl.exceptions.PolarsError, OSError) as error:
            said = str(error).split("\n\n")[0].strip()
            raise FrameError(f"The rows cannot be read: {said}. Mend the file, or write it again.") from error


@dataclass(frozen=True)
class Spans:
    """`unique_id`, `first`, `last` and `steps` of each series, by name; `rows` were read for them."""

    keys: pl.DataFrame
    grid: Grid
    rows: int

    @cached_property
    def offsets(self) -> np.ndarray:
        """[series + 1] rows."""
        return np.concatenate([[0], np.cumsum(self.keys["steps"].to_numpy())])

    @cached_property
    def _numbered(self) -> pl.DataFrame:
        return self.keys.select("unique_id").with_row_index("number")

    def find(self, ids: pl.Series) -> np.ndarray:
        """The number of each of these series."""
        found = pl.DataFrame({"unique_id": ids}).join(self._numbered, on="unique_id", how="left", maintain_order="left")
        return found["number"].cast(pl.Int64).to_numpy()

    def joined(self, before: pl.DataFrame, grid: Grid) -> "Spans":
        """Each series from its first time here or in `before` to its last."""
        keys = pl.concat([self.keys, before.select(self.keys.columns)]).group_by("unique_id").agg(
            first=pl.col("first").min(), last=pl.col("last").max()
        ).sort("unique_id")
        return replace(_with_steps(keys, grid), rows=self.rows)


def read_spans(stream: Stream, freq: str | None, like: pl.Series | None = None) -> Spans:
    """Where each series begins and ends.

    Args:
        stream: The rows.
        freq: Step of time; None infers it.
        like: Stamps whose type those of the rows have to have.

    Raises:
        FrameError: there is no row, the step cannot be seen, or a series ends off the grid of its beginning.
    """
    parts, rows, month_end = [], 0, True
    for part in stream.parts(values=False):
        freq = freq or infer_freq(part.sort("unique_id", "ds"))
        month_end = month_end and not part.schema["ds"].is_integer() and _ends_months(part["ds"])
        own = part.group_by("unique_id").agg(first=pl.col("ds").min(), last=pl.col("ds").max())
        parts, rows = [*parts, own], rows + len(part)
        if sum(map(len, parts)) > 4 * PART:
            parts = [_merged(parts)]
    if not rows:
        raise FrameError("The source holds no row.")
    keys = _merged(parts).sort("unique_id")
    if like is not None and keys.schema["first"] != like.dtype:
        raise FrameError(f"The new rows have times of {keys.schema['first']}, and the store of {like.dtype}.")
    if freq is None:
        raise FrameError("No series has two rows, so the step of time is not to be seen: give it with freq=.")
    grid = grid_of(freq, keys["first"])
    grid = replace(grid, month_end=grid.unit in MONTHS and month_end)
    return replace(_with_steps(keys, grid) if like is None else Spans(keys, grid, 0), rows=rows)


def place_rows(stream: Stream, spans: Spans, values: np.ndarray, *, observed: bool) -> None:
    """Writes each row of the stream to its place in `values` [row, column].

    Raises:
        FrameError: a row stands twice or off the grid, a value is no number, or (where `observed`) a target has none.
    """
    seen, counts = np.zeros(len(values), bool), np.zeros(len(stream.schema.columns), np.int64)
    for part in stream.parts(values=True):
        part = read_values(part, stream.schema.columns)
        rows = _places(part, spans)
        before = np.flatnonzero(seen[rows])
        seen[rows] = True
        if len(before) or not _rising(rows):
            _refuse_twice(part, rows, before)
        at = slice(int(rows[0]), int(rows[-1]) + 1) if rows[-1] - rows[0] == len(rows) - 1 and _rising(rows) else rows
        for number, name in enumerate(stream.schema.columns):
            counts[number] += part[name].count()
            values[at, number] = part[name].to_numpy()
    empty = [name for name, count in zip(stream.schema.targets, counts, strict=False) if not count]
    if observed and empty:
        raise FrameError(f"Target {empty[0]!r} has no observed value in any of {spans.rows} rows. Leave it out.")


def _scan(source: Any) -> pl.LazyFrame:
    if isinstance(source, pl.LazyFrame | pl.DataFrame):
        return source.lazy()
    path = Path(source).expanduser()
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path] if path.exists() else []
    if not files:
        raise DataNotFoundError(f"There is no file {path}, nor a folder of .parquet files.")
    known = {".parquet": pl.scan_parquet, ".arrow": pl.scan_ipc, ".feather": pl.scan_ipc, ".ipc": pl.scan_ipc}
    if path.is_dir() or path.suffix in known:
        return known[files[0].suffix](files)
    if path.suffix in (".csv", ".gz"):
        return pl.scan_csv(path, infer_schema_length=PART, null_values=MISSING)
    raise FrameError(
        f"{path}: files ending in {path.suffix or 'nothing'} cannot be read in a stream. Known are .csv, .parquet, "
        f"{list_names(list(known)[1:])} and folders of .parquet."
    )


def _merged(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by("unique_id").agg(pl.col("first").min(), pl.col("last").max())


def _with_steps(keys: pl.DataFrame, grid: Grid) -> Spans:
    steps = grid.steps(keys["last"], keys["first"])
    if steps.has_nulls():
        bad = keys.filter(steps.is_null())
        raise FrameError(_off_grid(bad[0, "unique_id"], bad[0, "last"], grid, len(bad)))
    return Spans(keys.select("unique_id", "first", "last", steps=steps + 1), grid, 0)


def _places(part: pl.DataFrame, spans: Spans) -> np.ndarray:
    """The row of the store for each row of a part."""
    runs = part["unique_id"].rle().struct.unnest()
    series = np.repeat(spans.find(runs["value"].alias("unique_id")), runs["len"].to_numpy())
    steps = spans.grid.steps(part["ds"], spans.keys["first"].gather(series))
    if steps.has_nulls():
        bad = part.filter(steps.is_null())
        raise FrameError(_off_grid(bad[0, "unique_id"], bad[0, "ds"], spans.grid, len(bad)))
    return spans.offsets[series] + steps.to_numpy()


def _rising(rows: np.ndarray) -> bool:
    return bool((np.diff(rows) > 0).all())


def _refuse_twice(part: pl.DataFrame, rows: np.ndarray, before: np.ndarray) -> None:
    order = np.argsort(rows, kind="stable")
    within = order[1:][np.diff(rows[order]) == 0]
    if len(before) or len(within):
        at = int(before[0] if len(before) else within.min())
        raise FrameError(
            f"Series {part[at, 'unique_id']!r} has the time {part[at, 'ds']} more than once. Keep one row for each "
            "series and time, or name the series with id_col=."
        )


def _off_grid(series: Any, time: Any, grid: Grid, count: int) -> str:
    return (
        f"Series {series!r}: the time {time} is not a whole number of steps of {grid.every} after the first ({count} "
        "such rows or series at least). Give the right step with freq=, or mend the stamps."
    )


def _ends_months(ds: pl.Series) -> bool:
    return bool((ds.dt.date() == ds.dt.date().dt.month_end()).all())
