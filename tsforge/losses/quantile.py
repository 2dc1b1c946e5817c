"""Pinball loss of several quantiles at once."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.errors import ArgumentError
from tsforge.losses.base import Loss


class QuantileLoss(Loss):
    """`max(q e, (q - 1) e)` with `e = y - f_q`, the mean over q; Koenker & Bassett (1978).

    Args:
        quantiles: Levels between 0 and 1; the point forecast is the median, so 0.5 has to be among them.

    Raises:
        ArgumentError: a level lies outside (0, 1), stands there twice, or 0.5 is missing.
    """

    point = "median"

    def __init__(self, quantiles: Sequence[float | int] = (0.025, 0.1, 0.5, 0.9, 0.975)) -> None:
        self.quantiles = tuple(sorted(float(q) for q in quantiles))
        if not all(0 < q < 1 for q in self.quantiles) or len(set(self.quantiles)) < len(self.quantiles):
            raise ArgumentError(f"quantiles={tuple(quantiles)}: wanted different levels between 0 and 1.")
        if 0.5 not in self.quantiles:
            raise ArgumentError(f"quantiles={tuple(quantiles)}: 0.5 has to be among them, it is the point forecast.")
        self.outputs = len(self.quantiles)

    def cells(
        self, output: Float[Tensor, "batch h channel output"], target: Float[Tensor, "batch h channel"],
    ) -> Float[Tensor, "batch h channel"]:
        """The mean pinball loss of each cell."""
        levels = torch.tensor(self.quantiles, dtype=output.dtype, device=output.device)
        error = target[..., None] - output
        return torch.maximum(levels * error, (levels - 1) * error).mean(dim=-1)
