"""Batch: the frozen record of tensors that crosses rooms."""

from dataclasses import dataclass, fields, replace
from itertools import repeat

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Windows of several series, scaled, with what is known about them. Absent parts are `None`.

    A window is `lookback` steps, then `h`. Values under a false mask are finite but mean nothing.

    Args:
        past: Targets of the look-back.
        past_mask: Where `past` was observed.
        series: Row of each window's series in the key table; -1 where the series was not there in training.
        future: What is asked for: targets of the horizon; of the look-back, where a task reconstructs it; or one cell
            with the number of the class. Absent in prediction.
        future_mask: Where `future` was observed, and counts.
        past_covariates: Known up to the cutoff.
        future_covariates: Known ahead: over look-back and horizon.
        static_numeric: Numbers of the series, standardised over the series of the training part.
        static_categorical: Codes of the series; 0 is a value unseen in training.
        static_ids: Stable hashes of the series' name and of its categories, for those networks that read ids.
        gaps: Grid units since the row before; only for irregular frames.
        times: Grid units since the cutoff, so 0 at the last row of the look-back; only for irregular frames.
        channel_static: Static features of the channels, where channels are series.
    """

    past: Float[Tensor, "batch lookback channel"]
    past_mask: Bool[Tensor, "batch lookback channel"]
    series: Int[Tensor, " batch"]
    future: Float[Tensor, "batch h answer"] | None = None
    future_mask: Bool[Tensor, "batch h answer"] | None = None
    past_covariates: Float[Tensor, "batch lookback p"] | None = None
    future_covariates: Float[Tensor, "batch window f"] | None = None
    static_numeric: Float[Tensor, "batch s"] | None = None
    static_categorical: Int[Tensor, "batch k"] | None = None
    static_ids: Int[Tensor, "batch i"] | None = None
    gaps: Float[Tensor, "batch lookback"] | None = None
    times: Float[Tensor, "batch lookback"] | None = None
    channel_static: Float[Tensor, "channel c"] | None = None

    def __len__(self) -> int:
        return self.past.shape[0]

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same batch on another device (lightning moves batches with this)."""
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> "Batch":
        """The same batch in page-locked memory, from which copies to a GPU overlap with work."""
        return self._map(lambda tensor: tensor.pin_memory())

    def split(self, sizes: list[int]) -> "list[Batch]":
        """Batches of so many windows each, as views."""
        columns = [
            repeat(part, len(sizes)) if part is None or name == "channel_static" else part.split_with_sizes(sizes)
            for name, part in vars(self).items()
        ]
        return [Batch(*parts) for parts in zip(*columns, strict=True)]

    def twice(self) -> "Batch":
        """The windows, and after them the same windows again."""
        return replace(self, **{
            name: torch.cat([part, part]) for name, part in self._parts() if name != "channel_static"
        })

    def _map(self, change) -> "Batch":
        return replace(self, **{name: change(part) for name, part in self._parts()})

    def _parts(self) -> list[tuple[str, Tensor]]:
        return [(f.name, part) for f in fields(self) if (part := getattr(self, f.name)) is not None]


torch.export.register_dataclass(Batch)  # so that a forecaster can be exported with its Batch as input
