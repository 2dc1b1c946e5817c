"""The one door between polars and tensors: a prepared store becomes windows, and outputs become a forecast frame.

A window is known by its series and its cutoff, the row of the last step that it sees. Windows are an index over one
contiguous store and are gathered a batch at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tsforge.batch import Batch
from tsforge.data.prepare import Prepared
from tsforge.data.rows import ReadRows, ScaledRows
from tsforge.data.store import Nearest, Store


@dataclass(frozen=True)
class CutoffRanges:
    """Every row from `low[s]` up to, not including, `high[s]` of each series is a cutoff."""

    low: np.ndarray
    high: np.ndarray

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum(self.counts())

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self.low) else 0

    def locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Series and cutoff row of windows, counted through the series."""
        series = np.searchsorted(self._ends, index, side="right")
        return series, self.high[series] - (self._ends[series] - index)

    def counts(self) -> np.ndarray:
        """Windows of each series."""
        return np.maximum(self.high - self.low, 0)


@dataclass(frozen=True)
class Cutoffs:
    """A list of cutoffs: series and row."""

    series: np.ndarray
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def locate(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Series and cutoff row of windows."""
        return self.series[index], self.rows[index]


LOCATED = 4096  # windows located in one call
AT_ONCE = 512 << 10  # bytes of targets gathered in one call: memory of this size is used again, without page faults
ALONE = 64 << 10  # bytes of targets from which on a batch is copied by itself, and so is in the cache when it is used


class Windows:
    """All windows of an index, gathered by number.

    Args:
        prepared: Scaled tensors of all rows.
        index: Which windows there are.
        input_size: Steps that a window sees.
        h: Steps ahead.
        filled: Missing steps carry the last observation inside the window; else they are 0 under the mask.
        targets: Whether batches hold the horizon of the targets.
    """

    def __init__(
        self, prepared: Prepared, index: CutoffRanges | Cutoffs, input_size: int, h: int, *,
        filled: bool = True, targets: bool = True,
    ) -> None:
        self.prepared, self.index, self.input_size, self.h = prepared, index, input_size, h
        self.filled, self.targets = filled, targets
        self.drawn = False  # whether a step of training draws what it asks of a window
        self.whole = np.arange(1 - input_size, h + 1)
        times = prepared.times
        self.nearest = None if times is None else Nearest(times, prepared.starts, prepared.ends, h)

    def __len__(self) -> int:
        return len(self.index)

    def gather(self, numbers: np.ndarray) -> Batch:
        """The windows with these numbers; a number of -1 is a window of nothing, whose horizon is masked."""
        there = numbers >= 0
        complete = bool(there.all())
        series, cutoffs = self.index.locate(numbers if complete else np.where(there, numbers, 0))
        p = self.prepared
        rows, inside = self._rows(series, cutoffs)
        values, mask = self._values(rows, inside)
        size, keys = self.input_size, torch.from_numpy(series)
        past, past_mask = values[:, :size], mask[:, :size]
        if self.filled and not (inside is None and p.complete):
            past = past if past_mask.all() else carried_forward(past, past_mask)
        future_mask = mask[:, size:]
        if not complete:
            future_mask = future_mask & torch.from_numpy(there)[:, None, None]
        return Batch(
            past=past, past_mask=past_mask, series=p.known.index_select(0, keys),
            future=values[:, size:] if self.targets else None, future_mask=future_mask if self.targets else None,
            past_covariates=_covariates(p.past, rows, inside, size),
            future_covariates=_covariates(p.future, rows, inside, len(self.whole)),
            static_numeric=None if p.static_numeric is None else p.static_numeric.index_select(0, keys),
            static_categorical=None if p.static_categorical is None else p.static_categorical.index_select(0, keys),
            static_ids=None if p.static_ids is None else p.static_ids.index_select(0, keys),
            **self._clock(rows, cutoffs),
        )

    def pose(self, batch: Batch, seed: int) -> Batch:
        """A batch of training as a step asks for it, where that is drawn."""
        raise NotImplementedError(f"{type(self).__name__} draws nothing.")

    def truth(self, numbers: np.ndarray) -> np.ndarray:
        """[window, h, channel] of scaled targets in float64, NaN where missing: on irregular rows, of the nearest."""
        series, cutoffs = self.index.locate(numbers)
        if self.nearest is None:
            return self.prepared.observed(cutoffs[:, None] + np.arange(1, self.h + 1))
        rows, near = self.nearest.rows(series, cutoffs)
        return np.where(near[..., None], self.prepared.observed(rows), np.nan)

    def batches(self, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
        """One batch for each array of numbers; what can be done for several in one call is."""
        row = 4 * len(self.whole) * self.prepared.values.shape[1]
        for group in _groups(parts, LOCATED):
            numbers = np.concatenate(group)
            if self.prepared.complete and len(group[0]) * row >= ALONE and (numbers >= 0).all():
                series, cutoffs = self.index.locate(numbers)
                rows, inside = self._rows(series, cutoffs)
                if inside is None:
                    yield from self._whole(torch.from_numpy(series), rows, [len(part) for part in group])
                    continue
            for few in _groups(group, AT_ONCE // row):
                yield from self.gather(np.concatenate(few)).split([len(part) for part in few])

    def _whole(self, series: Tensor, first: Tensor, sizes: list[int]) -> Iterator[Batch]:
        """Batches of so many windows each, of which nothing is missing."""
        p, size, steps = self.prepared, self.input_size, len(self.whole)
        seen = torch.ones((), dtype=torch.bool).expand(max(sizes), steps, p.values.shape[1])
        past_mask, future_mask = seen.split_with_sizes([size, self.h], dim=1)
        values = _blocks(p.values, steps)
        before = None if p.past is None else _blocks(p.past, size)
        around = None if p.future is None else _blocks(p.future, steps)
        static = [repeat(None) if part is None else part.index_select(0, series).split_with_sizes(sizes)
                  for part in (p.known, p.static_numeric, p.static_categorical, p.static_ids)]
        for count, rows, known, numeric, codes, ids in zip(sizes, first.split_with_sizes(sizes), *static, strict=False):
            past, future = values.index_select(0, rows).split_with_sizes([size, self.h], dim=1)
            yield Batch(
                past=past, past_mask=past_mask[:count], series=known,
                future=future if self.targets else None, future_mask=future_mask[:count] if self.targets else None,
                past_covariates=None if before is None else before.index_select(0, rows),
                future_covariates=None if around is None else around.index_select(0, rows),
                static_numeric=numeric, static_categorical=codes, static_ids=ids,
            )

    def _rows(self, series: np.ndarray, cutoffs: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """[batch] first rows and None, where all rows are of the series.

        Else [batch, window] rows and whether each is of the series; one that is not is its first.
        """
        low, high = self.prepared.starts[series], self.prepared.ends[series]
        first, last = cutoffs + self.whole[0], cutoffs + self.whole[-1]
        if self.nearest is None and (first >= low).all() and (last < high).all():
            return torch.from_numpy(first), None
        rows, low, high = cutoffs[:, None] + self.whole, low[:, None], high[:, None]
        inside = (rows >= low) & (rows < high)
        if self.nearest is not None:
            rows[:, self.input_size :], inside[:, self.input_size :] = self.nearest.rows(series, cutoffs)
        return torch.from_numpy(np.where(inside, rows, low)), torch.from_numpy(inside)

    def _values(self, rows: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
        if isinstance(self.prepared.values, ScaledRows):
            values, mask = self.prepared.values.take(rows, len(self.whole))
            return (values, mask) if inside is None else (values * inside[..., None], mask & inside[..., None])
        values = _take(self.prepared.values, rows, len(self.whole))
        if inside is None and self.prepared.complete:
            return values, torch.ones((), dtype=torch.bool).expand(values.shape)
        assert self.prepared.mask is not None
        steps = len(self.whole) if self.targets else self.input_size  # what is handed over of a window
        mask = _take(self.prepared.mask, rows, steps)
        mask = mask if inside is None else mask & inside[:, :steps, None]
        if not mask.all():
            values[:, :steps] *= mask
        return values, mask

    def _clock(self, rows: Tensor, cutoffs: np.ndarray) -> dict[str, Tensor]:
        if self.prepared.times is None:
            return {}
        times = torch.from_numpy(self.prepared.times)[rows[:, : self.input_size]]
        since = times - torch.from_numpy(self.prepared.times[cutoffs])[:, None]
        gaps = torch.diff(times, dim=1, prepend=times[:, :1])
        return {"times": since.to(self.prepared.values.dtype), "gaps": gaps.to(self.prepared.values.dtype)}


def _groups(parts: Sequence[np.ndarray], many: int) -> Iterator[Sequence[np.ndarray]]:
    """Neighbours together, as soon as they are so many numbers."""
    begin = count = 0
    for end, part in enumerate(parts, start=1):
        count += len(part)
        if count >= many or end == len(parts):
            yield parts[begin:end]
            begin, count = end, 0


def carried_forward(values: Tensor, mask: Tensor) -> Tensor:
    """[batch, time, channel] with each missing step replaced by the last observed of its window, 0 before the first."""
    steps = torch.arange(values.shape[1])[None, :, None].expand(values.shape)
    last = torch.where(mask, steps, -1).cummax(dim=1).values
    return torch.gather(values, 1, last.clamp(min=0)) * (last >= 0)


def forecast_frame(
    store: Store, series: np.ndarray, cutoffs: np.ndarray, columns: Mapping[str, np.ndarray], *,
    with_cutoff: bool = False, truth: bool = False,
) -> pl.DataFrame:
    """Arrays [window, h, channel] in the user's units -> `unique_id, ds, (target,) (cutoff,) columns ..., (y)`."""
    windows, h, channels = next(iter(columns.values())).shape
    stamps, rows, there = store.horizon(series, cutoffs, h)
    names, channel = store.schema.targets, np.repeat(np.arange(channels, dtype=np.uint32), h)
    keys = {}
    if store.schema.channels_from:  # the channels are series, and go back to rows of their own
        keys["unique_id"] = _named(store.schema.channel_ids, np.tile(channel // len(names), windows))
    elif len(store.ids) == 1:
        keys["unique_id"] = store.ids.new_from_index(0, windows * channels * h)
    else:
        keys["unique_id"] = _named(store.ids, np.repeat(series.astype(np.uint32), channels * h))
    keys["ds"] = _spread(stamps, (windows, 1, h), channels, axis=1)
    if len(names) > 1:
        keys["target"] = _named(names, np.tile(channel % len(names), windows))
    if with_cutoff:
        keys["cutoff"] = _spread(store.stamps(series, cutoffs), (windows, 1), channels * h, axis=1)
    out = {name: pl.Series(values.transpose(0, 2, 1).ravel()) for name, values in columns.items()}
    if truth:
        out["y"] = pl.Series(_truth(store, rows, there).ravel(), nan_to_null=True)
    return pl.DataFrame({**keys, **out})


def _named(names: Sequence[Any] | pl.Series, numbers: np.ndarray) -> pl.Series:
    """The names of these numbers, which are of the type that polars counts rows with, so it need not convert them."""
    return pl.Series(names).gather(pl.Series(numbers))


def _truth(store: Store, rows: np.ndarray, there: np.ndarray) -> np.ndarray:
    """[window, channel, h] of the values at rows [window, h], NaN where there are none."""
    values, (windows, h) = store.values, rows.shape
    out = np.empty((windows, values.shape[1], h))
    if store.marks is None and isinstance(values, np.ndarray) and rows.max(initial=h) < len(values):
        ahead = np.lib.stride_tricks.sliding_window_view(values, h, axis=0)  # rows of a window follow one another
        for low in range(0, windows, 1024):  # what lies between stays in the cache
            for channel in range(values.shape[1]):
                out[low : low + 1024, channel] = ahead[rows[low : low + 1024, 0], channel]
    else:
        out[:] = values[np.minimum(rows, len(values) - 1)].transpose(0, 2, 1)
    if not there.all():
        np.copyto(out, np.nan, where=~there[:, None])
    return out


def _spread(stamps: pl.Series, shape: tuple[int, ...], count: int, axis: int) -> pl.Series:
    """Stamps of this shape, each `count` times along an axis, flat."""
    if count == 1:
        return stamps
    whole = np.repeat(stamps.to_physical().to_numpy().reshape(shape), count, axis=axis)
    return pl.Series(whole.ravel()).cast(stamps.dtype)


def _covariates(values: Tensor | ReadRows | None, rows: Tensor, inside: Tensor | None, steps: int) -> Tensor | None:
    """The first `steps` of each window; 0 where it reaches over the edge of its series."""
    if values is None:
        return None
    taken = _take(values, rows, steps)
    return taken if inside is None else taken * inside[:, :steps, None]


def _take(values: Tensor | ReadRows, rows: Tensor, steps: int) -> Tensor:
    """[batch, steps, column] of rows [batch, window], or of first rows [batch], from which one block each is copied."""
    if not isinstance(values, Tensor):
        return values.take(rows, steps)[0]
    if rows.ndim == 1:
        return _blocks(values, steps).index_select(0, rows)
    return values.index_select(0, rows[:, :steps].reshape(-1)).view(len(rows), steps, values.shape[1])


def _blocks(values: Tensor | ReadRows, steps: int) -> Tensor:
    """[row, steps, column]: a view of the steps from each row on."""
    assert isinstance(values, Tensor), "rows that are read from a block have no such view"
    width = values.shape[1]
    return values.as_strided((len(values) - steps + 1, steps, width), (width, width, 1))
