"""NLinear: one linear map over time of the look-back less its last value, which is added back.

Paper     Zeng et al. (2023), "Are Transformers Effective for Time Series Forecasting?", arXiv:2205.13504.
Equation  y = W (x - x_L) + b + x_L,   x_L the last value of the look-back
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]
Units     those of the scaled targets, in and out
Differs   The paper has no missing steps. Here the last value is the last observed one, and steps before a channel's
          first observation count as equal to it.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.layers.time_maps import TimeMaps
from tsforge.models.base import Model
from tsforge.space import Choice, Declared


class NLinear(Model):
    """A linear map of the steps from the last value; (input_size + 1) * h * outputs parameters, per channel if
    `individual`.

    Args:
        individual: A map for each channel instead of one for all.
    """

    space: ClassVar[Declared] = {"individual": Choice(False, True)}

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        individual: bool = False,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        self.maps = TimeMaps(in_channels if individual else 1, input_size, h * outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; covariates and statics are not read."""
        last = batch.past[:, -1:]  # the last observation: missing steps carry it forward
        x = ((batch.past - last) * (batch.past_mask.cumsum(1) > 0)).mT  # [batch, channel, lookback]
        weight, bias = self.maps.weight, self.maps.bias
        y = F.linear(x, weight[0], bias[0]) if len(weight) == 1 else torch.einsum("bct,cot->bco", x, weight) + bias
        return y.unflatten(-1, (self.h, self.outputs)).transpose(1, 2) + last[..., None]
