"""AutoInt: every id and every number is a token, and attention between them makes the crosses that nobody wrote down.

Paper     Song et al. (2019), "AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks",
          CIKM, arXiv:1810.11921.
Equation  q, k, v = relu(e W_q), relu(e W_k), relu(e W_v),   a_h = softmax(q_h k_h' / sqrt(attn_dim / n_heads))
          e <- LayerNorm(relu([a_1 v_1 ... a_H v_H] + relu(e W_r)))
          y = W [e_1 ... e_F after the last layer] + b + MLP([e_1 ... e_F before the first])
Shapes    ids [batch, n_ids], numbers [batch, n_numbers] -> [batch, d_model];   e [batch, F, embed_dim], then attn_dim
Units     ids are stable hashes; numbers are standardised, and 0 is a token of zeros.
Differs   The order of the layer, relu on its three maps and the scale by the width of a head are read in the authors'
          code, whose maps have biases; here they have none, as in the paper's equations. Ids read one hashed table
          (`layers/fields.py`), since no vocabulary is kept. Missing numbers come filled in, so there is no token of its
          own for them. `cut` is ours.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.encoders.tabular.base import TabularEncoder, spared
from tsforge.errors import ArgumentError
from tsforge.layers.fields import FieldEmbedding
from tsforge.space import Choice, Declared, Integer

Ids = Int[Tensor, "batch n_ids"] | None
Numbers = Float[Tensor, "batch n_numbers"] | None


class InteractingLayer(nn.Module):
    """Attention between the fields of a row, 4 * width * attn_dim + 2 * attn_dim parameters; the last two of the norm.

    Args:
        width: Of a token that comes in.
        attn_dim: Of one that comes out.
        n_heads: Heads, each of attn_dim / n_heads.
        dropout: Share of the attention that is dropped in training.
        relu_qkv: Whether queries, keys and values go through a relu.
    """

    def __init__(self, width: int, attn_dim: int, n_heads: int, dropout: float | int, relu_qkv: bool) -> None:
        super().__init__()
        self.n_heads, self.dropout, self.relu_qkv = n_heads, dropout, relu_qkv
        self.qkv = nn.Linear(width, 3 * attn_dim, bias=False)
        self.residual = nn.Linear(width, attn_dim, bias=False)
        self.norm = nn.LayerNorm(attn_dim)

    def forward(
        self, x: Float[Tensor, "batch field width"], keep: Float[Tensor, "field field"] | None = None
    ) -> tuple[Float[Tensor, "batch field attn_dim"], Float[Tensor, "batch head field field"]]:
        """The tokens and the attention; `keep` is what it is multiplied by."""
        qkv = self.qkv(x)
        parts = (F.relu(qkv) if self.relu_qkv else qkv).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # [batch, head, field, attn_dim / head] each
        attention = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
        kept = F.dropout(attention if keep is None else attention * keep, self.dropout, self.training)
        heads = (kept @ v).transpose(1, 2).flatten(2)
        return self.norm(F.relu(heads + F.relu(self.residual(x)))), attention


class AutoIntEncoder(TabularEncoder):
    """A table of n_buckets * embed_dim weights, n_numbers directions of embed_dim, `n_layers` interacting layers.

    With F = n_ids + n_numbers the map out has (F * attn_dim + 1) * d_model, and the perceptron with widths
    F * embed_dim, `mlp_hidden`, d_model has weights and biases as any other. L layers reach crosses of L + 1 fields.

    Args:
        n_buckets: Rows of the table of all ids.
        embed_dim: Width of a token at first.
        attn_dim: Width of a token after the first layer.
        n_layers: Interacting layers.
        n_heads: Heads of each; `attn_dim` is a multiple.
        dropout: Share of the attention that is dropped in training.
        mlp_hidden: Widths of the hidden layers of a perceptron beside them (AutoInt+); without any there is none.
        relu_qkv: Whether queries, keys and values go through a relu, as released; without one no head can die.
        seed: Salt of the hash.

    Raises:
        ArgumentError: there is neither an id nor a number, a size is below 1, `attn_dim` is not a multiple of
            `n_heads`, or `dropout` is not in [0, 1).
    """

    space: ClassVar[Declared] = {
        "n_buckets": Choice(1024, 4096, 16384), "embed_dim": Choice(8, 16, 32), "attn_dim": Choice(16, 32, 64),
        "n_layers": Integer(1, 4), "n_heads": Choice(1, 2, 4),
    }

    def __init__(
        self, n_ids: int, n_numbers: int = 0, d_model: int = 64, *, n_buckets: int = 4096, embed_dim: int = 16,
        attn_dim: int = 32, n_layers: int = 2, n_heads: int = 2, dropout: float | int = 0.0,
        mlp_hidden: Sequence[int] = (), relu_qkv: bool = True, seed: int = 0,
    ) -> None:
        super().__init__(n_ids, n_numbers, d_model)
        _check(attn_dim, n_layers, n_heads, dropout, mlp_hidden)
        self.fields = FieldEmbedding(
            n_ids, n_numbers, embed_dim, n_buckets=n_buckets, scale=max(embed_dim, 1) ** -0.5, seed=seed
        )
        widths = [embed_dim] + [attn_dim] * (n_layers - 1)
        self.layers = nn.ModuleList(InteractingLayer(w, attn_dim, n_heads, dropout, relu_qkv) for w in widths)
        fields = n_ids + n_numbers
        self.out = nn.Linear(fields * attn_dim, d_model)
        self.mlp = _perceptron([fields * embed_dim, *mlp_hidden, d_model]) if mlp_hidden else None

    def forward(self, ids: Ids = None, numbers: Numbers = None) -> Float[Tensor, "batch d_model"]:
        """The vector of each row."""
        return self._read(self.fields(ids, numbers))[0]

    def attention(self, ids: Ids = None, numbers: Numbers = None) -> Float[Tensor, "layer batch head field field"]:
        """How much each field reads of each other; what it is worth says `cut`."""
        return self._read(self.fields(ids, numbers))[1]

    def cut(
        self, pair: tuple[int, int], ids: Ids = None, numbers: Numbers = None
    ) -> Float[Tensor, "batch d_model"]:
        """The vector of each row when two fields read nothing of each other: what is lost is what the pair is worth."""
        keep = torch.ones(self.n_ids + self.n_numbers, self.n_ids + self.n_numbers).to(self.out.weight)
        keep[pair[0], pair[1]] = keep[pair[1], pair[0]] = 0
        return self._read(self.fields(ids, numbers), keep)[0]

    def _read(self, tokens: Tensor, keep: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, attentions = tokens, []
        for layer in self.layers:
            x, attention = layer(x, keep)
            attentions.append(attention)
        y = self.out(x.flatten(1))
        return y if self.mlp is None else y + self.mlp(tokens.flatten(1)), torch.stack(attentions)

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """The table without weight decay, which would wear down the rows of rare ids; the rest as asked."""
        return spared(self, self.fields.table, learning_rate, weight_decay)


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def _check(attn_dim: int, n_layers: int, n_heads: int, dropout: float | int, mlp_hidden: Sequence[int]) -> None:
    sizes = {"attn_dim": attn_dim, "n_layers": n_layers, "n_heads": n_heads, "mlp_hidden": min(mlp_hidden, default=1)}
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if attn_dim % n_heads:
        raise ArgumentError(f"attn_dim={attn_dim} is not a multiple of n_heads={n_heads}: change one of them.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout}: give a share from 0 to below 1.")
