"""Chimera's block: two selective 2-D state spaces over (variate x time), of long and of short memory, and a gate.

Paper     Behrouz, Santacatterina & Zabih (2024), "Chimera: Effectively Modeling Multivariate Time Series with
          2-Dimensional State Space Models", arXiv:2406.04320. The structure is the paper's; the formulas are
          reconstructed, since the text could not be had.
Equation  S(x):  [b1, b2, c1, c2] = W x[v,t],   [D1, D2] = softplus(U x[v,t] + e)
                 h1, h2 and <c1, h1> + <c2, h2> as in `tsforge.kernels.grid`, with the rates a = -exp(log_a) and
                 zoh_input  a2 = 0.99 tanh(r2) |a1|,   a3 = 0.99 tanh(r3) |a4|,   so |a2 a3| < |a1 a4|
                 exp        a2 = -exp(r2),   a3 = -exp(r3),   D1 + 0.8 / min(|a1|, |a2|) for D1, likewise D2
          ssm    P(x) = S(x) + flip(S'(flip x)),   flipped along variates, S' with weights of its own
                 bounded memory   D1 + 3 / (memory min |a1|) for D1; where "exp", the larger of this and its own
          block  x <- norm(x + W_out ((P_long(x) + P_seasonal(x) + s x) silu(W_gate x)))
Shapes    x [batch, variate, time, d_model] -> the same;   h1, h2 [batch, variate, d_model, d_state]
Units     D1 in steps of time, D2 in variates: a state forgets over about 1 / (D |a|) of them

Stability zoh_input keeps the states within a constant for all steps, however they vary, since each is a weighted mean
          of itself and of what enters with at most 0.99 of the other. exp needs D |a| > ln 2; with the floor of 0.8 no
          coefficient is above 0.45.
Differs   a1 and a2 are diagonal: a companion matrix would need an exponential of n^3 for each cell where the steps
          depend on the input. The short convolution before the scans, an option of the paper, is left out.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.errors import ArgumentError
from tsforge.kernels import GridState, scan_2d

COUPLINGS = ("zoh_input", "exp", "none")
TRANSITIONS = ("diagonal", "scalar")
BOUND = 0.99  # tanh rounds to 1 at large weights, where the coupled states would no longer be bounded
FLOOR = 0.8  # of step times rate where coupled by "exp"; from ln 2 downwards it explodes
FORGOTTEN = 3.0  # exp(-3) = 5 % is left of a time state at the end of its memory
VARIATE_STEPS = (1e-3, 0.1)  # where the steps across variates start


class Constant(nn.Module):
    """The same numbers for every cell, where a linear map of the cell would stand."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.empty(features).uniform_(-1, 1))

    def forward(self, x: Float[Tensor, "*cell d_model"]) -> Float[Tensor, "*cell feature"]:
        return self.bias.expand(*x.shape[:-1], -1)


class SelectiveGrid(nn.Module):
    """S: a 2-D state space in one direction along variates.

    4 d m + 4 n d + 2 d (d + 1) weights, d = d_model, n = d_state, m = n or, with "scalar", 1; where not selective
    4 d m + 4 n + 2 d. Uncoupled, there is the time state only: d m + 2 n d + d (d + 1), or d m + 2 n + d.

    Args:
        d_model: Features.
        d_state: Size of each of the two states of a feature.
        steps: Between which bounds the steps of time start, evenly in their logarithm.
        coupling: `"zoh_input"`, `"exp"`, or `"none"`: each variate by itself, a 1-D scan along time.
        transition: `"diagonal"`: a rate for each number of a state (2-D Mamba); `"scalar"`: one for all numbers
            of the state of a feature (2-D Mamba-2).
        selective: Steps, b and c depend on the cell; if not, they are the same for all, and S is a 2-D convolution.
        reverse: From the last variate to the first.
        memory: Steps of time after which at most 5 % of an uncoupled time state is left; None sets no bound.

    Raises:
        ArgumentError: a size or `memory` is below 1, a word is not known, or not 0 < low <= high for the steps.
    """

    def __init__(
        self, d_model: int, d_state: int, steps: tuple[float, float], *, coupling: str = "zoh_input",
        transition: str = "diagonal", selective: bool = True, reverse: bool = False, memory: int | None = None,
    ) -> None:
        super().__init__()
        _check(d_model, d_state, steps, coupling, transition, memory)
        self.d_state, self.coupling, self.reverse = d_state, coupling, reverse
        self.least_decay = 0.0 if memory is None else FORGOTTEN / memory
        states, rates = 1 if coupling == "none" else 2, d_state if transition == "diagonal" else 1
        self.log_a = nn.Parameter(torch.arange(1.0, rates + 1).log().repeat(states, d_model, 1))  # a1, a4
        self.cross = None if coupling == "none" else nn.Parameter(_crossing(coupling, self.log_a.detach()))  # a2, a3
        reads, widths = 2 * states * d_state, states * d_model
        self.reads = nn.Linear(d_model, reads, bias=False) if selective else Constant(reads)
        self.steps = nn.Linear(d_model, widths) if selective else Constant(widths)
        start = torch.cat([_spread(d_model, *bounds) for bounds in (steps, VARIATE_STEPS)[:states]])
        with torch.no_grad():
            self.steps.bias.copy_(start + (-torch.expm1(-start)).log())  # softplus of it is `start`

    def forward(
        self, x: Float[Tensor, "batch variate time d_model"], state: GridState | None = None
    ) -> tuple[Float[Tensor, "batch variate time d_model"], GridState]:
        """S(x), and the states of the last column; `state` are those of the column before the first."""
        delta1, delta2 = self.deltas(x)
        reads = self.reads(x).split(self.d_state, -1)
        b1, b2, c1, c2 = reads if self.cross is not None else (reads[0], 0 * reads[0], reads[1], 0 * reads[1])
        a1, a2, a3, a4 = self.rates()
        coupling = "exp" if self.coupling == "exp" else "zoh_input"
        y, last = scan_2d(
            x, delta1, delta2, a1, a2, a3, a4, b1, b2, c1, c2, coupling=coupling, reverse_variates=self.reverse,
            h0=state, return_state=True,
        )
        return y, GridState(*last)

    def rates(self) -> tuple[Float[Tensor, "d_model d_state"], ...]:
        """a1, a2, a3, a4."""
        own = -self.log_a.exp()
        if self.cross is None:
            a1, (a2, a3, a4) = own[0], 3 * [torch.zeros_like(own[0])]
        else:
            a2, a3 = -self.cross.exp() if self.coupling == "exp" else -BOUND * self.cross.tanh() * own
            a1, a4 = own
        return tuple(a.expand(-1, self.d_state) for a in (a1, a2, a3, a4))

    def deltas(
        self, x: Float[Tensor, "batch variate time d_model"]
    ) -> tuple[Float[Tensor, "batch variate time d_model"], Float[Tensor, "batch variate time d_model"]]:
        """D1 and D2 of every cell."""
        steps, slowest = F.softplus(self.steps(x)), self.log_a.amin(-1).exp()
        delta1, delta2 = (steps, torch.zeros_like(steps)) if self.cross is None else steps.chunk(2, -1)
        if self.cross is not None and self.coupling == "exp":
            slowest = torch.minimum(self.log_a, self.cross).amin(-1).exp()  # of a1 and a2, of a4 and a3
            return delta1 + max(FLOOR, self.least_decay) / slowest[0], delta2 + FLOOR / slowest[1]
        return (delta1 + self.least_decay / slowest[0] if self.least_decay else delta1), delta2


class GridSSM(nn.Module):
    """P: a state space in one direction along variates, or one in each; uncoupled variates need one only.

    Args:
        d_model: Features.
        bidirectional: Both directions, so that every variate can reach every other one.
        others: Arguments of `SelectiveGrid`.
    """

    def __init__(self, d_model: int, *, bidirectional: bool = True, **others: Any) -> None:
        super().__init__()
        ways = (False, True) if bidirectional and others.get("coupling") != "none" else (False,)
        self.ways = nn.ModuleList(SelectiveGrid(d_model, **others, reverse=way) for way in ways)

    def forward(
        self, x: Float[Tensor, "batch variate time d_model"], states: list[GridState] | None = None
    ) -> tuple[Float[Tensor, "batch variate time d_model"], list[GridState]]:
        """P(x), and the states of each direction."""
        before = states or [None] * len(self.ways)
        after = [way(x, state) for way, state in zip(self.ways, before, strict=True)]
        return torch.stack([y for y, _ in after]).sum(0), [state for _, state in after]


class ChimeraBlock(nn.Module):
    """Both state spaces, the gate, the residual and the norm.

    The weights of the state spaces and d (2 d + 5) more, d = d_model.

    Args:
        d_model: Features.
        long_step: Longest step of time at which the state space of long memory starts; the shortest is a tenth.
        seasonal_step: The same of the one of short memory.
        dropout: Share of the features of the sum dropped in training.
        others: Further arguments of `GridSSM`.
    """

    def __init__(
        self, d_model: int, long_step: float, seasonal_step: float, dropout: float = 0.0, **others: Any
    ) -> None:
        super().__init__()
        self.long = GridSSM(d_model, steps=(long_step / 10, long_step), **others)
        self.seasonal = GridSSM(d_model, steps=(seasonal_step / 10, seasonal_step), **others)
        self.skip = nn.Parameter(torch.ones(d_model))
        self.gate, self.out = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)
        self.dropout, self.norm = nn.Dropout(dropout), nn.LayerNorm(d_model)

    def forward(
        self, x: Float[Tensor, "batch variate time d_model"], states: list[list[GridState]] | None = None
    ) -> tuple[Float[Tensor, "batch variate time d_model"], list[list[GridState]]]:
        """The block's output, and the states that a later column needs."""
        before = states or [None, None]
        (long, of_long), (seasonal, of_seasonal) = self.long(x, before[0]), self.seasonal(x, before[1])
        y = self.out((long + seasonal + self.skip * x) * F.silu(self.gate(x)))
        return self.norm(x + self.dropout(y)), [of_long, of_seasonal]


def _spread(features: int, low: float, high: float) -> Tensor:
    return torch.empty(features).uniform_(math.log(low), math.log(high)).exp()


def _crossing(coupling: str, log_a: Tensor) -> Tensor:
    """Where a2 and a3 start: as fast as a1 and a4, or weak and of either sign."""
    return log_a.clone() if coupling == "exp" else 0.5 * torch.randn_like(log_a)


def _check(
    d_model: int, d_state: int, steps: tuple[float, float], coupling: str, transition: str, memory: int | None
) -> None:
    for name, size in (("d_model", d_model), ("d_state", d_state), ("memory", memory)):
        if size is not None and size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
    for name, word, known in (("coupling", coupling, COUPLINGS), ("transition", transition, TRANSITIONS)):
        if word not in known:
            raise ArgumentError(f"{name}={word!r} is not known: give one of {', '.join(map(repr, known))}.")
    if not 0 < steps[0] <= steps[1]:
        raise ArgumentError(f"Steps from {steps[0]} to {steps[1]}: give 0 < low <= high.")
