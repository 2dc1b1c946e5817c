"""Linear scan: the first-order recurrence that all others reduce to.

Equation  h_t = a_t h_{t-1} + x_t,   h_{-1} = h0 (0 unless given);   reversed: h_t = a_t h_{t+1} + x_t
Adjoint   l_t = g_t + conj(a_{t+1}) l_{t+1},   dx = l,   da_t = l_t conj(h_{t-1}),   dh0 = conj(a_0) l_0
Shapes    a, x, h [batch, time, ...]   h0 [batch, ...]
"""

import torch
from jaxtyping import Inexact
from torch import Tensor

from tsforge.errors import ShapeError
from tsforge.kernels.backends import choose, implementation
from tsforge.kernels.checks import check_alike
from tsforge.kernels.once import differentiable_once
from tsforge.kernels.operator import operator
from tsforge.kernels.reference import linear as reference


def linear_scan(
    a: Inexact[Tensor, "*broadcasts"], x: Inexact[Tensor, "batch time *any"],
    h0: Inexact[Tensor, " batch *any"] | None = None, *, reverse: bool = False,
) -> Inexact[Tensor, "batch time *any"]:
    """All states of h_t = a_t h_{t-1} + x_t.

    Args:
        a: What is kept of the state, real or complex; broadcast to the shape of `x`.
        x: What enters.
        h0: The state before the first step (after the last, with `reverse`).
        reverse: Runs from the end of time.

    Raises:
        ShapeError: shapes, types or devices do not fit together; names the argument.

    Halves are scanned in float32 and returned as they came. Gradients exist once, not twice.
    """
    dtype = check_alike({"x": x, "a": a, "h0": h0}, complex_too=True)
    if x.ndim < 2:
        raise ShapeError(f"x has the shape {tuple(x.shape)}: wanted [batch, time, ...].")
    try:
        a = a.expand(x.shape)
    except RuntimeError:
        raise ShapeError(f"a has the shape {tuple(a.shape)}, which does not broadcast to {tuple(x.shape)}.") from None
    state = (x.shape[0], *x.shape[2:])
    if h0 is not None and h0.shape != state:
        raise ShapeError(f"h0 has the shape {tuple(h0.shape)}: wanted {state}, that of x without time.")
    a, x_, h0 = a.to(dtype), x.to(dtype), None if h0 is None else h0.to(dtype)
    backend = choose(x_)
    if backend == "reference":
        out = reference.forward(a, x_, h0, reverse)
    else:
        out = torch.ops.tsforge.linear_scan(a, x_, h0, reverse, backend)
    return out if dtype.is_complex else out.to(x.dtype)


@operator("linear_scan")
def _forward(a: Tensor, x: Tensor, h0: Tensor | None, reverse: bool, backend: str) -> Tensor:
    return implementation("linear", backend).forward(a, x, h0, reverse)


@operator("linear_scan_backward")
def _backward(
    grad: Tensor, a: Tensor, h: Tensor, h0: Tensor | None, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return implementation("linear", backend).backward(grad, a, h, h0, reverse)


@_forward.register_fake
def _(a: Tensor, x: Tensor, h0: Tensor | None, reverse: bool, backend: str) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@_backward.register_fake
def _(
    grad: Tensor, a: Tensor, h: Tensor, h0: Tensor | None, reverse: bool, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    whole = [torch.empty_like(h, memory_format=torch.contiguous_format) for _ in range(2)]
    return whole[0], whole[1], h.new_empty((h.shape[0], *h.shape[2:]))


def _keep(ctx, inputs, output) -> None:
    a, _, h0, ctx.reverse, ctx.backend = inputs
    ctx.has_h0 = h0 is not None
    ctx.save_for_backward(a, output, *([h0] if ctx.has_h0 else []))


def _differentiate(ctx, grad: Tensor):
    a, h, *h0 = ctx.saved_tensors
    da, dx, dh0 = torch.ops.tsforge.linear_scan_backward(
        grad, a, h, h0[0] if h0 else None, ctx.reverse, ctx.backend
    )
    return da, dx, dh0 if ctx.has_h0 else None, None, None


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiable_once(_backward)
