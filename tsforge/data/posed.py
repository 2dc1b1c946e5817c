"""Posed windows: beside a forecast, what is asked of a window is the window itself, or its class.

A batch holds the question in its look-back and the answer in `future`, so that training and losses are those of
forecasts: cells that were hidden, all cells that were observed, or one cell with the number of a class.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from tsforge.batch import Batch
from tsforge.data.prepare import Prepared
from tsforge.data.windows import CutoffRanges, Cutoffs, Windows, carried_forward
from tsforge.layers.stable_hash import mix

LEVELS = 1 << 24  # of the uniform draws that hide cells


class HiddenWindows(Windows):
    """Windows whose own cells are asked for: those that are hidden, or, where none is, all that were observed.

    Args:
        prepared: Scaled tensors of all rows.
        index: Which windows there are.
        input_size: Steps of a window.
        filled: Missing and hidden steps carry the last observation inside the window; else they are 0 under the mask.
        hidden: Share of the observed cells that is hidden.
        seed: Cells of a window are hidden by (seed, its number), the same each time; None leaves that to `pose`.
    """

    def __init__(
        self, prepared: Prepared, index: CutoffRanges | Cutoffs, input_size: int, *, filled: bool, hidden: float = 0.0,
        seed: int | None = None,
    ) -> None:
        super().__init__(prepared, index, input_size, 0, filled=False, targets=False)
        self.fills, self.hidden, self.seed = filled, hidden, seed
        self.drawn = hidden > 0 and seed is None

    def batches(self, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
        """One batch for each array of numbers, posed."""
        for numbers, batch in zip(parts, super().batches(parts), strict=True):
            there = torch.from_numpy(numbers >= 0)[:, None, None]
            hide = None if self.seed is None or not self.hidden else _keyed(numbers, batch, self.hidden, self.seed)
            yield self._asked(batch, hide, there)

    def pose(self, batch: Batch, seed: int) -> Batch:
        """The same batch with cells hidden that are drawn anew."""
        draws = torch.rand(batch.past.shape, generator=torch.Generator().manual_seed(seed))
        assert batch.future is not None
        assert batch.future_mask is not None
        return self._asked(replace(batch, past=batch.future, past_mask=batch.future_mask), draws < self.hidden)

    def _asked(
        self, batch: Batch, hide: Bool[Tensor, "batch lookback channel"] | None,
        there: Bool[Tensor, "batch 1 1"] | None = None,
    ) -> Batch:
        """The question and the answer; of windows that are not there nothing is asked."""
        values, observed = batch.past, batch.past_mask
        asked = observed if hide is None else observed & hide
        asked = asked if there is None else asked & there
        seen = observed if hide is None else observed & ~hide
        past = carried_forward(values, seen) if self.fills else values * seen
        return replace(batch, past=past, past_mask=seen, future=values, future_mask=asked)


def _keyed(numbers: np.ndarray, batch: Batch, share: float, seed: int) -> Bool[Tensor, "batch lookback channel"]:
    """Cells hidden by (seed, number of the window, place in it)."""
    _, steps, channels = batch.past.shape
    windows = mix(torch.from_numpy(numbers.astype(np.int64)) ^ mix(torch.tensor(seed)))
    cells = mix(windows[:, None] ^ torch.arange(steps * channels))
    return (cells.remainder(LEVELS) < share * LEVELS).view(-1, steps, channels)


class LabelledWindows(Windows):
    """The last steps of whole series, whose class is asked for.

    Args:
        prepared: Scaled tensors of all rows.
        index: One cutoff for each series.
        input_size: Steps of a window; what a shorter series lacks is masked, and comes first.
        codes: [series] the number of the class of each.
        filled: Missing steps carry the last observation inside the window; else they are 0 under the mask.
    """

    def __init__(
        self, prepared: Prepared, index: Cutoffs, input_size: int, codes: np.ndarray, *, filled: bool
    ) -> None:
        super().__init__(prepared, index, input_size, 0, filled=filled, targets=False)
        self.codes = torch.from_numpy(codes.astype(np.float32))

    def batches(self, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
        """One batch for each array of numbers, posed."""
        for numbers, batch in zip(parts, super().batches(parts), strict=True):
            series, _ = self.index.locate(np.maximum(numbers, 0))
            codes = self.codes[torch.from_numpy(series)][:, None, None].to(batch.past.dtype)
            yield replace(batch, future=codes, future_mask=torch.from_numpy(numbers >= 0)[:, None, None])
