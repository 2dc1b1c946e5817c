"""Matryoshka: one vector whose first numbers are a vector by themselves.

Paper     Kusupati et al. (2022), "Matryoshka Representation Learning", NeurIPS, arXiv:2205.13147.
Equation  z = V GELU(U [x; mask] + u) + v,   loss = sum_{m in nesting} | x - W_m z_{1:m} - b_m |^2 over observed cells
          what comes out: z_{1:d_model} / |z_{1:d_model}|
Shapes    x [batch, time, channel] -> [batch, d_model];   z [batch, width]   W_m [time * channel, m]
Units     none: x is normalised before it comes here.
Differs   Heads, tied or not, and the sum of losses are read in the authors' code. The paper's losses are of labels; a
          window has none before its future, so here every prefix must rebuild the window it is of. All sizes weigh the
          same. The inner representation is one hidden layer, or with hidden=0 none: then every prefix spans as many
          principal components.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.encoders.retrieval.base import Mask, RetrievalEncoder, Window, flat
from tsforge.encoders.retrieval.rebuilding import draw_weights, train
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared


class MatryoshkaEncoder(RetrievalEncoder):
    """(2 D + 1) * hidden + (hidden + 1) * width parameters, D = time * channels; (2 D + 1) * width without hidden.

    The heads beside it, of use in `fit` alone, have sum_m (m + 1) * D, or (width + 1) * D where they are tied. `fit`
    draws all weights from `seed` and trains them. Any `d_model` up to `width` is a prefix, also one that is not in
    `nesting`.

    Args:
        in_channels: Channels of a window.
        input_size: Steps of a window.
        d_model: Numbers of the prefix that comes out; all of `width` decide among candidates.
        width: Numbers of the whole vector.
        nesting: Sizes of the prefixes that are trained.
        hidden: Width of the hidden layer; 0 for a linear map.
        heads: "separate", one for each size, or "tied", the first columns of one.
        steps: Steps of Adam in `fit`.
        learning_rate: Of these steps.
        seed: Of weights and batches.

    Raises:
        ArgumentError: a size cannot be, or `heads` is unknown.
    """

    space: ClassVar[Declared] = {"hidden": Choice(0, 64, 128, 256), "heads": Choice("separate", "tied")}

    def __init__(
        self, in_channels: int, input_size: int, d_model: int = 64, *, width: int = 128,
        nesting: Sequence[int] = (8, 16, 32, 64, 128), hidden: int = 128, heads: str = "separate", steps: int = 300,
        learning_rate: float = 3e-3, seed: int = 0,
    ) -> None:
        super().__init__(in_channels, input_size, d_model)
        self.nesting = sorted({m for m in nesting if m < width} | {width})
        if not 1 <= d_model <= width or self.nesting[0] < 1 or hidden < 0 or steps < 1 or not learning_rate > 0:
            raise ArgumentError(
                f"d_model={d_model}, width={width}, nesting={tuple(nesting)}, hidden={hidden}, steps={steps}, "
                f"learning_rate={learning_rate}: wanted d_model from 1 to width, sizes and steps of 1 or more, "
                "hidden of 0 or more, and a positive rate."
            )
        if heads not in ("separate", "tied"):
            raise ArgumentError(f"heads={heads!r}: wanted 'separate' or 'tied'.")
        self.width, self.steps, self.learning_rate, self.seed = width, steps, float(learning_rate), seed
        cells = in_channels * input_size
        first = nn.Linear(2 * cells, hidden or width)
        self.inner = nn.Sequential(first, nn.GELU(), nn.Linear(hidden, width)) if hidden else first
        self.heads = nn.ModuleList(nn.Linear(m, cells) for m in ([width] if heads == "tied" else self.nesting))
        draw_weights(self, torch.Generator("cpu").manual_seed(seed))

    @property
    def full_width(self) -> int:
        """Numbers of the whole vector."""
        return self.width

    def forward(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The first d_model numbers, at length 1."""
        return F.normalize(self.whole(x, mask)[:, : self.d_model], dim=1)

    def full(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch full"]:
        """The whole vector, at length 1."""
        return F.normalize(self.whole(x, mask), dim=1)

    def whole(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch width"]:
        """z, of which every prefix is a vector once it is brought to length 1."""
        seen = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        return self.inner(torch.cat([flat(x, mask), seen.flatten(1)], 1))

    def rebuilt(self, z: Float[Tensor, "batch width"], size: int) -> Float[Tensor, "batch cell"]:
        """The window as the head of a size in `nesting` rebuilds it from so many numbers."""
        tied = len(self.heads) == 1
        head = self.heads[0 if tied else self.nesting.index(size)]
        return F.linear(z[:, :size], head.weight[:, :size], head.bias)  # pyright: ignore[reportArgumentType, reportIndexIssue]

    def objective(self, x: Window, mask: Mask | None = None) -> Float[Tensor, ""]:
        """The losses of all prefixes: mean squared error over observed cells, summed over sizes."""
        cells, z = flat(x, mask), self.whole(x, mask)
        seen = torch.ones_like(cells) if mask is None else mask.flatten(1).to(cells.dtype)
        losses = [((self.rebuilt(z, m) - cells).square() * seen).sum() / seen.sum().clamp(min=1) for m in self.nesting]
        return torch.stack(losses).sum()

    def fit(self, *inputs: Tensor | None) -> None:
        """Draws the weights anew and trains them on windows [window, time, channel] and their mask."""
        x, mask = (*inputs, None)[:2]
        assert x is not None
        train(self, self.objective, x, mask, steps=self.steps, learning_rate=self.learning_rate, seed=self.seed)
