"""The selective scan chunk after chunk, each by the linear scan: nothing is larger than [batch, chunk, channel, n].

Forward keeps the state before each chunk; backward computes the states of a chunk again from it, last chunk first.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from tsforge.kernels.plain import linear
from tsforge.kernels.reference.selective import steps


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    delta_bias: Tensor | None, h0: Tensor | None, softplus: bool, reverse: bool, chunk: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the last state, and the states before each chunk [batch, chunks, n, channel]."""
    if reverse:
        u, delta, B, C = (x.flip(1) for x in (u, delta, B, C))
        z = None if z is None else z.flip(1)
        y, last, kept = forward(u, delta, A, B, C, D, z, delta_bias, h0, softplus, False, chunk)
        return y.flip(1), last, kept
    state = u.new_zeros((*u.shape[::2], A.shape[1])) if h0 is None else h0
    if not u.shape[1]:
        return torch.empty_like(u), state.clone(), u.new_empty((len(u), 0, *A.T.shape))
    size, outputs, kept = steps(delta, delta_bias, softplus), [], []
    for u_, size_, B_, C_ in zip(*(x.split(chunk, 1) for x in (u, size, B, C)), strict=True):
        kept.append(state.mT)
        h = linear.forward(*_coefficients(u_, size_, A, B_), state, False)
        outputs.append(torch.einsum("btcn,btn->btc", h, C_))
        state = h[:, -1]
    y = torch.cat(outputs, 1)
    y = y if D is None else y + D * u
    return y if z is None else y * F.silu(z), state.clone(), torch.stack(kept, 1)


def _coefficients(u: Tensor, size: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """What is kept of the state, and what enters: [batch, time, channel, n]."""
    return torch.exp(size[..., None] * A), (size * u)[..., None] * B[:, :, None]


def backward(
    dy: Tensor, dlast: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, delta_bias: Tensor | None, kept: Tensor, softplus: bool, reverse: bool, chunk: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D, z, delta_bias and h0; of z empty where there is none."""
    if reverse:
        dy, u, delta, B, C = (x.flip(1) for x in (dy, u, delta, B, C))
        z = None if z is None else z.flip(1)
        du, ddelta, dA, dB, dC, dD, dz, dbias, dh0 = backward(
            dy, dlast, u, delta, A, B, C, D, z, delta_bias, kept, softplus, False, chunk
        )
        du, ddelta, dB, dC, dz = (x.flip(1) for x in (du, ddelta, dB, dC, dz))
        return du, ddelta, dA, dB, dC, dD, dz, dbias, dh0
    size, g = steps(delta, delta_bias, softplus), dy if z is None else dy * F.silu(z)
    pulled, dsize, y = torch.empty_like(u), torch.empty_like(u), torch.empty_like(u)
    dA, dB, dC, adjoint = torch.zeros_like(A), torch.empty_like(B), torch.empty_like(C), dlast
    for k in reversed(range(kept.shape[1])):
        part, state = slice(k * chunk, (k + 1) * chunk), kept[:, k].mT
        decay, x = _coefficients(u[:, part], size[:, part], A, B[:, part])
        h = linear.forward(decay, x, state, False)
        dh = g[:, part, :, None] * C[:, part, None]
        dh[:, -1] += adjoint
        ddecay, dx, adjoint = linear.backward(dh, decay, h, state, False)
        y[:, part] = torch.einsum("btcn,btn->btc", h, C[:, part])
        dC[:, part] = torch.einsum("btcn,btc->btn", h, g[:, part])
        dB[:, part] = torch.einsum("btcn,btc->btn", dx, size[:, part] * u[:, part])
        pulled[:, part] = torch.einsum("btcn,btn->btc", dx, B[:, part])
        dexponent = ddecay * decay
        dsize[:, part] = torch.einsum("btcn,cn->btc", dexponent, A)
        dA += torch.einsum("btcn,btc->cn", dexponent, size[:, part])
    return _finish(dy, u, delta, D, z, delta_bias, softplus, size, g, pulled, dsize, y, dA, dB, dC, adjoint)


def _finish(dy, u, delta, D, z, delta_bias, softplus, size, g, pulled, dsize, y, dA, dB, dC, adjoint):
    du, ddelta = size * pulled, u * pulled + dsize
    if D is not None:
        du, y = du + D * g, y + D * u
    if softplus:
        ddelta = ddelta * torch.sigmoid(delta if delta_bias is None else delta + delta_bias)
    dz = u.new_empty((0, 0, 0))
    if z is not None:
        opened = torch.sigmoid(z)
        dz = dy * y * opened * (1 + z * (1 - opened))
    return du, ddelta, dA, dB, dC, (g * u).sum((0, 1)), dz, ddelta.sum((0, 1)), adjoint.clone()
