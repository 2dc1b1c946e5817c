"""N-BEATS: perceptrons that explain the look-back by basis functions, each what the last left over, and add up.

Paper     Oreshkin et al. (2020), "N-BEATS: Neural basis expansion analysis for interpretable time series forecasting",
          arXiv:1905.10437.
Equation  a_l = MLP(x_l),   x_{l+1} = x_l - V_b W_b a_l,   y = sum_l V_f W_f a_l
          trend: V = [1, t, ..., t^degree];   seasonality: V = [1, cos(2 pi i t), sin(2 pi i t)], i < steps / 2;
          generic: V is learnt;   t = [0, 1, ..., steps - 1] / steps, for look-back and horizon each
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; channels are forecast apart, by one network
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   The paper divides a window by its largest value, and averages an ensemble of 180 networks over look-backs,
          losses and seeds; this is one network. One `width` for all stacks (paper: 256 trend, 2048 seasonality, 512
          generic). The learnt basis is merged into the coefficients. The last block has no backcast, which nothing
          would read. Quantiles are coefficients of their own. Written from memory of the paper.
"""

from itertools import repeat
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.basis import BasisBlock, forecasts, fourier, polynomial
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer

STACKS = ("trend", "seasonality", "generic")


class NBEATS(Model):
    """Stacks of blocks with doubly residual connections.

    A block has (input_size + 1) * width + (n_layers - 1) * (width + 1) * width parameters, and in its coefficients
    width * (B + outputs * F), with B and F basis functions of look-back and horizon: degree + 1 in a trend,
    2 * max(1, steps // 2) - 1 in a seasonality; or (width + 1) * (input_size + outputs * h) in a generic one. A stack
    has one block if `shared`, else `n_blocks`. Of the last block, unless it is repeated, the part for B is not there.

    Args:
        stacks: Of `trend`, `seasonality` and `generic`, in their order, joined by `+`. The interpretable network
            of the paper is `"trend+seasonality"`; its generic one is `"generic"` with n_blocks=30 and shared=False.
        n_blocks: Blocks of a stack.
        n_layers: Hidden layers of a block.
        width: Units of a hidden layer.
        degree: Of the polynomial of a trend.
        shared: Whether the blocks of a stack have the same weights.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: a size is below 1, `degree` below 0, or `stacks` names something else.
    """

    space: ClassVar[Declared] = {
        "stacks": Choice("trend+seasonality", "generic"), "n_blocks": Integer(1, 4), "n_layers": Integer(2, 4),
        "width": Choice(128, 256, 512),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        stacks: str = "trend+seasonality", n_blocks: int = 3, n_layers: int = 4, width: int = 256, degree: int = 2,
        shared: bool = True, instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        kinds = stacks.split("+")
        _check(kinds, degree, n_blocks=n_blocks, n_layers=n_layers, width=width)
        self.instance_norm = instance_norm
        self.kinds, self.n_blocks, self.repeats = kinds, n_blocks, n_blocks if shared else 1
        each = [kind for kind in kinds for _ in range(n_blocks // self.repeats)]
        self.blocks = nn.ModuleList()
        for place, kind in enumerate(each, start=1):
            bases = [_basis(kind, steps, degree) for steps in (h, input_size)]
            backcast = None if place == len(each) and self.repeats == 1 else bases[1]
            self.blocks.append(BasisBlock(input_size, bases[0], backcast, outputs, width=width, n_layers=n_layers))

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; covariates and statics are not read."""
        parts, level = self._parts(batch)
        return parts.sum(0) + level[..., None]

    def components(self, batch: Batch) -> Float[Tensor, "stack batch h channel output"]:
        """What each stack adds to the mean of the window, or to 0 if not normalised: the forecast is the sum."""
        return self._parts(batch)[0]

    def _parts(self, batch: Batch) -> tuple[Float[Tensor, "stack batch h channel output"], Tensor]:
        """The components, and what they are added to."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        if not self.instance_norm:
            x, mean, deviation = batch.past, torch.zeros_like(mean), torch.ones_like(deviation)
        blocks = (again for block in self.blocks for again in repeat(block, self.repeats))
        parts = forecasts(blocks, x.mT.flatten(0, 1)).unflatten(0, (len(self.kinds), self.n_blocks)).sum(1)
        parts = parts.unflatten(1, (len(x), -1))  # [stack, batch, channel, output, h]
        return parts.permute(0, 1, 4, 2, 3) * deviation[..., None], mean


def _basis(kind: str, steps: int, degree: int) -> Tensor | int:
    """The functions of a stack over so many steps; where they are learnt, the number of steps."""
    if kind == "generic":
        return steps
    return polynomial(steps, degree) if kind == "trend" else fourier(steps)


def _check(kinds: list[str], degree: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if degree < 0:
        raise ArgumentError(f"degree={degree} is not that of a polynomial: give 0 (a constant) or more.")
    unknown = [kind for kind in kinds if kind not in STACKS]
    if unknown:
        raise ArgumentError(
            f"stacks={'+'.join(kinds)!r}: {unknown[0]!r} is no stack. Join some of {', '.join(STACKS)} by '+', "
            "as 'trend+seasonality'."
        )
