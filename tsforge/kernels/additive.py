"""Additive scan: linear attention whose weights are a softmax over the past, in one pass, without a tensor of states.

Paper     Qin et al. (2024), "You Only Scan Once: ... Sequential Modeling with LightNet", arXiv:2405.21022.
Equation  z_t = log sum_{s <= t} exp(k_s),   h_t[i, :] = sum_{s <= t} exp(k_s[i] - z_t[i]) v_s,   o_t = q_t h_t
          as a recurrence   h_t = exp(z_{t-1} - z_t) h_{t-1} + exp(k_t - z_t) v_t
          With a sink one unit of weight lies on a value of zero: z_{-1} = 0 where it is else minus infinity.
          Not causal: o_t = q_t h_{T-1} at every t.
Adjoint   G_t = q_t go_t,   R_t = G_t + exp(z_t - z_{t+1}) R_{t+1},   r_t = G_t . h_t + exp(z_t - z_{t+1}) r_{t+1}
          dq_t = h_t go_t,   dv_t = exp(k_t - z_t) R_t,   dk_t = exp(k_t - z_t) (R_t . v_t - r_t)
Shapes    q, k [batch, time, head, key]   v, o [batch, time, head, value]
          z [batch, head, key]   h [batch, head, key, value]
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from tsforge.kernels.backends import choose, implementation
from tsforge.kernels.checks import check_alike, check_shapes
from tsforge.kernels.once import differentiable_once
from tsforge.kernels.operator import operator
from tsforge.kernels.reference import additive as reference


class AdditiveState(NamedTuple):
    """What a scan knows of the past: the logarithm of its weights `z` and the mean of its values `h`."""

    z: Float[Tensor, "batch head key"]
    h: Float[Tensor, "batch head key value"]


def additive_scan(
    q: Float[Tensor, "batch time head key"], k: Float[Tensor, "batch time head key"],
    v: Float[Tensor, "batch time head value"], *, causal: bool = True, sink: bool = False,
    state: AdditiveState | None = None, return_state: bool = False,
) -> Float[Tensor, "batch time head value"] | tuple[Float[Tensor, "batch time head value"], AdditiveState]:
    """The values read off the running softmax means.

    Args:
        q: What is read at each step.
        k: Logits; minus infinity leaves a step out, and where all are left out the mean is 0.
        v: Values.
        causal: Each step sees the past; else each sees all steps.
        sink: Starts with one unit of weight on a value of zero. Not together with `state`, which has its own start.
        state: Goes on from the state another call returned.
        return_state: Also returns the state after the last step.

    Raises:
        ShapeError: shapes, types or devices do not fit together; names the argument.

    Halves are scanned in float32 and returned as they came. Gradients exist once, not twice.
    """
    names = {"q": (q, "batch time head key"), "k": (k, "batch time head key"), "v": (v, "batch time head value")}
    if state is not None:
        names |= {"state.z": (state.z, "batch head key"), "state.h": (state.h, "batch head key value")}
    check_shapes(names)
    dtype = check_alike({name: tensor for name, (tensor, _) in names.items()})
    q_, k_, v_ = (tensor.to(dtype) for tensor in (q, k, v))
    z, h = (part.to(dtype) for part in state or start(k_, v_, sink))
    if not causal:
        z, h = _whole(k_, v_, z, h)
        out = torch.einsum("bthi,bhij->bthj", q_, h)
    else:
        backend = choose(q_)
        run = reference.forward if backend == "reference" else _through_the_operator(backend)
        out, z, h = run(q_, k_, v_, z, h)
    out = out.to(v.dtype)
    return (out, AdditiveState(z, h)) if return_state else out


def start(k: Tensor, v: Tensor, sink: bool) -> AdditiveState:
    """The state before the first step."""
    batch, _, head, key = k.shape
    z = k.new_zeros(batch, head, key) if sink else k.new_full((batch, head, key), float("-inf"))
    return AdditiveState(z, v.new_zeros(batch, head, key, v.shape[-1]))


def _whole(k: Tensor, v: Tensor, z: Tensor, h: Tensor) -> AdditiveState:
    """The state after all steps at once."""
    logits = torch.cat([z[:, None], k], 1)
    total = torch.logsumexp(logits, 1)
    weights = torch.exp(logits - total.masked_fill(total == float("-inf"), 0.0)[:, None])
    mean = weights[:, 0, ..., None] * h + torch.einsum("bthi,bthj->bhij", weights[:, 1:], v)
    return AdditiveState(total, mean)


def _through_the_operator(backend: str):
    def run(q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out, logs, last = torch.ops.tsforge.additive_scan(q, k, v, z, h, backend)
        return out, logs[:, -1] if k.shape[1] else z, last

    return run


@operator("additive_scan")
def _forward(
    q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor, backend: str
) -> tuple[Tensor, Tensor, Tensor]:
    return implementation("additive", backend).forward(q, k, v, z, h)


@operator("additive_scan_backward")
def _backward(
    grad: Tensor, grad_logs: Tensor, grad_last: Tensor, q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor,
    logs: Tensor, last: Tensor, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    return implementation("additive", backend).backward(grad, grad_logs, grad_last, q, k, v, z, h, logs, last)


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor, backend: str) -> tuple[Tensor, Tensor, Tensor]:
    return v.new_empty(v.shape), k.new_empty(k.shape), h.new_empty(h.shape)


@_backward.register_fake
def _(
    grad: Tensor, grad_logs: Tensor, grad_last: Tensor, q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor,
    logs: Tensor, last: Tensor, backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    dq, dk, dv, dz, dh = (tensor.new_empty(tensor.shape) for tensor in (q, k, v, z, h))
    return dq, dk, dv, dz, dh


def _keep(ctx, inputs, output) -> None:
    *tensors, ctx.backend = inputs
    ctx.save_for_backward(*tensors, *output[1:])


def _differentiate(ctx, grad: Tensor, grad_logs: Tensor, grad_last: Tensor):
    return *torch.ops.tsforge.additive_scan_backward(grad, grad_logs, grad_last, *ctx.saved_tensors, ctx.backend), None


_forward.register_autograd(_differentiate, setup_context=_keep)
differentiable_once(_backward)
