"""Parts of the selective scan: what is done to one time over all channels, and to sixteen channels over one chunk.

One time: arrays [channel], in plain loops. Sixteen channels: the vector `v` of `vectors`, read in rows of 16 numbers:
`step`, `inflow`, `exponent`, `g` and the like are [chunk, channel], `rate`, `state`, `adjoint` and `to_rate`
[vectors, n, 16], `decays`, `states`, `to_B` and `to_C` [chunk, n, 16]; channels are filled up to whole vectors with
zeros. Step s of a chunk is the time t0 + turn * s.
"""

from tsforge.kernels.cpu.compiled import compiled
from tsforge.kernels.cpu.exponential import LOG2E, OPTIONS, exp2, sigmoid, softplus
from tsforge.kernels.cpu.lanes import WIDTH, put, take, total, zeros


@compiled(**OPTIONS)
def prepare(u, delta, bias, soft, step, inflow, exponent):
    """One time: delta, delta u and delta log2(e)."""
    log2e = u.dtype.type(LOG2E)
    for c in range(u.size):
        step[c] = delta[c] + bias[c]
    if soft:
        for c in range(u.size):
            step[c] = softplus(step[c])
    for c in range(u.size):
        inflow[c] = step[c] * u[c]
    for c in range(u.size):
        exponent[c] = step[c] * log2e


@compiled(**OPTIONS)
def gate(x, z, gated, out):
    """One time: x silu(z), or x where there is no gate."""
    for c in range(z.size):
        out[c] = x[c]
    if gated:
        for c in range(z.size):
            out[c] *= z[c] * sigmoid(z[c])


@compiled(**OPTIONS)
def gate_gradient(dy, u, D, z, y, dz):
    """One time: the gradient of the gate; y without D u."""
    one = z.dtype.type(1)
    for c in range(u.size):
        dz[c] = dy[c] * (y[c] + D[c] * u[c])
    for c in range(u.size):
        opened = sigmoid(z[c])
        dz[c] *= opened * (one + z[c] * (one - opened))


@compiled(**OPTIONS)
def skip(u, D, y):
    """One time: y + D u."""
    for c in range(u.size):
        y[c] += D[c] * u[c]


@compiled(**OPTIONS)
def gradients(u, delta, bias, D, soft, step, g, by_inflow, by_decay, du, ddelta, dbias, dD):
    """One time: gradients of u and delta; adds to those of the bias and of D."""
    for c in range(u.size):
        du[c] = step[c] * by_inflow[c] + D[c] * g[c]
    for c in range(u.size):
        ddelta[c] = u[c] * by_inflow[c] + by_decay[c]
    if soft:
        for c in range(u.size):
            ddelta[c] *= sigmoid(delta[c] + bias[c])
    for c in range(u.size):
        dbias[c] += ddelta[c]
    for c in range(u.size):
        dD[c] += g[c] * u[c]


@compiled(**OPTIONS)
def fold(wide, narrow):
    """[n, channel] -> [vectors, n, 16]."""
    for v in range(narrow.shape[0]):
        for n in range(wide.shape[0]):
            for c in range(min(WIDTH, wide.shape[1] - v * WIDTH)):
                narrow[v, n, c] = wide[n, v * WIDTH + c]


@compiled(**OPTIONS)
def unfold(narrow, wide):
    """[vectors, n, 16] -> [n, channel]."""
    for v in range(narrow.shape[0]):
        for n in range(wide.shape[0]):
            for c in range(min(WIDTH, wide.shape[1] - v * WIDTH)):
                wide[n, v * WIDTH + c] = narrow[v, n, c]


@compiled(**OPTIONS)
def advance(v, steps, t0, turn, B, C, exponent, inflow, rate, state, y, decays, states):
    """A chunk forward: its last state, <C, h>, and, where they are arrays, its decays and states from the first on."""
    vectors, size = rate.shape[0], rate.shape[1]
    if states is not None:
        for n in range(size):
            put(states, n, take(state, v * size + n))
    for s in range(steps):
        t, at = t0 + turn * s, s * vectors + v
        exponent_s, inflow_s, y_s = take(exponent, at), take(inflow, at), zeros(inflow)
        for n in range(size):
            decay = exp2(exponent_s * take(rate, v * size + n))
            h = decay * take(state, v * size + n) + inflow_s * B[t, n]
            put(state, v * size + n, h)
            y_s = y_s + h * C[t, n]
            if states is not None:
                put(decays, s * size + n, decay)
                put(states, (s + 1) * size + n, h)
        put(y, at, y_s)


@compiled(**OPTIONS)
def pull(
    v, steps, t0, turn, B, C, step, inflow, g, rate, decays, states, adjoint, to_rate, to_B, to_C, by_inflow, by_decay
):
    """A chunk backward: the adjoint before it, and what it gives to every gradient."""
    vectors, size = rate.shape[0], rate.shape[1]
    for s in range(steps - 1, -1, -1):
        t, at = t0 + turn * s, s * vectors + v
        step_s, inflow_s, g_s = take(step, at), take(inflow, at), take(g, at)
        by_inflow_s, by_decay_s = zeros(step), zeros(step)
        for n in range(size):
            row, own = s * size + n, v * size + n
            here = take(adjoint, own) + g_s * C[t, n]
            put(to_C, row, take(to_C, row) + g_s * take(states, row + size))
            put(to_B, row, take(to_B, row) + here * inflow_s)
            by_inflow_s = by_inflow_s + here * B[t, n]
            before = here * take(decays, row)
            put(adjoint, own, before)
            change = before * take(states, row)
            by_decay_s = by_decay_s + change * take(rate, own)
            put(to_rate, own, take(to_rate, own) + change * step_s)
        put(by_inflow, at, by_inflow_s)
        put(by_decay, at, by_decay_s)


@compiled(**OPTIONS)
def move(part, whole):
    """Adds a chunk's part to the whole in float64, and clears it."""
    for v in range(part.shape[0]):
        for n in range(part.shape[1]):
            for c in range(WIDTH):
                whole[v, n, c] += part[v, n, c]
                part[v, n, c] = 0


@compiled(**OPTIONS)
def add_lanes(steps, t0, turn, parts, out):
    """[chunk, n, 16] -> the chunk's rows of [time, n], and clears it."""
    for s in range(steps):
        for n in range(out.shape[1]):
            out[t0 + turn * s, n] = total(take(parts, s * out.shape[1] + n))
            put(parts, s * out.shape[1] + n, zeros(parts))
