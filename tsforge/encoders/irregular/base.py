"""The contract of the family: a window read as the set of its observations, one vector out.

An observation is how long ago it was, which channel, and its value. A step at which nothing was observed is nothing: it
is not filled in, and a window with more of them in it is the same window.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tsforge.batch import Batch
from tsforge.encoders.base import Encoder
from tsforge.errors import ArgumentError

Window = Float[Tensor, "batch time channel"]
Mask = Bool[Tensor, "batch time channel"]
Times = Float[Tensor, "batch time"]


@dataclass(frozen=True)
class Observations:
    """Sets of observations, in any order.

    Args:
        age: How long ago, in grid units; 0 is now.
        channel: Which channel, from 0.
        value: What was observed.
        there: Whether there is an observation; of one that is not, the rest means nothing.
    """

    age: Float[Tensor, "batch n"]
    channel: Int[Tensor, "batch n"]
    value: Float[Tensor, "batch n"]
    there: Bool[Tensor, "batch n"]

    @classmethod
    def of_window(cls, x: Window, mask: Mask | None = None, times: Times | None = None) -> "Observations":
        """The cells of windows.

        Args:
            x: Values.
            mask: Where they were observed; everywhere unless given.
            times: Grid units since the cutoff, 0 or below; one for each step unless given.
        """
        batch, steps, channels = x.shape
        there = torch.ones_like(x, dtype=torch.bool) if mask is None else mask
        if times is None:
            times = torch.arange(1 - steps, 1, device=x.device).to(x.dtype).expand(batch, steps)
        age = (-times).to(x.dtype)[..., None].expand_as(x)
        channel = torch.arange(channels, device=x.device).expand_as(x)
        return cls(*(part.flatten(1) for part in (age, channel, x, there)))


class IrregularEncoder(Encoder):
    """An encoder of sets of observations, each of some channel at some time.

    The order of observations changes nothing, nor does what is not there, and no set depends on its batch-mates. A set
    without any observation gives finite numbers.

    Args:
        in_channels: Channels there are.
        input_size: Steps of a window: what ages are measured by before `fit`.
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

    def encode(self, observations: Observations) -> Float[Tensor, "batch d_model"]:
        """The vector of each set."""
        raise NotImplementedError(f"{type(self).__name__} does not say how a set is read.")

    def forward(
        self, x: Window, mask: Mask | None = None, times: Times | None = None
    ) -> Float[Tensor, "batch d_model"]:
        """The vector of each window, of the observations in it; see `Observations.of_window`."""
        return self.encode(Observations.of_window(x, mask, times))

    def pooled(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The vector of each window."""
        return self(x, mask)

    def of_batch(self, batch: Batch) -> Float[Tensor, "batch d_model"]:
        """The look-back of the targets, at its times where the frame has any."""
        return self(batch.past, batch.past_mask, batch.times)
