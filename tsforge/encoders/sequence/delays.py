"""Delay vectors of each step, their lag and dimension found once on training windows.

Paper     Takens (1981), "Detecting strange attractors in turbulence", Lecture Notes in Mathematics 898; the dimension
          by Cao (1997), "Practical method for determining the minimum embedding dimension of a scalar time series",
          Physica D 110; both as features of a network by Sarveswararao & Ravi (2020), arXiv:2008.10365.
Equation  lag     the first k with rho_k <= 0, at most a third of the window; rho of all windows together
          d       the first at which E1 levels off; where it never does, as for noise, max_dimension
          token_t = GELU(W (x_t, x_{t-lag}, ..., x_{t-(d-1) lag}) + b), the channels side by side
Shapes    x [batch, time, channel] -> [batch, time, d_model]   W [d_model, channel * max_dimension]
Units     none: x is scaled before it comes here; lag in steps
Differs   The papers embed one long series. Here one vector for each window, the one that ends it, stands for the series
          it was cut from, and a neighbour may be of another series. The vector of a window as a whole, `pooled`, is the
          token of its last step: where on the attractor the series is, and not a mean over where it was.
"""

from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.encoders.sequence.base import SequenceEncoder
from tsforge.errors import ArgumentError
from tsforge.layers.delay import delayed
from tsforge.layers.last_observed import carried_on
from tsforge.space import Declared, Integer

LEAST = 30  # complete windows; of fewer, windows with gaps are taken as they were filled


class DelayEncoder(SequenceEncoder):
    """(in_channels * max_dimension + 1) * d_model parameters; those of delays beyond the dimension are not read.

    Args:
        in_channels: Channels of a window; each has a lag and a dimension of its own.
        d_model: Width of a token.
        max_dimension: The most coordinates of a delay vector, and how many there are before `fit`.

    Raises:
        ArgumentError: a size is below 1.
    """

    lag: Tensor
    dimension: Tensor

    space: ClassVar[Declared] = {"max_dimension": Integer(4, 12)}

    def __init__(self, in_channels: int, d_model: int = 64, *, max_dimension: int = 10) -> None:
        super().__init__(in_channels, d_model)
        if max_dimension < 1:
            raise ArgumentError(f"max_dimension={max_dimension} leaves nothing to read: give at least 1.")
        self.max_dimension = max_dimension
        self.read = nn.Linear(in_channels * max_dimension, d_model)
        self.register_buffer("lag", torch.ones(in_channels, dtype=torch.int64))
        self.register_buffer("dimension", torch.full((in_channels,), max_dimension))

    def fit(self, *inputs: Tensor | None) -> None:
        """Lag and dimension of each channel, in float64.

        Args:
            inputs: Windows [window, time, channel] and their mask.
        """
        x, mask = inputs[0], inputs[1] if len(inputs) > 1 else None
        assert x is not None
        values = x.detach().cpu().double().numpy()
        seen = np.ones(values.shape, bool) if mask is None else mask.cpu().numpy()
        for c in range(self.in_channels):
            complete = seen[..., c].all(axis=1)
            windows = values[complete, :, c] if complete.sum() >= LEAST else values[..., c]
            self.lag[c] = lag = _lag(windows)
            self.dimension[c] = _dimension(windows, lag, self.max_dimension)

    def forward(
        self, x: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"] | None = None
    ) -> Float[Tensor, "batch time d_model"]:
        """The token of each step."""
        if mask is not None:
            x, _ = carried_on(x, mask, x.new_zeros(len(x), self.in_channels))
        vectors = delayed(x, self.lag, self.max_dimension)
        there = torch.arange(self.max_dimension, device=x.device) < self.dimension[:, None]  # [channel, dimension]
        return F.gelu(self.read((vectors * there).flatten(2)))

    def pooled(
        self, x: Float[Tensor, "batch time channel"], mask: Bool[Tensor, "batch time channel"] | None = None
    ) -> Float[Tensor, "batch d_model"]:
        """The token of the last step."""
        return self(x, mask)[:, -1]


def _lag(windows: np.ndarray) -> int:
    """The first lag at which windows [window, time] of one channel are uncorrelated with themselves."""
    most = max(1, (windows.shape[1] - 1) // 3)
    centred = windows - windows.mean()
    for k in range(1, most):
        if (centred[:, k:] * centred[:, :-k]).mean() <= 0:
            return k
    return most


def _dimension(windows: np.ndarray, lag: int, most: int) -> int:
    """Cao's dimension of the delay vectors that end the windows, at most `most`."""
    from tsforge.dynamics.cao import levels_off  # these bring scipy
    from tsforge.dynamics.nearest import MAXIMUM, nearest

    points = windows[:, ::-1][:, ::lag][:, : most + 3]
    columns, means = points.shape[1], []
    for d in range(1, columns):
        try:
            steps, distance = nearest(points[:, :d].copy(), norm=MAXIMUM)
        except ArgumentError:  # the windows are all the same
            break
        pairs = steps >= 0
        growth = np.abs(points[pairs, d] - points[steps[pairs], d])
        means.append(np.mean(np.maximum(distance[pairs], growth) / distance[pairs]))
    return min(levels_off(np.array(means[1:]) / np.array(means[:-1])) or most, most, columns)
