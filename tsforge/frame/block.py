"""Block: series in one array that may lie in a file, read a window or a run of rows at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided

from tsforge.errors import FrameError, ShapeError
from tsforge.frame.schema import list_names, require


@dataclass(frozen=True)
class Column:
    """A column of a block: its place within a step, and what is made of its values.

    `change` is None, or "sin" or "cos" of a direction in degrees.
    """

    name: str
    offset: int
    change: Literal["sin", "cos"] | None = None

    def read(self, values: np.ndarray) -> np.ndarray:
        """The values of the column."""
        if self.change is None:
            return values
        turned = {"sin": np.sin, "cos": np.cos}[self.change]
        return turned(np.deg2rad(values.astype(np.float64, copy=False))).astype(values.dtype, copy=False)


@dataclass(frozen=True)
class Block:
    """Step t of series s has the value of a column at `flat[base[s] + t * stride + offset]`; NaN is missing.

    Series are cut and chosen by `base` and `lengths` alone: nothing is copied before it is read.
    """

    flat: np.ndarray  # [cell], of floats
    base: np.ndarray  # [series] where each series begins
    lengths: np.ndarray  # [series] its steps
    stride: int
    columns: tuple[Column, ...]

    @classmethod
    def dense(cls, values: np.ndarray, names: Sequence[str]) -> "Block":
        """The block of an array [series, time, channel]; a transposed or sliced view of a mapped array is not copied.

        Raises:
            ShapeError: the array has other axes, or not one name for each channel.
            FrameError: it does not hold floats.
        """
        if values.ndim != 3 or values.shape[2] != len(names):
            wanted = f"[series, time, channel] with {len(names)} channels"
            raise ShapeError(f"values of shape {values.shape}: wanted {wanted}.")
        flat, (series, time, channel) = _flat(values)
        lengths = np.full(len(values), values.shape[1])
        columns = tuple(Column(name, k * channel) for k, name in enumerate(names))
        return cls(flat, np.arange(len(values)) * series, lengths, time, columns)

    @classmethod
    def ragged(cls, values: np.ndarray, offsets: np.ndarray, names: Sequence[str]) -> "Block":
        """The block of an array [row, channel] in which series s has the rows `offsets[s]` to `offsets[s + 1]`.

        Raises:
            ShapeError: the array has other axes, not one name for each channel, or not the rows that offsets say.
            FrameError: it does not hold floats.
        """
        rows = int(offsets[-1])
        if values.shape != (rows, len(names)):
            raise ShapeError(f"values of shape {values.shape}: wanted ({rows}, {len(names)}), [row, channel].")
        flat, (row, channel) = _flat(values)
        columns = tuple(Column(name, k * channel) for k, name in enumerate(names))
        return cls(flat, offsets[:-1] * row, np.diff(offsets), row, columns)

    def __getstate__(self) -> dict[str, Any]:
        """Another process maps the same file; only an array in memory is sent."""
        state, mapped = {name: getattr(self, name) for name in self.__dataclass_fields__}, _mapped(self.flat)
        if mapped is not None:
            state["flat"] = mapped
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["flat"], tuple):
            path, dtype, offset, cells = state["flat"]
            state["flat"] = np.asarray(np.memmap(path, dtype, "r", offset, (cells,)))
        self.__dict__.update(state)

    @property
    def dtype(self) -> np.dtype:
        return self.flat.dtype

    @cached_property
    def offsets(self) -> np.ndarray:
        """[series + 1] rows, counted through the series."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @cached_property
    def _places(self) -> np.ndarray:
        return np.array([column.offset for column in self.columns])

    def select(self, names: Sequence[str]) -> "Block":
        """The same series with these columns, in this order."""
        require(self.names, names, "block")
        known = {column.name: column for column in self.columns}
        return replace(self, columns=tuple(known[name] for name in names))

    def choose(self, series: np.ndarray) -> "Block":
        """Some of the series."""
        return replace(self, base=self.base[series], lengths=self.lengths[series])

    def cut(self, begins: np.ndarray, ends: np.ndarray) -> "Block":
        """The steps `begins[s]` up to, not including, `ends[s]` of each series."""
        return replace(self, base=self.base + begins * self.stride, lengths=ends - begins)

    def windows(self, series: np.ndarray, steps: np.ndarray, many: int) -> np.ndarray:
        """[window, column, many] of `many` steps from one step of a series on; all of them lie in the series."""
        span, size = (many - 1) * self.stride, self.flat.itemsize
        shape = (max(len(self.flat) - span, 0), many)
        runs = as_strided(self.flat, shape, (size, self.stride * size), writeable=False)
        return self._read(runs[(self.base[series] + steps * self.stride)[:, None] + self._places], axis=1)

    def steps(self, series: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """[..., column] of steps of series, two arrays of one shape."""
        return self._read(self.flat[(self.base[series] + steps * self.stride)[..., None] + self._places], axis=-1)

    def rows(self, low: int, high: int) -> np.ndarray:
        """[row, column] of consecutive rows, counted through the series.

        Raises:
            FrameError: a value is infinite; names the column.
        """
        out = np.empty((high - low, len(self.columns)), self.dtype)
        for first, last, at in self._runs(low, high):
            for number, column in enumerate(self.columns):
                begin = at + column.offset
                own = self.flat[begin : begin + (last - first - 1) * self.stride + 1 : self.stride]
                out[first - low : last - low, number] = column.read(own)
        if np.isinf(out).any():
            number = int(np.isinf(out).any(axis=0).argmax())
            raise FrameError(
                f"Column {self.names[number]!r} holds infinite values. Replace infinities by a number, or by NaN where "
                "the value is not known."
            )
        return out

    def _read(self, values: np.ndarray, axis: int) -> np.ndarray:
        for number, column in enumerate(self.columns):
            if column.change is not None:
                own = np.moveaxis(values, axis, 0)[number]
                own[...] = column.read(own)
        return values

    @cached_property
    def _breaks(self) -> np.ndarray:
        """The series that do not go on where the one before ends in the array."""
        after = self.base[:-1] + self.lengths[:-1] * self.stride
        return np.concatenate([[0], np.flatnonzero(self.base[1:] != after) + 1])

    def _runs(self, low: int, high: int) -> Iterator[tuple[int, int, int]]:
        """Pieces of a run of rows that lie evenly in the array: first row, row after the last, cell of the first."""
        edges = self.offsets[self._breaks]
        run = int(np.searchsorted(edges, low, side="right")) - 1
        while low < high:
            series = self._breaks[run]
            last = min(high, int(edges[run + 1])) if run + 1 < len(edges) else high
            yield low, last, int(self.base[series] + (low - self.offsets[series]) * self.stride)
            low, run = last, run + 1


def _flat(values: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """All cells of an array in the order of memory, and its strides in cells; no copy."""
    if values.dtype.kind != "f" or values.dtype.itemsize < 4:
        raise FrameError(f"A block of {values.dtype}: wanted float32 or float64, with NaN where a value is missing.")
    values = np.asarray(values)
    if values.size and min(values.strides) < 0:
        values = np.ascontiguousarray(values)
    size = values.itemsize
    reach = sum((many - 1) * stride for many, stride in zip(values.shape, values.strides, strict=True)) // size + 1
    flat = as_strided(values, (reach if values.size else 0,), (size,), writeable=False)
    return flat, tuple(stride // size for stride in values.strides)


def _mapped(flat: np.ndarray) -> tuple[str, np.dtype, int, int] | None:
    """File, type, offset and length of cells that lie in a file."""
    root, found = flat, None
    while (root := getattr(root, "base", None)) is not None:
        found = root if isinstance(root, np.memmap) else found
    if found is None or found.filename is None:
        return None
    begin = flat.__array_interface__["data"][0] - found.__array_interface__["data"][0]
    return str(found.filename), flat.dtype, found.offset + begin, len(flat)


def check_names(names: Sequence[str], columns: Sequence[str]) -> None:
    """Raises FrameError where a column of a block has no role or two."""
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice is not None:
        raise FrameError(f"Column {twice!r} has two roles: it is a target, a past or a future covariate.")
    require(columns, names, "block")
    if not names:
        raise FrameError(f"There is no target: name columns of the block with targets=; it has {list_names(columns)}.")
