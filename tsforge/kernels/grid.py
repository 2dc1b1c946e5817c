"""Two-dimensional scan: one state runs along time, one across variates, and each reads the other.

Paper     Behrouz, Santacatterina & Zabih (2024), "Chimera: Effectively Modeling Multivariate Time Series with
          2-Dimensional State Space Models", arXiv:2406.04320; the formulas are reconstructed.
Equation  h1[v,t] = A1 h1[v,t-1] + A2 h2[v,t-1] + B1 x[v,t],   h2[v,t] = A3 h1[v-1,t] + A4 h2[v-1,t] + B2 x[v,t]
          y[v,t] = <c1, h1[v,t]> + <c2, h2[v,t]>;   A, B differ from cell to cell, states outside the grid are 0
          A1 = exp(D1 a1),   A4 = exp(D2 a4),   B1 = (A1 - 1) / a1 b1,   B2 = (A4 - 1) / a4 b2
          zoh_input  A2 = (A1 - 1) / a1 a2,   A3 = (A4 - 1) / a4 a3     exp  A2 = exp(D1 a2),   A3 = exp(D2 a3)
Adjoint   l1[v,t] = c1 gy + A1[v,t+1] l1[v,t+1] + A3[v+1,t] l2[v+1,t]
          l2[v,t] = c2 gy + A2[v,t+1] l1[v,t+1] + A4[v+1,t] l2[v+1,t]
          dA1 = l1 h1[v,t-1],  dA2 = l1 h2[v,t-1],  dA3 = l2 h1[v-1,t],  dA4 = l2 h2[v-1,t],  d(B x) = l
          With p = (A - 1) / a:  dp/dD = A,  dp/da = D^2 g'(D a),  g(z) = (e^z - 1) / z, by its series near 0.
Shapes    x, delta, y [batch, variate, time, d]   a [d, n]   b, c [batch, variate, time, n]   h [batch, variate, d, n]

Stability Positive constant coefficients keep the scan bounded if and only if A1, A4 < 1 and (1 - A1)(1 - A4) > A2 A3.
          zoh_input has this for all steps where a1, a4 < 0 and |a2 a3| < |a1 a4|, and uncouples as they go to 0.
          exp has not: as the steps go to 0, A2 A3 goes to 1. With equal |a| it explodes unless D |a| > ln 2.
The pairwise product that would make an associative scan of both axes is not associative unless A2 = A3 = 0: exact are a
loop over one axis with a scan along the other, or all cells with v + t = s at once.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.errors import ArgumentError
from tsforge.kernels.backends import choose, implementation
from tsforge.kernels.checks import check_alike, check_shapes
from tsforge.kernels.once import differentiable_once
from tsforge.kernels.operator import operator
from tsforge.kernels.reference import grid as reference

CELLS, STEPS, RATES, COLUMN = "batch variate time d", "batch variate time n", "d n", "batch variate d n"
AXES = {
    "x": CELLS, "delta1": CELLS, "delta2": CELLS, "a1": RATES, "a2": RATES, "a3": RATES, "a4": RATES,
    "b1": STEPS, "b2": STEPS, "c1": STEPS, "c2": STEPS,
}


class GridState(NamedTuple):
    """Both states of a column: all that the columns after it need of those before it."""

    h1: Float[Tensor, "batch variate d n"]
    h2: Float[Tensor, "batch variate d n"]


def scan_2d(
    x: Float[Tensor, "batch variate time d"],
    delta1: Float[Tensor, "batch variate time d"], delta2: Float[Tensor, "batch variate time d"],
    a1: Float[Tensor, "d n"], a2: Float[Tensor, "d n"], a3: Float[Tensor, "d n"], a4: Float[Tensor, "d n"],
    b1: Float[Tensor, "batch variate time n"], b2: Float[Tensor, "batch variate time n"],
    c1: Float[Tensor, "batch variate time n"], c2: Float[Tensor, "batch variate time n"], *,
    coupling: str = "zoh_input", reverse_variates: bool = False, h0: GridState | None = None,
    return_state: bool = False,
) -> Float[Tensor, "batch variate time d"] | tuple[Float[Tensor, "batch variate time d"], GridState]:
    """What the two coupled states give at every cell.

    Args:
        x: What enters.
        delta1, delta2: Steps along time and across variates, not negative.
        a1, a4: Rates of the two states, negative; near 0 a state integrates.
        a2, a3: Coupling: how the time state reads the other, and the variate state the first.
        b1, b2: How the input enters the states.
        c1, c2: How the states are read.
        coupling: "zoh_input" (the other state enters as an input held over the step; stable for all steps where
            |a2 a3| < |a1 a4|) or "exp" (as in the paper; explodes unless delta |a| > ln 2 or so).
        reverse_variates: Runs from the last variate to the first; time runs forward.
        h0: The states of the column before the first, as another call returned them.
        return_state: Also returns the states of the last column.

    Raises:
        ShapeError: shapes, types or devices do not fit together; names the argument.
        ArgumentError: there is no such coupling.

    Halves are scanned in float32 and returned as they came. Gradients exist once, not twice.
    """
    if coupling not in ("zoh_input", "exp"):
        raise ArgumentError(f"coupling={coupling!r}: wanted 'zoh_input' or 'exp'.")
    values = (x, delta1, delta2, a1, a2, a3, a4, b1, b2, c1, c2)
    named = {name: (value, axes) for (name, axes), value in zip(AXES.items(), values, strict=True)}
    if h0 is not None:
        named |= {"h0[0]": (h0[0], COLUMN), "h0[1]": (h0[1], COLUMN)}
    dtype = check_alike({name: value for name, (value, _) in named.items()})
    sizes = check_shapes(named)
    given = [value.to(dtype) for value, _ in named.values()]
    if h0 is None:
        given += 2 * [given[0].new_zeros([sizes[axis] for axis in COLUMN.split()])]
    backend, exponential = choose(given[0]), coupling == "exp"
    if backend == "reference":
        y, *ends = reference.forward(*given, exponential=exponential, reverse=reverse_variates)
    else:
        y, *ends = torch.ops.tsforge.scan_2d(*given, exponential, reverse_variates, backend)
    return (y.to(x.dtype), GridState(*ends)) if return_state else y.to(x.dtype)


@operator("scan_2d")
def _forward(
    x: Tensor, delta1: Tensor, delta2: Tensor, a1: Tensor, a2: Tensor, a3: Tensor, a4: Tensor, b1: Tensor, b2: Tensor,
    c1: Tensor, c2: Tensor, h1: Tensor, h2: Tensor, exponential: bool, reverse: bool, backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    if not x.shape[2]:
        return torch.empty_like(x), h1.clone(), h2.clone()
    given = (x, delta1, delta2, a1, a2, a3, a4, b1, b2, c1, c2, h1, h2)
    return implementation("grid", backend).forward(*given, exponential, reverse)


@operator("scan_2d_backward")
def _backward(
    grads: list[Tensor], given: list[Tensor], exponential: bool, reverse: bool, backend: str
) -> list[Tensor]:
    if not given[0].shape[2]:
        return [torch.zeros_like(tensor) for tensor in given[:-2]] + [grad.clone() for grad in grads[1:]]
    return implementation("grid", backend).backward(grads, given, exponential, reverse)


@_forward.register_fake
def _(
    x: Tensor, delta1: Tensor, delta2: Tensor, a1: Tensor, a2: Tensor, a3: Tensor, a4: Tensor, b1: Tensor, b2: Tensor,
    c1: Tensor, c2: Tensor, h1: Tensor, h2: Tensor, exponential: bool, reverse: bool, backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return x.new_empty(x.shape), h1.new_empty(h1.shape), h2.new_empty(h2.shape)


@_backward.register_fake
def _(grads: list[Tensor], given: list[Tensor], exponential: bool, reverse: bool, backend: str) -> list[Tensor]:
    return [tensor.new_empty(tensor.shape) for tensor in given]


def _keep(ctx, inputs, output) -> None:
    *tensors, ctx.exponential, ctx.reverse, ctx.backend = inputs
    ctx.save_for_backward(*tensors)


def _differentiate(ctx, *grads: Tensor):
    flags = ctx.exponential, ctx.reverse, ctx.backend
    return *torch.ops.tsforge.scan_2d_backward(list(grads), list(ctx.saved_tensors), *flags), None, None, None


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiable_once(_backward)
