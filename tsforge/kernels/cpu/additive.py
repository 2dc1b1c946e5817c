"""The additive scan with its state in the cache: for each head one pass over time, values in the lanes."""

import math

import numpy as np
import torch
from torch import Tensor

from tsforge.kernels.cpu.compiled import compiled
from tsforge.kernels.cpu.threads import over_batch
from tsforge.kernels.plain.additive import running_logs

CHUNK = 32  # steps between states that are kept for the way back


@compiled()
def _weight(part, whole):
    """exp(part - whole), 0 where nothing was seen yet."""
    return 0.0 if whole == -math.inf else math.exp(part - whole)


@compiled(fastmath={"contract"})
def _step(k, v, z, before, h):
    """Takes one step into the state h [key, value]."""
    for i in range(len(k)):
        kept, taken = k.dtype.type(_weight(before[i], z[i])), k.dtype.type(_weight(k[i], z[i]))
        row = h[i]
        for j in range(len(v)):
            row[j] = kept * row[j] + taken * v[j]


@compiled(fastmath={"contract"})
def _scan(q, k, v, z0, h0, z, out, last, start, stop):
    for b in range(start, stop):
        for head in range(q.shape[2]):
            h = h0[b, head].copy()
            for t in range(q.shape[1]):
                before = z0[b, head] if t == 0 else z[b, t - 1, head]
                _step(k[b, t, head], v[b, t, head], z[b, t, head], before, h)
                o = out[b, t, head]
                o[:] = 0
                for i in range(q.shape[3]):
                    weight, row = q[b, t, head, i], h[i]
                    for j in range(len(o)):
                        o[j] += weight * row[j]
            last[b, head] = h


@compiled(fastmath={"contract"})
def _states(k, v, z0, h0, z, states, low, high):
    """The states of the steps `low` to `high`, after h0, the one before them."""
    for t in range(low, high):
        h = states[t - low]
        h[:] = h0 if t == low else states[t - low - 1]
        _step(k[t], v[t], z[t], z0 if t == 0 else z[t - 1], h)


@compiled(fastmath={"contract", "reassoc"})
def _dot(x, y):
    total = x.dtype.type(0)
    for j in range(len(x)):
        total += x[j] * y[j]
    return total


@compiled(fastmath={"contract"})
def _add(x, factor, y):
    for j in range(len(x)):
        x[j] += factor * y[j]


@compiled(fastmath={"contract"})
def _back(go, gz, q, k, v, z, h, r, mean, dq, dk, dv):
    """One step of the adjoint: r [key, value] and mean [key] are R and r of the step after, brought to this one."""
    dv[:] = 0
    for i in range(len(k)):
        taken = k.dtype.type(_weight(k[i], z[i]))
        dq[i] = _dot(h[i], go)
        mean[i] += q[i] * dq[i] - gz[i]
        _add(r[i], q[i], go)
        dk[i] = taken * (_dot(r[i], v) - mean[i])
        _add(dv, taken, r[i])


@compiled(fastmath={"contract"})
def _carry(z, before, r, mean):
    """Brings R and r from a step to the one before it."""
    for i in range(len(z)):
        kept = z.dtype.type(_weight(before[i], z[i]))
        mean[i] *= kept
        row = r[i]
        for j in range(len(row)):
            row[j] *= kept


@compiled(fastmath={"contract"})
def _adjoint(go, gz, gh, q, k, v, z0, h0, z, last, dq, dk, dv, dz, dh, start, stop):
    time = q.shape[1]
    kept = np.empty((-(-time // CHUNK), q.shape[3], v.shape[3]), q.dtype)
    states = np.empty((CHUNK, q.shape[3], v.shape[3]), q.dtype)
    for b in range(start, stop):
        for head in range(q.shape[2]):
            h, r, mean = h0[b, head].copy(), gh[b, head].copy(), np.empty(q.shape[3], q.dtype)
            for i in range(len(mean)):
                mean[i] = _dot(r[i], last[b, head, i])
            for t in range(time):
                if t % CHUNK == 0:
                    kept[t // CHUNK] = h
                _step(k[b, t, head], v[b, t, head], z[b, t, head], z0[b, head] if t == 0 else z[b, t - 1, head], h)
            for chunk in range(len(kept) - 1, -1, -1):
                low, high = chunk * CHUNK, min((chunk + 1) * CHUNK, time)
                _states(k[b, :, head], v[b, :, head], z0[b, head], kept[chunk], z[b, :, head], states, low, high)
                for t in range(high - 1, low - 1, -1):
                    _back(go[b, t, head], gz[b, t, head], q[b, t, head], k[b, t, head], v[b, t, head], z[b, t, head],
                          states[t - low], r, mean, dq[b, t, head], dk[b, t, head], dv[b, t, head])
                    _carry(z[b, t, head], z0[b, head] if t == 0 else z[b, t - 1, head], r, mean)
            dh[b, head] = r
            for i in range(len(mean)):
                dz[b, head, i] = _dot(r[i], h0[b, head, i]) - mean[i]


def forward(q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """o, the running logarithms of the weights, and the last mean."""
    logs = running_logs(k, z)
    out, last = (torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (v, h))
    given = [_array(tensor) for tensor in (q, k, v, z, h, logs, out, last)]
    over_batch(lambda i, j: _scan(*given, i, j), len(q), q.numel() * v.shape[-1])
    return out, logs, last


def backward(
    grad: Tensor, grad_logs: Tensor, grad_last: Tensor, q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor,
    logs: Tensor, last: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dq, dk, dv, dz, dh."""
    made = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (q, k, v, z, h)]
    given = [_array(tensor) for tensor in (grad, grad_logs, grad_last, q, k, v, z, h, logs, last, *made)]
    over_batch(lambda i, j: _adjoint(*given, i, j), len(q), q.numel() * v.shape[-1])
    dq, dk, dv, dz, dh = made
    return dq, dk, dv, dz, dh


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()
