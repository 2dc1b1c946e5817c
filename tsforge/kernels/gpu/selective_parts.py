"""The kernel of the selective scan forward, and what both ways share.

A tile is [group, n, lane], its channels group by lane: with eight lanes a warp takes four n side by side, so that sums
over n and sums over channels both need two or three exchanges between threads, not five for each number. The numbers of
a call are not specialised: a program for lengths that divide by 16 would lay out its tiles in another way.
Steps are multiplied by log2(e), as in the CPU's path, and the exponential is a power of two.
"""

# ruff: noqa: RUF005, RUF059
# pyright: reportOperatorIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# Triton reads this source, and knows no stars in tuples; to pyright its loops, tuples and constants are others.

import triton
import triton.language as tl

from tsforge.kernels.gpu.launch import row_of, until

LOG2E = tl.constexpr(1.4426950408889634)
NUMBERS = ["time", "channels", "chunk"]


@triton.jit
def _softplus(x):
    """log(1 + e^x), with all its digits where e^x is small."""
    e = tl.exp(-tl.abs(x))
    whole = 1 + e
    off = whole - 1
    return tl.maximum(x, 0.0) + tl.where(off == 0, e, tl.log(whole) * (e / tl.where(off == 0, 1.0, off)))


@triton.jit
def sigmoid(x):
    return 1 / (1 + tl.exp(-x))


@triton.jit
def tile_of(channels, GROUPS: tl.constexpr, STATES: tl.constexpr, LANES: tl.constexpr):
    """Of this program: its batch, its tile among those of the batch, and the indices of channels and states."""
    tiles = tl.cdiv(channels, GROUPS * LANES)
    batch, tile = (tl.program_id(0) // tiles).to(tl.int64), tl.program_id(0) % tiles
    within = tl.arange(0, GROUPS)[:, None, None] * LANES + tl.arange(0, LANES)[None, None, :]
    return batch, tile, tile * GROUPS * LANES + within, tl.arange(0, STATES)[None, :, None]


@triton.jit
def _size(raw, there, SOFT: tl.constexpr):
    """The size of a step; 0 past the end, which leaves the state as it is."""
    return tl.where(there, _softplus(raw) if SOFT else raw, 0.0)


@triton.jit
def step_of(u, delta, bias, at, live, there, SOFT: tl.constexpr):
    """u, delta with its bias, and the size of the step."""
    raw = tl.load(delta + at, live, 0.0) + bias
    return tl.load(u + at, live, 0.0), raw, _size(raw, there, SOFT)


@triton.jit
def _ahead(
    u, delta, z, channel, there, first, batch, time, channels, STEPS: tl.constexpr, GATED: tl.constexpr,
    REVERSE: tl.constexpr,
):
    """u, delta (and z) of some steps, one after the other."""
    found = ()
    for s in tl.static_range(STEPS):
        at = row_of(batch, first + s, time, REVERSE) * channels + channel
        found = found + (tl.load(u + at, there, 0.0), tl.load(delta + at, there, 0.0))
        if GATED:
            found = found + (tl.load(z + at, there, 0.0),)
    return found


@triton.jit(do_not_specialize=NUMBERS)
def scan(
    u, delta, A, B, C, D, z, bias, h0, y, last, kept, time, channels, chunk,
    SIZE: tl.constexpr, GROUPS: tl.constexpr, STATES: tl.constexpr, LANES: tl.constexpr,
    STEPS: tl.constexpr, GATED: tl.constexpr, SOFT: tl.constexpr, REVERSE: tl.constexpr,
):
    batch, tile, channel, n = tile_of(channels, GROUPS, STATES, LANES)
    live, states = channel < channels, n < SIZE
    whole = channel < tl.where(states, channels, 0)
    cell = n.to(tl.int64) * channels + channel
    rate = tl.load(A + cell, whole, 0.0)
    straight, bias = tl.load(D + channel, live, 0.0), tl.load(bias + channel, live, 0.0)
    state = tl.load(h0 + batch * SIZE * channels + cell, whole, 0.0)
    chunks, there = tl.cdiv(time, chunk), channel < until(0, time, channels)
    GIVEN: tl.constexpr = 3 if GATED else 2  # pyright: ignore[reportAssignmentType]
    coming = _ahead(u, delta, z, channel, there, 0, batch, time, channels, STEPS, GATED, REVERSE)
    for first in range(0, time, STEPS):
        if first % chunk == 0:
            tl.store(kept + (batch * chunks + first // chunk) * SIZE * channels + cell, state, whole)
        given, into, out = coming, (), ()
        coming = _ahead(u, delta, z, channel, there, first + STEPS, batch, time, channels, STEPS, GATED, REVERSE)
        for s in tl.static_range(STEPS):
            row = row_of(batch, first + s, time, REVERSE)
            into = into + (tl.load(B + row * SIZE + n, states, 0.0),)
            out = out + (tl.load(C + row * SIZE + n, states, 0.0),)
        for s in tl.static_range(STEPS):
            at = row_of(batch, first + s, time, REVERSE) * channels + channel
            entering, step = given[GIVEN * s], _size(given[GIVEN * s + 1] + bias, first + s < time, SOFT)
            state = tl.exp2(step * LOG2E * rate) * state + step * entering * into[s]
            seen = tl.sum(out[s] * state, 1, keep_dims=True) + straight * entering
            if GATED:
                gate = given[GIVEN * s + 2]
                seen = seen * gate * sigmoid(gate)
            tl.store(y + at, seen, channel < until(first + s, time, channels))
    tl.store(last + batch * SIZE * channels + cell, state, whole)
