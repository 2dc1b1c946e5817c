"""The kernel of the two-dimensional scan backward; the tile and its lines are described in `grid`."""

# pyright: reportOperatorIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# Triton reads this source; to pyright its loops, tuples and constants are others.

import triton
import triton.language as tl

from tsforge.kernels.gpu.grid_parts import NUMBERS, across_lines, axis, cells, column, limits, rates, tile


@triton.jit
def _axis_back(
    entering, step, into, kept, held, across, to_kept, to_across, to_entered, rate, other,
    EXPONENTIAL: tl.constexpr, BELOW: tl.constexpr,
):
    """Gradients of x, step and b, and of the rate and the coupling, line by line."""
    z = step * rate
    to_held = to_entered * into * entering
    to_step = tl.zeros_like(to_held)
    if EXPONENTIAL:
        to_across = across * to_across
        to_step, to_other = other * to_across, step * to_across
    else:
        to_held, to_other = to_held + other * to_across, held * to_across
    series = z * (z * (z * (z * (z * (1 / 840) + 1 / 144) + 1 / 30) + 1 / 8) + 1 / 3) + 0.5
    near = tl.abs(z) < BELOW
    turned = tl.where(near, step * step * series, (step * kept - held) / tl.where(near, 1.0, rate))
    to_step = to_step + kept * (rate * to_kept + to_held)
    to_rate = step * kept * to_kept + turned * to_held
    return held * to_entered * into, to_step, held * to_entered * entering, to_rate, to_other


@triton.jit
def _store_cells(x, delta, b, to_x, to_step, to_b, cell, some_d, some_n, channel, state, d_tile, d_tiles, d, n):
    tl.store(x + cell * d + channel, tl.sum(to_x, 2, keep_dims=True), channel < some_d)
    tl.store(delta + cell * d + channel, tl.sum(to_step, 2, keep_dims=True), channel < some_d)
    tl.store(b + (cell * d_tiles + d_tile) * n + state, tl.sum(to_b, 1, keep_dims=True), state < some_n)


@triton.jit(do_not_specialize=NUMBERS)
def adjoint(
    gy, gend1, gend2, x, delta1, delta2, a1, a2, a3, a4, b1, b2, c1, c2, start1, start2, kept_columns, columns,
    dx1, dx2, ddelta1, ddelta2, da1, da2, da3, da4, db1, db2, dc1, dc2, dh1, dh2, variates, time, d, n, batches,
    LINES: tl.constexpr, CHANNELS: tl.constexpr, STATES: tl.constexpr, TERMS: tl.constexpr,
    EXPONENTIAL: tl.constexpr, REVERSE: tl.constexpr, CHUNK: tl.constexpr, BELOW: tl.constexpr,
):
    batch, d_tile, n_tile, line, channel, state = tile(d, n, LINES, CHANNELS, STATES)
    own, read = cells(line - 1, batch, variates, time, REVERSE), cells(line, batch, variates, time, REVERSE)
    r1, r2, r3, r4 = rates(a1, a2, a3, a4, d, n, channel, state)
    place = (own // time * d + channel) * n + state
    here = state < tl.where(channel < tl.where(own >= 0, d, 0), n, 0)
    shift, d_tiles = n_tile * batches.to(tl.int64) * variates * time * d, tl.cdiv(d, CHANNELS)
    SIZE: tl.constexpr = LINES * CHANNELS * STATES
    chunks = tl.cdiv(time, CHUNK)
    within = (line * CHANNELS + tl.arange(0, CHANNELS)[None, :, None]) * STATES + tl.arange(0, STATES)[None, None, :]
    kept_columns += tl.program_id(0).to(tl.int64) * chunks * 2 * SIZE + within
    columns += tl.program_id(0).to(tl.int64) * (CHUNK + 1) * 2 * SIZE + within
    h1, h2 = tl.load(start1 + place, here, 0.0), tl.load(start2 + place, here, 0.0)
    for t in range(0, time):
        if t % CHUNK == 0:
            tl.store(kept_columns + t // CHUNK * 2 * SIZE, h1)
            tl.store(kept_columns + (t // CHUNK * 2 + 1) * SIZE, h2)
        h1, h2 = column(
            x, delta1, delta2, b1, b2, own, read, t, time, d, n, channel, state, r1, r2, r3, r4, h1, h2,
            EXPONENTIAL, TERMS,
        )
    carried1, carried2 = tl.load(gend1 + place, here, 0.0), tl.load(gend2 + place, here, 0.0)
    total1 = tl.zeros((1, CHANNELS, STATES), tl.float64)
    total2, total3, total4 = total1, total1, total1
    tl.debug_barrier()  # what one thread wrote another may read
    for part in range(0, chunks):
        begin = (chunks - 1 - part) * CHUNK
        h1 = tl.load(kept_columns + begin // CHUNK * 2 * SIZE)
        h2 = tl.load(kept_columns + (begin // CHUNK * 2 + 1) * SIZE)
        tl.store(columns, h1)
        tl.store(columns + SIZE, h2)
        for s in range(0, tl.minimum(CHUNK, time - begin)):
            h1, h2 = column(
                x, delta1, delta2, b1, b2, own, read, begin + s, time, d, n, channel, state, r1, r2, r3, r4, h1, h2,
                EXPONENTIAL, TERMS,
            )
            tl.store(columns + 2 * (s + 1) * SIZE, h1)
            tl.store(columns + (2 * (s + 1) + 1) * SIZE, h2)
        tl.debug_barrier()
        sum1 = tl.zeros_like(h1)
        sum2, sum3, sum4 = sum1, sum1, sum1
        for back in range(0, tl.minimum(CHUNK, time - begin)):
            t = tl.minimum(begin + CHUNK, time) - 1 - back
            at = columns + 2 * (t - begin) * SIZE
            left1, left2, h1, h2 = tl.load(at), tl.load(at + SIZE), tl.load(at + 2 * SIZE), tl.load(at + 3 * SIZE)
            e1, s1, i1, kept1, held1, taken1 = axis(
                x, delta1, b1, own, t, time, d, n, channel, state, r1, r2, EXPONENTIAL, TERMS
            )
            e2, s2, i2, kept2, held2, taken2 = axis(
                x, delta2, b2, read, t, time, d, n, channel, state, r4, r3, EXPONENTIAL, TERMS
            )
            cell, some_d, some_n = limits(own, t, time, d, n)
            g = tl.load(gy + cell * d + channel, channel < some_d, 0.0)
            out1 = tl.load(c1 + cell * n + state, state < some_n, 0.0)
            out2 = tl.load(c2 + cell * n + state, state < some_n, 0.0)
            l2 = across_lines(kept2, out2 * g + carried2, True)
            l1 = out1 * g + carried1 + taken2 * l2
            l1 = tl.where(own >= 0, l1, 0.0)
            to = (cell * d_tiles + d_tile) * n + state
            tl.store(dc1 + to, tl.sum(g * h1, 1, keep_dims=True), state < some_n)
            tl.store(dc2 + to, tl.sum(g * h2, 1, keep_dims=True), state < some_n)
            to_x, to_step, to_b, to_rate, to_other = _axis_back(
                e1, s1, i1, kept1, held1, taken1, l1 * left1, l1 * left2, l1, r1, r2, EXPONENTIAL, BELOW
            )
            sum1, sum2 = sum1 + to_rate, sum2 + to_other
            _store_cells(dx1 + shift, ddelta1 + shift, db1, to_x, to_step, to_b, cell, some_d, some_n, channel, state,
                         d_tile, d_tiles, d, n)
            to_x, to_step, to_b, to_rate, to_other = _axis_back(
                e2, s2, i2, kept2, held2, taken2, l2 * h2, l2 * h1, l2, r4, r3, EXPONENTIAL, BELOW
            )
            sum4, sum3 = sum4 + to_rate, sum3 + to_other
            cell, some_d, some_n = limits(read, t, time, d, n)
            _store_cells(dx2 + shift, ddelta2 + shift, db2, to_x, to_step, to_b, cell, some_d, some_n, channel, state,
                         d_tile, d_tiles, d, n)
            carried1, carried2 = kept1 * l1, taken1 * l1
        total1 += tl.sum(sum1, 0, keep_dims=True)
        total2 += tl.sum(sum2, 0, keep_dims=True)
        total3 += tl.sum(sum3, 0, keep_dims=True)
        total4 += tl.sum(sum4, 0, keep_dims=True)
        tl.debug_barrier()  # the next chunk writes where this one read
    rows, some = (batch * d + channel) * n + state, state < tl.where(channel < d, n, 0)
    tl.store(da1 + rows, total1, some)
    tl.store(da2 + rows, total2, some)
    tl.store(da3 + rows, total3, some)
    tl.store(da4 + rows, total4, some)
    tl.store(dh1 + place, carried1, here)
    tl.store(dh2 + place, carried2, here)
