"""Diagonal state space: a long convolution in training, a recurrence of constant cost per step when streaming.

Paper     Gu, Gupta, Goel & Re (2022), "On the Parameterization and Initialization of Diagonal State Space Models",
          arXiv:2206.11893; initialisation and training as in the authors' code.
Equation  x' = A x + B u,   y = 2 Re(C x) + D u,   A = -exp(log_A_real) + i A_imag, one of each conjugate pair
          zero-order hold   Ab = exp(dt A),   Bb = (Ab - 1) / A B
          bilinear          Ab = (1 + dt A / 2) / (1 - dt A / 2),   Bb = dt B / (1 - dt A / 2)
          bounded memory    Ab exp(-3 / memory) for Ab
          h_t = Ab h_{t-1} + Bb u_t,   K_l = 2 Re sum_n C_n Bb_n Ab_n^l,   y = K * u + D u
Shapes    u, y [batch, time, feature]   state complex [batch, feature, mode],   mode = d_state / 2
Units     dt in steps of the series: a mode of A = -1/2 + ... forgets over 2 / dt steps
Differs   The real initialisation keeps the factor 2. The normalised kernel (DSS) and tied A are left out.
"""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.errors import ArgumentError
from tsforge.kernels import fft_conv, s4d_kernel
from tsforge.layers.hippo import INITS, initial_modes

DISCRETISATIONS = ("zoh", "bilinear")
SLOW = ("log_dt", "log_A_real", "A_imag", "B")
FORGOTTEN = 3.0  # exp(-3) = 5 % is left of a state at the end of its memory


class DiagonalSSM(nn.Module):
    """A linear system for each feature; d_model (3 d_state + 2) parameters.

    Args:
        d_model: Features.
        d_state: State size of a feature, even: half as many modes, each for a conjugate pair.
        init: Where A starts: `"legs"`, `"inv"`, `"lin"` or `"real"`.
        discretisation: `"zoh"`, exact for inputs held over a step, or `"bilinear"`.
        dt_min: Shortest step at the start, the longest memory: about 1 / dt_min steps.
        dt_max: Longest step at the start; between them the logarithm is uniform.
        memory: Steps after which at most 5 % of any state is left, whatever is learned; None sets no bound.

    Raises:
        ArgumentError: a size is too small or odd, a word is unknown, `memory` below 1, or not 0 < dt_min <= dt_max.
    """

    def __init__(
        self, d_model: int, d_state: int = 64, *, init: str = "legs", discretisation: str = "zoh",
        dt_min: float = 1e-3, dt_max: float = 0.1, memory: int | None = None,
    ) -> None:
        super().__init__()
        _check(d_model, d_state, init, discretisation, dt_min, dt_max, memory)
        self.discretisation = discretisation
        self.least_decay = 0.0 if memory is None else FORGOTTEN / memory
        A, B = initial_modes(init, d_state)
        dtype = torch.get_default_dtype()

        def per_feature(x: Tensor) -> nn.Parameter:
            return nn.Parameter(x.to(dtype).expand(d_model, *x.shape).clone())

        low, high = math.log(dt_min), math.log(dt_max)
        self.log_dt = nn.Parameter(torch.empty(d_model).uniform_(low, high))
        self.log_A_real = per_feature((-A.real).log())
        self.A_imag = per_feature(A.imag)
        self.B = per_feature(torch.view_as_real(B))  # complex numbers as pairs: optimisers and files know them
        self.C = nn.Parameter(torch.randn(d_model, len(A), 2) * 0.5**0.5)
        self.D = nn.Parameter(torch.randn(d_model))

    def discrete(self, rate: float = 1.0) -> tuple[Complex[Tensor, "feature mode"], Complex[Tensor, "feature mode"]]:
        """log Ab and Bb.

        Args:
            rate: Steps of training in a step of the series: 2 where every second sample is kept.
        """
        dt = (self.log_dt.exp() * rate)[:, None]
        z = dt * torch.complex(-self.log_A_real.exp(), self.A_imag)
        B, least = dt * torch.view_as_complex(self.B), self.least_decay * rate
        if self.discretisation == "zoh":
            return z - least, B * torch.expm1(z) / z
        Ab = (1 + z / 2) / (1 - z / 2)  # at z = -2 a step forgets everything
        return torch.where(Ab.abs() > 1e-30, Ab, 1e-30).log() - least, B / (1 - z / 2)

    def forward(
        self, u: Float[Tensor, "batch time feature"], state: Complex[Tensor, "batch feature mode"] | None = None, *,
        rate: float = 1.0,
    ) -> Float[Tensor, "batch time feature"]:
        """The response to `u`, as a convolution.

        Args:
            u: The input; it acts at its own step.
            state: The state before the first step; zero unless given.
            rate: As in `discrete`.
        """
        log_Ab, Bb = self.discrete(rate)
        C, time = torch.view_as_complex(self.C), u.shape[1]
        y = fft_conv(u.mT, s4d_kernel(log_Ab, C * Bb, time))
        if state is not None:  # what is left of it
            y = y + 2 * torch.einsum("bhm,hml->bhl", C * state, _powers(log_Ab, time)[..., 1:]).real
        return y.mT + self.D * u

    def advance(
        self, u: Float[Tensor, "batch time feature"], state: Complex[Tensor, "batch feature mode"] | None = None, *,
        rate: float = 1.0,
    ) -> Complex[Tensor, "batch feature mode"]:
        """The state after `u`; arguments as in `forward`."""
        log_Ab, Bb = self.discrete(rate)
        powers = _powers(log_Ab, u.shape[1]).flip(-1)  # by the steps that pass until the end, of the state first
        end = torch.einsum("hml,blh->bhm", powers[..., 1:], u.to(Bb.dtype)) * Bb
        return end if state is None else end + powers[..., 0] * state

    def step(
        self, u: Float[Tensor, "batch feature"], state: Complex[Tensor, "batch feature mode"] | None = None, *,
        rate: float = 1.0,
    ) -> tuple[Float[Tensor, "batch feature"], Complex[Tensor, "batch feature mode"]]:
        """One step of the recurrence: the output and the next state; arguments as in `forward`."""
        log_Ab, Bb = self.discrete(rate)
        entered = Bb * u[..., None]
        state = entered if state is None else log_Ab.exp() * state + entered
        return 2 * (torch.view_as_complex(self.C) * state).real.sum(-1) + self.D * u, state


class S4DLayer(nn.Module):
    """The system, a GELU, and a gated mix of features; d_model (3 d_state + 2) + 2 d_model (d_model + 1) parameters.

    Args:
        d_model: Features.
        d_state: State size of a feature, even.
        dropout: Share of the features that is dropped in training, at all steps of a window alike.
        init: Where A starts: `"legs"`, `"inv"`, `"lin"` or `"real"`.
        discretisation: `"zoh"` or `"bilinear"`.
        dt_min: Shortest step at the start.
        dt_max: Longest step at the start.
        memory: Steps after which at most 5 % of any state is left; None sets no bound.
    """

    def __init__(
        self, d_model: int, d_state: int = 64, *, dropout: float = 0.0, init: str = "legs",
        discretisation: str = "zoh", dt_min: float = 1e-3, dt_max: float = 0.1, memory: int | None = None,
    ) -> None:
        super().__init__()
        self.system = DiagonalSSM(
            d_model, d_state, init=init, discretisation=discretisation, dt_min=dt_min, dt_max=dt_max, memory=memory
        )
        self.dropout = nn.Dropout1d(dropout)
        self.mix = nn.Linear(d_model, 2 * d_model)

    def forward(
        self, u: Float[Tensor, "batch time feature"], state: Complex[Tensor, "batch feature mode"] | None = None, *,
        rate: float = 1.0,
    ) -> Float[Tensor, "batch time feature"]:
        """The layer without residual and norm; the state after `u` is that of `system.advance`."""
        y = F.gelu(self.system(u, state, rate=rate))
        return F.glu(self.mix(self.dropout(y.mT).mT))

    def step(
        self, u: Float[Tensor, "batch feature"], state: Complex[Tensor, "batch feature mode"] | None = None, *,
        rate: float = 1.0,
    ) -> tuple[Float[Tensor, "batch feature"], Complex[Tensor, "batch feature mode"]]:
        """One step of `forward` in evaluation: the output and the next state."""
        y, state = self.system.step(u, state, rate=rate)
        return F.glu(self.mix(F.gelu(y))), state


def slow_parameters(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    """A, dt and B of every system: they are trained slowly, and weight decay would change their meaning."""
    systems = [module for module in modules if isinstance(module, DiagonalSSM)]
    return [getattr(system, name) for system in systems for name in SLOW]


def _powers(log_Ab: Tensor, last: int) -> Tensor:
    """Ab to the powers 0 to `last`, [feature, mode, 1 + last]; the phase of a fast mode needs float64.

    As products of two, since exponentials are what costs: Ab^(i + j n) = Ab^i (Ab^n)^j.
    """
    log_Ab, dtype, n = log_Ab.to(torch.complex128)[..., None], log_Ab.dtype, math.isqrt(last) + 1
    steps = torch.arange(n, device=log_Ab.device)  # n^2 > last
    low, high = (log_Ab * steps).exp().to(dtype), (log_Ab * (n * steps)).exp().to(dtype)
    return (high[..., None] * low[..., None, :]).flatten(-2)[..., : last + 1]


def _check(
    d_model: int, d_state: int, init: str, discretisation: str, dt_min: float, dt_max: float, memory: int | None
) -> None:
    if d_model < 1:
        raise ArgumentError(f"d_model={d_model} leaves nothing to compute: give at least 1.")
    if d_state < 2 or d_state % 2:
        raise ArgumentError(f"d_state={d_state} does not make conjugate pairs: give an even number, at least 2.")
    for name, word, known in (("init", init, INITS), ("discretisation", discretisation, DISCRETISATIONS)):
        if word not in known:
            raise ArgumentError(f"{name}={word!r} is not known: give one of {', '.join(map(repr, known))}.")
    if not 0 < dt_min <= dt_max:
        raise ArgumentError(f"dt_min={dt_min} and dt_max={dt_max} span no steps: give 0 < dt_min <= dt_max.")
    if memory is not None and memory < 1:
        raise ArgumentError(f"memory={memory} leaves no step to remember: give at least 1.")
