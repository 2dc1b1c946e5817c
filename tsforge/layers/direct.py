"""Both ends of a network that reads a window step by step and forecasts all steps at once from its last state.

Equation  steps_t = [x_t; past covariates_t; future covariates_t]   for t in the look-back
          y_t = W_t state + b_t + U future covariates_t             for t in the horizon
Shapes    steps [batch, lookback, channel + p + f]   state [batch, width] -> y [batch, h, channel, output]
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def with_covariates(
    x: Float[Tensor, "batch lookback channel"], past: Float[Tensor, "batch lookback p"] | None,
    future: Float[Tensor, "batch window f"] | None,
) -> Float[Tensor, "batch lookback c"]:
    """The values, and beside them the covariates of the same steps."""
    known = [part[:, : x.shape[1]] for part in (past, future) if part is not None]
    return torch.cat([x, *known], -1) if known else x


class DirectHead(nn.Module):
    """A linear map to all cells of the forecast; (width + 1) * h * channels * outputs + future * channels * outputs.

    Args:
        width: Size of the state.
        h: Steps ahead.
        in_channels: Target columns.
        outputs: Numbers per cell.
        future: Covariates known ahead, each with one effect on every step.
    """

    def __init__(self, width: int, h: int, in_channels: int, outputs: int, *, future: int = 0) -> None:
        super().__init__()
        self.shape = (h, in_channels, outputs)
        self.state = nn.Linear(width, h * in_channels * outputs)
        self.known = nn.Linear(future, in_channels * outputs, bias=False) if future else None

    def forward(
        self, state: Float[Tensor, "batch width"], future: Float[Tensor, "batch window f"] | None = None
    ) -> Float[Tensor, "batch h channel output"]:
        """The forecast; of what is known ahead, the last `h` steps are read."""
        y = self.state(state).unflatten(-1, self.shape)
        if self.known is None:
            return y
        assert future is not None
        return y + self.known(future[:, -self.shape[0] :]).unflatten(-1, self.shape[1:])
