"""Loops of the two-dimensional scan: batch, channel, sixteen states, variate, some steps.

`given`: x, delta1, delta2 [batch, variate, time, d], b1, b2, c1, c2 [batch, variate, time, n], h1, h2 [batch, variate,
d, n], with n a multiple of sixteen; `made`: the gradients of the same. `at`: batch, variate, channel, which sixteen.
`rates` [d, n / 16, 12, 16]. `h` [2, row, 1 + time, 16] holds both states of as many variates as it has rows.
"""

import numpy as np

from tsforge.kernels.cpu.compiled import compiled
from tsforge.kernels.cpu.exponential import OPTIONS
from tsforge.kernels.cpu.grid_parts import (
    BLOCK,
    CHUNK,
    SUMS,
    adjoint,
    coefficients,
    gradients,
    read,
    read_back,
    states,
)
from tsforge.kernels.cpu.held import TABLE, rate_table
from tsforge.kernels.cpu.lanes import WIDTH


@compiled(**OPTIONS)
def fill_tables(a1, a2, a3, a4, tables):
    """The tables of both axes for each sixteen states of a channel: [d, n / 16, 12, 16]."""
    for d in range(tables.shape[0]):
        for k in range(tables.shape[1]):
            part = slice(k * WIDTH, (k + 1) * WIDTH)
            rate_table(a1[d, part], a2[d, part], tables[d, k, :TABLE])
            rate_table(a4[d, part], a3[d, part], tables[d, k, TABLE:])


@compiled(**OPTIONS)
def _cut(cells, at, low):
    """Some steps of a variate, for one channel."""
    batch, v, d, _ = at
    return cells[batch, v, low : min(low + CHUNK, cells.shape[2]), d]


@compiled(**OPTIONS)
def _lanes(column, at):
    """Sixteen states of a channel and a variate."""
    batch, v, d, k = at
    return column[batch, v, d, k * WIDTH : (k + 1) * WIDTH]


@compiled(**OPTIONS)
def _cell(reads, at, low):
    """The row of b and c of a cell, and how many rows lie from a step to the next."""
    batch, v, _, k = at
    blocks = reads.shape[3] // WIDTH
    return ((batch * reads.shape[1] + v) * reads.shape[2] + low) * blocks + k, blocks


@compiled(**OPTIONS)
def _variate(at, given, rates, exponential, work, h, above, here):
    """All states of a variate, into the row `here` of h [2, row, 1 + time, 16]."""
    x, delta1, delta2, b1, b2, _, _, h1, h2 = given
    h[0, here, 0], h[1, here, 0] = _lanes(h1, at), _lanes(h2, at)
    row = h.shape[2]
    for low in range(0, x.shape[2], CHUNK):
        coefficients(_cut(delta1, at, low), rates, 0, exponential, work)
        coefficients(_cut(delta2, at, low), rates, 1, exponential, work)
        cell, stride = _cell(b1, at, low)
        starts = above * row + 1 + low, here * row + low
        states(_cut(x, at, low), b1, b2, cell, stride, work, h[0], h[1], *starts)


@compiled(**OPTIONS)
def scan_batch(given, rates, exponential, reverse, y, end1, end2, start, stop):
    """y and the last states of some of the batch."""
    x, _, _, _, _, c1, c2, _, _ = given
    _, variates, time, channels = x.shape
    work, h = np.empty((2 * BLOCK, WIDTH), x.dtype), np.empty((2, 2, time + 1, WIDTH), x.dtype)
    for batch in range(start, stop):
        y[batch] = 0
        for d in range(channels):
            for k in range(rates.shape[1]):
                h[:, 1] = 0
                for order in range(variates):
                    v, here = variates - 1 - order if reverse else order, order % 2
                    at = batch, v, d, k
                    _variate(at, given, rates[d, k], exponential, work, h, 1 - here, here)
                    cell, stride = _cell(c1, at, 0)
                    read(c1, c2, cell, stride, h[0], h[1], here * (time + 1), y[batch, v, :, d])
                    _lanes(end1, at)[:], _lanes(end2, at)[:] = h[0, here, time], h[1, here, time]


@compiled(**OPTIONS)
def _variate_back(at, gy, given, rates, exponential, work, h, above, below, right, made, sums):
    """The adjoint of a variate, from its last steps to its first; its states stand a row after those above."""
    x, delta1, delta2, b1, b2, c1, c2, _, _ = given
    dx, ddelta1, ddelta2, db1, db2, dc1, dc2, _, _ = made
    row, here = h.shape[2], above + 1
    for chunk in range((x.shape[2] - 1) // CHUNK, -1, -1):
        low = chunk * CHUNK
        cell, stride = _cell(b1, at, low)
        x_, gy_, step1, step2, dx_ = (
            _cut(x, at, low), _cut(gy, at, low), _cut(delta1, at, low), _cut(delta2, at, low), _cut(dx, at, low)
        )
        coefficients(step1, rates, 0, exponential, work)
        coefficients(step2, rates, 1, exponential, work)
        adjoint(gy_, c1, c2, cell, stride, work, below, low, right)
        read_back(gy_, cell, stride, h[0], h[1], here * row + low, dc1, dc2)
        gradients(x_, step1, b1, cell, stride, rates, 0, exponential, work, h[0], h[1], here * row + low, dx_,
                  _cut(ddelta1, at, low), db1, sums)
        gradients(x_, step2, b2, cell, stride, rates, 1, exponential, work, h[1], h[0], above * row + 1 + low, dx_,
                  _cut(ddelta2, at, low), db2, sums)


@compiled(**OPTIONS)
def _clear(made, batch):
    """Zeros, to which the gradients of a batch element are added."""
    for each in made[:3]:
        each[batch] = 0
    for each in made[3:7]:
        each[batch] = 0


@compiled(**OPTIONS)
def adjoint_batch(gy, gend1, gend2, given, rates, exponential, reverse, made, drates, start, stop):
    """The gradients of some of the batch; those of the rates lie apart for each of its elements."""
    x, dh1, dh2 = given[0], made[7], made[8]
    _, variates, time, channels = x.shape
    work, h = np.empty((2 * BLOCK, WIDTH), x.dtype), np.empty((2, variates + 1, time + 1, WIDTH), x.dtype)
    below, right = np.empty((time, 2, WIDTH), x.dtype), np.empty((2, WIDTH), x.dtype)
    sums = np.empty((2 * SUMS, WIDTH), x.dtype)
    h[:, 0] = 0
    for batch in range(start, stop):
        _clear(made, batch)
        for d in range(channels):
            for k in range(rates.shape[1]):
                for order in range(variates):
                    at = batch, variates - 1 - order if reverse else order, d, k
                    _variate(at, given, rates[d, k], exponential, work, h, order, order + 1)
                below[:] = 0
                drates[batch, d, k] = 0
                for order in range(variates - 1, -1, -1):
                    at = batch, variates - 1 - order if reverse else order, d, k
                    sums[:] = 0
                    right[0], right[1] = _lanes(gend1, at), _lanes(gend2, at)
                    _variate_back(at, gy, given, rates[d, k], exponential, work, h, order, below, right, made, sums)
                    _lanes(dh1, at)[:], _lanes(dh2, at)[:] = right[0], right[1]
                    drates[batch, d, k] += sums
