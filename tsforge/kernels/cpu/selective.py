"""The selective scan in one pass: sixteen channels in the vector lanes, their states in the nearest cache.

Loop order: batch, chunk of steps, sixteen channels, step, n, lanes. Forward writes the state before each chunk;
backward takes it up, computes the states of the chunk again and runs the adjoint back over them. So beside inputs,
outputs and [batch, chunks, n, channel] nothing larger than [chunk, n, 16] and [chunk, channel] is held.
The exponential is a power of two: steps are multiplied by log2(e), and not A, whose rounding would be the same at
every step and add up. Sums over a chunk are taken in the type of the inputs, those over chunks and the batch in
float64, in an order that does not depend on the threads.
"""

import numpy as np
import torch
from torch import Tensor

from tsforge.kernels.cpu.compiled import compiled
from tsforge.kernels.cpu.exponential import OPTIONS
from tsforge.kernels.cpu.lanes import WIDTH
from tsforge.kernels.cpu.selective_parts import (
    add_lanes,
    advance,
    fold,
    gate,
    gate_gradient,
    gradients,
    move,
    prepare,
    pull,
    skip,
    unfold,
)
from tsforge.kernels.cpu.threads import over_batch


@compiled(**OPTIONS)
def _forward(u, delta, rates, B, C, D, z, bias, h0, gated, soft, reverse, chunk, out, last, kept, start, stop):
    time, size, vectors = u.shape[1], B.shape[2], (u.shape[2] + WIDTH - 1) // WIDTH
    step = np.zeros((chunk, vectors * WIDTH), u.dtype)
    inflow, exponent, y = np.zeros_like(step), np.zeros_like(step), np.zeros_like(step)
    rate = np.zeros((vectors, size, WIDTH), u.dtype)
    state = np.zeros_like(rate)
    fold(rates, rate)
    turn = -1 if reverse else 1
    for b in range(start, stop):
        fold(h0[b], state)
        for first in range(0, time, chunk):
            steps, t0 = min(chunk, time - first), time - 1 - first if reverse else first
            unfold(state, kept[b, first // chunk])
            for s in range(steps):
                t = t0 + turn * s
                prepare(u[b, t], delta[b, t], bias, soft, step[s], inflow[s], exponent[s])
            for v in range(vectors):
                advance(v, steps, t0, turn, B[b], C[b], exponent, inflow, rate, state, y, None, None)
            for s in range(steps):
                t = t0 + turn * s
                skip(u[b, t], D, y[s])
                gate(y[s], z[b, t] if gated else D, gated, out[b, t])
        unfold(state, last[b])


@compiled(**OPTIONS)
def _backward(
    dy, dlast, u, delta, rates, B, C, D, z, bias, kept, gated, soft, reverse, chunk,
    du, ddelta, drates, dB, dC, dD, dz, dbias, dh0, start, stop,
):
    time, size, vectors = u.shape[1], B.shape[2], (u.shape[2] + WIDTH - 1) // WIDTH
    step = np.zeros((chunk, vectors * WIDTH), u.dtype)
    inflow, exponent, y = np.zeros_like(step), np.zeros_like(step), np.zeros_like(step)
    g, by_inflow, by_decay = np.zeros_like(step), np.zeros_like(step), np.zeros_like(step)
    rate = np.zeros((vectors, size, WIDTH), u.dtype)
    state, adjoint, to_rate = np.zeros_like(rate), np.zeros_like(rate), np.zeros_like(rate)
    whole = np.zeros((vectors, size, WIDTH), np.float64)
    decays, states = np.zeros((chunk, size, WIDTH), u.dtype), np.zeros((chunk + 1, size, WIDTH), u.dtype)
    to_B, to_C = np.zeros_like(decays), np.zeros_like(decays)
    fold(rates, rate)
    turn = -1 if reverse else 1
    for b in range(start, stop):
        fold(dlast[b], adjoint)
        whole[:] = 0
        for k in range(kept.shape[1] - 1, -1, -1):
            steps, t0 = min(chunk, time - k * chunk), time - 1 - k * chunk if reverse else k * chunk
            fold(kept[b, k], state)
            for s in range(steps):
                t = t0 + turn * s
                prepare(u[b, t], delta[b, t], bias, soft, step[s], inflow[s], exponent[s])
                gate(dy[b, t], z[b, t] if gated else D, gated, g[s])
            for v in range(vectors):
                advance(v, steps, t0, turn, B[b], C[b], exponent, inflow, rate, state, y, decays, states)
                pull(v, steps, t0, turn, B[b], C[b], step, inflow, g, rate, decays, states,
                     adjoint, to_rate, to_B, to_C, by_inflow, by_decay)
            for s in range(steps):
                t = t0 + turn * s
                gradients(u[b, t], delta[b, t], bias, D, soft, step[s], g[s], by_inflow[s], by_decay[s],
                          du[b, t], ddelta[b, t], dbias[b], dD[b])
                if gated:
                    gate_gradient(dy[b, t], u[b, t], D, z[b, t], y[s], dz[b, t])
            move(to_rate, whole)
            add_lanes(steps, t0, turn, to_B, dB[b])
            add_lanes(steps, t0, turn, to_C, dC[b])
        unfold(adjoint, dh0[b])
        unfold(whole, drates[b])


def forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None, z: Tensor | None,
    delta_bias: Tensor | None, h0: Tensor | None, softplus: bool, reverse: bool, chunk: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """y, the last state, and the states before each chunk [batch, chunks, n, channel]."""
    (batch, time, channels), size = u.shape, B.shape[2]
    y, last = torch.empty_like(u, memory_format=torch.contiguous_format), u.new_empty((batch, size, channels))
    kept = u.new_empty((batch, -(-time // chunk), size, channels))
    start = u.new_zeros((batch, size, channels)) if h0 is None else h0.mT
    given = [*_given(u, delta, A, B, C, D, z, delta_bias), _array(start), z is not None, softplus, reverse, chunk]
    made = [y.numpy(), last.numpy(), kept.numpy()]
    over_batch(lambda i, j: _forward(*given, *made, i, j), batch, u.numel() * size)
    return y, last.mT.contiguous(), kept


def backward(
    dy: Tensor, dlast: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor | None,
    z: Tensor | None, delta_bias: Tensor | None, kept: Tensor, softplus: bool, reverse: bool, chunk: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D, z, delta_bias and h0; of z empty where there is none."""
    (batch, _, channels), size = u.shape, B.shape[2]
    du, ddelta, dB, dC = (torch.empty_like(x, memory_format=torch.contiguous_format) for x in (u, delta, B, C))
    dz, dh0 = u.new_empty((0, 0, 0) if z is None else z.shape), u.new_empty((batch, size, channels))
    dA, dD, dbias = np.zeros((batch, size, channels)), np.zeros((batch, channels)), np.zeros((batch, channels))
    given = [_array(dy), _array(dlast.mT), *_given(u, delta, A, B, C, D, z, delta_bias), _array(kept)]
    made = [du.numpy(), ddelta.numpy(), dA, dB.numpy(), dC.numpy(), dD, dz.numpy(), dbias, dh0.numpy()]
    options = (z is not None, softplus, reverse, chunk)
    over_batch(lambda i, j: _backward(*given, *options, *made, i, j), batch, u.numel() * size)
    totals = [torch.from_numpy(part.sum(0)).to(u.dtype) for part in (dA, dD, dbias)]  # numpy adds in a fixed order
    return du, ddelta, totals[0].T.contiguous(), dB, dC, totals[1], dz, totals[2], dh0.mT.contiguous()


def _given(u, delta, A, B, C, D, z, delta_bias):
    none = u.new_zeros(u.shape[2])
    D, delta_bias = (none if given is None else given for given in (D, delta_bias))
    z = u.new_zeros((1, 1, 1)) if z is None else z
    return [_array(tensor) for tensor in (u, delta, A.T, B, C, D, z, delta_bias)]


def _array(tensor):
    return tensor.detach().contiguous().numpy()
