"""Absolute error: minimised by the median."""

from jaxtyping import Float
from torch import Tensor

from tsforge.losses.base import Loss


class MAELoss(Loss):
    """`|y - f|`."""

    point = "median"

    def cells(
        self, output: Float[Tensor, "batch h channel 1"], target: Float[Tensor, "batch h channel"],
    ) -> Float[Tensor, "batch h channel"]:
        """The absolute error of each cell."""
        return (output.squeeze(-1) - target).abs()
