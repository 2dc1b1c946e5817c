"""The additive scan in Triton: a tile of values and all keys of their means in the registers of one warp.

Each tile of values follows the weights by itself, since they depend on the keys alone; what sums over values is summed
over a tile by its program and over tiles by torch. Backward runs forward once more and keeps the mean before each
chunk; then, from the last chunk to the first, it writes the means of all steps of a chunk to a scratch and goes back
over them.
"""

# ruff: noqa: RUF005, RUF059
# pyright: reportOperatorIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# Triton reads this source, and knows no stars in tuples; to pyright its loops, tuples and constants are others.

import triton
import triton.language as tl
from torch import Tensor

from tsforge.kernels.gpu.launch import flat, launch, power_of_two, row_of, until

CHUNK = 16  # steps from one kept mean to the next
STEPS = 4  # loads in flight
FORWARD, BACKWARD = 1024, 512  # numbers of a tile: 32 and 16 for each thread, as registers allow
NUMBERS = ["time", "heads", "keys", "values"]


@triton.jit
def _tile(heads, keys, values, KEYS: tl.constexpr, VALUES: tl.constexpr):
    """Of this program: batch, head, tile, the indices of keys and values, and which of them there are."""
    tiles = tl.maximum(tl.cdiv(values, VALUES), 1)
    program = tl.program_id(0)
    key, value = tl.arange(0, KEYS)[:, None], program % tiles * VALUES + tl.arange(0, VALUES)[None, :]
    return (program // tiles // heads).to(tl.int64), program // tiles % heads, program % tiles, key, value


@triton.jit
def _weight(part, whole):
    """exp(part - whole), and 0 where nothing was seen yet."""
    never = whole == float("-inf")
    return tl.where(never, 0.0, tl.exp(part - tl.where(never, 0.0, whole)))


@triton.jit
def _log_add(x, y):
    """log(e^x + e^y)"""
    top = tl.maximum(x, y)
    never = top == float("-inf")
    top = tl.where(never, 0.0, top)
    total = tl.exp(x - top) + tl.exp(y - top)
    return tl.where(never, float("-inf"), top + tl.log(tl.where(never, 1.0, total)))


@triton.jit(do_not_specialize=NUMBERS)
def scan(
    q, k, v, z0, h0, out, logs, last, time, heads, keys, values, KEYS: tl.constexpr, VALUES: tl.constexpr,
    STEPS: tl.constexpr,
):
    batch, head, tile, key, value = _tile(heads, keys, values, KEYS, VALUES)
    cell, whole = key * values + value, value < tl.where(key < keys, values, 0)
    states = batch * heads + head
    z = tl.load(z0 + states * keys + key, key < keys, float("-inf"))
    h = tl.load(h0 + states * keys * values + cell, whole, 0.0)
    for first in range(0, time, STEPS):
        reads, logits, taken_in = (), (), ()
        for s in tl.static_range(STEPS):
            row = row_of(batch, first + s, time, False) * heads + head
            reads = reads + (tl.load(q + row * keys + key, key < keys, 0.0),)
            logits = logits + (tl.load(k + row * keys + key, key < until(first + s, time, keys), float("-inf")),)
            taken_in = taken_in + (tl.load(v + row * values + value, value < values, 0.0),)
        for s in tl.static_range(STEPS):
            row = row_of(batch, first + s, time, False) * heads + head
            after = _log_add(z, logits[s])
            kept = tl.where(first + s < time, _weight(z, after), 1.0)
            h = kept * h + _weight(logits[s], after) * taken_in[s]
            z = after
            writes = until(first + s, time, tl.where(tile == 0, keys, 0))
            tl.store(logs + row * keys + key, z, key < writes)
            seen = tl.sum(reads[s] * h, 0, keep_dims=True)
            tl.store(out + row * values + value, seen, value < until(first + s, time, values))
    tl.store(last + states * keys * values + cell, h, whole)


@triton.jit
def _forward_step(k, v, z0, logs, step, batch, head, time, heads, keys, values, key, value, h):
    """The mean after a step, and what the step kept and took."""
    row = row_of(batch, step, time, False) * heads + head
    here = key < until(step, time, keys)
    after = tl.load(logs + row * keys + key, here, float("-inf"))
    before = tl.load(z0 + (batch * heads + head) * keys + key, key < tl.where(step == 0, keys, 0), 0.0)
    before = tl.load(logs + (row - heads) * keys + key, key < tl.where(step > 0, until(step, time, keys), 0), before)
    logit = tl.load(k + row * keys + key, here, float("-inf"))
    entering = tl.load(v + row * values + value, value < values, 0.0)
    kept, taken = _weight(before, after), _weight(logit, after)
    return tl.where(step < time, kept * h + taken * entering, h), kept, taken, entering


@triton.jit(do_not_specialize=NUMBERS)
def adjoint(
    grad, grad_logs, grad_last, q, k, v, z0, h0, logs, last, kept_means, means, dq, dk, dv, dz, dh,
    time, heads, keys, values, KEYS: tl.constexpr, VALUES: tl.constexpr, CHUNK: tl.constexpr,
):
    batch, head, tile, key, value = _tile(heads, keys, values, KEYS, VALUES)
    cell, whole = key * values + value, value < tl.where(key < keys, values, 0)
    tiles, chunks = tl.maximum(tl.cdiv(values, VALUES), 1), tl.cdiv(time, CHUNK)
    states, square = batch * heads + head, keys * values
    kept_means += states * chunks * square + cell
    means += states * CHUNK * square + cell
    start = tl.load(h0 + states * square + cell, whole, 0.0)
    h = start
    for step in range(0, time):
        if step % CHUNK == 0:
            tl.store(kept_means + step // CHUNK * square, h, whole)
        h, kept, taken, entering = _forward_step(
            k, v, z0, logs, step, batch, head, time, heads, keys, values, key, value, h
        )
    reach = tl.load(grad_last + states * square + cell, whole, 0.0)
    mean = tl.sum(reach * tl.load(last + states * square + cell, whole, 0.0), 1, keep_dims=True)
    tl.debug_barrier()  # what one thread wrote another may read
    for part in range(0, chunks):
        begin = (chunks - 1 - part) * CHUNK
        h = tl.load(kept_means + begin // CHUNK * square, whole, 0.0)
        for s in range(0, tl.minimum(CHUNK, time - begin)):
            h, kept, taken, entering = _forward_step(
                k, v, z0, logs, begin + s, batch, head, time, heads, keys, values, key, value, h
            )
            tl.store(means + s * square, h, whole)
        tl.debug_barrier()
        for back in range(0, tl.minimum(CHUNK, time - begin)):
            step = tl.minimum(begin + CHUNK, time) - 1 - back
            row = row_of(batch, step, time, False) * heads + head
            h = tl.load(means + (step - begin) * square, whole, 0.0)
            unused, kept, taken, entering = _forward_step(
                k, v, z0, logs, step, batch, head, time, heads, keys, values, key, value, h
            )
            go = tl.load(grad + row * values + value, value < values, 0.0)
            read = tl.load(q + row * keys + key, key < keys, 0.0)
            gz = tl.load(grad_logs + row * keys + key, key < tl.where(tile == 0, keys, 0), 0.0)
            to_q = tl.sum(h * go, 1, keep_dims=True)
            mean = mean + read * to_q - gz
            reach = reach + read * go
            tl.store(dq + (row * tiles + tile) * keys + key, to_q, key < keys)
            to_k = taken * (tl.sum(reach * entering, 1, keep_dims=True) - mean)
            tl.store(dk + (row * tiles + tile) * keys + key, to_k, key < keys)
            tl.store(dv + row * values + value, tl.sum(taken * reach, 0, keep_dims=True), value < values)
            reach, mean = kept * reach, kept * mean
        tl.debug_barrier()  # the next chunk writes where this one read
    to_z = tl.sum(reach * start, 1, keep_dims=True) - mean
    tl.store(dz + (states * tiles + tile) * keys + key, to_z, key < keys)
    tl.store(dh + states * square + cell, reach, whole)


def forward(q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """o, the running logarithms of the weights, and the last mean."""
    out, logs, last = (tensor.new_empty(tensor.shape) for tensor in (v, k, h))
    programs, _, constants = _sizes(k, v, FORWARD)
    tensors = [flat(tensor) for tensor in (q, k, v, z, h)]
    launch(scan, programs, [*tensors, out, logs, last], *_shape(k, v), STEPS=STEPS, **constants)
    return out, logs, last


def backward(
    grad: Tensor, grad_logs: Tensor, grad_last: Tensor, q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor,
    logs: Tensor, last: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dq, dk, dv, dz, dh."""
    batch, time, heads, keys = k.shape
    programs, tiles, constants = _sizes(k, v, BACKWARD)
    dq, dk = (k.new_empty((batch, time, heads, tiles, keys)) for _ in range(2))
    dv, dz, dh = v.new_empty(v.shape), z.new_empty((batch, heads, tiles, keys)), h.new_empty(h.shape)
    kept, means = (h.new_empty((batch, heads, steps, *h.shape[2:])) for steps in (triton.cdiv(time, CHUNK), CHUNK))
    given = [flat(tensor) for tensor in (grad, grad_logs, grad_last, q, k, v, z, h, logs, last)]
    tensors = [*given, kept, means, dq, dk, dv, dz, dh]
    launch(adjoint, programs, tensors, *_shape(k, v), CHUNK=CHUNK, **constants)
    return dq.sum(3), dk.sum(3), dv, dz.sum(2), dh


def _shape(k: Tensor, v: Tensor) -> tuple[int, int, int, int]:
    return k.shape[1], k.shape[2], k.shape[3], v.shape[3]


def _sizes(k: Tensor, v: Tensor, numbers: int) -> tuple[int, int, dict[str, int]]:
    """How many programs, tiles of values for each head, and the sizes of a tile."""
    _, heads, keys, values = _shape(k, v)
    key_block = power_of_two(keys)
    value_block = max(1, min(power_of_two(values), numbers // key_block))
    tiles = max(1, triton.cdiv(values, value_block))
    return len(k) * heads * tiles, tiles, {"KEYS": key_block, "VALUES": value_block}
