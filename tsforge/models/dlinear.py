"""DLinear: trend and remainder of the look-back, one linear map over time each.

Paper     Zeng et al. (2023), "Are Transformers Effective for Time Series Forecasting?", arXiv:2205.13504.
Equation  trend = M x, the moving average with its ends repeated,   y = A trend + B (x - trend) + bias
          = (B + (A - B) M) x + bias: one map of the look-back, and what is computed
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]
Units     those of the scaled targets, in and out
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.time_maps import TimeMaps
from tsforge.models.base import Model
from tsforge.space import Choice, Declared


class DLinear(Model):
    """Two linear maps over time; 2 * (input_size + 1) * h * outputs parameters, per channel if `individual`.

    Args:
        kernel_size: Steps of the moving average, odd.
        individual: One pair of maps for each channel instead of one for all.

    Raises:
        ArgumentError: `kernel_size` is even or below 1.
    """

    space: ClassVar[Declared] = {"kernel_size": Choice(7, 13, 25, 49), "individual": Choice(False, True)}

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        kernel_size: int = 25, individual: bool = False,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ArgumentError(
                f"kernel_size={kernel_size} cannot centre a moving average: give an odd number of steps, as 25."
            )
        self.kernel_size = kernel_size
        self.counts: Tensor  # M times kernel_size: whole numbers, exact in every precision
        self.register_buffer("counts", moving_sum(torch.eye(input_size), kernel_size).mT, persistent=False)
        maps = in_channels if individual else 1
        self.trend, self.remainder = (TimeMaps(maps, input_size, h * outputs) for _ in range(2))

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; covariates and statics are not read."""
        x = batch.past.mT  # [batch, channel, lookback]
        weight = self.remainder.weight + (self.trend.weight - self.remainder.weight) / self.kernel_size @ self.counts
        bias = self.trend.bias + self.remainder.bias
        y = F.linear(x, weight[0], bias[0]) if len(weight) == 1 else torch.einsum("bct,cot->bco", x, weight) + bias
        return y.unflatten(-1, (self.h, self.outputs)).transpose(1, 2)


def moving_sum(x: Float[Tensor, "*any time"], size: int) -> Float[Tensor, "*any time"]:
    """The sum of `size` steps around each step; the first and the last value go on beyond the ends."""
    reach = size // 2
    padded = torch.cat([x[..., :1].expand(*x.shape[:-1], reach), x, x[..., -1:].expand(*x.shape[:-1], reach)], -1)
    return padded.unfold(-1, size, 1).sum(-1)
