"""Mapped: a folder that holds series as one array on disk, written from files in a stream and read without copying.

A store folder holds `store.json`, which says what the others are, and of one generation `values-N.npy` [row, column],
series after series with a row for every step, `keys-N.arrow` (name, first time and steps of each series) and, where
there are static columns, `static-N.arrow`. `store.json` is put in place last: a folder is whole or it is none, and one
that is appended to has its old or its new rows. No file holds a pickle.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.stream import Spans, Stream, place_rows, read_spans
from tsforge.errors import ArtifactError, DataNotFoundError, FrameError, OutputExistsError
from tsforge.frame.block import Block
from tsforge.frame.block_frame import BlockFrame
from tsforge.frame.canonical import as_static, check_static
from tsforge.frame.grid import season_of
from tsforge.frame.schema import Encoding

log = logging.getLogger("tsforge")
FORMAT = 1
HEAD = "store.json"
LARGEST = 1 << 20  # bytes of a head that is read
CHUNK = 1 << 20  # rows


def write_store(
    source: Any, folder: str | Path, *, targets: str | Sequence[str] | None = None, past: str | Sequence[str] = (),
    future: str | Sequence[str] = (), static: Any = None, id_col: str | None = None, time_col: str | None = None,
    freq: str | None = None, season: int | None = None, overwrite: bool = False,
) -> Path:
    """Writes a store folder from rows in any order, which are read twice, a part at a time.

    Args:
        source: A .csv, .parquet or .arrow file, a folder of parquet files, a LazyFrame or a DataFrame of polars.
        folder: Where the store is to lie.
        targets: Columns to forecast; None as for `Frame`.
        past: Covariates known up to now.
        future: Covariates known ahead.
        static: A table with one row per series.
        id_col: Column that names the series.
        time_col: Column of time.
        freq: Step of time; None takes the most frequent of the rows that are read first.
        season: Steps of one season; None follows freq.
        overwrite: Whether a folder that is there may be replaced.

    Raises:
        OutputExistsError: the folder is there, and `overwrite` was not given.
        FrameError: the rows cannot be read as series; as for `Frame`.
        DataNotFoundError: there is no such file.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise OutputExistsError(f"{folder} is there already: give overwrite=True, or another name.")
    stream = Stream.of(source, id_col=id_col, time_col=time_col, targets=targets, past=past, future=future)
    spans = read_spans(stream, freq)
    _, table = as_static(static)
    static = check_static(table, spans.keys)
    aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=_made(folder.parent)))
    try:
        aside.chmod(0o755)
        seasons = season_of(spans.grid.every) if season is None else season
        _write(aside, 0, stream, spans, static, seasons)
        if folder.exists():
            shutil.rmtree(folder)
        aside.rename(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def open_store(
    folder: str | Path, *, calendar: str | Sequence[str] = (), encoding: Encoding = "linear", verify: bool = False,
) -> BlockFrame:
    """The frame of a store folder, over its mapped array.

    Args:
        folder: What `write_store` wrote.
        calendar: Features of the stamps, see `Frame`.
        encoding: How they are written.
        verify: Whether the checksum of the values is compared, too, which reads them all.

    Raises:
        DataNotFoundError: there is no store in the folder.
        ArtifactError: a file is not what `store.json` says, or is of a format that this version does not read.
    """
    folder = Path(folder)
    head = _head(folder)
    files = _checked(folder, head, every=verify)
    try:
        keys = pl.read_ipc(files["keys"].read_bytes())
        values = np.load(files["values"], mmap_mode="r", allow_pickle=False)
        static = pl.read_ipc(files["static"].read_bytes()) if "static" in files else None
        offsets = np.concatenate([[0], np.cumsum(keys["steps"].to_numpy())])
        frame = BlockFrame(
            Block.ragged(values, offsets, [n for role in ("targets", "past", "future") for n in head[role]]),
            ids=keys["unique_id"], first=keys["first"], freq=head["freq"], targets=head["targets"], past=head["past"],
            future=head["future"], static=static, calendar=calendar, encoding=encoding, season=head["season"],
            month_end=head["month_end"],
        )
    except (KeyError, ValueError, TypeError, OSError, pl.exceptions.PolarsError) as error:
        raise ArtifactError(f"{folder}: its files do not fit together ({error}). Write the store again.") from error
    made = frame._with(schema=replace(frame.schema, id_col=head["id_col"], time_col=head["time_col"]))
    assert isinstance(made, BlockFrame)
    return made


def append_rows(folder: str | Path, source: Any) -> Path:
    """Adds rows that follow the end of their series, and new series; steps between stay missing.

    The store is written anew beside the old one, which frames that are open keep reading, and then takes its place. Two
    processes may not append to one store at a time.

    Raises:
        FrameError: a row lies at or before the end of its series, or cannot be read; a new series has no static row.
    """
    folder = Path(folder)
    old, head = open_store(folder), _head(folder)
    roles = {name: head[name] for name in ("id_col", "time_col", "targets", "past", "future")}
    stream = Stream.of(source, ids=old.ids.dtype, **roles)
    new = read_spans(stream, head["freq"], like=old.first)
    _refuse_overlap(old, new)
    spans = new.joined(old.spans().with_columns(steps=pl.Series(old.block.lengths)), old.grid)
    if old.static is not None and len(spans.keys) > len(old.ids):
        raise FrameError("The store has static columns, which new series lack: write it anew with static= for all.")
    _write(folder, int(head["generation"]) + 1, stream, spans, old.static, head["season"], old)
    for name in head["files"]:
        (folder / name).unlink(missing_ok=True)
    return folder


def _write(
    folder: Path, generation: int, stream: Stream, spans: Spans, static: pl.DataFrame | None, season: int,
    before: BlockFrame | None = None,
) -> None:
    """The files of one generation, and then the head that names them."""
    schema, names = stream.schema, [f"values-{generation}.npy", f"keys-{generation}.arrow"]
    values = np.lib.format.open_memmap(
        folder / names[0], mode="w+", dtype=stream.dtype, shape=(int(spans.offsets[-1]), len(schema.columns))
    )
    if before is not None or spans.rows < len(values):
        for low in range(0, len(values), CHUNK):
            values[low : low + CHUNK] = np.nan
    if before is not None:
        _copy(before, spans, values)
    place_rows(stream, spans, values, observed=before is None)
    del values
    keys = spans.keys.select("unique_id", "first", "steps")
    keys.write_ipc(folder / names[1])
    if static is not None:
        names.append(f"static-{generation}.arrow")
        static.write_ipc(folder / names[2])
    head = {
        "format": FORMAT, "generation": generation, "targets": schema.targets, "past": schema.past,
        "future": schema.future, "id_col": schema.id_col, "time_col": schema.time_col, "freq": spans.grid.every,
        "month_end": spans.grid.month_end, "season": season, "files": {name: _sha256(folder / name) for name in names},
    }
    part = folder / f"{HEAD}.part"
    part.write_text(json.dumps(head, indent=1))
    part.replace(folder / HEAD)


def _copy(before: BlockFrame, spans: Spans, values: np.ndarray) -> None:
    """The rows of a store to their places in a longer one."""
    places = spans.offsets[spans.find(before.ids)] - before.block.offsets[:-1]
    for low in range(0, len(before), CHUNK):
        rows = np.arange(low, min(low + CHUNK, len(before)))
        series = np.searchsorted(before.block.offsets, rows, side="right") - 1
        values[rows + places[series]] = before.block.rows(low, low + len(rows))


def _refuse_overlap(old: BlockFrame, new: Spans) -> None:
    joined = new.keys.join(old.spans().select("unique_id", end="last"), on="unique_id", how="inner")
    early = joined.filter(pl.col("first") <= pl.col("end"))
    if len(early):
        first = early.row(0, named=True)
        raise FrameError(
            f"Series {first['unique_id']!r}: the row at {first['first']} lies at or before its end, {first['end']} "
            f"({len(early)} such series). Append rows that follow the end, and leave out those that are there."
        )


def _head(folder: Path) -> dict[str, Any]:
    path = folder / HEAD
    if not path.is_file():
        raise DataNotFoundError(f"{folder} is no store: it has no {HEAD}. tsforge.data.mapped.write_store makes one.")
    try:
        head = json.loads(path.read_bytes()) if path.stat().st_size <= LARGEST else None
    except ValueError:
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT or not isinstance(head.get("files"), dict):
        raise ArtifactError(f"{path} is not the head of a store of format {FORMAT}. Write the store again.")
    return head


def _checked(folder: Path, head: dict[str, Any], *, every: bool) -> dict[str, Path]:
    """The files by what they are; the large one is compared where `every` file is."""
    found = {}
    for name, checksum in head["files"].items():
        path, kind = folder / Path(name).name, name.partition("-")[0]
        if not path.is_file():
            raise ArtifactError(f"{folder} lacks {name}, which its {HEAD} names. Write the store again.")
        if (every or kind != "values") and _sha256(path) != checksum:
            raise ArtifactError(f"{path} is not the file that was written: its sha256 differs. Write the store again.")
        found[kind] = path
    return found


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
