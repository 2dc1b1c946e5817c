"""The kernel of the selective scan backward; its tiles are described in `selective_parts`."""

# ruff: noqa: RUF005
# pyright: reportOperatorIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# Triton reads this source, and knows no stars in tuples; to pyright its loops, tuples and constants are others.

import triton
import triton.language as tl

from tsforge.kernels.gpu.launch import row_of, until
from tsforge.kernels.gpu.selective_parts import LOG2E, NUMBERS, sigmoid, step_of, tile_of


@triton.jit
def _over_channels(x):
    return tl.sum(tl.sum(x, 0, keep_dims=True), 2, keep_dims=True)


@triton.jit(do_not_specialize=NUMBERS)
def adjoint(
    dy, dlast, u, delta, A, B, C, D, z, bias, kept, scratch, du, ddelta, dA, dB, dC, dD, dz, dbias, dh0,
    time, channels, chunk, SIZE: tl.constexpr, GROUPS: tl.constexpr, STATES: tl.constexpr, LANES: tl.constexpr,
    STEPS: tl.constexpr, GATED: tl.constexpr, SOFT: tl.constexpr, REVERSE: tl.constexpr,
):
    batch, tile, channel, n = tile_of(channels, GROUPS, STATES, LANES)
    live, states = channel < channels, n < SIZE
    whole = channel < tl.where(states, channels, 0)
    cell = n.to(tl.int64) * channels + channel
    tiles, chunks = tl.cdiv(channels, GROUPS * LANES), tl.cdiv(time, chunk)
    rate = tl.load(A + cell, whole, 0.0)
    straight, bias = tl.load(D + channel, live, 0.0), tl.load(bias + channel, live, 0.0)
    carried = tl.load(dlast + batch * SIZE * channels + cell, whole, 0.0)
    to_A = tl.zeros(carried.shape, tl.float64)
    to_D, to_steps = tl.zeros(straight.shape, tl.float64), tl.zeros(straight.shape, tl.float64)
    scratch += batch * (chunk // STEPS) * SIZE * channels + cell
    for part in range(chunks):
        begin = (chunks - 1 - part) * chunk
        state = tl.load(kept + (batch * chunks + begin // chunk) * SIZE * channels + cell, whole, 0.0)
        blocks = tl.cdiv(tl.minimum(chunk, time - begin), STEPS)
        for block in range(blocks):
            tl.store(scratch + block * SIZE * channels, state, whole)
            us, sizes, into = (), (), ()
            for s in tl.static_range(STEPS):
                step = begin + block * STEPS + s
                row = row_of(batch, step, time, REVERSE)
                entering, raw, length = step_of(u, delta, bias, row * channels + channel, live, step < time, SOFT)
                us, sizes = us + (entering,), sizes + (length,)
                into = into + (tl.load(B + row * SIZE + n, states, 0.0),)
            for s in tl.static_range(STEPS):
                state = tl.exp2(sizes[s] * LOG2E * rate) * state + sizes[s] * us[s] * into[s]
        tl.debug_barrier()  # what one thread wrote another may read
        in_chunk, in_D, in_steps = tl.zeros_like(carried), tl.zeros_like(straight), tl.zeros_like(straight)
        for back in range(blocks):
            first = begin + (blocks - 1 - back) * STEPS
            state = tl.load(scratch + (blocks - 1 - back) * SIZE * channels, whole, 0.0)
            us, raws, sizes, into, out, grads, gates, decays, befores = (), (), (), (), (), (), (), (), (state,)
            for s in tl.static_range(STEPS):
                row = row_of(batch, first + s, time, REVERSE)
                entering, raw, length = step_of(u, delta, bias, row * channels + channel, live, first + s < time, SOFT)
                us, raws, sizes = us + (entering,), raws + (raw,), sizes + (length,)
                into = into + (tl.load(B + row * SIZE + n, states, 0.0),)
                out = out + (tl.load(C + row * SIZE + n, states, 0.0),)
                here = channel < until(first + s, time, channels)
                grads = grads + (tl.load(dy + row * channels + channel, here, 0.0),)
                if GATED:
                    gates = gates + (tl.load(z + row * channels + channel, live, 0.0),)
            for s in tl.static_range(STEPS):
                decay = tl.exp2(sizes[s] * LOG2E * rate)
                state = decay * state + sizes[s] * us[s] * into[s]
                decays, befores = decays + (decay,), befores + (state,)
            for s in tl.static_range(STEPS - 1, -1, -1):
                row = row_of(batch, first + s, time, REVERSE)
                at, here = row * channels + channel, channel < until(first + s, time, channels)
                g = grads[s]
                if GATED:
                    opened = sigmoid(gates[s])
                    seen = tl.sum(out[s] * befores[s + 1], 1, keep_dims=True) + straight * us[s]
                    tl.store(dz + at, g * seen * opened * (1 + gates[s] * (1 - opened)), here)
                    g = g * gates[s] * opened
                here_n = (row * tiles + tile) * SIZE + n
                written = n < until(first + s, time, SIZE)
                tl.store(dC + here_n, _over_channels(g * befores[s + 1]), written)
                adjoint_state = out[s] * g + carried
                tl.store(dB + here_n, _over_channels(sizes[s] * us[s] * adjoint_state), written)
                pulled = tl.sum(into[s] * adjoint_state, 1, keep_dims=True)
                carried = decays[s] * adjoint_state
                exponent = carried * befores[s]
                in_chunk += sizes[s] * exponent
                to_size = us[s] * pulled + tl.sum(rate * exponent, 1, keep_dims=True)
                if SOFT:
                    to_size = to_size * sigmoid(raws[s])
                in_steps += tl.where(here, to_size, 0.0)
                in_D += g * us[s]
                tl.store(du + at, sizes[s] * pulled + straight * g, here)
                tl.store(ddelta + at, to_size, here)
        to_A, to_D, to_steps = to_A + in_chunk, to_D + in_D, to_steps + in_steps
        tl.debug_barrier()  # the next chunk writes where this one read
    tl.store(dA + batch * SIZE * channels + cell, to_A, whole)
    tl.store(dD + batch * channels + channel, to_D, live)
    tl.store(dbias + batch * channels + channel, to_steps, live)
    tl.store(dh0 + batch * SIZE * channels + cell, carried, whole)
