"""The contract of the family: a window in, one token for each step out."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from jaxtyping import Bool, Float
from torch import Tensor

from tsforge.batch import Batch
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError
from tsforge.layers.pooling import masked_mean


class SequenceEncoder(Encoder):
    """An encoder of windows.

    What a masked cell holds changes nothing, and no window depends on its batch-mates.

    Args:
        in_channels: Channels of a window.
        d_model: Width of a token.

    Raises:
        ArgumentError: a size is below 1.
    """

    reads: ClassVar[Literal["window", "static"]] = "window"
    output: ClassVar[Literal["tokens", "vector"]] = "tokens"
    given: ClassVar[tuple[str, ...]] = ("in_channels",)

    def __init__(self, in_channels: int, d_model: int) -> None:
        super().__init__(d_model)
        if in_channels < 1:
            raise ArgumentError(f"in_channels={in_channels} leaves nothing to read: give at least 1.")
        self.in_channels = in_channels

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """The targets of a series."""
        return {"in_channels": sizes["in_channels"]}

    def forward(
        self, x: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """The token of each step; where the mask is false nothing was observed, without one everything was."""
        raise NotImplementedError(f"{type(self).__name__} has no forward.")

    def pooled(
        self, x: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"] | None = None
    ) -> Float[Tensor, "batch d_model"]:
        """The mean of the tokens of observed steps."""
        return masked_mean(self(x, mask), mask)

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The look-back of the targets, pooled."""
        return self.pooled(batch.past, batch.past_mask)
