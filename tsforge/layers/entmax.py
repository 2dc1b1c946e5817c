"""Entmax: between softmax and the nearest point of the simplex, with weights that are exactly 0.

Paper     Peters, Niculae & Martins (2019), "Sparse Sequence-to-Sequence Models", ACL, arXiv:1905.05702; at alpha=2
          Martins & Astudillo (2016), "From Softmax to Sparsemax", ICML, arXiv:1602.02068.
Equation  p_i = [(alpha - 1) s_i - tau]_+ ^ (1 / (alpha - 1)),   tau such that sum_i p_i = 1
          ds = u (g - sum_i u_i g_i / sum_i u_i),   u_i = p_i^(2 - alpha) where p_i > 0, else 0
Shapes    [..., n] -> [..., n], over the last axis
Differs   tau is found by halving its interval in float64, whatever the type of the scores.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.errors import ArgumentError

HALVINGS = 60  # the interval has a length of at most 1, so it is down to what float64 can tell apart


def entmax(scores: Float[Tensor, "*batch n"], alpha: float | int = 1.5) -> Float[Tensor, "*batch n"]:
    """Weights that are not negative and sum to 1; the higher `alpha`, the more of them are 0.

    Args:
        scores: Finite numbers.
        alpha: From 1, which is softmax and gives no zeros, to 2, sparsemax.

    Raises:
        ArgumentError: `alpha` is not in [1, 2].
    """
    check_alpha(alpha)
    return scores.softmax(-1) if alpha == 1 else _Entmax.apply(scores, alpha)  # pyright: ignore[reportReturnType]


def check_alpha(alpha: float | int) -> None:
    """Raises ArgumentError unless `entmax` takes it."""
    if not 1 <= alpha <= 2:
        raise ArgumentError(f"alpha={alpha}: give a number from 1 (softmax) to 2 (sparsemax).")


class _Entmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, scores: Tensor, alpha: float | int) -> Tensor:
        z = (alpha - 1) * scores.double()
        top = z.amax(-1, keepdim=True)
        low, high = top - 1, top - z.shape[-1] ** (1.0 - alpha)  # there the sum is at least 1, and here at most
        for _ in range(HALVINGS):
            tau = (low + high) / 2
            above = _weights(z, tau, alpha).sum(-1, keepdim=True) >= 1
            low, high = torch.where(above, tau, low), torch.where(above, high, tau)
        weights = _weights(z, low, alpha)
        weights = (weights / weights.sum(-1, keepdim=True)).to(scores.dtype)
        ctx.alpha = alpha
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        inner = torch.where(weights > 0, weights ** (2 - ctx.alpha), 0.0)
        mean = (inner * grads[0]).sum(-1, keepdim=True) / inner.sum(-1, keepdim=True)
        return inner * (grads[0] - mean), None


def _weights(z: Tensor, tau: Tensor, alpha: float | int) -> Tensor:
    return (z - tau).clamp(min=0) ** (1 / (alpha - 1))
