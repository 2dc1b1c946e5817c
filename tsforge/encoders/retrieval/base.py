"""The contract of the family: a window in, one vector out, whose inner product with another ranks stored windows.

A window that is stored and a window that is searched with may be mapped differently: `forward` is the stored side,
`query` the other. The short vectors pick candidates; `full` and `likeness` decide among them.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tsforge.batch import Batch
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError

Window = Float[Tensor, "batch time channel"]
Mask = Bool[Tensor, "batch time channel"]


class RetrievalEncoder(Encoder):
    """An encoder of windows of one length into vectors that are compared by their inner product.

    What a masked cell holds changes nothing, and no window depends on its batch-mates. What is fitted is fitted once,
    by `fit` on training windows. Whoever calls it normalises the windows.

    Args:
        in_channels: Channels of a window.
        input_size: Steps of a window.
        d_model: Width of the vector.

    Raises:
        ArgumentError: a size is below 1.
    """

    reads: ClassVar[Literal["window", "static"]] = "window"
    output: ClassVar[Literal["tokens", "vector"]] = "vector"
    given: ClassVar[tuple[str, ...]] = ("in_channels", "input_size")

    def __init__(self, in_channels: int, input_size: int, d_model: int) -> None:
        super().__init__(d_model)
        for name, size in (("in_channels", in_channels), ("input_size", input_size)):
            if size < 1:
                raise ArgumentError(f"{name}={size} leaves nothing to read: give at least 1.")
        self.in_channels, self.input_size = in_channels, input_size

    @classmethod
    def given_by(cls, sizes: Mapping[str, Any]) -> dict[str, int]:
        """The targets of a series and the steps of a window."""
        return {"in_channels": sizes["in_channels"], "input_size": sizes["input_size"]}

    def forward(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector by which a window is stored."""
        raise NotImplementedError(f"{type(self).__name__} has no forward.")

    def query(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector by which a window is searched for; that by which it is stored unless an encoder says otherwise."""
        return self(x, mask)

    @property
    def full_width(self) -> int:
        """Numbers of `full`."""
        return self.in_channels * self.input_size

    def full(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch full"]:
        """What candidates are compared by: the window side by side, 0 where nothing was observed."""
        return flat(x, mask)

    def likeness(
        self, query: Float[Tensor, "*n full"], stored: Float[Tensor, "*n full"]
    ) -> Float[Tensor, "*n"]:
        """How alike two windows are, of what `full` gives, in float64; minus the squared distance unless said."""
        return -(query.double() - stored.double()).square().sum(-1)

    def pooled(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector by which a window is stored."""
        return self(x, mask)

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The vector of the look-back of the targets."""
        return self(batch.past, batch.past_mask)


def flat(x: Window, mask: Mask | None) -> Float[Tensor, "batch cell"]:
    """The cells of each window side by side; 0 where nothing was observed."""
    return (x if mask is None else torch.where(mask, x, 0.0)).flatten(1)
