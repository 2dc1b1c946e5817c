"""Echo state network: a fixed random recurrent reservoir reads the window; only the readout is learnt, in closed form.

Paper     Jaeger (2001), "The 'echo state' approach to analysing and training recurrent neural networks", GMD report
          148; leak, readout and ridge as in Lukoševičius (2012), "A Practical Guide to Applying Echo State Networks".
Equation  s_t = (1 - leak) s_{t-1} + leak tanh(W_in [1; u_t] + W s_{t-1}),   s_0 = 0,   y = W_out [1; u_T; s_T]
          W_out = (Z Z' / n + ridge I)^-1 Z Y' / n   over the n training windows, Z = [1; u_T; s_T], Y = horizon
Shapes    past [batch, lookback, channel] -> [batch, h, channel, output];   s [batch, reservoir]
Units     those of the scaled targets; u and y are what they exceed the mean of the window by, unless not `centred`
Differs   The papers run one state through the whole series and feed forecasts back. Here the state starts at 0 in each
          window, so a forecast depends on the window alone, and all steps come from the last state. W has
          round(density * size) entries in each row. The intercept is penalised as well.
"""

from collections.abc import Iterable
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tsforge.batch import Batch
from tsforge.errors import ArgumentError
from tsforge.layers.instance_norm import normalise
from tsforge.layers.ridge import solve_ridge
from tsforge.models.base import Model
from tsforge.space import Choice, Declared, Real


class EchoState(Model):
    """A reservoir and a linear readout of (1 + channels + reservoir_size) * h * channels * outputs parameters.

    The reservoir is drawn from the seed and kept. Training moves the readout by gradient; unless `ridge` is None the
    solution over all training windows takes its place at the end, so `max_steps=1` is enough then, and the history
    shows what came before it. The solution minimises the squared error over observed cells, whatever the loss.

    Args:
        reservoir_size: Units of the reservoir.
        spectral_radius: Largest modulus of the eigenvalues of W: how long the reservoir remembers.
        leak: Share of the state that is renewed in a step.
        input_scaling: W_in is uniform within this distance of 0: how nonlinear the reservoir is.
        density: Share of the entries of W that are not 0.
        ridge: Penalty on the squared readout, against the mean squared error; None keeps the readout that the gradient
            found, as several outputs in a cell (quantiles) need it.
        centred: Subtract the mean of each window from it and add it to the forecast; the papers do not.

    Raises:
        ArgumentError: a number is out of its range, or `ridge` is given for several outputs.
    """

    space: ClassVar[Declared] = {
        "reservoir_size": Choice(100, 300, 600), "spectral_radius": Real(0.5, 1.2), "leak": Real(0.1, 1.0),
        "input_scaling": Real(0.1, 1.0), "ridge": Real(1e-8, 1.0, log=True),
    }

    def __init__(
        self, h: int, input_size: int, in_channels: int, outputs: int = 1, *,
        past_covariates: int = 0, future_covariates: int = 0,
        static_numeric: int = 0, static_cardinalities: tuple[int, ...] = (),
        reservoir_size: int = 300, spectral_radius: float = 0.9, leak: float = 0.5, input_scaling: float = 0.5,
        density: float = 0.1, ridge: float | None = 1e-4, centred: bool = True,
    ) -> None:
        super().__init__(
            h, input_size, in_channels, outputs, past_covariates=past_covariates, future_covariates=future_covariates,
            static_numeric=static_numeric, static_cardinalities=static_cardinalities,
        )
        _check(reservoir_size, leak, density, spectral_radius=spectral_radius, input_scaling=input_scaling)
        if ridge is not None and (outputs > 1 or not ridge > 0):
            raise ArgumentError(
                f"ridge={ridge} with {outputs} outputs: the closed form needs a positive penalty and one output in a "
                "cell. Give ridge=None for a readout learnt by gradient, as quantiles need it."
            )
        self.leak, self.ridge, self.centred = leak, ridge, centred
        self.inputs: Tensor
        self.reservoir: Tensor
        self.register_buffer("inputs", input_scaling * (2 * torch.rand(reservoir_size, 1 + in_channels) - 1))
        self.register_buffer("reservoir", draw_reservoir(reservoir_size, density, spectral_radius))
        self.readout = nn.Linear(1 + in_channels + reservoir_size, h * in_channels * outputs, bias=False)

    def forward(self, batch: Batch) -> Float[Tensor, "batch h channel output"]:
        """The forecast of each window; covariates and statics are not read."""
        features, level = self.features(batch)
        y = self.readout(features).unflatten(-1, (self.h, self.in_channels, self.outputs))
        return y + level[..., None]

    def features(self, batch: Batch) -> tuple[Float[Tensor, "batch feature"], Float[Tensor, "batch 1 channel"]]:
        """[1; u_T; s_T] of each window, and the levels of its channels that u and y start from."""
        x, mean, deviation = normalise(batch.past, batch.past_mask)
        u, level = (x * deviation, mean) if self.centred else (batch.past, torch.zeros_like(mean))
        one = u.new_ones(len(u), 1)
        driven = u @ self.inputs[:, 1:].mT + self.inputs[:, 0]  # [batch, lookback, reservoir]
        state = torch.zeros_like(driven[:, 0])
        for drive in driven.unbind(1):
            state = state.lerp(torch.tanh(drive + state @ self.reservoir.mT), self.leak)
        return torch.cat([one, u[:, -1], state], 1), level

    @torch.no_grad()
    def after_fit(self, batches: Iterable[Batch]) -> None:
        """Puts the ridge solution over all training windows in the readout, unless `ridge` is None.

        Args:
            batches: All training windows, gone through more than once where targets are missing.
        """
        if self.ridge is None:
            return
        solution = solve_ridge(lambda: map(self._equations, batches), self.ridge)
        self.readout.weight.copy_(solution.mT)

    def _equations(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Features, targets and where those were observed, as matrices with a row for each window."""
        assert batch.future is not None
        assert batch.future_mask is not None
        features, level = self.features(batch.to(self.reservoir.device))
        target = batch.future.to(features.device) - level
        return features, target.flatten(1), batch.future_mask.to(features.device).flatten(1)


def draw_reservoir(size: int, density: float, spectral_radius: float) -> Float[Tensor, "{size} {size}"]:
    """A random matrix with round(density * size), at least 1, uniform entries in each row, and this spectral radius."""
    entries = max(1, round(density * size))
    places = torch.argsort(torch.rand(size, size), dim=1, stable=True)[:, :entries]
    drawn = 2 * torch.rand(size, entries).double() - 1
    weights = torch.zeros(size, size, dtype=torch.float64).scatter(1, places, drawn)
    radius = torch.linalg.eigvals(weights).abs().max()
    return (weights * (spectral_radius / radius)).to(torch.get_default_dtype())


def _check(reservoir_size: int, leak: float, density: float, **positive: float) -> None:
    if reservoir_size < 1:
        raise ArgumentError(f"reservoir_size={reservoir_size} leaves nothing to compute: give at least 1.")
    for name, share in (("leak", leak), ("density", density)):
        if not 0 < share <= 1:
            raise ArgumentError(f"{name}={share} is not a share: give a number above 0, at most 1.")
    for name, value in positive.items():
        if not value > 0:
            raise ArgumentError(f"{name}={value} silences the reservoir: give a positive number.")
