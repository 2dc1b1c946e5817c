"""The additive scan in chunks: attention inside a chunk, the state from chunk to chunk; one chunk's states are held."""

import torch
from torch import Tensor

CHUNK = 16  # steps


def forward(q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """o, the running logarithms of the weights, and the last mean."""
    logs = running_logs(k, z)
    out, state, before = [], h.clone(), z
    for q_, k_, v_, z_ in _chunks(q, k, v, logs):
        carried, weights = _weights(k_, z_, before)
        scores = torch.einsum("bthi,btshi->bhts", q_, weights)
        out.append(torch.einsum("bhts,bshj->bthj", scores, v_) + torch.einsum("bthi,bhij->bthj", q_ * carried, state))
        state = _last(carried, weights, v_, state)
        before = z_[:, -1]
    return torch.cat(out, 1) if out else torch.empty_like(v), logs, state


def running_logs(k: Tensor, z: Tensor) -> Tensor:
    """log(exp(z) + sum_{s <= t} exp(k_s))"""
    return torch.cat([z[:, None], k], 1).logcumsumexp(1)[:, 1:].contiguous()


def _chunks(*tensors: Tensor):
    return zip(*(tensor.split(CHUNK, 1) for tensor in tensors), strict=True) if tensors[0].shape[1] else ()


def _weights(k: Tensor, z: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """exp(z_before - z_t) [b, t, h, i], and exp(k_s - z_t) for s <= t [b, t, s, h, i]."""
    never = z == float("-inf")
    z = z.masked_fill(never, 0.0)
    later = torch.ones(k.shape[1], k.shape[1], dtype=torch.bool, device=k.device).triu(1)[None, :, :, None, None]
    weights = torch.exp((k[:, None] - z[:, :, None]).masked_fill(later | never[:, :, None], float("-inf")))
    return torch.exp((before[:, None] - z).masked_fill(never, float("-inf"))), weights


def _last(carried: Tensor, weights: Tensor, v: Tensor, state: Tensor) -> Tensor:
    return carried[:, -1, ..., None] * state + torch.einsum("bshi,bshj->bhij", weights[:, -1], v)


def backward(
    grad: Tensor, grad_logs: Tensor, grad_last: Tensor, q: Tensor, k: Tensor, v: Tensor, z: Tensor, h: Tensor,
    logs: Tensor, last: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """dq, dk, dv, dz, dh."""
    starts, before = _starts(k, v, z, h, logs)
    reach, mean = grad_last.clone(), (grad_last * last).sum(-1)  # R and r, carried from the chunk after
    parts = []
    pieces = list(_chunks(q, k, v, logs, grad, grad_logs))
    for (q_, k_, v_, z_, go, gz), state, z_before in reversed(list(zip(pieces, starts, before, strict=True))):
        carried, weights = _weights(k_, z_, z_before)
        states = carried[..., None] * state[:, None] + torch.einsum("btshi,bshj->bthij", weights, v_)
        direct = q_[..., None] * go[:, :, :, None]  # G [b, t, h, i, j]
        weight = (direct * states).sum(-1) - gz
        to_end = weights[:, -1]  # exp(k_s - z_last)
        to_k = torch.einsum("btshi,bthij->bshij", weights, direct) + to_end[..., None] * reach[:, None]
        to_mean = torch.einsum("btshi,bthi->bshi", weights, weight) + to_end * mean[:, None]
        parts.append((
            torch.einsum("bthij,bthj->bthi", states, go), torch.einsum("bshij,bshj->bshi", to_k, v_) - to_mean,
            to_k.sum(3),
        ))
        reach = torch.einsum("bthi,bthij->bhij", carried, direct) + carried[:, -1, ..., None] * reach
        mean = torch.einsum("bthi,bthi->bhi", carried, weight) + carried[:, -1] * mean
    dq, dk, dv = (torch.cat(part[::-1], 1) for part in zip(*parts, strict=True)) if parts else (
        torch.empty_like(q), torch.empty_like(k), torch.empty_like(v))
    return dq, dk, dv, (reach * h).sum(-1) - mean, reach


def _starts(k: Tensor, v: Tensor, z: Tensor, h: Tensor, logs: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """The state before each chunk, and the logarithm of its weights."""
    states, before = [h], [z]
    for k_, v_, z_ in _chunks(k, v, logs):
        states.append(_last(*_weights(k_, z_, before[-1]), v_, states[-1]))
        before.append(z_[:, -1])
    return states[:-1], before[:-1]
