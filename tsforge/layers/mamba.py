"""Selective state spaces as mixers: along time for each variate, or along variates in both directions.

Paper     Gu & Dao (2023), "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752 (the
          branch and its initial values); Behrouz, Santacatterina & Zabih (2024), "MambaMixer: Efficient Selective State
          Space Models with Dual Token and Channel Selection", arXiv:2403.19888 (the two mixers).
Equation  S(u):     [delta_t, B_t, C_t] = W u_t,   delta_t <- softplus(W_delta delta_t + b_delta),   A = -exp(A_log)
                    s_t = exp(delta_t A) s_{t-1} + delta_t B_t u_t,   y_t = <C_t, s_t> + D u_t
          branch    f(x) = S(silu(conv(W_in x))) silu(W_gate x),   conv causal, a filter for each feature
          token     y = W_out f(x), along time          channel   y = W_out (f(x) + flip(g(flip(x)))), along variates
Shapes    branch [batch, time, d_model] -> [batch, time, d_inner],   d_inner = expand * d_model,   s [d_inner, d_state]
          mixers [batch, variate, time, d_model] and [batch, variate, d_model] -> the same
Units     delta in steps of what is scanned: a state forgets over about 1 / (delta |A|) steps
Differs   The paper's channel mixer ends with f + g; W_out brings it back from d_inner to d_model, which `expand=1`
          would not need. Its perceptrons of the gate are one linear map and a SiLU. As in Mamba's code only conv and
          delta have a bias, and the input is discretised by Euler's rule.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.errors import ArgumentError
from tsforge.kernels import selective_scan

FEATURES_PER_RANK = 16  # features of a mixer for each number that delta is made of
DT_MIN, DT_MAX, DT_FLOOR = 1e-3, 0.1, 1e-4  # where delta starts


class SelectiveSSM(nn.Module):
    """S: a state space whose steps, inputs and outputs depend on what enters; d_inner (2 rank + 3 d_state + 2) weights.

    Args:
        d_inner: Features.
        d_state: State size of a feature.
        rank: Numbers that the steps of all features are made of.
    """

    def __init__(self, d_inner: int, d_state: int, rank: int) -> None:
        super().__init__()
        self.sizes = (rank, d_state, d_state)
        self.selection = nn.Linear(d_inner, rank + 2 * d_state, bias=False)
        self.delta = nn.Linear(rank, d_inner)
        dt = torch.empty(d_inner).uniform_(math.log(DT_MIN), math.log(DT_MAX)).exp().clamp(min=DT_FLOOR)
        with torch.no_grad():
            self.delta.weight.uniform_(-(rank**-0.5), rank**-0.5)
            self.delta.bias.copy_(dt + (-torch.expm1(-dt)).log())  # softplus of it is dt
        self.A_log = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(d_inner, 1))
        self.D = nn.Parameter(torch.ones(d_inner))

    def forward(
        self, u: Float[Tensor, "batch time d_inner"], gate: Float[Tensor, "batch time d_inner"]
    ) -> Float[Tensor, "batch time d_inner"]:
        """S(u) silu(gate)."""
        steps, B, C = self.selection(u).split(self.sizes, -1)
        delta = F.linear(steps, self.delta.weight)  # its bias and the softplus are fused into the scan
        return selective_scan(
            u, delta, -self.A_log.exp(), B, C, self.D, gate, delta_bias=self.delta.bias, softplus=True
        )


class SelectiveBranch(nn.Module):
    """A gated selective state space in one direction.

    d_inner (2 d_model + kernel_size + 2 rank + 3 d_state + 3) weights, rank = ceil(d_model / 16).

    Args:
        d_model: Features that enter.
        d_state: State size of each of the features inside.
        expand: Features inside for each that enters.
        kernel_size: Steps of the convolution: the present one and those before it.

    Raises:
        ArgumentError: a size is below 1.
    """

    def __init__(self, d_model: int, *, d_state: int = 16, expand: int = 2, kernel_size: int = 4) -> None:
        super().__init__()
        _check(d_model=d_model, d_state=d_state, expand=expand, kernel_size=kernel_size)
        d_inner = expand * d_model
        self.lift = nn.Linear(d_model, d_inner, bias=False)
        self.gate = nn.Linear(d_model, d_inner, bias=False)
        self.conv = nn.Conv1d(d_inner, d_inner, kernel_size, groups=d_inner)
        self.ssm = SelectiveSSM(d_inner, d_state, -(-d_model // FEATURES_PER_RANK))

    def forward(self, x: Float[Tensor, "batch time d_model"]) -> Float[Tensor, "batch time d_inner"]:
        """f(x); a step is read by itself and the steps after it."""
        u = F.pad(self.lift(x).mT, (self.conv.kernel_size[0] - 1, 0))
        return self.ssm(F.silu(self.conv(u)).mT, self.gate(x))


class SelectiveTokenMixer(nn.Module):
    """One branch along time, each variate by itself: Mamba's block. The weights of a branch and d_inner d_model more.

    Arguments and errors are those of `SelectiveBranch`.
    """

    def __init__(self, d_model: int, *, d_state: int = 16, expand: int = 2, kernel_size: int = 4) -> None:
        super().__init__()
        self.branch = SelectiveBranch(d_model, d_state=d_state, expand=expand, kernel_size=kernel_size)
        self.out = nn.Linear(expand * d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch variate time d_model"]) -> Float[Tensor, "batch variate time d_model"]:
        """A step of a variate from the steps of it so far."""
        return self.out(self.branch(x.flatten(0, 1))).unflatten(0, x.shape[:2])


class SelectiveChannelMixer(nn.Module):
    """Two branches along variates, one from either end. The weights of both and d_inner d_model more.

    Arguments and errors are those of `SelectiveBranch`.
    """

    def __init__(self, d_model: int, *, d_state: int = 16, expand: int = 2, kernel_size: int = 4) -> None:
        super().__init__()
        sizes = {"d_state": d_state, "expand": expand, "kernel_size": kernel_size}
        self.upward, self.downward = SelectiveBranch(d_model, **sizes), SelectiveBranch(d_model, **sizes)
        self.out = nn.Linear(expand * d_model, d_model, bias=False)

    def forward(self, x: Float[Tensor, "batch variate d_model"]) -> Float[Tensor, "batch variate d_model"]:
        """A variate from all variates, in their order."""
        return self.out(self.upward(x) + self.downward(x.flip(1)).flip(1))


def _check(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            raise ArgumentError(f"{name}={size} leaves nothing to compute: give at least 1.")
