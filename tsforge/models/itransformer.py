"""iTransformer: the look-back of each channel is one token, and attention runs over channels.

Paper     Liu et al. (2024), "iTransformer: Inverted Transformers Are Effective for Time Series Forecasting",
          arXiv:2310.06625.
Equation  z_c = dropout(W_e x_c + b_e)   for each channel and covariate c,   z = LayerNorm(encoder(z))
          y_c = W z_c + b   for each channel
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, channel + covariates, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   Written from the paper. There a covariate is a token of its look-back, embedded as the channels are. So is one
          known up to the cutoff here; one known ahead is a token of look-back and horizon, with a map of its own.
"""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.layers.attention import TransformerEncoder
from tsforge.layers.embedding import WindowEmbedding
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real


class iTransformer(Model):
    """A transformer encoder whose tokens are channels, and covariates beside them.

    It has (input_size + 1) * d_model parameters before the encoder (see `TransformerEncoder` for its own; 2 * d_model
    of the norm after it), (input_size + h + 1) * d_model more if covariates are known ahead, and
    (d_model + 1) * h * outputs in the head, whatever the number of channels.

    Args:
        d_model: Width of a token.
        n_heads: Heads of the attention, each d_model // n_heads wide.
        n_layers: Encoder layers.
        d_ff: Width inside the perceptron of a layer.
        dropout: Share of the embedding, of the attention weights and of what layers add that is dropped in training.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: a size is below 1, there are more heads than `d_model`, or `dropout` is not in [0, 1).
    """

    covariates: ClassVar[tuple[str, ...]] = ("past", "future")
    encoder_takes: ClassVar[Literal["steps", "channel", "window"] | None] = "channel"
    embedding_at: ClassVar[str] = "embedding"

    space: ClassVar[Declared] = {
        "d_model": Choice(64, 128, 256), "n_layers": Integer(1, 4), "d_ff": Choice(64, 128, 256),
        "dropout": Real(0.0, 0.3),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 128, n_heads: int = 8, n_layers: int = 2, d_ff: int = 128, dropout: float = 0.1,
        instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        self.instance_norm = instance_norm
        self.encoder = TransformerEncoder(d_model, n_heads, d_ff, n_layers, dropout=dropout, attention_dropout=dropout)
        self.embedding = WindowEmbedding(input_size, d_model)
        self.known = nn.Linear(input_size + h, d_model) if future_covariates else None
        self.norm = nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(d_model, h * outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x, seen = x if self.instance_norm else batch.past, batch.past_mask
        if batch.past_covariates is not None:
            x = torch.cat([x, batch.past_covariates], -1)
            seen = torch.cat([seen, torch.ones_like(batch.past_covariates, dtype=torch.bool)], -1)
        tokens = self.embedding(x, seen)  # [batch, channel and covariate, d_model]
        if self.known is not None and batch.future_covariates is not None:
            tokens = torch.cat([tokens, self.known(batch.future_covariates.mT)], 1)
        tokens = self.norm(self.encoder(self.dropout(tokens)))
        y = self.head(tokens[:, : self.in_channels]).unflatten(-1, (self.h, self.outputs)).transpose(1, 2)
        return y * deviation[..., None] + mean[..., None] if self.instance_norm else y
