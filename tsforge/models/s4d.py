"""S4D forecaster: diagonal state-space layers over the look-back and the horizon, all steps read off at once.

Paper     Gu, Gupta, Goel & Re (2022), "On the Parameterization and Initialization of Diagonal State Space Models",
          arXiv:2206.11893. It forecasts nothing; horizon steps as zero inputs are how its parent S4 forecast.
Equation  x = [W past + b, 0] + V covariates,   x <- LayerNorm(x + GLU(mix(GELU(S4D(x)))))   in each layer
          y = head(x at the horizon)
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, lookback + h, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   The forecaster is ours, reconstructed from the parent's configuration. The bias b is on in the look-back only:
          it tells observed steps from steps to be forecast, which a zero alone would not.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.instance_norm import normalise
from tsforge.layers.s4d import S4DLayer, slow_parameters
from tsforge.models.base import Model

CHANNELS = ("mixed", "independent")
SLOW_LEARNING_RATE = 1e-3  # the most that A, dt and B are given


class S4D(Model):
    """Stacked S4D layers between a linear embedding and a linear head.

    n_layers d_model (3 d_state + 2 d_model + 6) + d_model (c + 1 + covariates) + (d_model + 1) c outputs parameters,
    c = in_channels where they are mixed and 1 where not. Past covariates enter over the look-back, future covariates
    over look-back and horizon.

    Args:
        d_model: Width of the latent series.
        d_state: State size of each of its features, even.
        n_layers: Layers.
        dropout: Share of features dropped in each layer in training, at all steps alike.
        channels: `"mixed"`: one latent series of all channels. `"independent"`: one for each, with the same weights.
        init: Where the eigenvalues start: `"legs"`, `"inv"`, `"lin"` or `"real"`.
        discretisation: `"zoh"` or `"bilinear"`.
        dt_min: Shortest step at the start; the layer remembers about 1 / dt_min steps.
        dt_max: Longest step at the start.

    Raises:
        ArgumentError: a size is below 1 or `d_state` odd, `dropout` is not in [0, 1), a word is not known, or
            not 0 < dt_min <= dt_max.
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 64, d_state: int = 64, n_layers: int = 2, dropout: float = 0.1, channels: str = "mixed",
        init: str = "legs", discretisation: str = "zoh", dt_min: float = 1e-3, dt_max: float = 0.1,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check(n_layers, dropout, channels)
        self.channels = channels
        width, known = in_channels if channels == "mixed" else 1, past_covariates + future_covariates
        self.values = nn.Linear(width, d_model)
        self.known = nn.Linear(known, d_model, bias=False) if known else None
        self.layers = nn.ModuleList(
            S4DLayer(
                d_model, d_state, dropout=dropout, init=init, discretisation=discretisation,
                dt_min=dt_min, dt_max=dt_max,
            )
            for _ in range(n_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(n_layers))
        self.head = nn.Linear(d_model, width * outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        if self.channels == "independent":
            x = x.mT.flatten(0, 1)[..., None]  # [batch * channel, lookback, 1]
        x = F.pad(self.values(x), (0, 0, 0, self.h))
        if self.known is not None:
            known = self.known(self._covariates(batch))
            x = x + known.repeat_interleave(len(x) // len(known), 0)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(x + layer(x))
        y = self.head(x[:, -self.h :])
        if self.channels == "independent":
            y = y.unflatten(0, (-1, self.in_channels)).transpose(1, 2)
        else:
            y = y.unflatten(-1, (self.in_channels, self.outputs))
        return y * deviation[..., None] + mean[..., None]

    def _covariates(self, batch: Batch) -> Float[Tensor, "batch window known"]:
        """Past covariates, zero over the horizon, and future covariates."""
        parts = []
        if batch.past_covariates is not None:
            parts.append(F.pad(batch.past_covariates, (0, 0, 0, self.h)))
        if batch.future_covariates is not None:
            parts.append(batch.future_covariates)
        return torch.cat(parts, -1)

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """A, dt and B at a rate of at most 1e-3 and without weight decay; the rest as asked."""
        slow = slow_parameters(self.modules())
        known = {id(parameter) for parameter in slow}
        rest = [parameter for parameter in self.parameters() if id(parameter) not in known]
        return [
            {"params": rest, "lr": learning_rate, "weight_decay": weight_decay},
            {"params": slow, "lr": min(learning_rate, SLOW_LEARNING_RATE), "weight_decay": 0.0},
        ]


def _check(n_layers: int, dropout: float, channels: str) -> None:
    if n_layers < 1:
        raise ArgumentError(f"n_layers={n_layers} leaves nothing to compute: give at least 1.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
    if channels not in CHANNELS:
        raise ArgumentError(f"channels={channels!r} is not known: give one of {', '.join(map(repr, CHANNELS))}.")
