"""The frame in a work folder: written once, and read a range of series at a time by whoever does a shard."""

import json
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import ArtifactError
from tsforge.estimators.shards.aside import aside, write_new
from tsforge.frame.frame import Frame
from tsforge.frame.schema import Schema


def write_frame(frame: Frame, folder: Path) -> None:
    """Writes the rows, the static columns and the roles; what is there already is left, being of the same frame."""
    if (folder / "roles.json").exists():
        return
    table = frame.table
    with aside(folder / "frame.arrow") as path:
        table.write_ipc(path, compression="uncompressed")  # so that a range is read without the rest
    runs = table["unique_id"].rle().struct.unnest()
    lengths = runs["len"].to_numpy().astype(np.int64)
    series = pl.DataFrame({"unique_id": runs["value"], "begin": np.cumsum(lengths) - lengths, "rows": lengths})
    for name, part in (("series", series), ("static", frame.static)):
        if part is not None:
            with aside(folder / f"{name}.arrow") as path:
                part.write_ipc(path)
    write_new(folder / "roles.json", json.dumps(roles_of(frame)).encode())  # last: where it is, the rest is whole


def roles_of(frame: Frame) -> dict[str, Any]:
    """What a frame is besides its rows, as JSON; the unit of time is that of the user's table."""
    unit = getattr(frame.time_dtype, "time_unit", None)
    return {"roles": frame.schema.to_dict(), "month_end": frame.grid.month_end, "time_unit": unit,
            "offered": frame.offered}


class StoredFrame:
    """The frame of a work folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def exists(self) -> bool:
        return (self.folder / "roles.json").exists()

    def whole(self) -> Frame:
        """The frame of all series."""
        return self.of(0, len(self._series))

    def of(self, low: int, high: int) -> Frame:
        """The frame of the series `low` to `high`, which does not read the others.

        Raises:
            ArtifactError: the files do not fit together.
        """
        mine = self._series[low:high]
        if not len(mine):
            raise ArtifactError(f"{self.folder} has {len(self._series)} series, and {low} to {high} were asked for.")
        begin, rows = int(mine["begin"][0]), int(mine["rows"].sum())
        table = pl.scan_ipc(self.folder / "frame.arrow").slice(begin, rows).collect()
        if self._static is not None:
            table = table.join(self._static, on="unique_id", how="left", maintain_order="left")
        said, unit = self._said, self._said["time_unit"]
        frame = Frame.stored(
            table, Schema.from_dict(said["roles"]), month_end=said["month_end"], kind="polars",
            time_dtype=pl.Datetime(unit) if unit else pl.Int64(),
        )
        return frame.offering() if said["offered"] else frame

    @cached_property
    def _said(self) -> dict[str, Any]:
        return json.loads((self.folder / "roles.json").read_bytes())

    @cached_property
    def _series(self) -> pl.DataFrame:
        return pl.read_ipc(self.folder / "series.arrow")

    @cached_property
    def _static(self) -> pl.DataFrame | None:
        path = self.folder / "static.arrow"
        return pl.read_ipc(path) if path.exists() else None


def digest_of(table: pl.DataFrame | None) -> str | None:
    """A digest of names, types and all values, whatever chunks the table lies in."""
    if table is None:
        return None
    digest = blake2b(digest_size=16)
    for column in table:
        digest.update(f"{column.name}\x1f{column.dtype}\x1e".encode())
        if column.dtype.is_numeric() or column.dtype.is_temporal():
            digest.update(np.ascontiguousarray(column.to_physical().to_numpy()).data)
            continue
        runs = column.cast(pl.String).rle().struct.unnest()  # names of series come in long runs
        digest.update(runs["len"].to_numpy().data)
        digest.update("\x1f".join(runs["value"].fill_null("\x1d").to_list()).encode())
    return digest.hexdigest()
