"""Selective scan: a diagonal state-space model whose steps, inputs and outputs depend on the time (S6, of Mamba).

Paper     Gu & Dao (2023), "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", arXiv:2312.00752.
Equation  h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,   y_t = (<C_t, h_t> + D u_t) silu(z_t)
          delta <- softplus(delta + delta_bias) where asked; reversed, h_{t+1} stands for h_{t-1}
Adjoint   g_t = dy_t silu(z_t),   l_t = C_t g_t + exp(delta_{t+1} A) l_{t+1},   e_t = l_t exp(delta_t A) h_{t-1}
          du_t = delta_t <B_t, l_t> + D g_t,   ddelta_t = u_t <B_t, l_t> + <A, e_t>,   dA = sum_t delta_t e_t
          dB_t = sum_channel delta_t u_t l_t,   dC_t = sum_channel g_t h_t,   dh0 = exp(delta_0 A) l_0
Shapes    u, delta, z [batch, time, channel]   A [channel, n]   B, C [batch, time, n]   D, delta_bias [channel]
          h [batch, channel, n]
Memory    The state is kept every 32 steps and the rest computed again: nothing of batch x time x channel x n is held.
Differs   A is real; the paper also allows complex. B is discretised by Euler's rule, as in the authors' code.
"""

from typing import Literal, overload

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.kernels.backends import choose, implementation
from tsforge.kernels.checks import check_alike, check_shapes
from tsforge.kernels.once import differentiable_once
from tsforge.kernels.operator import operator
from tsforge.kernels.reference.selective import step, steps

CHUNK = 32  # steps from one kept state to the next


@overload
def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = ..., z: Tensor | None = ..., *,
    delta_bias: Tensor | None = ..., softplus: bool = ..., h0: Tensor | None = ..., reverse: bool = ...,
    return_state: Literal[False] = ...,
) -> Tensor: ...
@overload
def selective_scan(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None = ..., z: Tensor | None = ..., *,
    delta_bias: Tensor | None = ..., softplus: bool = ..., h0: Tensor | None = ..., reverse: bool = ...,
    return_state: Literal[True],
) -> tuple[Tensor, Tensor]: ...
def selective_scan(
    u: Float[Tensor, "batch time channel"], delta: Float[Tensor, "batch time channel"], A: Float[Tensor, "channel n"],
    B: Float[Tensor, "batch time n"], C: Float[Tensor, "batch time n"], D: Float[Tensor, " channel"] | None = None,
    z: Float[Tensor, "batch time channel"] | None = None, *, delta_bias: Float[Tensor, " channel"] | None = None,
    softplus: bool = False, h0: Float[Tensor, "batch channel n"] | None = None, reverse: bool = False,
    return_state: bool = False,
) -> Float[Tensor, "batch time channel"] | tuple[Float[Tensor, "batch time channel"], Float[Tensor, "batch channel n"]]:
    """The outputs of a selective state-space model; with `return_state` also its last state.

    Args:
        u: What enters.
        delta: Sizes of the steps; 0 leaves the state as it is.
        A: Rates, real; below zero where the model is to be stable.
        B: How the input enters each state.
        C: How each state is read.
        D: What goes straight from `u` to the output.
        z: Gates the output by silu(z).
        delta_bias: Added to `delta`.
        softplus: Makes the steps positive: log(1 + e^delta), after the bias.
        h0: The state before the first step (after the last, with `reverse`).
        reverse: Runs from the end of time.
        return_state: Also returns the state after the last step (before the first, with `reverse`), to be given to the
            next call as `h0`; in the type of the computation.

    Raises:
        ShapeError: shapes, types or devices do not fit together; names the argument.

    Halves are scanned in float32; y is returned in the type of `u`. Gradients exist once, not twice.
    """
    dtype = _check("batch time ", u=u, delta=delta, A=A, B=B, C=C, D=D, z=z, delta_bias=delta_bias, h0=h0)
    u_, delta, A, B, C = (x.to(dtype) for x in (u, delta, A, B, C))
    D, z, delta_bias, h0 = (None if x is None else x.to(dtype) for x in (D, z, delta_bias, h0))
    backend, given = choose(u_), (u_, delta, A, B, C, D, z, delta_bias, h0, softplus, reverse)
    if backend == "reference":
        y, last = implementation("selective", backend).forward(*given)
    else:
        y, last, _ = torch.ops.tsforge.selective_scan(*given, CHUNK, backend)
    return (y.to(u.dtype), last) if return_state else y.to(u.dtype)


def selective_step(
    u: Float[Tensor, "batch channel"], delta: Float[Tensor, "batch channel"], A: Float[Tensor, "channel n"],
    B: Float[Tensor, "batch n"], C: Float[Tensor, "batch n"], D: Float[Tensor, " channel"] | None = None,
    z: Float[Tensor, "batch channel"] | None = None, *, delta_bias: Float[Tensor, " channel"] | None = None,
    softplus: bool = False, state: Float[Tensor, "batch channel n"] | None = None,
) -> tuple[Float[Tensor, "batch channel"], Float[Tensor, "batch channel n"]]:
    """One step of `selective_scan`, for series that arrive step by step: y and the next state.

    Args:
        u: What enters now; the other arguments as in `selective_scan`, without time.
        state: The state so far; None: zero.

    Raises:
        ShapeError: shapes, types or devices do not fit together; names the argument.
    """
    dtype = _check("batch ", u=u, delta=delta, A=A, B=B, C=C, D=D, z=z, delta_bias=delta_bias, state=state)
    u_, delta, A, B, C = (x.to(dtype) for x in (u, delta, A, B, C))
    D, z, delta_bias, state = (None if x is None else x.to(dtype) for x in (D, z, delta_bias, state))
    state = u_.new_zeros((*u.shape, A.shape[1])) if state is None else state
    y, state = step(u_, steps(delta, delta_bias, softplus), A, B, C, D, z, state)
    return y.to(u.dtype), state


def _check(leading: str, **named: Tensor | None) -> torch.dtype:
    """The type of the computation, once all fits."""
    dtype = check_alike(named)
    axes = dict.fromkeys(("u", "delta", "z"), leading + "channel") | dict.fromkeys(("B", "C"), leading + "n")
    axes |= {"A": "channel n", "D": "channel", "delta_bias": "channel"}
    check_shapes({name: (given, axes.get(name, "batch channel n")) for name, given in named.items()})
    return dtype


@operator("selective_scan")
def _forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    delta_bias: Tensor | None, h0: Tensor | None, softplus: bool, reverse: bool, chunk: int, backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    return implementation("selective", backend).forward(
        u, delta, A, B, C, D, z, delta_bias, h0, softplus, reverse, chunk
    )


@operator("selective_scan_backward")
def _backward(
    dy: Tensor, dlast: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, delta_bias: Tensor | None, kept: Tensor, softplus: bool, reverse: bool, chunk: int, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    return implementation("selective", backend).backward(
        dy, dlast, u, delta, A, B, C, D, z, delta_bias, kept, softplus, reverse, chunk
    )


@_forward.register_fake
def _(u, delta, A, B, C, D, z, delta_bias, h0, softplus, reverse, chunk, backend):
    (batch, time, channels), size = u.shape, A.shape[1]
    kept = u.new_empty((batch, -(-time // chunk), size, channels))
    return _like(u), u.new_empty((batch, channels, size)), kept


@_backward.register_fake
def _(dy, dlast, u, delta, A, B, C, D, z, delta_bias, kept, softplus, reverse, chunk, backend):
    dz = u.new_empty((0, 0, 0)) if z is None else _like(u)
    channel, whole = [u.new_empty(u.shape[2]) for _ in range(2)], [_like(x) for x in (u, u, A, B, C)]
    return *whole, channel[0], dz, channel[1], _like(dlast)


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _keep(ctx, inputs, output) -> None:
    *given, _, ctx.softplus, ctx.reverse, ctx.chunk, ctx.backend = inputs
    ctx.save_for_backward(*given, output[2])  # None is saved as None
    ctx.has_h0, ctx.state = inputs[8] is not None, output[1].shape
    ctx.set_materialize_grads(False)


def _differentiate(ctx, dy: Tensor | None, dlast: Tensor | None, _):
    *given, kept = ctx.saved_tensors
    u = given[0]
    dy, dlast = u.new_zeros(u.shape) if dy is None else dy, u.new_zeros(ctx.state) if dlast is None else dlast
    grads = torch.ops.tsforge.selective_scan_backward(
        dy, dlast, *given, kept, ctx.softplus, ctx.reverse, ctx.chunk, ctx.backend
    )
    had = [tensor is not None for tensor in given] + [ctx.has_h0]
    return *(grad if there else None for grad, there in zip(grads, had, strict=True)), None, None, None, None


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiable_once(_backward)
