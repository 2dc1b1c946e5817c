"""Quantised weights: whole numbers of few bits and a step for each row, by rounding or by training through it.

Paper     Gholami et al. (2021), "A Survey of Quantization Methods for Efficient Neural Network Inference",
          arXiv:2103.13630.
Equation  q = clip(round(x / S) + Z, low, high),   x^ = S (q - Z)
          symmetric: S = beta / (2^(b-1) - 1), Z = 0
          affine: S = (beta - alpha) / (2^b - 1), Z = low - round(alpha / S)
          trained: dx^/dx = 1 for x in S ([low, high] - Z), else 0
Shapes    x of any shape;   S, Z [rows, 1, ...], or [1, 1, ...] for one grid of a whole weight
Units     none: weights are changed and no value.
Differs   The formulas are those of the survey, recalled. Weights are quantised and activations are not. The network
          computes with x^ in floats: it takes a quarter of the room in a file and as long as before. What is left out
          by name and how the best range is searched are ours.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int8
from torch import Tensor, nn

from tsforge.encoders.adapter.base import Adapter, slug
from tsforge.errors import ArgumentError
from tsforge.space import Choice, Declared

CHOICES = {
    "granularity": ("channel", "tensor"), "scheme": ("symmetric", "affine"), "mode": ("ptq", "qat"),
    "range": ("mse", "minmax", "percentile"),
}
DYNAMICS = r"(^|\.)(log_\w+|A_\w+|cross)$"  # of state spaces: rounding grows in their exponentials
SHARES = tuple(share / 50 for share in range(20, 51))  # of the whole range, tried by "mse"
PERCENTILE = 0.999


class Grid(NamedTuple):
    """The values that a weight may have: `step * (q - zero)` for q from `low` to `high`."""

    step: Float[Tensor, "..."]
    zero: Float[Tensor, "..."]
    low: int
    high: int

    def quantise(self, x: Float[Tensor, "..."]) -> Int8[Tensor, "..."]:
        """The nearest value of each entry, as its number."""
        return (torch.round(x / self.step) + self.zero).clamp(self.low, self.high).to(torch.int8)

    def dequantise(self, q: Int8[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The values of numbers."""
        return self.step * (q.to(self.step.dtype) - self.zero)

    def inside(self, x: Float[Tensor, "..."]) -> Tensor:
        """Which entries lie between the first and the last value."""
        return (x >= self.step * (self.low - self.zero)) & (x <= self.step * (self.high - self.zero))


class _Rounded(torch.autograd.Function):
    """The nearest value of a grid, with the gradient of the identity inside its range and 0 outside."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, grid: Grid) -> Tensor:
        ctx.save_for_backward(grid.inside(x))
        return grid.dequantise(grid.quantise(x))

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return gradients[0] * ctx.saved_tensors[0], None


def rounded(x: Float[Tensor, "..."], grid: Grid) -> Float[Tensor, "..."]:
    """`x` on a grid; gradients pass inside its range."""
    found = _Rounded.apply(x, grid)
    assert isinstance(found, Tensor)
    return found


def fit_grid(
    x: Float[Tensor, "..."], bits: int = 8, *, granularity: str = "channel", scheme: str = "symmetric",
    range_: str = "minmax",
) -> Grid:
    """The grid of some values; those of a row share one, or all."""
    rows = x.detach().flatten(1) if granularity == "channel" else x.detach().flatten()[None]
    low, high = rows.amin(1, keepdim=True), rows.amax(1, keepdim=True)
    if range_ == "percentile":
        inner = torch.quantile(rows, rows.new_tensor([1 - PERCENTILE, PERCENTILE]), dim=1)[..., None]
        low, high = torch.maximum(low, inner[0]), torch.minimum(high, inner[1])
    best = _grid(low, high, bits, scheme)
    if range_ == "mse":
        least = _error(rows, best)
        for share in SHARES:
            tried = _grid(share * low, share * high, bits, scheme)
            error = _error(rows, tried)
            step, zero = (torch.where(error < least, a, b) for a, b in zip(tried[:2], best[:2], strict=True))
            best, least = Grid(step, zero, best.low, best.high), torch.minimum(error, least)
    shape = (-1, *(1 for _ in x.shape[1:]))
    return Grid(best.step.view(shape), best.zero.view(shape), best.low, best.high)


def _grid(low: Tensor, high: Tensor, bits: int, scheme: str) -> Grid:
    """The grid of a range; 0 is one of its values."""
    if scheme == "symmetric":
        top = 2 ** (bits - 1) - 1
        step = torch.maximum(high, -low) / top
        first = -top
    else:
        low, high = low.clamp(max=0), high.clamp(min=0)
        first, top = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        step = (high - low) / (2**bits - 1)
    step = torch.where(step > 0, step, torch.ones_like(step))  # of zeros alone
    zero = torch.zeros_like(step) if scheme == "symmetric" else first - torch.round(low / step)
    return Grid(step, zero, first, top)


def _error(rows: Float[Tensor, "row entry"], grid: Grid) -> Float[Tensor, "row 1"]:
    return (grid.dequantise(grid.quantise(rows)) - rows).square().sum(1, keepdim=True)


class QuantizedAdapter(Adapter):
    """Weights of two or more dimensions on a grid of 2^bits values.

    `"ptq"` rounds once and has nothing to train; `"qat"` trains as many numbers as there are weights, which are read
    rounded. Merged weights are floats on the grids; `grids` are what makes bytes of them: a run folder holds a byte for
    each and a step for each row. Of `bits` below 8 the error grows and the file stays as it is.

    Args:
        bits: From 2 to 8.
        granularity: One grid for each `"channel"`, a row of a weight, or for the whole `"tensor"`.
        scheme: `"symmetric"` around 0, or `"affine"`, for values that lie to one side of it.
        range: `"mse"` searches the range of least error, `"minmax"` takes all values, `"percentile"` 99.9 percent.
        mode: `"ptq"` or `"qat"`.
        include: A pattern (`re.search`) that the name of a weight must hold to be changed; "" is all of them.
        exclude: A pattern of names that are left; "" leaves none.

    Raises:
        ArgumentError: `bits` is not from 2 to 8, or a word is not known.
    """

    space: ClassVar[Declared] = {"bits": Choice(4, 6, 8), "range": Choice(*CHOICES["range"])}
    learning_rate: ClassVar[float] = 1e-3

    def __init__(
        self, *, bits: int = 8, granularity: str = "channel", scheme: str = "symmetric", range: str = "mse",
        mode: str = "ptq", include: str = "", exclude: str = DYNAMICS,
    ) -> None:
        super().__init__(include, exclude)
        if not 2 <= bits <= 8:
            raise ArgumentError(f"bits={bits}: wanted a number from 2 to 8.")
        words = {"granularity": granularity, "scheme": scheme, "range": range, "mode": mode}
        for name, word in words.items():
            if word not in CHOICES[name]:
                known = ", ".join(map(repr, CHOICES[name]))
                raise ArgumentError(f"{name}={word!r} is not known: give one of {known}.")
        self.bits, self.granularity, self.scheme, self.range, self.mode = bits, granularity, scheme, range, mode
        self.latent = nn.ParameterDict()
        self.bounds: tuple[int, int] = (0, 0)
        self.names: list[str] = []

    def prepare(self, weights: Mapping[str, Tensor]) -> None:
        """Fits the grids, and takes the weights over where they train."""
        for name, weight in weights.items():
            grid = fit_grid(weight, self.bits, granularity=self.granularity, scheme=self.scheme, range_=self.range)
            self.register_buffer(f"step {slug(name)}", grid.step, persistent=False)
            self.register_buffer(f"zero {slug(name)}", grid.zero, persistent=False)
            self.names.append(name)
            self.bounds = grid.low, grid.high
            if self.mode == "qat":
                self.latent[slug(name)] = nn.Parameter(weight.clone())

    def grids(self) -> dict[str, Grid]:
        """The grid of each weight."""
        return {name: self._grid(name) for name in self.names}

    def _grid(self, name: str) -> Grid:
        step, zero = (self.get_buffer(f"{part} {slug(name)}") for part in ("step", "zero"))
        return Grid(step, zero, *self.bounds)

    def changed(self, name: str, weight: Tensor) -> Tensor:
        """The weight on its grid."""
        return rounded(self.latent[slug(name)] if self.mode == "qat" else weight, self._grid(name))
