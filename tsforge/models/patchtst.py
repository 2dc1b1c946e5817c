"""PatchTST: each channel by itself, cut into patches that are the tokens of a transformer encoder.

Paper     Nie et al. (2023), "A Time Series is Worth 64 Words: Long-term Forecasting with Transformers",
          arXiv:2211.14730 (the supervised network).
Equation  p_j = x[j S : j S + P],  j = 0 .. N - 1,  N = (T - P) // S + 2,   x followed by S copies of its last value
          z = encoder(dropout(W_p p + b_p + W_pos)),   y = W [z_0 ... z_{N-1}] + b,   the same for every channel
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch * channel, N, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   Written from the paper. Its published code adds the attention scores of a layer to those of the next; here
          each layer has its own, as in the paper's text. The head reads the tokens patch after patch, not feature
          after feature. A look-back shorter than a patch is filled up in front with 0.
"""

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.layers.attention import TransformerEncoder
from tsforge.layers.instance_norm import normalise
from tsforge.layers.patching import check_patches, cut_patches, patch_count
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real


class PatchTST(Model):
    """A transformer encoder over patches of one channel, with one linear head for all of them.

    With N patches it has (patch_len + 1) * d_model + N * d_model parameters before the encoder (see
    `TransformerEncoder` for its own) and (N * d_model + 1) * h * outputs after it, whatever the number of channels.

    Args:
        d_model: Width of a token.
        n_heads: Heads of the attention, each d_model // n_heads wide.
        n_layers: Encoder layers.
        d_ff: Width inside the perceptron of a layer.
        patch_len: Steps of a patch.
        stride: Steps from one patch to the next, and how often the last value is repeated at the end.
        dropout: Share of the embedding and of what the layers add that is dropped in training.
        norm: Of the layers: `"batch"` as published, which in training ties the windows of a batch together but not in
            forecasts, or `"layer"`.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: a size is below 1, the stride jumps over steps, there are more heads than `d_model`, `dropout` is
            not in [0, 1), or `norm` is neither of the two.
    """

    space: ClassVar[Declared] = {
        "d_model": Choice(16, 32, 64), "n_layers": Integer(1, 4), "d_ff": Choice(64, 128, 256),
        "patch_len": Choice(8, 16, 24), "dropout": Real(0.0, 0.5),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        d_model: int = 16, n_heads: int = 4, n_layers: int = 3, d_ff: int = 128, patch_len: int = 16, stride: int = 8,
        dropout: float = 0.3, norm: str = "batch", instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        check_patches(patch_len, stride)
        self.patch_len, self.stride, self.instance_norm = patch_len, stride, instance_norm
        self.encoder = TransformerEncoder(d_model, n_heads, d_ff, n_layers, dropout=dropout, norm=norm)
        patches = patch_count(input_size, patch_len, stride)
        self.embedding = nn.Linear(patch_len, d_model)
        self.position = nn.Parameter(torch.empty(patches, d_model).uniform_(-0.02, 0.02))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(patches * d_model, h * outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; covariates and statics are not read."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x = cut_patches((x if self.instance_norm else batch.past).mT, self.patch_len, self.stride)
        tokens = self.encoder(self.dropout(self.embedding(x.flatten(0, 1)) + self.position))  # [batch * channel, patch]
        y = self.head(tokens.flatten(1)).view(-1, self.in_channels, self.h, self.outputs).transpose(1, 2)
        return y * deviation[..., None] + mean[..., None] if self.instance_norm else y
