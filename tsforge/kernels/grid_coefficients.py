"""The two-dimensional scan of coefficients that are given cell by cell; equations and adjoint in `grid`.

Shapes    A, u, C, h [batch, variate, time, d, n]   y [batch, variate, time, d]
"""

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.errors import ArgumentError
from tsforge.kernels.backends import choose, implementation
from tsforge.kernels.checks import check_alike, check_shapes
from tsforge.kernels.grid import COLUMN, GridState
from tsforge.kernels.once import differentiable_once
from tsforge.kernels.operator import operator
from tsforge.kernels.reference import grid as reference

EVERY = "batch variate time d n"
Cells = Float[Tensor, "batch variate time d n"]


def scan_2d_coefficients(
    A1: Cells, A2: Cells, A3: Cells, A4: Cells, u1: Cells, u2: Cells, C1: Cells | None = None, C2: Cells | None = None,
    *, reverse_variates: bool = False, h0: GridState | None = None,
) -> tuple[Cells, Cells] | Float[Tensor, "batch variate time d"]:
    """Both states of every cell, or what is read off them.

    Args:
        A1, A2: How the time state of a cell comes from both states one step before.
        A3, A4: How its variate state comes from both states one variate before.
        u1, u2: What enters the two states (B1 x and B2 x).
        C1, C2: How the states are read; both or neither.
        reverse_variates: Runs from the last variate to the first; time runs forward.
        h0: The states of the column before the first.

    Returns:
        (h1, h2), or y = sum_n C1 h1 + C2 h2 where C1 and C2 are given.

    Raises:
        ShapeError: shapes, types or devices do not fit together; names the argument.
        ArgumentError: one of C1 and C2 is given without the other.

    Halves are scanned in float32 and returned as they came. Gradients exist once, not twice.
    """
    if (C1 is None) != (C2 is None):
        raise ArgumentError("Of C1 and C2 one was given: give both for y, neither for the states.")
    cells = {"A1": A1, "A2": A2, "A3": A3, "A4": A4, "u1": u1, "u2": u2, "C1": C1, "C2": C2}
    named = {name: (value, EVERY) for name, value in cells.items() if value is not None}
    if h0 is not None:
        named |= {"h0[0]": (h0[0], COLUMN), "h0[1]": (h0[1], COLUMN)}
    dtype = check_alike({name: value for name, (value, _) in named.items()})
    check_shapes(named)
    given = [value.to(dtype) for value in (A1, A2, A3, A4, u1, u2)]
    given[4] = _enter(given, h0) if h0 is not None and u1.shape[2] else given[4]
    h1, h2 = _scan(given, reverse_variates)
    if C1 is None or C2 is None:
        return h1.to(u1.dtype), h2.to(u1.dtype)
    return (C1.to(dtype) * h1 + C2.to(dtype) * h2).sum(-1).to(u1.dtype)


def _enter(given: list[Tensor], h0: GridState) -> Tensor:
    """u1 with the column before the first in it, which is an input of the first."""
    A1, A2, _, _, u1, _ = given
    first = u1[:, :, :1] + A1[:, :, :1] * h0[0][:, :, None] + A2[:, :, :1] * h0[1][:, :, None]
    return torch.cat([first, u1[:, :, 1:]], 2)


def _scan(given: list[Tensor], reverse: bool) -> tuple[Tensor, Tensor]:
    backend = choose(given[0])
    if backend != "reference":
        # Triton has the fused scan only: who holds the coefficients in memory is bound by reading them
        return torch.ops.tsforge.scan_2d_coefficients(*given, reverse, "torch" if backend == "triton" else backend)
    if reverse:
        given = [tensor.flip(1) for tensor in given]
    nothing = torch.zeros_like(given[0][:, :, 0] if given[0].shape[2] else given[0].sum(2))
    h1, h2 = reference.loop(*given, h1=nothing, h2=nothing)
    return (h1.flip(1), h2.flip(1)) if reverse else (h1, h2)


@operator("scan_2d_coefficients")
def _forward(
    A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, u1: Tensor, u2: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor]:
    return implementation("grid_coefficients", backend).forward(A1, A2, A3, A4, u1, u2, reverse)


@operator("scan_2d_coefficients_backward")
def _backward(
    g1: Tensor, g2: Tensor, A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, h1: Tensor, h2: Tensor, reverse: bool,
    backend: str,
) -> list[Tensor]:
    return implementation("grid_coefficients", backend).backward(g1, g2, A1, A2, A3, A4, h1, h2, reverse)


@_forward.register_fake
def _(
    A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, u1: Tensor, u2: Tensor, reverse: bool, backend: str
) -> tuple[Tensor, Tensor]:
    return u1.new_empty(u1.shape), u1.new_empty(u1.shape)


@_backward.register_fake
def _(
    g1: Tensor, g2: Tensor, A1: Tensor, A2: Tensor, A3: Tensor, A4: Tensor, h1: Tensor, h2: Tensor, reverse: bool,
    backend: str,
) -> list[Tensor]:
    return [h1.new_empty(h1.shape) for _ in range(6)]


def _keep(ctx, inputs, output) -> None:
    *tensors, ctx.reverse, ctx.backend = inputs
    ctx.save_for_backward(*tensors[:4], *output)


def _differentiate(ctx, g1: Tensor, g2: Tensor):
    grads = torch.ops.tsforge.scan_2d_coefficients_backward(g1, g2, *ctx.saved_tensors, ctx.reverse, ctx.backend)
    return *grads, None, None


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiable_once(_backward)
