"""Activation codes: which hidden units are on is a binary code of the window.

Paper     He, Lei, Ji & Tao (2021), "Neural networks behave as hash encoders: An empirical study", arXiv:2101.05490.
Equation  a_1 = relu(U_1 [x; mask] + u_1),   a_l = relu(U_l a_{l-1} + u_l),   code = [a_1 > 0; ...; a_L > 0]
          what comes out: the d_model bits that are nearest to half on, as +-1 / sqrt(d_model), so <c, c'> =
          1 - 2 hamming(c, c') / d_model
Shapes    x [batch, time, channel] -> [batch, d_model];   code [batch, n_layers * hidden]
Units     none: x is normalised before it comes here.
Differs   Thresholds at 0, all layers side by side and the removal of constant bits are read in the authors' code. The
          paper reads networks trained on labels, whose codes get better with training. Here the network is one of its
          own that learns to rebuild windows, and it is stopped early: to rebuild is a linear map, and the longer it
          learns the more its units are always on. Of 1000 noisy sines at hidden=128, 0 % have the code of another
          after 30 steps, 63 % after 300. The choice of the bits of most entropy, and the use as a key for search,
          are ours.
"""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.encoders.retrieval.base import Mask, RetrievalEncoder, Window, flat
from tsforge.encoders.retrieval.rebuilding import draw_weights, train
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared

Packed = UInt8[Tensor, "batch byte"]
CELLS = 1 << 22  # bytes compared at a time


class ActivationCodeEncoder(RetrievalEncoder):
    """(2 D + 1) * hidden + (n_layers - 1) * (hidden + 1) * hidden + (hidden + 1) * D parameters, D = time * channels.

    The last of these parts rebuilds the window, of use in `fit` alone. Windows with one code lie in one linear region
    of the network: all between them have it, too, and there the network is affine.

    Args:
        in_channels: Channels of a window.
        input_size: Steps of a window.
        d_model: Bits that come out; all decide among candidates. Where fewer change over the training windows, the rest
            are 0.
        hidden: Units of a layer.
        n_layers: Layers.
        steps: Steps of Adam in `fit`.
        learning_rate: Of these steps.
        seed: Of weights and batches.

    Raises:
        ArgumentError: a size is below 1, or the rate is not positive.
    """

    space: ClassVar[Declared] = {"hidden": Choice(64, 128, 256), "n_layers": Choice(1, 2, 3)}

    def __init__(
        self, in_channels: int, input_size: int, d_model: int = 64, *, hidden: int = 128, n_layers: int = 2,
        steps: int = 30, learning_rate: float = 3e-3, seed: int = 0,
    ) -> None:
        super().__init__(in_channels, input_size, d_model)
        if min(hidden, n_layers, steps) < 1 or not learning_rate > 0:
            raise ArgumentError(f"hidden={hidden}, n_layers={n_layers}, steps={steps}, learning_rate={learning_rate}: "
                                "wanted whole numbers of 1 or more, and a positive rate.")
        self.steps, self.learning_rate, self.seed = steps, float(learning_rate), seed
        cells = in_channels * input_size
        self.layers = nn.ModuleList(nn.Linear(2 * cells if n == 0 else hidden, hidden) for n in range(n_layers))
        self.head = nn.Linear(hidden, cells)
        self.kept: Tensor
        self.register_buffer("kept", torch.arange(d_model).where(torch.arange(d_model) < hidden * n_layers, -1))
        draw_weights(self, torch.Generator("cpu").manual_seed(seed))

    @property
    def full_width(self) -> int:
        """Bits of the whole code."""
        return sum(layer.out_features for layer in self.layers if isinstance(layer, nn.Linear))

    def forward(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch d_model"]:
        """The chosen bits as +-1 / sqrt(d_model); 0 where there are not so many."""
        signs = self.code(x, mask)[:, self.kept.clamp(min=0)].to(x.dtype) * 2 - 1
        return signs * (self.kept >= 0) * self.d_model**-0.5

    def full(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch full"]:
        """All bits as +-1."""
        return self.code(x, mask).to(x.dtype) * 2 - 1

    def likeness(self, query: Float[Tensor, "*n full"], stored: Float[Tensor, "*n full"]) -> Float[Tensor, "*n"]:
        """Minus the bits that differ."""
        return -((query > 0) != (stored > 0)).double().sum(-1)

    def code(self, x: Window, mask: Mask | None = None) -> Bool[Tensor, "batch full"]:
        """Which units are on, layer after layer; chosen in float64."""
        return torch.cat(self._units(x.double(), mask), 1) > 0

    def packed(self, x: Window, mask: Mask | None = None) -> Packed:
        """The whole code, eight bits in a byte, the first the lowest."""
        code = F.pad(self.code(x, mask), (0, -self.full_width % 8)).unflatten(1, (-1, 8))
        return (code * (1 << torch.arange(8, device=code.device))).sum(2).to(torch.uint8)

    def rebuilt(self, x: Window, mask: Mask | None = None) -> Float[Tensor, "batch cell"]:
        """What the network makes of a window."""
        head = self.head
        return F.linear(self._units(x, mask)[-1], head.weight.to(x.dtype), head.bias.to(x.dtype))

    def objective(self, x: Window, mask: Mask | None = None) -> Float[Tensor, ""]:
        """The mean squared error of what is rebuilt, over observed cells."""
        cells = flat(x, mask)
        seen = torch.ones_like(cells) if mask is None else mask.flatten(1).to(cells.dtype)
        return ((self.rebuilt(x, mask) - cells).square() * seen).sum() / seen.sum().clamp(min=1)

    def fit(self, *inputs: Tensor | None) -> None:
        """Draws the weights anew, trains them and chooses bits, on windows [window, time, channel] and their mask."""
        x, mask = (*inputs, None)[:2]
        assert x is not None
        train(self, self.objective, x, mask, steps=self.steps, learning_rate=self.learning_rate, seed=self.seed)
        with torch.no_grad():
            share = self.code(x, mask).double().mean(0)
        order = (share - 0.5).abs().argsort(stable=True)
        changing = order[((share > 0) & (share < 1))[order]][: self.d_model]
        self.kept.fill_(-1)
        self.kept[: len(changing)] = changing

    def _units(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        seen = torch.ones_like(x) if mask is None else mask.to(x.dtype)
        units, a = [], torch.cat([flat(x, mask), seen.flatten(1)], 1)
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            a = F.linear(a, layer.weight.to(a.dtype), layer.bias.to(a.dtype)).relu()
            units.append(a)
        return units


def hamming(a: Packed, b: UInt8[Tensor, "other byte"]) -> Int[Tensor, "batch other"]:
    """How many bits of each pair of packed codes differ."""
    ones = torch.tensor([n.bit_count() for n in range(256)], device=a.device)
    few = max(1, CELLS // max(1, b.numel()))
    return torch.cat([ones[(part[:, None] ^ b).long()].sum(2) for part in a.split(few)])


def redundancy(codes: Packed) -> float:
    """The share of windows whose code another window has before them: (n - distinct codes) / n."""
    return 1 - len(codes.unique(dim=0)) / len(codes)
