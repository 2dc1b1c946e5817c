"""The one door between polars and tensors: a prepared store becomes windows, and outputs become a forecast frame.

A window is known by its series and its cutoff, the row of the last step that it sees. Windows are an index over one
contiguous store and are gathered a batch at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tsforge.batch import Batch
from tsforge.data.prepare import Prepared
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


AT_ONCE = 2 << 20  # bytes of targets gathered in one call


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
        size = self.input_size
        past, past_mask = values[:, :size], mask[:, :size]
        if self.filled and not (inside is None and p.complete):
            past = past if past_mask.all() else carried_forward(past, past_mask)
        future_mask = mask[:, size:]
        if not complete:
            future_mask = future_mask & torch.from_numpy(there)[:, None, None]
        return Batch(
            past=past, past_mask=past_mask, series=p.known[series],
            future=values[:, size:] if self.targets else None, future_mask=future_mask if self.targets else None,
            past_covariates=_covariates(p.past, rows[:, :size], inside),
            future_covariates=_covariates(p.future, rows, inside),
            static_numeric=None if p.static_numeric is None else p.static_numeric[series],
            static_categorical=None if p.static_categorical is None else p.static_categorical[series],
            **self._clock(rows[:, :size], cutoffs),
        )

    def batches(self, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
        """One batch for each array of numbers; several are gathered in one call, whose cost they share."""
        row = 4 * (self.input_size + self.h) * self.prepared.values.shape[1]
        group: list[np.ndarray] = []
        for number, part in enumerate(parts, start=1):
            group.append(part)
            if number == len(parts) or sum(map(len, group)) * row >= AT_ONCE:
                yield from self.gather(np.concatenate(group)).split([len(numbers) for numbers in group])
                group = []

    def _rows(self, series: np.ndarray, cutoffs: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """[batch, window] rows, and whether they are of the series (None: all are); one that is not is its first."""
        rows = cutoffs[:, None] + self.whole
        low, high = self.prepared.starts[series][:, None], self.prepared.ends[series][:, None]
        if self.nearest is None and (rows[:, :1] >= low).all() and (rows[:, -1:] < high).all():
            return torch.from_numpy(rows), None
        inside = (rows >= low) & (rows < high)
        if self.nearest is not None:
            rows[:, self.input_size :], inside[:, self.input_size :] = self.nearest.rows(series, cutoffs)
        return torch.from_numpy(np.where(inside, rows, low)), torch.from_numpy(inside)

    def _values(self, rows: Tensor, inside: Tensor | None) -> tuple[Tensor, Tensor]:
        values = _take(self.prepared.values, rows, consecutive=inside is None)
        if inside is None and self.prepared.complete:
            return values, torch.ones((), dtype=torch.bool).expand(values.shape)
        mask = _take(self.prepared.mask, rows, consecutive=inside is None)
        mask = mask if inside is None else mask & inside[..., None]
        return values * mask, mask

    def _clock(self, rows: Tensor, cutoffs: np.ndarray) -> dict[str, Tensor]:
        if self.prepared.times is None:
            return {}
        times = torch.from_numpy(self.prepared.times)[rows]
        since = times - torch.from_numpy(self.prepared.times[cutoffs])[:, None]
        gaps = torch.diff(times, dim=1, prepend=times[:, :1])
        return {"times": since.to(self.prepared.values.dtype), "gaps": gaps.to(self.prepared.values.dtype)}


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
    names, channel = store.schema.targets, np.repeat(np.arange(channels), h)
    keys = {}
    if store.schema.channels_from:  # the channels are series, and go back to rows of their own
        keys["unique_id"] = pl.Series(store.schema.channel_ids).gather(np.tile(channel // len(names), windows))
    else:
        keys["unique_id"] = store.ids.gather(np.repeat(series, channels * h))
    keys["ds"] = _spread(stamps, (windows, 1, h), channels, axis=1)
    if len(names) > 1:
        keys["target"] = pl.Series(names).gather(np.tile(channel % len(names), windows))
    if with_cutoff:
        keys["cutoff"] = _spread(store.stamps(series, cutoffs), (windows, 1), channels * h, axis=1)
    out = {name: _column(values) for name, values in columns.items()}
    if truth:
        y = store.values[np.minimum(rows, len(store.values) - 1)].astype(np.float64, copy=False)
        out["y"] = _column(np.where(there[..., None], y, np.nan), missing=True)
    return pl.DataFrame({**keys, **out})


def _column(values: np.ndarray, *, missing: bool = False) -> pl.Series:
    return pl.Series(values.transpose(0, 2, 1).ravel(), nan_to_null=missing)


def _spread(stamps: pl.Series, shape: tuple[int, ...], count: int, axis: int) -> pl.Series:
    """Stamps of this shape, each `count` times along an axis, flat."""
    whole = np.repeat(stamps.to_physical().to_numpy().reshape(shape), count, axis=axis)
    return pl.Series(whole.ravel()).cast(stamps.dtype)


def _covariates(values: Tensor | None, rows: Tensor, inside: Tensor | None) -> Tensor | None:
    """0 where a window reaches over the edge of its series."""
    if values is None:
        return None
    taken = _take(values, rows, consecutive=inside is None)
    return taken if inside is None else taken * inside[:, : rows.shape[1], None]


def _take(values: Tensor, rows: Tensor, *, consecutive: bool) -> Tensor:
    """[batch, window, column] of rows [batch, window]; consecutive rows are copied as one block each."""
    if not consecutive:
        return values.index_select(0, rows.reshape(-1)).view(*rows.shape, values.shape[1])
    many, width = rows.shape[1], values.shape[1]
    blocks = values.as_strided((len(values) - many + 1, many, width), (width, width, 1))
    return blocks.index_select(0, rows[:, 0])
