"""Squared error: minimised by the mean."""

from jaxtyping import Float
from torch import Tensor

from tsforge.losses.base import Loss


class MSELoss(Loss):
    """`(y - f)^2`."""

    def cells(
        self, output: Float[Tensor, "batch h channel 1"], target: Float[Tensor, "batch h channel"],
    ) -> Float[Tensor, "batch h channel"]:
        """The squared error of each cell."""
        return (output.squeeze(-1) - target).square()
