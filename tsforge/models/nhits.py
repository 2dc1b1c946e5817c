"""N-HiTS: N-BEATS whose stacks see the look-back at several rates and write the forecast at several resolutions.

Paper     Challu et al. (2023), "N-HiTS: Neural Hierarchical Interpolation for Time Series Forecasting",
          arXiv:2201.12886.
Equation  a_l = MLP(maxpool(x_l, k_l)),   theta = W a_l,   x_{l+1} = x_l - g(theta_b),   y = sum_l g(theta_f)
          g interpolates ceil(steps * r_l) values at evenly placed knots; r_l is the expressiveness ratio
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output]; channels are forecast apart, by one network
Units     those of the scaled targets; each window is normalised by its own mean and deviation, and the forecast back
Differs   One block in a stack, as in the published settings. A number for
          `pooling` or `downsampling` means its powers; the paper gives one rate for each stack, which a list does here.
          Backcasts are interpolated too, as the equation says; as we remember it, the published code interpolates
          forecasts only. No cubic interpolation. A pooling longer than the look-back is one maximum over it. The last
          stack has no backcast, which nothing would read. Quantiles have knots of their own. Written from memory.
"""

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.basis import BasisBlock, forecasts, interpolation
from tsforge.layers.instance_norm import normalise
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Integer

MODES = ("linear", "nearest")


class NHiTS(Model):
    """Stacks of one block, from coarse to fine.

    A stack has (ceil(input_size / k) + 1) * width + (n_layers - 1) * (width + 1) * width parameters, and
    width * (ceil(input_size / d) + outputs * ceil(h / d)) in its knots, with its pooling k and downsampling d = 1 / r;
    the last one has no knots in the look-back.

    Args:
        n_stacks: Stacks.
        pooling: Steps of which a stack sees the maximum: a number p for p^(n_stacks - 1), ..., p, 1, or a list of
            `n_stacks` numbers.
        downsampling: Steps to a knot, 1 / r, in the same way.
        n_layers: Hidden layers of a block.
        width: Units of a hidden layer.
        interpolation: Between knots, `"linear"` or `"nearest"`.
        instance_norm: Normalise each window by its own mean and deviation.

    Raises:
        ArgumentError: a size is below 1, a list has not `n_stacks` numbers, or `interpolation` is neither.
    """

    space: ClassVar[Declared] = {
        "n_layers": Integer(1, 3), "pooling": Integer(1, 4), "downsampling": Integer(2, 6),
        "width": Choice(128, 256, 512),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        n_stacks: int = 3, pooling: int | Sequence[int] = 2, downsampling: int | Sequence[int] = 4,
        n_layers: int = 2, width: int = 256, interpolation: str = "linear",
        instance_norm: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        self.instance_norm = instance_norm
        for name, size in (("n_stacks", n_stacks), ("n_layers", n_layers), ("width", width)):
            if size < 1:
                raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
        if interpolation not in MODES:
            raise ArgumentError(f"interpolation={interpolation!r} is not known: give 'linear' or 'nearest'.")
        rates = zip(_rates("pooling", pooling, n_stacks), _rates("downsampling", downsampling, n_stacks), strict=True)
        self.blocks = nn.ModuleList()
        for place, (pool, spacing) in enumerate(rates, start=1):
            forecast, backcast = (_knots(steps, spacing, interpolation) for steps in (h, input_size))
            self.blocks.append(BasisBlock(
                input_size, forecast, backcast if place < n_stacks else None, outputs,
                width=width, n_layers=n_layers, pool=min(pool, input_size),
            ))

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; covariates and statics are not read."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        x = (x if self.instance_norm else batch.past).mT.flatten(0, 1)
        y = forecasts(self.blocks, x).sum(0)
        y = y.unflatten(0, (len(batch), -1)).permute(0, 3, 1, 2)  # [batch, h, channel, output]
        return y * deviation[..., None] + mean[..., None] if self.instance_norm else y


def _knots(steps: int, spacing: int, mode: str) -> Tensor:
    return interpolation(steps, -(-steps // spacing), mode)


def _rates(name: str, given: int | Sequence[int], stacks: int) -> list[int]:
    """One rate for each stack."""
    rates = [given**power for power in reversed(range(stacks))] if isinstance(given, int) else list(given)
    if len(rates) != stacks or min(rates) < 1:
        raise ArgumentError(
            f"{name}={given!r} does not say a rate for each of {stacks} stacks: give a number from 1 on, whose powers "
            f"are meant, or a list of {stacks}, as {[2 * k + 1 for k in reversed(range(stacks))]}."
        )
    return rates
