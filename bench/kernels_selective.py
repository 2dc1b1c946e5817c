"""The selective scan, forward and backward, against the best parallel scan in plain torch: seconds and memory.

The other side holds all states, [batch, time, channel, n]: the coefficients by torch's own tape, the recurrence by its
own adjoint, either as an up and down sweep in place (Blelloch) or by doubling; the quicker of the two is compared.
Rounds alternate; the median of the ratios is printed. Memory is the rise of the peak of resident memory during one
forward and backward in a process of its own, outputs and gradients included, every array in pages of its own.

    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 \\
        python bench/kernels_selective.py [--rounds 7] [--time 512 2048] [--threads 2]
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from tsforge.kernels import use
from tsforge.kernels.selective import selective_scan

BATCH, CHANNELS, STATES = 8, 128, 16
Scan = Callable[[Tensor, Tensor], None]


def blelloch(a: Tensor, x: Tensor) -> None:
    """x becomes h; a is used up."""
    even = x.shape[1] // 2 * 2
    if not even:
        return
    a_right, x_right = a[:, 1:even:2], x[:, 1:even:2]
    x_right.addcmul_(a_right, x[:, 0:even:2])
    a_right.mul_(a[:, 0:even:2])
    blelloch(a_right, x_right)
    if x.shape[1] > 2:
        x[:, 2::2].addcmul_(a[:, 2::2], x[:, 1:-1:2])


def doubling(a: Tensor, x: Tensor) -> None:
    """x becomes h; a is used up."""
    reach = 1
    while reach < x.shape[1]:
        x[:, reach:] += a[:, reach:] * x[:, :-reach]
        a[:, reach:] *= a[:, :-reach].clone()
        reach *= 2


class Recurrence(torch.autograd.Function):
    """h_t = a_t h_{t-1} + x_t of whole tensors, and its adjoint, which is the scan the other way."""

    @staticmethod
    def forward(ctx, a: Tensor, x: Tensor, scan: Scan) -> Tensor:
        h = x.clone()
        scan(a.clone(), h)
        ctx.save_for_backward(a, h)
        ctx.scan = scan
        return h

    @staticmethod
    def backward(ctx, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        a, h = ctx.saved_tensors
        adjoint = grads[0].flip(1)
        after = torch.cat([torch.zeros_like(a[:, :1]), a[:, 1:].flip(1)], 1)
        ctx.scan(after, adjoint)
        adjoint = adjoint.flip(1)
        da = torch.cat([torch.zeros_like(h[:, :1]), adjoint[:, 1:] * h[:, :-1]], 1)
        return da, adjoint, None


def materialised(scan: Scan) -> Callable[..., Tensor]:
    def run(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        a = torch.exp(delta[..., None] * A)
        h: Tensor = Recurrence.apply(a, (delta * u)[..., None] * B[:, :, None], scan)  # pyright: ignore
        return (h @ C[..., None]).squeeze(-1)

    return run


SIDES: dict[str, Callable[..., Tensor]] = {
    "ours": selective_scan, "blelloch": materialised(blelloch), "doubling": materialised(doubling),
}


def inputs(length: int) -> list[Tensor]:
    torch.manual_seed(0)
    A = -torch.arange(1.0, STATES + 1).repeat(CHANNELS, 1)
    u, B, C = torch.randn(BATCH, length, CHANNELS), *torch.randn(2, BATCH, length, STATES)
    return [tensor.requires_grad_() for tensor in (u, 0.001 + 0.1 * torch.rand_like(u), A, B, C)]


def both_ways(side: str, given: list[Tensor]) -> tuple[Tensor, ...]:
    y = SIDES[side](*given)
    return y, *torch.autograd.grad(y, given, torch.ones_like(y))


def seconds(side: str, given: list[Tensor]) -> float:
    start = time.perf_counter()
    both_ways(side, given)
    return time.perf_counter() - start


def compare(length: int, rounds: int) -> str:
    given = inputs(length)
    wanted = both_ways("blelloch", given)
    for side in ("ours", "doubling"):
        for found, expected in zip(both_ways(side, given), wanted, strict=True):
            assert (found - expected).abs().max() < 1e-4 * expected.abs().max(), "all sides compute the same"
    best = min(("blelloch", "doubling"), key=lambda side: min(seconds(side, given) for _ in range(3)))
    pairs = [(seconds("ours", given), seconds(best, given)) for _ in range(rounds)]
    ratios = [theirs / ours for ours, theirs in pairs]
    ours, theirs = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
    return (f"  time {length}: {statistics.median(ratios):.1f} times the {best} scan ({min(ratios):.1f} to "
            f"{max(ratios):.1f}); {ours:.1f} ms against {theirs:.0f} ms; {memory(length, best)}")


def memory(length: int, best: str) -> str:
    """Peaks of both sides, each in a process of its own."""
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    peaks = []
    for side in ("ours", best):
        command = [sys.executable, __file__, "--time", str(length), "--peak-of", side]
        peaks.append(float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout))
    return f"memory 1/{peaks[1] / peaks[0]:.0f}: {peaks[0]:.1f} MB against {peaks[1]:.0f} MB"


def peak(side: str, length: int) -> float:
    """Megabytes by which resident memory rises at most (Linux)."""
    both_ways(side, inputs(3))  # compiles
    given, status = inputs(length), Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0])
    kept = both_ways(side, given)
    after = int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0])
    assert len(kept) == 6
    return (after - before) / 1024


def first_call() -> float:
    """Seconds of the first scan of a process that has numba and torch, its kernels in the cache."""
    code = ("import time, torch, tsforge.kernels.cpu.compiled, tsforge.kernels.selective as k; "
            "start = time.perf_counter(); "
            "x = [torch.ones(s) for s in ((1, 4, 4), (1, 4, 4), (4, 2), (1, 4, 2), (1, 4, 2))]; "
            "k.selective_scan(*x); print(time.perf_counter() - start)")
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True) for _ in range(6)]
    return statistics.median(float(run.stdout) for run in runs[1:])  # the first may compile


def main() -> None:
    parser = argparse.ArgumentParser(description="The selective scan against a parallel scan of torch.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--time", type=int, nargs="+", default=[512, 2048])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--peak-of", choices=SIDES, help="only the memory of one side")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with use("numba"):
        if options.peak_of:
            print(peak(options.peak_of, options.time[0]))
            return
        print(f"selective scan, forward and backward, batch {BATCH}, {CHANNELS} channels, n {STATES}, float32, "
              f"{options.threads} threads, medians of {options.rounds} rounds")
        for length in options.time:
            print(compare(length, options.rounds), flush=True)
    print(f"  first call with a warm cache: {first_call():.2f} s")


if __name__ == "__main__":
    main()
