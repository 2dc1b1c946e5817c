"""Blocks that write their input and its continuation as sums of basis functions, each fed what the last left over.

Paper     Oreshkin et al. (2020), "N-BEATS", arXiv:1905.10437; interpolation and pooling from Challu et al. (2023),
          "N-HiTS", arXiv:2201.12886.
Equation  a = MLP(pool(x)),   backcast = V_b W_b a,   forecast = V_f W_f a;   x <- x - backcast,   y = sum of forecasts
Shapes    x [row, lookback] -> [row, output, h]; a row is one channel of one window; a basis V is [step, coefficient]
"""

from collections.abc import Iterable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def polynomial(steps: int, degree: int) -> Float[Tensor, "{steps} coefficient"]:
    """Powers 0 to `degree` of t = 0, 1/steps, ..., (steps - 1)/steps."""
    return _default(_unit_time(steps)[:, None] ** torch.arange(degree + 1))


def fourier(steps: int) -> Float[Tensor, "{steps} coefficient"]:
    """1, cos(2 pi i t), then sin(2 pi i t), for i = 1 ... steps // 2 - 1 cycles in `steps`; t as in `polynomial`."""
    angle = 2 * torch.pi * _unit_time(steps)[:, None] * torch.arange(max(steps // 2, 1))
    return _default(torch.cat([angle.cos(), angle[:, 1:].sin()], 1))


def interpolation(steps: int, knots: int, mode: str) -> Float[Tensor, "{steps} {knots}"]:
    """What each of `knots` evenly placed values gives to a step: `"linear"` between two, or that of the `"nearest"`.

    A knot stands in the middle of its share of the steps; before the first and after the last knot its value is kept.
    """
    return _default(F.interpolate(torch.eye(knots, dtype=torch.float64)[None], size=steps, mode=mode)[0].mT)


def _unit_time(steps: int) -> Float[Tensor, " {steps}"]:
    return torch.arange(steps, dtype=torch.float64) / steps


def _default(basis: Tensor) -> Tensor:
    return basis.to(torch.get_default_dtype()).contiguous()


class Expansion(nn.Module):
    """Coefficients that are linear in a hidden vector, times a basis; width * outputs * coefficients parameters.

    Args:
        width: Size of the hidden vector.
        basis: Values of the basis functions, or the number of steps: then the basis is learnt, and so merged with the
            coefficients into one linear map with (width + 1) * outputs * steps parameters.
        outputs: Series written at once.
    """

    def __init__(self, width: int, basis: Float[Tensor, "step coefficient"] | int, outputs: int = 1) -> None:
        super().__init__()
        learnt = isinstance(basis, int)
        self.outputs = outputs
        self.coefficients = nn.Linear(width, outputs * (basis if learnt else basis.shape[1]), bias=learnt)
        self.basis: Tensor | None
        self.register_buffer("basis", None if learnt else basis, persistent=False)

    def forward(self, hidden: Float[Tensor, "row width"]) -> Float[Tensor, "row output step"]:
        """The series."""
        theta = self.coefficients(hidden).unflatten(-1, (self.outputs, -1))
        return theta if self.basis is None else theta @ self.basis.mT


class BasisBlock(nn.Module):
    """A perceptron whose last layer is read out twice: what it explains of its input, and how that goes on.

    Args:
        input_size: Steps of the input.
        forecast: Basis of the forecast, or its number of steps where it is learnt.
        backcast: The same for the input; None explains nothing, for a block that none comes after.
        outputs: Numbers per step of the forecast.
        width: Units of a hidden layer.
        n_layers: Hidden layers, each followed by a ReLU.
        pool: Steps of which the perceptron sees the maximum; the last group may be shorter.
    """

    def __init__(
        self, input_size: int, forecast: Tensor | int, backcast: Tensor | int | None, outputs: int, *,
        width: int, n_layers: int, pool: int = 1,
    ) -> None:
        super().__init__()
        self.pool = pool
        sizes = [-(-input_size // pool), *[width] * n_layers]
        self.layers = nn.Sequential(*(part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())))
        self.forecast = Expansion(width, forecast, outputs)
        self.backcast = None if backcast is None else Expansion(width, backcast)

    def forward(
        self, x: Float[Tensor, "row lookback"]
    ) -> tuple[Float[Tensor, "row lookback"], Float[Tensor, "row output h"]]:
        """What is left of the input, and the forecast."""
        pooled = x if self.pool == 1 else F.max_pool1d(x, self.pool, ceil_mode=True)
        hidden = self.layers(pooled)
        return x if self.backcast is None else x - self.backcast(hidden)[:, 0], self.forecast(hidden)


def forecasts(blocks: Iterable[nn.Module], x: Float[Tensor, "row lookback"]) -> Float[Tensor, "block row output h"]:
    """The forecast of each block, each fed what the one before left over."""
    parts = []
    for block in blocks:
        x, part = block(x)
        parts.append(part)
    return torch.stack(parts)
