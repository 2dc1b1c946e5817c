"""Hypercomplex convolutions: one small filter bank shared over the n components of an algebra, which is learnt.

Paper     Grassucci, Zhang & Comminiello (2022), "PHNNs: Lightweight Neural Networks via Parameterized Hypercomplex
          Convolutions", arXiv:2110.04176.
Equation  W = sum_i A_i (kron) F_i,   y = W * x + b       in a convolution
          x <- LayerNorm(x + dropout(GELU(conv_l(x))))    in layer l, whose taps are dilation_base^l steps apart
Shapes    A [n, n, n]   F [n, out/n, in/n, k]   x [batch, time, in_channels] -> [batch, time, d_model]
Units     none: x is scaled before it comes here.
Differs   The paper convolves over images; here over time. Residual blocks, dilation and the causal form are ours. The
          filters start so that W has the variance of He et al. (2015) whatever n is; in the published layers it shrinks
          with n. The published layers make a bias and do not use it; here it is added.
"""

import logging
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.encoders.sequence.base import SequenceEncoder
from tsforge.errors import ArgumentError, ShapeError
from tsforge.space import Choice, Declared, Integer, Real

log = logging.getLogger("tsforge")

ALGEBRAS = ("learned", "hamilton")


def hamilton_algebra() -> Float[Tensor, "4 4 4"]:
    """The matrices by which 1, i, j, k act from the left on quaternions (r, i, j, k)."""
    rows = [
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        [[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 0, -1], [0, 0, 1, 0]],
        [[0, 0, -1, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, -1, 0, 0]],
        [[0, 0, 0, -1], [0, 0, -1, 0], [0, 1, 0, 0], [1, 0, 0, 0]],
    ]
    return torch.tensor(rows, dtype=torch.get_default_dtype())


class PHConv1d(nn.Module):
    """A convolution over time with n**3 + in_channels * out_channels * kernel_size / n weights and out_channels biases.

    Args:
        in_channels: Channels in; block a of the n blocks is component a of the numbers.
        out_channels: Channels out, in blocks likewise.
        kernel_size: Taps.
        n: Components of the algebra (2 contains the complex numbers, 4 the quaternions).
        dilation: Steps from one tap to the next.
        causal: A step sees itself and those before it; else as many on both sides.
        algebra: `"learned"`, or `"hamilton"`: that of the quaternions, which is not trained.

    Raises:
        ShapeError: a channel count is not a multiple of `n`, or `"hamilton"` is asked for with another n than 4.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, *, n: int = 4, dilation: int = 1,
        causal: bool = False, algebra: str = "learned",
    ) -> None:
        super().__init__()
        for name, size in (("in_channels", in_channels), ("out_channels", out_channels)):
            if size % n:
                raise ShapeError(f"{name}={size} is not a multiple of n={n}: choose n among the divisors of {size}.")
        if algebra == "hamilton" and n != 4:
            raise ShapeError(f"algebra='hamilton' with n={n}: quaternions have 4 components. Give n=4.")
        reach = (kernel_size - 1) * dilation
        self.dilation, self.reach = dilation, (reach, 0) if causal else (reach // 2, reach - reach // 2)
        self.algebra: Tensor
        if algebra == "hamilton":
            self.register_buffer("algebra", hamilton_algebra(), persistent=False)
        else:
            self.algebra = nn.Parameter(torch.randn(n, n, n) * n**-0.5)
        drawn = torch.randn(n, out_channels // n, in_channels // n, kernel_size)
        variance = 2 / (in_channels * kernel_size) / (n * self.algebra.detach().square().mean())
        self.filters = nn.Parameter(drawn * variance.sqrt())
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def weight(self) -> Float[Tensor, "out_channels in_channels kernel_size"]:
        """The sum of the Kronecker products; made anew for each call, for A and F move in training."""
        weight = torch.einsum("iab,icdk->acbdk", self.algebra, self.filters)  # [n, out/n, n, in/n, k]
        return weight.flatten(0, 1).flatten(1, 2)

    def forward(self, x: Float[Tensor, "batch in_channels time"]) -> Float[Tensor, "batch out_channels time"]:
        return F.conv1d(F.pad(x, self.reach), self.weight(), self.bias, dilation=self.dilation)


class PHCEncoder(SequenceEncoder):
    """A lift to d_model and residual dilated layers, all of hypercomplex convolutions.

    With c = in_channels rounded up to a multiple of n it has c d_model / n + n_layers kernel_size d_model**2 / n
    weights of filters, (n_layers + 1) n**3 of algebras unless `"hamilton"`, and (3 n_layers + 1) d_model others.

    Args:
        n: Components of the algebra, a divisor of d_model. Channels are filled up with zeros to a multiple of it.
        n_layers: Layers.
        kernel_size: Taps of a layer.
        dilation_base: How many times farther apart the taps are from one layer to the next.
        causal: A token sees no later step.
        algebra: `"learned"`, or `"hamilton"`, the quaternions (n = 4).
        dropout: Share of what a layer adds that is dropped in training.

    Raises:
        ShapeError: `d_model` is not a multiple of `n`, or n is not that of the algebra.
        ArgumentError: a size is below 1, `dropout` is not in [0, 1), or `algebra` is not known.
    """

    space: ClassVar[Declared] = {
        "n": Choice(1, 2, 4), "n_layers": Integer(1, 4), "kernel_size": Choice(3, 5), "dropout": Real(0.0, 0.3),
    }

    def __init__(
        self, in_channels: int, d_model: int = 64, *, n: int = 4, n_layers: int = 3, kernel_size: int = 3,
        dilation_base: int = 2, causal: bool = False, algebra: str = "learned", dropout: float = 0.1,
    ) -> None:
        super().__init__(in_channels, d_model)
        _check(dropout, algebra, n=n, n_layers=n_layers, kernel_size=kernel_size, dilation_base=dilation_base)
        if d_model % n:
            raise ShapeError(f"d_model={d_model} is not a multiple of n={n}: choose n among the divisors of {d_model}.")
        self.fill = -in_channels % n
        if in_channels < n:
            log.info(f"PHCEncoder: {in_channels} channels for n={n} components; {self.fill} of them are zeros in the "
                     "first layer, whose filters for those do nothing.")
        self.lift = PHConv1d(in_channels + self.fill, d_model, n=n, algebra=algebra)
        self.layers = nn.ModuleList(
            PHConv1d(
                d_model, d_model, kernel_size, n=n, dilation=dilation_base**layer, causal=causal, algebra=algebra
            )
            for layer in range(n_layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(n_layers))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """The token of each step; masked cells count as 0."""
        x = x if mask is None else torch.where(mask, x, 0.0)
        x = self.lift(F.pad(x, (0, self.fill)).mT).mT
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = norm(x + self.dropout(F.gelu(layer(x.mT).mT)))
        return x


def _check(dropout: float, algebra: str, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    if not 0 <= dropout < 1:
        raise ArgumentError(f"dropout={dropout} is not a share: give a number from 0 to below 1.")
    if algebra not in ALGEBRAS:
        raise ArgumentError(f"algebra={algebra!r} is not known: give one of {', '.join(map(repr, ALGEBRAS))}.")
