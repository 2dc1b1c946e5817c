"""LightNet: patches of all variates as one grid, mixed by linear attention of additive decay in a single scan.

Paper     Qin et al. (2024), "You Only Scan Once: Efficient Multi-dimension Sequential Modeling with LightNet",
          arXiv:2405.21022.
Equation  x = MD-TPE(W patches + b),   x <- x + Mixer(norm x),   x <- x + GLU(norm x)   in each block
          y = head(norm x of all patches of a variate),   the mixer as in `tsforge.layers.additive`
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; inside [batch, patch * channel, d_model]
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   The paper forecasts nothing: patches, head and the grid (time x variate) are ours. Its position codes for
          grids are reconstructed, see `tsforge.layers.grid_positions`.
"""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.additive import AdditiveMixer, GatedMLP
from tsforge.layers.grid_positions import MDTPE
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer, Real


class LightNet(Model):
    """Patches, position codes, blocks, and one linear map from the patches of a variate to its forecast.

    d (p + 1) + 2 n_heads (2 e + 1) + d + d^2 + n_layers (d (4 i + e + 3 d_ff + 2) + e (i + 1)) + d
    + (d patches + 1) h outputs parameters, d = d_model, p = patch_len, e = d // n_heads, i = n_heads e.

    Args:
        patch_len: Steps of a patch, at most the look-back; the first patch is filled up in front with its first value.
        d_model: Features of a token.
        n_heads: Heads, of d_model // n_heads channels each.
        n_layers: Blocks.
        d_ff: Inner features of the gated map of a block.
        dropout: Share of the features dropped after each part of a block in training.
        causal: A patch sees those before it, and at its own time the variates before its own; else all patches.
        sink: The softmax over the patches has one unit of weight on zero.

    Raises:
        ArgumentError: a size is below 1, a head has fewer than 2 channels, or `dropout` is not in [0, 1).
    """

    space: ClassVar[Declared] = {
        "patch_len": Choice(4, 8, 16), "d_model": Choice(32, 64, 128), "n_layers": Integer(1, 3),
        "d_ff": Choice(64, 128, 256), "dropout": Real(0.0, 0.3),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        patch_len: int = 8, d_model: int = 64, n_heads: int = 4, n_layers: int = 2, d_ff: int = 128,
        dropout: float = 0.1, causal: bool = False, sink: bool = False,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check(dropout, patch_len=patch_len, d_model=d_model, n_heads=n_heads, n_layers=n_layers, d_ff=d_ff)
        self.patch_len = min(patch_len, input_size)
        patches = -(-input_size // self.patch_len)
        self.fill = patches * self.patch_len - input_size
        self.embedding = nn.Linear(self.patch_len, d_model)
        self.places = MDTPE(d_model, n_heads, d_model // n_heads, causal=(causal, False))  # variates have no order
        self.blocks = nn.ModuleList(
            Block(d_model, n_heads, (patches, in_channels), d_ff, dropout, causal, sink) for _ in range(n_layers)
        )
        self.norm = nn.RMSNorm(d_model, eps=1e-5)
        self.head = nn.Linear(patches * d_model, h * outputs)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; covariates and statics are not read."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x, seen = self._patches(x, batch.past_mask)
        x = self.places(self.embedding(x).to(x.dtype))  # what is added up stays in full precision under autocast
        grid = x.shape[1:3]
        x, seen = x.flatten(1, 2), seen.flatten(1, 2)  # a time after the other, variate after variate
        for block in self.blocks:
            x = block(x, seen)
        x = self.norm(x).unflatten(1, grid).transpose(1, 2).flatten(2)  # [batch, channel, patch * d_model]
        y = self.head(x).unflatten(-1, (self.h, self.outputs)).transpose(1, 2)
        return y * deviation[..., None] + mean[..., None]

    def _patches(
        self, x: Float[Tensor, "batch lookback channel"], mask: Bool[Tensor, "batch lookback channel"]
    ) -> tuple[Float[Tensor, "batch patch channel step"], Bool[Tensor, "batch patch channel"]]:
        """The patches, and where one was observed at all."""
        x = torch.cat([x[:, :1].expand(-1, self.fill, -1), x], 1).unflatten(1, (-1, self.patch_len))
        unseen = torch.zeros_like(mask[:, :1]).expand(-1, self.fill, -1)
        return x.mT, torch.cat([unseen, mask], 1).unflatten(1, (-1, self.patch_len)).any(2)


class Block(nn.Module):
    """The mixer of tokens and the gated map of features, each on normalised tokens and added."""

    def __init__(
        self, d_model: int, n_heads: int, grid: tuple[int, int], d_ff: int, dropout: float, causal: bool, sink: bool
    ) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(d_model, eps=1e-5) for _ in range(2))
        self.mixer = AdditiveMixer(d_model, n_heads, grid, causal=causal, sink=sink)
        self.glu = GatedMLP(d_model, d_ff)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch token feature"], seen: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token feature"]:
        x = x + self.dropout(self.mixer(self.norms[0](x), seen))
        return x + self.dropout(self.glu(self.norms[1](x)))


def _check(dropout: float, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if sizes["d_model"] < 2 * sizes["n_heads"]:
        raise ArgumentError(
            f"d_model={sizes['d_model']} gives n_heads={sizes['n_heads']} fewer than 2 channels each, one for time and "
            "one for variates: make it larger or take fewer heads."
        )
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
