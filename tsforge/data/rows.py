"""Rows of a block: read like an array [row, column], a slice or a window at a time, and scaled as they are read."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from tsforge.frame.block import Block
from tsforge.scaling import Scaling


class Rows:
    """[row, column] of the series of a block one after another, each with `ahead` rows after its data.

    A slice or an array of row numbers reads these rows and no others. Only rows ahead can be written.
    """

    def __init__(self, block: Block, ahead: int = 0) -> None:
        self.block, self.ahead = block, ahead
        self.offsets = block.offsets + ahead * np.arange(len(block.offsets))
        self.tail = np.full((len(block.lengths), ahead, len(block.columns)), np.nan, block.dtype)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), len(self.block.columns)

    @property
    def dtype(self) -> np.dtype:
        return self.block.dtype

    def __getitem__(self, key: slice | np.ndarray) -> np.ndarray:
        if isinstance(key, np.ndarray):
            return self.at(key)
        low, high, _ = key.indices(len(self))
        if not self.ahead:
            return self.block.rows(low, max(low, high))
        return self.at(np.arange(low, high))

    def __setitem__(self, rows: np.ndarray, values: np.ndarray) -> None:
        series = np.searchsorted(self.offsets, rows, side="right") - 1
        after = rows - self.offsets[series] - self.block.lengths[series]
        assert (after >= 0).all(), "the data of a block are never written"
        self.tail[series, after] = values

    def at(self, rows: np.ndarray) -> np.ndarray:
        """[..., column] of rows, an array of any shape."""
        series = np.searchsorted(self.offsets, rows, side="right") - 1
        steps = rows - self.offsets[series]
        after = steps - self.block.lengths[series]
        values = self.block.steps(series, np.where(after >= 0, 0, steps))
        late = after >= 0
        if late.any():
            values[late] = self.tail[series[late], after[late]]
        return values

    def windows(self, first: np.ndarray, many: int) -> np.ndarray:
        """[window, column, many] of the rows from each of `first` on, which lie in one series."""
        series = np.searchsorted(self.offsets, first, side="right") - 1
        steps = first - self.offsets[series]
        if (steps + many <= self.block.lengths[series]).all():
            return self.block.windows(series, steps, many)
        return self.at(first[:, None] + np.arange(many)).transpose(0, 2, 1)

    def chunks(self, size: int) -> Iterator[np.ndarray]:
        """All rows in order, so many at a time."""
        for low in range(0, len(self), size):
            yield self[low : low + size]


class ScaledRows:
    """Rows scaled in float64 and rounded to `dtype` as they are read, each series by its own loc and scale."""

    def __init__(self, rows: Rows, scaling: Scaling, dtype: torch.dtype) -> None:
        self.rows, self.loc, self.scale, self.dtype = rows, scaling.loc, scaling.scale, dtype
        self.shape = rows.shape

    def take(self, rows: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """The first `steps` of rows [batch, window], or the `steps` from first rows [batch] on: values and mask.

        Both [batch, steps, column]; missing values are 0 under a false mask. A window lies in one series.
        """
        numbers = rows.numpy()
        first = numbers if rows.ndim == 1 else numbers[:, 0]
        raw = self.rows.windows(first, steps) if rows.ndim == 1 else self.rows.at(numbers[:, :steps]).transpose(0, 2, 1)
        series = np.searchsorted(self.rows.offsets, first, side="right") - 1
        values = torch.empty((len(first), steps, self.shape[1]), dtype=self.dtype)
        out = values.numpy().transpose(0, 2, 1)
        np.divide(raw - self.loc[series][:, :, None], self.scale[series][:, :, None], out=out, casting="same_kind")
        if not values.sum().isnan():  # nothing is missing, and a sum is far cheaper than a mask
            return values, torch.ones((), dtype=torch.bool).expand(values.shape)
        mask = ~torch.isnan(values)
        return values.nan_to_num_(0.0), mask


class CalendarRows:
    """Calendar features of rows, kept once for each time instead of once for each row.

    Args:
        table: [time, feature].
        shifts: [series] the row of `table` in which each series begins.
        offsets: [series + 1] rows.
    """

    def __init__(self, table: np.ndarray, shifts: np.ndarray, offsets: np.ndarray) -> None:
        self.table, self.shifts, self.offsets = torch.from_numpy(table), shifts, offsets
        self.shape = (int(offsets[-1]), table.shape[1])

    def to(self, dtype: torch.dtype) -> "CalendarRows":
        """The same features in another type."""
        return CalendarRows(self.table.to(dtype).numpy(), self.shifts, self.offsets)

    def __getitem__(self, rows: slice) -> np.ndarray:
        """Rows of one series."""
        series = int(np.searchsorted(self.offsets, rows.start, side="right")) - 1
        shift = int(self.shifts[series] - self.offsets[series])
        return self.table[rows.start + shift : rows.stop + shift].numpy()

    def take(self, rows: Tensor, steps: int) -> tuple[Tensor, None]:
        """As `ScaledRows.take`; nothing is missing."""
        numbers = rows.numpy()
        numbers = numbers[:, None] + np.arange(steps) if rows.ndim == 1 else numbers[:, :steps]
        series = np.searchsorted(self.offsets, numbers[:, 0], side="right") - 1
        return self.table[torch.from_numpy(numbers + (self.shifts - self.offsets[:-1])[series][:, None])], None


class SideBySide:
    """The columns of several kinds of rows together."""

    def __init__(self, parts: Sequence[ScaledRows | CalendarRows]) -> None:
        self.parts, self.shape = parts, (parts[0].shape[0], sum(part.shape[1] for part in parts))

    def take(self, rows: Tensor, steps: int) -> tuple[Tensor, None]:
        """As `ScaledRows.take`, without a mask: missing covariates are 0."""
        return torch.cat([part.take(rows, steps)[0] for part in self.parts], dim=-1), None


ReadRows = ScaledRows | CalendarRows | SideBySide
