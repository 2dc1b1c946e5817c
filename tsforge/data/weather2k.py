"""Weather2K: hourly or 3-hourly observations of ground weather stations in China.

Source    Zhu et al. (2023), "Weather2K: A Multivariate Spatio-Temporal Benchmark Dataset for Meteorological Forecasting
          Based on Real-Time Observation Data from Ground Weather Stations", AISTATS, PMLR 206:2704-2722.
          Current release: github.com/Xun-Zhu/weather2k, after a signed agreement for non-commercial use.
          Release 1.0: github.com/bycnfz/weather2k. Neither may be shipped.
Layout    An array [station, variable, step]; its 13 (current, 3 h) or 23 (1.0, 1 h) variables tell the release. A file
          with fewer stations or steps of either layout is read too. It is mapped, never read as a whole.
Frame     unique_id the station's index on axis 0   ds 2017-01-01 00:00 and on; the zone is not documented
          static lat, lon, alt, the values of the first step
Units     lat, lon degrees; alt m; ap, wvp hPa; t, mxt, mnt, dt, st degrees Celsius; rh %; p1 ... p5 mm; ws, mws m/s;
          wd, mwd degrees, 0 also in a calm; hv1, hv2, vv m. p3 is the sum of 3 h in the current release, of 6 h in 1.0.
Split     70, 10 and 20 % of the steps in order, rounded down; the authors publish none.
"""

import logging
import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.places import data_folder, find_data
from tsforge.data.weather2k_csv import read_stations
from tsforge.data.wind import check_wind, wind_names
from tsforge.errors import ArgumentError, FrameError
from tsforge.frame.block import Block, Column
from tsforge.frame.block_frame import BlockFrame
from tsforge.frame.canonical import as_static
from tsforge.frame.frame import Frame
from tsforge.frame.schema import as_names, require
from tsforge.frame.split import Split

log = logging.getLogger("tsforge")
FIRST = datetime(2017, 1, 1)
POSITION = ("lat", "lon", "alt")
DIRECTIONS = ("wd", "mwd")
FILES = ("weather2k.npy", "Weather2K-R/data.npy")  # below the folder of the data set
MAPPED = ("targets", "past", "future", "static", "calendar", "encoding", "season")  # roles that need no table
FEW = 1 << 22  # cells of positions that are read to see whether stations stay where they are


@dataclass(frozen=True)
class Release:
    """A layout: what stands on axis 1, the step of time, and the shape of the whole file."""

    name: str
    variables: tuple[str, ...]
    freq: str
    shape: tuple[int, int, int]


CURRENT = Release(
    "the current release", (*POSITION, "ap", "t", "mxt", "mnt", "rh", "p3", "wd", "ws", "mwd", "mws"), "3h",
    (1866, 13, 13632),
)
FIRST_RELEASE = Release(
    "release 1.0",
    (*POSITION, "ap", "t", "mxt", "mnt", "dt", "rh", "wvp", "p1", "p2", "p3", "p4", "p5", "wd", "ws", "mwd", "mws",
     "st", "hv1", "hv2", "vv"), "1h", (1866, 23, 40896),
)


class Weather2K(Adapter):
    """Stations as series of weather variables, read from the mapped file a window at a time.

    Args:
        path: The .npy file, a folder that holds it, or the folder of the csv files of release 1.0. None looks for
            `weather2k/weather2k.npy`, then `weather2k/Weather2K-R/data.npy`, below the data folder.
        targets: Variables to forecast; None takes all but the position.
        stations: The first so many, or a list of indices on axis 0; None takes all.
        wind: "degrees", or "sincos" for sine and cosine in place of `wd` and `mwd`: `wd_sin`, `wd_cos`, ...
        channels: "variables", or "stations" for one series whose channels are the pairs (station, variable), without
            positions.

    Raises:
        ArgumentError: an argument has a value that cannot work.
    """

    def __init__(
        self, *, path: str | Path | None = None, targets: str | Sequence[str] | None = None,
        stations: int | Sequence[int] | None = None, wind: str = "degrees",
        channels: str = "variables",
    ) -> None:
        if channels not in ("variables", "stations"):
            raise ArgumentError(f"channels={channels!r}: wanted 'variables' or 'stations'.")
        self.path, self.targets, self.stations, self.channels = path, targets, stations, channels
        self.wind = check_wind(wind)

    def table(self) -> pl.DataFrame:
        """The long table, collected."""
        return self.frame().to_polars()

    def frame(self, **roles: Any) -> Frame:
        """The frame over the mapped file. `resample=` and other roles that need the long table collect it.

        Raises:
            DataNotFoundError: the file is not there; says where it can be had.
            FrameError: the file has neither layout, or lacks a column.
            ArgumentError: there is no such station.
        """
        mapped = {name: value for name, value in roles.items() if name in MAPPED}
        others = {name: value for name, value in roles.items() if name not in MAPPED}
        as_one = "stations" if others.pop("channels_from", None) == "unique_id" else self.channels
        path = self._find()
        if path.is_dir() or path.suffix == ".csv":
            made = self._of_csv(path, mapped)
        else:
            made = self._of_array(path, mapped, static=as_one == "variables")
        if others:
            collected = _collected(made, others, as_one)
            return collected if "static" in roles else collected.offering()
        if as_one == "stations":
            made = made.as_channels() if isinstance(made, BlockFrame) else _collected(made, {}, as_one)
        made = made.with_split(_split(made))
        return made if "static" in roles else made.offering()

    def _find(self) -> Path:
        if self.path is None:
            found = (data_folder() / "weather2k" / name for name in FILES)
            first = next((path for path in found if path.is_file()), None)
            return find_data("weather2k", f"weather2k/{FILES[0]}") if first is None else first
        path = find_data("weather2k", FILES[0], self.path)
        inside = (path / name for name in (*FILES, "data.npy"))
        return next((file for file in inside if file.is_file()), path) if path.is_dir() else path

    def _of_array(self, path: Path, roles: dict[str, Any], *, static: bool) -> BlockFrame:
        values, release = open_array(path)
        chosen = _chosen(self.stations, len(values), path)
        block = Block.dense(values.transpose(0, 2, 1), release.variables).choose(chosen)
        block = replace(block, columns=tuple(_columns(block.columns[len(POSITION) :], self.wind)))
        ids = pl.Series("unique_id", chosen, dtype=pl.Int64)
        names, apart = as_static(roles.get("static", POSITION)) if static else ((), None)
        if names and apart is None:
            require(POSITION, names, "static")
            apart = pl.DataFrame(_positions(values, chosen), schema=list(POSITION)).select(ids, *names)
        stated: dict[str, Any] = {"season": 24 // int(release.freq[:-1])} | roles
        stated |= {"targets": self._targets(block.names, roles), "static": apart}
        return BlockFrame(block, ids=ids, first=FIRST, freq=release.freq, **stated)

    def _of_csv(self, path: Path, roles: dict[str, Any]) -> Frame:
        table, static = read_stations(path, self.wind)
        if self.stations is not None:
            kept = self.stations if not isinstance(self.stations, int) else table["unique_id"].unique()[: self.stations]
            table = table.filter(pl.col("unique_id").is_in(pl.Series(list(kept), dtype=pl.Int64).implode()))
        stated = {"freq": "1h", "season": 24, "static": static if self.channels == "variables" else None}
        chosen: dict[str, Any] = stated | roles | {"targets": self._targets(table.columns[2:], roles)}
        return Frame(table, **chosen)

    def _targets(self, names: Sequence[str], roles: dict[str, Any]) -> tuple[str, ...]:
        """Directions stand for their components; without a word all variables that have no other role."""
        taken = {*as_names(roles.get("past")), *as_names(roles.get("future"))}
        asked = roles.get("targets", self.targets)
        if asked is None:
            return tuple(name for name in names if name not in taken)
        both = (wind_names(name, self.wind) if name in DIRECTIONS else (name,) for name in as_names(asked))
        targets = tuple(chain.from_iterable(both))
        require(names, targets, "targets")
        return targets


def open_array(path: Path) -> tuple[np.ndarray, Release]:
    """The mapped array, and the release that its shape tells.

    Raises:
        FrameError: it is no array of floats, or has neither shape.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise FrameError(  # what numpy says is left out: it advises to unpickle
            f"{path} cannot be read as an array of numbers (.npy): it is no such file, is cut short, or holds objects. "
            "Get it again, or write the numbers with numpy.save."
        ) from error
    known = {len(release.variables): release for release in (CURRENT, FIRST_RELEASE)}
    shape = getattr(values, "shape", ())
    if len(shape) != 3 or shape[1] not in known or 0 in shape:
        raise FrameError(
            f"{path} holds an array of shape {shape}: wanted [station, variable, step], {CURRENT.shape} for "
            f"{CURRENT.name} or {FIRST_RELEASE.shape} for {FIRST_RELEASE.name}. Any number of stations and steps is "
            "read; 13 or 23 variables tell the release."
        )
    return values, known[shape[1]]


def _columns(columns: Sequence[Column], wind: str) -> list[Column]:
    """Directions as their components, where these are wanted."""
    if wind == "degrees":
        return [*columns]
    turned = []
    for column in columns:
        if column.name in DIRECTIONS:
            sine, cosine = wind_names(column.name, wind)
            turned += [Column(sine, column.offset, "sin"), Column(cosine, column.offset, "cos")]
        else:
            turned.append(column)
    return turned


def _chosen(stations: int | Sequence[int] | None, count: int, path: Path) -> np.ndarray:
    """Indices on axis 0."""
    if stations is None:
        return np.arange(count)
    one = isinstance(stations, int | np.integer) and not isinstance(stations, bool)
    chosen = np.arange(int(stations)) if one else np.asarray(stations)  # pyright: ignore[reportArgumentType]
    whole = chosen.ndim == 1 and chosen.dtype.kind in "iu"
    if not (whole and len(chosen) and chosen.min() >= 0 and chosen.max() < count):
        raise ArgumentError(
            f"stations={stations!r}: wanted a number of stations from 1 to {count}, or a list of their indices from 0 "
            f"to {count - 1}; {path} has {count}."
        )
    return chosen.astype(np.int64)


def _positions(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """[station, 3] of the first step, which lie far apart in the file."""
    mapped = values.base if isinstance(values.base, mmap.mmap) and hasattr(mmap, "MADV_RANDOM") else None
    if mapped is not None:
        mapped.madvise(mmap.MADV_RANDOM)  # the system would read ahead at each: 24 s instead of 0.1 s on a cold file
    positions = values[chosen, : len(POSITION), 0].astype(np.float64)
    if mapped is not None:
        mapped.madvise(mmap.MADV_NORMAL)
    if len(chosen) * len(POSITION) * values.shape[2] <= FEW:  # a large file would have to be read for it
        _notice_moved(values, chosen)
    return positions


def _notice_moved(values: np.ndarray, chosen: np.ndarray) -> None:
    """Says which stations do not stay where they are."""
    places = values[chosen, : len(POSITION)]
    moved = ((places != places[..., :1]) & ~np.isnan(places)).any(axis=(1, 2))
    if moved.any():
        log.info("%d stations change their position, station %d among them; that of the first step is taken.",
                 moved.sum(), chosen[moved.argmax()])


def _split(frame: Frame) -> Split:
    spans = frame.spans()
    steps = int(frame.grid.steps(spans["last"], spans["first"]).max() or 0) + 1  # pyright: ignore[reportArgumentType]
    train, val = steps * 7 // 10, steps // 10
    return Split(train, val, steps - train - val)


def _collected(frame: Frame, roles: dict[str, Any], channels: str) -> Frame:
    """A frame of the long table, for roles that need one."""
    schema = frame.schema
    kept = ("targets", "past", "future", "calendar", "encoding")
    stated: dict[str, Any] = {name: getattr(schema, name) for name in kept}
    if not (roles.get("resample") or roles.get("freq")):
        stated |= {"freq": schema.freq, "season": schema.season}
    as_one = {"channels_from": "unique_id"} if channels == "stations" else {"static": frame.static}
    stated = stated | as_one | roles
    return Frame(frame.to_polars(), **stated)
