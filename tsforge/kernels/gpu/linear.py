"""The linear scan in Triton: channels in the lanes, one pass over memory each way.

Complex numbers lie as pairs of real ones; a number is a tuple of one or two tensors.
"""

# ruff: noqa: RET505
# pyright: reportOperatorIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false
# Triton reads this source, and goes on after a return; to pyright its loops, tuples and constants are others.

import torch
import triton
import triton.language as tl
from torch import Tensor

from tsforge.kernels.gpu.launch import flat, launch, row_of, until

STEPS = 8  # loads in flight
NUMBERS = ["time", "channels"]  # not specialised: one program for all lengths


@triton.jit
def _load(pointer, at, here, other, COMPLEX: tl.constexpr):
    if COMPLEX:
        return tl.load(pointer + 2 * at, here, other[0]), tl.load(pointer + 2 * at + 1, here, other[1])
    else:
        return (tl.load(pointer + at, here, other[0]),)


@triton.jit
def _store(pointer, at, number, here, COMPLEX: tl.constexpr):
    if COMPLEX:
        tl.store(pointer + 2 * at, number[0], here)
        tl.store(pointer + 2 * at + 1, number[1], here)
    else:
        tl.store(pointer + at, number[0], here)


@triton.jit
def _pick(numbers, index: tl.constexpr, COMPLEX: tl.constexpr):
    """One of many numbers, whose parts stand one after the other."""
    if COMPLEX:
        return numbers[2 * index], numbers[2 * index + 1]
    else:
        return (numbers[index],)


@triton.jit
def _add(x, y, COMPLEX: tl.constexpr):
    if COMPLEX:
        return x[0] + y[0], x[1] + y[1]
    else:
        return (x[0] + y[0],)


@triton.jit
def _times(x, y, COMPLEX: tl.constexpr):
    if COMPLEX:
        return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]
    else:
        return (x[0] * y[0],)


@triton.jit
def _times_conjugate(x, y, COMPLEX: tl.constexpr):
    if COMPLEX:
        return x[0] * y[0] + x[1] * y[1], x[1] * y[0] - x[0] * y[1]
    else:
        return (x[0] * y[0],)


@triton.jit
def _place(time, channels, LANES: tl.constexpr):
    tiles = tl.cdiv(channels, LANES)
    program = tl.program_id(0)
    return (program // tiles).to(tl.int64), program % tiles * LANES + tl.arange(0, LANES)


@triton.jit(do_not_specialize=NUMBERS)
def scan(
    a, x, h0, out, time, channels, LANES: tl.constexpr, STEPS: tl.constexpr, COMPLEX: tl.constexpr,
    REVERSE: tl.constexpr,
):
    batch, channel = _place(time, channels, LANES)
    state = _load(h0, batch * channels + channel, channel < channels, (0.0, 0.0), COMPLEX)
    for first in range(0, time, STEPS):
        kept, entering = (), ()
        for s in tl.static_range(STEPS):
            at = row_of(batch, first + s, time, REVERSE) * channels + channel
            here = channel < until(first + s, time, channels)
            kept = kept + _load(a, at, here, (0.0, 0.0), COMPLEX)
            entering = entering + _load(x, at, here, (0.0, 0.0), COMPLEX)
        for s in tl.static_range(STEPS):
            at = row_of(batch, first + s, time, REVERSE) * channels + channel
            state = _add(_times(_pick(kept, s, COMPLEX), state, COMPLEX), _pick(entering, s, COMPLEX), COMPLEX)
            _store(out, at, state, channel < until(first + s, time, channels), COMPLEX)


@triton.jit(do_not_specialize=NUMBERS)
def adjoint(
    grad, a, h, h0, da, dx, dh0, time, channels, LANES: tl.constexpr, STEPS: tl.constexpr, COMPLEX: tl.constexpr,
    REVERSE: tl.constexpr,
):
    batch, channel = _place(time, channels, LANES)
    start = _load(h0, batch * channels + channel, channel < channels, (0.0, 0.0), COMPLEX)
    nothing = tl.zeros_like(start[0])
    carried = (nothing, nothing) if COMPLEX else (nothing,)
    for first in range(0, time, STEPS):
        kept, grads, before = (), (), ()
        for s in tl.static_range(STEPS):
            step = time - 1 - first - s
            at = row_of(batch, step, time, REVERSE) * channels + channel
            here = channel < until(first + s, time, channels)
            kept = kept + _load(a, at, here, (1.0, 0.0), COMPLEX)
            grads = grads + _load(grad, at, here, (0.0, 0.0), COMPLEX)
            at = row_of(batch, step - 1, time, REVERSE) * channels + channel
            earlier = channel < until(first + s + 1, time, channels)
            before = before + _load(h, at, earlier, start, COMPLEX)
        for s in tl.static_range(STEPS):
            step = time - 1 - first - s
            at = row_of(batch, step, time, REVERSE) * channels + channel
            here = channel < until(first + s, time, channels)
            state = _add(_pick(grads, s, COMPLEX), carried, COMPLEX)
            _store(dx, at, state, here, COMPLEX)
            _store(da, at, _times_conjugate(state, _pick(before, s, COMPLEX), COMPLEX), here, COMPLEX)
            carried = _times_conjugate(state, _pick(kept, s, COMPLEX), COMPLEX)
    _store(dh0, batch * channels + channel, carried, channel < channels, COMPLEX)


def forward(a: Tensor, x: Tensor, h0: Tensor | None, reverse: bool) -> Tensor:
    """All states."""
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    tensors = [flat(tensor) for tensor in (a, x, _start(h0, x))]
    _run(scan, [*tensors, flat(out)], x, reverse)
    return out


def backward(
    grad: Tensor, a: Tensor, h: Tensor, h0: Tensor | None, reverse: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """da, dx, dh0."""
    start = _start(h0, h)
    da, dx = (torch.empty_like(h, memory_format=torch.contiguous_format) for _ in range(2))
    dh0 = torch.empty_like(start, memory_format=torch.contiguous_format)
    given = [flat(tensor) for tensor in (grad, a, h, start)]
    _run(adjoint, [*given, flat(da), flat(dx), flat(dh0)], h, reverse)
    return da, dx, dh0


def _start(h0: Tensor | None, x: Tensor) -> Tensor:
    return x.new_zeros((x.shape[0], *x.shape[2:])) if h0 is None else h0


def _run(kernel, tensors: list[Tensor], x: Tensor, reverse: bool) -> None:
    batch, time, *rest = x.shape
    channels = torch.Size(rest).numel()
    lanes = 32 if batch * channels < 1 << 16 else 128  # few channels: small programs, to have more of them
    programs = batch * triton.cdiv(channels, lanes)
    constants = {"LANES": lanes, "STEPS": STEPS, "COMPLEX": x.is_complex(), "REVERSE": reverse}
    launch(kernel, programs, tensors, time, channels, warps=lanes // 32, **constants)
