"""MLP: the look-back, flattened, through a plain multilayer perceptron.

Paper     Rumelhart, Hinton & Williams (1986), "Learning representations by back-propagating errors", Nature 323.
Equation  z_1 = relu(W_1 x + V c + b_1),   z_i = relu(W_i z_{i-1} + b_i),   y = W z + b
          x the look-back of one channel, or of all; c the covariates of look-back and horizon
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   No one paper's network: ReLU, dropout and the normalisation are what the field uses now. W_1 and V start each
          as a layer of its own, so covariates do not shrink the start of the look-back's weights.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real

CHANNELS = ("independent", "mixed")


class MLP(Model):
    """A multilayer perceptron over the look-back, and over the covariates of look-back and horizon.

    With c = 1 if channels are independent, else their number, and f = input_size * past_covariates
    + (input_size + h) * future_covariates, it has (c * input_size + f + 1) * d_model
    + (n_layers - 1) * (d_model + 1) * d_model + (d_model + 1) * c * h * outputs parameters.

    Args:
        d_model: Width of the hidden layers.
        n_layers: Hidden layers.
        dropout: Share of each hidden layer that is dropped in training.
        channels: `"independent"`: one network, used on each channel by itself. `"mixed"`: one that sees all together.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: a size is below 1, `dropout` is not in [0, 1), or `channels` is neither of the two.
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")

    space: ClassVar[Declared] = {
        "d_model": Choice(64, 128, 256, 512), "n_layers": Integer(1, 4), "dropout": Real(0.0, 0.5),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 256, n_layers: int = 2, dropout: float = 0.1, channels: str = "independent",
        instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check(dropout, channels, d_model=d_model, n_layers=n_layers)
        self.channels, self.instance_norm = channels, instance_norm
        together = in_channels if channels == "mixed" else 1
        features = input_size * past_covariates + (input_size + h) * future_covariates
        self.first = nn.Linear(together * input_size, d_model)
        self.known = nn.Linear(features, d_model, bias=False) if features else None
        self.hidden = nn.ModuleList(nn.Linear(d_model, d_model) for _ in range(n_layers - 1))
        self.head = nn.Linear(d_model, together * h * outputs)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x = (x if self.instance_norm else batch.past).mT  # [batch, channel, lookback]
        z = self.first(x.flatten(1)[:, None] if self.channels == "mixed" else x)  # [batch, channel or 1, d_model]
        if self.known is not None:
            given = [part.flatten(1) for part in (batch.past_covariates, batch.future_covariates) if part is not None]
            z = z + self.known(torch.cat(given, -1))[:, None]
        z = self.dropout(F.relu(z))
        for layer in self.hidden:
            z = self.dropout(F.relu(layer(z)))
        y = self.head(z).reshape(len(x), self.in_channels, self.h, self.outputs).transpose(1, 2)
        return y * deviation[..., None] + mean[..., None] if self.instance_norm else y


def _check(dropout: float, channels: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
    if channels not in CHANNELS:
        raise ArgumentError(f"channels={channels!r} is not known: give one of {', '.join(map(repr, CHANNELS))}.")
