"""The kernel of the two-dimensional scan forward, and what both ways share; the tile is described in `grid`."""

# ruff: noqa: RUF059
# pyright: reportOperatorIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# Triton reads this source; to pyright its loops, tuples and constants are others.

import triton
import triton.language as tl

NUMBERS = ["variates", "time", "d", "n", "batches"]
LOG2E = tl.constexpr(1.4426950408889634)
NO_RATE = tl.constexpr(1e-20)  # below, (e^(step a) - 1) / a is the step
NEAR = tl.constexpr(0.5)  # below, e^z - 1 is a series


@triton.jit
def tile(d, n, LINES: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr):
    """Of this program: its batch, its tiles of d and n, and the indices of lines, of channels and of states."""
    n_tiles, d_tiles = tl.maximum(tl.cdiv(n, STATES), 1), tl.cdiv(d, CHANNELS)
    program = tl.program_id(0)
    n_tile, d_tile = program % n_tiles, program // n_tiles % d_tiles
    line = tl.arange(0, LINES)[:, None, None]
    channel = d_tile * CHANNELS + tl.arange(0, CHANNELS)[None, :, None]
    return (program // n_tiles // d_tiles).to(tl.int64), d_tile, n_tile, line, channel, (
        n_tile * STATES + tl.arange(0, STATES)[None, None, :]
    )


@triton.jit
def cells(variate, batch, variates, time, REVERSE: tl.constexpr):
    """The first cell of a variate in the order of the scan, among [batch, variate, time]; -1 where there is none."""
    there = tl.where(variate >= 0, variate, variates) < variates
    first = (batch * variates + (variates - 1 - variate if REVERSE else variate)) * time
    return tl.where(there, first, -1)


@triton.jit
def limits(first, t, time, d, n):
    """Cell of a step, how many channels and how many states it has: none past the end, or where no variate is."""
    there = tl.where(first >= 0, t, time) < time
    return first + t, tl.where(there, d, 0), tl.where(there, n, 0)


@triton.jit
def axis(
    x, delta, b, first, t, time, d, n, channel, state, rate, other, EXPONENTIAL: tl.constexpr, TERMS: tl.constexpr
):
    """x, step and b, and what is kept, held of an input, and taken of the other state."""
    cell, some_d, some_n = limits(first, t, time, d, n)
    entering = tl.load(x + cell * d + channel, channel < some_d, 0.0)
    step = tl.load(delta + cell * d + channel, channel < some_d, 0.0)
    into = tl.load(b + cell * n + state, state < some_n, 0.0)
    z = step * rate
    kept = tl.exp2(step * LOG2E * rate)
    near = tl.full(z.shape, 1.0, z.dtype)
    for k in tl.static_range(TERMS, 1, -1):
        near = 1 + z * (1 / k) * near
    change = tl.where(tl.abs(z) < NEAR, z * near, kept - 1)
    flat = tl.abs(rate) < NO_RATE
    held = tl.where(flat, step, change / tl.where(flat, 1.0, rate))
    across = tl.exp2(step * LOG2E * other) if EXPONENTIAL else held * other
    return entering, step, into, kept, held, tl.where(channel < some_d, across, 0.0)


@triton.jit
def _compose(kept1, value1, before_kept1, before1, kept2, value2, before_kept2, before2):
    """Of two stretches of lines one after the other: the map up to the end, and that up to the last line."""
    return kept1 * kept2, kept2 * value1 + value2, before_kept2 * kept1, before_kept2 * value1 + before2


@triton.jit
def across_lines(kept, value, BACK: tl.constexpr):
    """h = kept h + value from line to line: for each line the value of the one before it."""
    ones, zeros = tl.full(value.shape, 1.0, value.dtype), tl.zeros_like(value)
    return tl.associative_scan((kept + zeros, value, ones, zeros), 0, _compose, reverse=BACK)[3]


@triton.jit
def rates(a1, a2, a3, a4, d, n, channel, state):
    cell, here = channel * n + state, state < tl.where(channel < d, n, 0)
    return tl.load(a1 + cell, here, 0.0), tl.load(a2 + cell, here, 0.0), tl.load(a3 + cell, here, 0.0), tl.load(
        a4 + cell, here, 0.0
    )


@triton.jit
def column(
    x, delta1, delta2, b1, b2, own, read, t, time, d, n, channel, state, r1, r2, r3, r4, h1, h2,
    EXPONENTIAL: tl.constexpr, TERMS: tl.constexpr,
):
    """Both states after one more step; as they were past the end."""
    e1, s1, i1, kept1, held1, taken1 = axis(
        x, delta1, b1, own, t, time, d, n, channel, state, r1, r2, EXPONENTIAL, TERMS
    )
    e2, s2, i2, kept2, held2, taken2 = axis(
        x, delta2, b2, read, t, time, d, n, channel, state, r4, r3, EXPONENTIAL, TERMS
    )
    after1 = kept1 * h1 + taken1 * h2 + held1 * i1 * e1
    after2 = across_lines(kept2, taken2 * after1 + held2 * i2 * e2, False)
    return tl.where(t < time, after1, h1), tl.where(t < time, after2, h2)


@triton.jit(do_not_specialize=NUMBERS)
def scan(
    x, delta1, delta2, a1, a2, a3, a4, b1, b2, c1, c2, start1, start2, y, end1, end2, variates, time, d, n, batches,
    LINES: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr, TERMS: tl.constexpr,
    EXPONENTIAL: tl.constexpr, REVERSE: tl.constexpr,
):
    batch, d_tile, n_tile, line, channel, state = tile(d, n, LINES, CHANNELS, STATES)
    own, read = cells(line - 1, batch, variates, time, REVERSE), cells(line, batch, variates, time, REVERSE)
    r1, r2, r3, r4 = rates(a1, a2, a3, a4, d, n, channel, state)
    place = (own // time * d + channel) * n + state
    here = state < tl.where(channel < tl.where(own >= 0, d, 0), n, 0)
    h1, h2 = tl.load(start1 + place, here, 0.0), tl.load(start2 + place, here, 0.0)
    y += n_tile * batches.to(tl.int64) * variates * time * d
    for t in range(0, time):
        h1, h2 = column(
            x, delta1, delta2, b1, b2, own, read, t, time, d, n, channel, state, r1, r2, r3, r4, h1, h2,
            EXPONENTIAL, TERMS,
        )
        cell, some_d, some_n = limits(own, t, time, d, n)
        out1 = tl.load(c1 + cell * n + state, state < some_n, 0.0)
        out2 = tl.load(c2 + cell * n + state, state < some_n, 0.0)
        tl.store(y + cell * d + channel, tl.sum(out1 * h1 + out2 * h2, 2, keep_dims=True), channel < some_d)
    tl.store(end1 + place, h1, here)
    tl.store(end2 + place, h2, here)
