"""Fields: what is known of a series, one token for each id and each number, all of one width.

Paper     Song et al. (2019), "AutoInt: Automatic Feature Interaction Learning via Self-Attentive Neural Networks",
          CIKM, arXiv:1810.11921, for tokens of numbers; rows found by a hash after Weinberger et al. (2009), "Feature
          Hashing for Large Scale Multitask Learning", arXiv:0902.2206.
Equation  e_f = E[mix(id_f ^ salt_f) mod n_buckets] of an id,   e_f = number_f v_f of a number
Shapes    ids [batch, n_ids], numbers [batch, n_numbers] -> [batch, n_ids + n_numbers, embed_dim], ids first
Units     ids are stable hashes; the number 0 is a token of zeros
Differs   The paper has a table for each field, with a row for each value. Here all ids read one table by a hash: no
          vocabulary is kept, and an id that training has not seen reads a row, too.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.errors import ArgumentError
from tsforge.layers.stable_hash import buckets, mix, stable_hashes


class FieldEmbedding(nn.Module):
    """(n_buckets + n_numbers) * embed_dim parameters; none of the table without ids.

    Args:
        n_ids: Ids of a row.
        n_numbers: Numbers of a row.
        embed_dim: Width of a token.
        n_buckets: Rows of the table.
        scale: Deviation of the weights at the start.
        seed: Salt of the hash; tables with different seeds have different collisions.

    Raises:
        ArgumentError: a size is below 1.
    """

    def __init__(
        self, n_ids: int, n_numbers: int, embed_dim: int, *, n_buckets: int = 4096, scale: float | int = 1.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        for name, size in (("n_buckets", n_buckets), ("embed_dim", embed_dim)):
            if size < 1:
                raise ArgumentError(f"{name}={size} leaves nothing to read: give at least 1.")
        self.n_ids, self.n_numbers, self.n_buckets = n_ids, n_numbers, n_buckets
        self.table = nn.Parameter(scale * torch.randn(n_buckets, embed_dim)) if n_ids else None
        self.directions = nn.Parameter(scale * torch.randn(n_numbers, embed_dim)) if n_numbers else None
        self.salts: Tensor
        salts = stable_hashes(f"field {seed} {field}" for field in range(n_ids))
        self.register_buffer("salts", salts, persistent=False)

    def rows(self, ids: Int[Tensor, "batch n_ids"]) -> Int[Tensor, "batch n_ids"]:
        """The row of the table that each id reads."""
        return buckets(mix(ids ^ self.salts), self.n_buckets)

    def forward(
        self, ids: Int[Tensor, "batch n_ids"] | None = None, numbers: Float[Tensor, "batch n_numbers"] | None = None
    ) -> Float[Tensor, "batch field embed_dim"]:
        """The tokens of each row."""
        parts = []
        if self.table is not None:
            assert ids is not None
            parts.append(self.table[self.rows(ids)])
        if self.directions is not None:
            assert numbers is not None
            parts.append(numbers[..., None] * self.directions)
        return torch.cat(parts, 1)
