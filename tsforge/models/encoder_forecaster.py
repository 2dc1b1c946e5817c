"""EncoderForecaster: an encoder of the window, one linear map over time, one over features, and nothing else.

Source    ours: the plainest way from tokens to a forecast, so that encoders are compared and not what follows them.
Equation  z = dropout(encoder(x))   of the normalised window,   y = U (M z + m) + u,   M [h, input_size] along time
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, lookback, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
"""

from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.embedding import StepEmbedding
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Real


class EncoderForecaster(Model):
    """(input_size + 1) * h + (d_model + 1) * channels * outputs parameters beside those of the encoder.

    The encoder is `encoder=`, one of `tsforge list encoders` that gives tokens, or your own.

    Args:
        d_model: Width of a token.
        dropout: Share of the tokens' features that is dropped in training.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: `d_model` is below 1, or `dropout` is not in [0, 1).
    """

    encoder_takes: ClassVar[Literal["steps", "channel", "window"] | None] = "steps"
    encoder_default: ClassVar[str | None] = "phnn"
    embedding_at: ClassVar[str] = "encoder"

    space: ClassVar[Declared] = {"d_model": Choice(32, 64, 128), "dropout": Real(0.0, 0.3)}

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 64, dropout: float = 0.1, instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        if d_model < 1:
            raise ArgumentError(f"d_model={d_model} leaves nothing to compute: give at least 1.")
        if not 0 <= dropout < 1:
            raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
        self.instance_norm = instance_norm
        self.encoder = StepEmbedding(in_channels, d_model)  # until `plug` puts the encoder there
        self.dropout = nn.Dropout(dropout)
        self.horizon = nn.Linear(input_size, h)
        self.head = nn.Linear(d_model, in_channels * outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; covariates and statics are not read."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        tokens = self.dropout(self.encoder(x if self.instance_norm else batch.past, batch.past_mask))
        y = self.head(self.horizon(tokens.mT).mT).unflatten(-1, (self.in_channels, self.outputs))
        return y * deviation[..., None] + mean[..., None] if self.instance_norm else y
