"""Where diagonal state spaces start: the spectrum of HiPPO-LegS and what stands in for it.

Paper     Gu, Gupta, Goel & Re (2022), "On the Parameterization and Initialization of Diagonal State Space Models",
          arXiv:2206.11893.
Equation  A_nk = -sqrt(2n+1) sqrt(2k+1) (n > k), -(n+1) (n = k), 0 (n < k);   B_n = sqrt(2n+1);   P_n = sqrt(n+1/2)
          A + P P' = -1/2 + skew = V diag(-1/2 + i w) V*
          inv: w_n = N/pi (N/(2n+1) - 1),   lin: w_n = pi n,   real: A_n = -(n+1),   n = 0 .. N/2 - 1
Shapes    [state], [mode]: half as many modes as states, one of each conjugate pair
Units     frequencies in radians per unit of time, of which dt make a step
Differs   The eigenvectors of LegS are turned so that B is real and positive: the weights C of a state space, of uniform
          phase at the start, make up for it, and the result does not hang on the linear algebra library.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Complex, Float
from torch import Tensor

INITS = ("legs", "inv", "lin", "real")


class Legs(NamedTuple):
    """HiPPO-LegS without its term of rank one, diagonalised: the modes of positive frequency, slowest first."""

    A: Complex[Tensor, " mode"]
    B: Complex[Tensor, " mode"]  # of the full system's B, not half of it as the theory has it
    V: Complex[Tensor, "state mode"]  # state = 2 Re(V mode)


def hippo_legs(size: int) -> tuple[Float[Tensor, "size size"], Float[Tensor, " size"], Float[Tensor, " size"]]:
    """A, B and P of HiPPO-LegS in float64; A + P P' is -1/2 and a skew matrix."""
    n = torch.arange(size, dtype=torch.float64)
    root = (2 * n + 1).sqrt()
    A = -torch.tril(torch.outer(root, root), -1) - torch.diag(n + 1)
    return A, root, (n + 0.5).sqrt()


def diagonal_legs(size: int) -> Legs:
    """The diagonal of HiPPO-LegS of an even size: A = -1/2 + i w, from the Hermitian -i times the skew part."""
    A, B, P = hippo_legs(size)
    normal = A + torch.outer(P, P)
    w, V = torch.linalg.eigh(-1j * (normal - normal.mT) / 2)
    w, V = w[size // 2 :], V[:, size // 2 :]
    own = V.mH @ B.to(V.dtype)
    return Legs(-0.5 + 1j * w, own.abs().to(V.dtype), V * own.sgn())


def initial_modes(init: str, d_state: int) -> tuple[Complex[Tensor, " mode"], Complex[Tensor, " mode"]]:
    """A and B at the start, of d_state / 2 modes, in complex128.

    Args:
        init: `"legs"`, the spectrum of HiPPO; `"inv"`, its closed approximation; `"lin"`, even frequencies, a Fourier
            series; `"real"`, decays without oscillation.
        d_state: State size, both of each conjugate pair counted.
    """
    if init == "legs":
        return diagonal_legs(d_state)[:2]
    n = torch.arange(d_state // 2, dtype=torch.float64)
    if init == "real":
        A = torch.complex(-(n + 1), torch.zeros_like(n))
    else:
        w = math.pi * n if init == "lin" else d_state / math.pi * (d_state / (2 * n + 1) - 1)
        A = -0.5 + 1j * w
    return A, torch.ones_like(A)
