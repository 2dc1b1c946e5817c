"""Symmetric absolute percentage error, as N-BEATS trains with it: Oreshkin et al. (2020), arXiv:1905.10437."""

from jaxtyping import Float
from torch import Tensor

from tsforge.losses.base import Loss


class SMAPELoss(Loss):
    """`200 |y - f| / (|y| + |f|)`, 0 where both are 0. It reads the size of values, so it wants `scaler=None`."""

    point = "median"

    def cells(
        self, output: Float[Tensor, "batch h channel 1"], target: Float[Tensor, "batch h channel"],
    ) -> Float[Tensor, "batch h channel"]:
        """The loss of each cell; the denominator carries no gradient, which would reward forecasts of larger size."""
        size = output.squeeze(-1).detach().abs() + target.abs()
        return 200 * (output.squeeze(-1) - target).abs() / size.clamp(min=1e-8)
