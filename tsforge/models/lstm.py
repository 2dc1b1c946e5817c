"""LSTM: a recurrent network reads all channels; all steps of the forecast come from its last state.

Paper     Hochreiter & Schmidhuber (1997), "Long Short-Term Memory", Neural Computation 9(8); with the forget gate of
          Gers et al. (2000), as in `torch.nn.LSTM`.
Equation  i, f, o = sigmoid(W x_t + U s_{t-1} + b),   g = tanh(W_g x_t + U_g s_{t-1} + b_g),   c_t = f c_{t-1} + i g,
          s_t = o tanh(c_t),   y = head(s_T)
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   The paper has no forecast. All steps are read out at once, none is fed back: errors do not pile up, and h is
          fixed. Covariates join the input; what is known of the horizon has a linear effect on each step.
"""

from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.direct import DirectHead, with_covariates
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real


class LSTM(Model):
    """Stacked LSTM layers with a direct head.

    4 * d_model * (inputs + d_model + 2) parameters in a layer, whose inputs are channels and covariates in the first,
    d_model in the others; (d_model + 1) * h * channels * outputs + future_covariates * channels * outputs in the head.

    Args:
        d_model: Width of the state.
        n_layers: Layers.
        dropout: Share of each layer's output that is dropped in training.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: a size is below 1, or `dropout` is not in [0, 1).
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")

    space: ClassVar[Declared] = {"d_model": Choice(32, 64, 128), "n_layers": Integer(1, 3), "dropout": Real(0.0, 0.3)}

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 64, n_layers: int = 2, dropout: float = 0.1, instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        self.instance_norm = instance_norm
        for name, size in (("d_model", d_model), ("n_layers", n_layers)):
            if size < 1:
                raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
        between = dropout if n_layers > 1 else 0.0  # torch warns of a dropout between layers that are not there
        self.lstm = nn.LSTM(
            in_channels + past_covariates + future_covariates, d_model, n_layers, batch_first=True, dropout=between
        )
        self.dropout = nn.Dropout(dropout)
        self.head = DirectHead(d_model, h, in_channels, outputs, future=future_covariates)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; statics are not read."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x = x if self.instance_norm else batch.past
        states, _ = self.lstm(with_covariates(x, batch.past_covariates, batch.future_covariates))
        y = self.head(self.dropout(states[:, -1]), batch.future_covariates)
        return y * deviation[..., None] + mean[..., None] if self.instance_norm else y
