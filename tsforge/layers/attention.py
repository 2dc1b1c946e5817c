"""A transformer encoder: layers of multi-head self-attention and a two-layer perceptron, normalised after each.

Paper     Vaswani et al. (2017), "Attention Is All You Need", arXiv:1706.03762; GELU, and batch norm where asked for, as
          in Nie et al. (2023), "A Time Series is Worth 64 Words", arXiv:2211.14730.
Equation  head_i = softmax(q_i k_i' / sqrt(w)) v_i,   [q_i k_i v_i] = x W_i + b_i,   w = d_model // n_heads
          x <- norm(x + [head_1 ... head_n] W_o + b_o),   x <- norm(x + W_2 gelu(W_1 x + b_1) + b_2)
Shapes    [batch, token, d_model] -> the same
Differs   Queries, keys and values of all heads are one linear map. Heads that do not divide `d_model` are each a little
          narrower. On a CPU the same input gives the same bits; fused CUDA kernels may add up gradients in any order.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.errors import ArgumentError

NORMS = ("batch", "layer")
MOST = 2**16 - 1  # sequences of one call: fused CUDA kernels cannot be launched over more


class TransformerEncoder(nn.Sequential):
    """Stacked encoder layers.

    With i = n_heads * (d_model // n_heads), a layer has 3 i (d_model + 1) + (i + 1) d_model parameters in its
    attention, 2 d_model d_ff + d_ff + d_model in its perceptron and 4 d_model in its two norms.

    Args:
        d_model: Width of a token.
        n_heads: Heads of the attention.
        d_ff: Width inside the perceptron.
        n_layers: Layers.
        dropout: Share dropped in training of what a layer adds, and inside the perceptron.
        attention_dropout: Share of the attention weights dropped in training.
        norm: `"layer"`: over the width of each token; `"batch"`: over all tokens of the batch, and in eval mode by
            the statistics kept in training, so that there no sequence depends on another.

    Raises:
        ArgumentError: a size is below 1, there are more heads than `d_model`, a dropout is not in [0, 1), or `norm` is
            neither of the two.
    """

    def __init__(
        self, d_model: int, n_heads: int, d_ff: int, n_layers: int, *,
        dropout: float = 0.0, attention_dropout: float = 0.0, norm: str = "layer",
    ) -> None:
        _check_sizes(d_model=d_model, n_heads=n_heads, d_ff=d_ff, n_layers=n_layers)
        _check_choices(norm, dropout=dropout, attention_dropout=attention_dropout)
        super().__init__(*(
            EncoderLayer(d_model, n_heads, d_ff, dropout, attention_dropout, norm) for _ in range(n_layers)
        ))


class EncoderLayer(nn.Module):
    """Attention and perceptron, each added to its input and normalised; the arguments are those of the encoder."""

    def __init__(
        self, d_model: int, n_heads: int, d_ff: int, dropout: float, attention_dropout: float, norm: str
    ) -> None:
        super().__init__()
        self.attention = Attention(d_model, n_heads, attention_dropout)
        self.widen, self.narrow = nn.Linear(d_model, d_ff), nn.Linear(d_ff, d_model)
        kind = TokenBatchNorm if norm == "batch" else nn.LayerNorm
        self.norms = nn.ModuleList(kind(d_model) for _ in range(2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_model"]:
        """The tokens after the layer."""
        x = self.norms[0](x + self.dropout(self.attention(x)))
        hidden = self.dropout(F.gelu(self.widen(x)))
        return self.norms[1](x + self.dropout(self.narrow(hidden)))


class Attention(nn.Module):
    """Multi-head self-attention of all tokens of a sequence.

    Args:
        d_model: Width of a token.
        n_heads: Heads, each d_model // n_heads wide.
        dropout: Share of the attention weights dropped in training.
    """

    def __init__(self, d_model: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads, self.dropout = n_heads, dropout
        inner = n_heads * (d_model // n_heads)
        self.project = nn.Linear(d_model, 3 * inner)  # queries, keys, values; each head by head
        self.out = nn.Linear(inner, d_model)

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_model"]:
        """What each token gathers from all."""
        dropout = self.dropout if self.training else 0.0
        heads = self.project(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)  # [3, batch, ...]
        parts = [F.scaled_dot_product_attention(*part, dropout_p=dropout) for part in heads.split(MOST, dim=1)]
        gathered = parts[0] if len(parts) == 1 else torch.cat(parts)
        return self.out(gathered.transpose(1, 2).flatten(2))


class TokenBatchNorm(nn.Module):
    """Batch norm of each feature over all tokens of all sequences; the statistics kept move by a tenth a step."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(d_model)), nn.Parameter(torch.zeros(d_model))
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", torch.zeros(d_model))
        self.register_buffer("variance", torch.ones(d_model))

    def forward(self, x: Float[Tensor, "batch token d_model"]) -> Float[Tensor, "batch token d_model"]:
        """The tokens, each feature at mean 0 and standard deviation 1, then scaled and shifted."""
        flat = x.flatten(0, 1)
        return F.batch_norm(flat, self.mean, self.variance, self.weight, self.bias, self.training).view_as(x)


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    n_heads, d_model = sizes["n_heads"], sizes["d_model"]
    if n_heads > d_model:
        raise ArgumentError(f"n_heads={n_heads} cannot share a width of d_model={d_model}: give at most {d_model}.")


def _check_choices(norm: str, **shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ArgumentError(f"{name}={share} is not a share: give a number from 0 to below 1.")
    if norm not in NORMS:
        raise ArgumentError(f"norm={norm!r} is not known: give one of {', '.join(map(repr, NORMS))}.")
