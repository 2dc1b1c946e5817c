"""Unified embedding: one hashed table for all ids, each read several times with salts of its own.

Paper     Coleman et al. (2023), "Unified Embedding: Battle-Tested Feature Representations for Web-Scale ML Systems",
          NeurIPS, arXiv:2305.12102.
Equation  row(t, c) = mix(id_t ^ mix(salt(t, c))) mod n_buckets,   e_t = [E[row(t, 1)] ... E[row(t, k_t)]]
          y = W [e_1 ... e_F; numbers] + b
Shapes    ids [batch, F], numbers [batch, s] -> [batch, d_model];   E [n_buckets, chunk_dim]
Units     ids are stable hashes; numbers are standardised.
Differs   Chunks, salts and concatenation are the paper's, the hash is ours, and so are numbers beside the ids.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tsforge.encoders.tabular.base import TabularEncoder
from tsforge.errors import ArgumentError
from tsforge.layers.stable_hash import buckets, mix, stable_hashes
from tsforge.space import Choice, Declared, Integer


class UnifiedEmbeddingEncoder(TabularEncoder):
    """A table of n_buckets * chunk_dim weights, whatever the ids, and a linear map of what is read from it.

    The map has (chunk_dim * chunks of all ids together + n_numbers + 1) * d_model weights. An id that training has not
    seen reads the rows of others: fine on average, and nothing to be read into.

    Args:
        n_buckets: Rows of the table: the one knob of memory.
        chunk_dim: Width of a row.
        chunks: Rows that an id reads, or a list with one number for each id: more for those that matter.
        seed: Salt of the hash; two tables with different seeds have different collisions.

    Raises:
        ArgumentError: there is no id, a size is below 1, or the list does not have one number for each id.
    """

    space: ClassVar[Declared] = {
        "n_buckets": Choice(1024, 4096, 16384), "chunk_dim": Choice(4, 8, 16), "chunks": Integer(1, 4),
    }

    def __init__(
        self, n_ids: int, n_numbers: int = 0, d_model: int = 64, *, n_buckets: int = 4096, chunk_dim: int = 8,
        chunks: int | Sequence[int] = 2, seed: int = 0,
    ) -> None:
        super().__init__(n_ids, n_numbers, d_model)
        counts = [chunks] * n_ids if isinstance(chunks, int) else list(chunks)
        _check(n_ids, counts, n_buckets, chunk_dim)
        self.n_buckets = n_buckets
        self.table = nn.Parameter(torch.randn(n_buckets, chunk_dim))
        self.out = nn.Linear(chunk_dim * sum(counts) + n_numbers, d_model)
        places = [(feature, chunk) for feature, count in enumerate(counts) for chunk in range(count)]
        self.features: Tensor
        self.salts: Tensor
        self.register_buffer("features", torch.tensor([f for f, _ in places], dtype=torch.int64), persistent=False)
        salts = stable_hashes(f"unified embedding {seed} {feature} {chunk}" for feature, chunk in places)
        self.register_buffer("salts", salts, persistent=False)

    def rows(self, ids: Int[Tensor, "batch n_ids"]) -> Int[Tensor, "batch chunk"]:
        """The rows of the table that ids read: those of the first id, then those of the second, and so on."""
        return buckets(mix(ids.index_select(1, self.features) ^ self.salts), self.n_buckets)

    def forward(
        self, ids: Int[Tensor, "batch n_ids"] | None = None, numbers: Float[Tensor, "batch n_numbers"] | None = None
    ) -> Float[Tensor, "batch d_model"]:
        """The vector of each row."""
        parts = [] if ids is None else [self.table[self.rows(ids)].flatten(1)]
        parts += [] if numbers is None else [numbers]
        return self.out(torch.cat(parts, 1))

    def parameter_groups(self, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
        """The table without weight decay, which would wear down the rows of rare ids; the map as asked."""
        return [
            {"params": [self.table], "lr": learning_rate, "weight_decay": 0.0},
            {"params": list(self.out.parameters()), "lr": learning_rate, "weight_decay": weight_decay},
        ]


def _check(n_ids: int, counts: list[int], n_buckets: int, chunk_dim: int) -> None:
    sizes = {"n_ids": n_ids, "n_buckets": n_buckets, "chunk_dim": chunk_dim, "chunks": min(counts, default=1)}
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to read: give at least 1.")
    if len(counts) != n_ids:
        raise ArgumentError(f"chunks={counts}: there are {n_ids} ids, the series first, then its static categories. "
                            "Give one number for each, or one for all.")
