"""Huber loss: squared near zero, absolute in the tails."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tsforge.errors import ArgumentError
from tsforge.losses.base import Loss


class HuberLoss(Loss):
    """`e^2 / 2` for `|e| <= delta`, else `delta (|e| - delta / 2)`; Huber (1964).

    Args:
        delta: Where it turns, in units of the scaled target.

    Raises:
        ArgumentError: delta is not positive.
    """

    def __init__(self, delta: float = 1.0) -> None:
        if not delta > 0:
            raise ArgumentError(f"delta={delta} of the Huber loss: wanted a positive number.")
        self.delta = delta

    def cells(
        self, output: Float[Tensor, "batch h channel 1"], target: Float[Tensor, "batch h channel"],
    ) -> Float[Tensor, "batch h channel"]:
        """The loss of each cell."""
        return F.huber_loss(output.squeeze(-1), target, reduction="none", delta=self.delta)
