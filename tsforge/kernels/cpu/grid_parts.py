"""Parts of the two-dimensional scan: some steps of one variate, for sixteen of the n states of one channel.

Arrays of a step hold single numbers [step]; all others are read as rows of sixteen. `cell` is the row of b and c of the
first step, `stride` how many rows lie from a step to the next; `here`, `above` are the rows of h1, h2 that stand before
the first step, and above it. `work` has blocks of CHUNK rows: for each axis what is kept, what is taken of the other
state, what is held of an input; the adjoint states. `rates` has the table of axis 0 (time), then that of axis 1.
"""

from tsforge.kernels.cpu.compiled import compiled
from tsforge.kernels.cpu.exponential import OPTIONS, exp2
from tsforge.kernels.cpu.held import (
    FLAT,
    INVERSE,
    OTHER,
    OTHER_2,
    RATE,
    RATE_2,
    TABLE,
    held_by_rate,
    kept_and_held,
)
from tsforge.kernels.cpu.lanes import put, take, total, zeros

CHUNK = 32  # steps at a time: `work` stays in the nearest cache, and sums of gradients stay short
KEPT, TAKEN, HELD, ADJOINT = 0, CHUNK, 2 * CHUNK, 3 * CHUNK
BLOCK = 4 * CHUNK  # rows of an axis
SUMS = 2  # of an axis: gradients of the rate and of the coupling


@compiled(**OPTIONS)
def coefficients(step, rates, axis, exponential, work):
    """What is kept, taken and held along an axis."""
    table, to = axis * TABLE, axis * BLOCK
    rate_2, inverse, flat = (take(rates, table + RATE_2), take(rates, table + INVERSE), take(rates, table + FLAT))
    coupling = take(rates, table + (OTHER_2 if exponential else OTHER))
    for s in range(step.size):
        kept, held = kept_and_held(step[s], rate_2, inverse, flat)
        put(work, to + KEPT + s, kept)
        put(work, to + HELD + s, held)
        put(work, to + TAKEN + s, exp2(coupling * step[s]) if exponential else held * coupling)


@compiled(**OPTIONS)
def states(x, b1, b2, cell, stride, work, h1, h2, above, here):
    """The states of both axes."""
    left1, left2 = take(h1, here), take(h2, here)
    for s in range(x.size):
        row = cell + s * stride
        entered = take(work, HELD + s) * take(b1, row) * x[s]
        left1 = take(work, KEPT + s) * left1 + (take(work, TAKEN + s) * left2 + entered)
        entered = take(work, BLOCK + HELD + s) * take(b2, row) * x[s]
        taken = take(work, BLOCK + TAKEN + s) * take(h1, above + s) + entered
        left2 = take(work, BLOCK + KEPT + s) * take(h2, above + s) + taken
        put(h1, here + 1 + s, left1)
        put(h2, here + 1 + s, left2)


@compiled(**OPTIONS)
def read(c1, c2, cell, stride, h1, h2, here, y):
    """Adds to y what is read off the states."""
    for s in range(y.size):
        row = cell + s * stride
        y[s] += total(take(c1, row) * take(h1, here + 1 + s) + take(c2, row) * take(h2, here + 1 + s))


@compiled(**OPTIONS)
def read_back(gy, cell, stride, h1, h2, here, dc1, dc2):
    """Adds to the gradients of c."""
    for s in range(gy.size):
        row = cell + s * stride
        put(dc1, row, take(dc1, row) + take(h1, here + 1 + s) * gy[s])
        put(dc2, row, take(dc2, row) + take(h2, here + 1 + s) * gy[s])


@compiled(**OPTIONS)
def adjoint(gy, c1, c2, cell, stride, work, below, low, right):
    """The adjoint states, from the last step to the first.

    `right` has two rows, `below` two for each time, from `low` on: what the cells after and below this one give to its
    two states. They are left with what the first step and these cells give to those before and above.
    """
    right1, right2 = take(right, 0), take(right, 1)
    for s in range(gy.size - 1, -1, -1):
        row, under = cell + s * stride, 2 * (low + s)
        l1 = take(c1, row) * gy[s] + (right1 + take(below, under))
        l2 = take(c2, row) * gy[s] + (right2 + take(below, under + 1))
        put(work, ADJOINT + s, l1)
        put(work, BLOCK + ADJOINT + s, l2)
        put(below, under, take(work, BLOCK + TAKEN + s) * l2)
        put(below, under + 1, take(work, BLOCK + KEPT + s) * l2)
        right1, right2 = take(work, KEPT + s) * l1, take(work, TAKEN + s) * l1
    put(right, 0, right1)
    put(right, 1, right2)


@compiled(**OPTIONS)
def gradients(x, step, b, cell, stride, rates, axis, exponential, work, own, other, before, dx, dstep, db, sums):
    """Adds to the gradients along an axis; `own`, `other`: the states that its cells read, from row `before` on."""
    table, at = axis * TABLE, axis * BLOCK
    rate, inverse, coupling = take(rates, table + RATE), take(rates, table + INVERSE), take(rates, table + OTHER)
    by_rate, by_coupling = zeros(rates), zeros(rates)
    for s in range(x.size):
        row = cell + s * stride
        kept, held, state = take(work, at + KEPT + s), take(work, at + HELD + s), take(work, at + ADJOINT + s)
        entered = state * take(b, row)
        to_kept, to_taken, to_held = state * take(own, before + s), state * take(other, before + s), entered * x[s]
        to_step = zeros(rates)
        if exponential:
            to_taken = take(work, at + TAKEN + s) * to_taken
            to_step = coupling * to_taken
            by_coupling = by_coupling + to_taken * step[s]
        else:
            to_held = to_held + coupling * to_taken
            by_coupling = by_coupling + held * to_taken
        dstep[s] += total(to_step + kept * (rate * to_kept + to_held))
        turned = held_by_rate(step[s], rate, inverse, kept, held)
        by_rate = by_rate + (kept * to_kept * step[s] + turned * to_held)
        dx[s] += total(held * entered)
        put(db, row, take(db, row) + held * state * x[s])
    put(sums, axis * SUMS, take(sums, axis * SUMS) + by_rate)
    put(sums, axis * SUMS + 1, take(sums, axis * SUMS + 1) + by_coupling)
