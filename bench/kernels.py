"""The scans without a bench of their own: the linear scan against a copy, S4D's kernel against the whole product.

Forward and backward where there is one, CPU seconds on one thread, interleaved: medians, and the range of the ratios.
Large temporaries fault page by page on some machines, which flatters whoever makes fewer: raise malloc's thresholds.

    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 python bench/kernels.py [--rounds 7]
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from tsforge.kernels import additive_scan, linear_scan, s4d_kernel, use

FIRST_CALL = """
import time
import numba, torch
from tsforge.kernels import linear_scan
x = torch.ones(1, 2, 3)
start = time.perf_counter()
linear_scan(x, x)
print(time.perf_counter() - start)
"""


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def ratios(slow: Callable[[], object], fast: Callable[[], object], rounds: int) -> str:
    """How many times faster, median and range, and the seconds of the faster."""
    slow(), fast()
    pairs = [(seconds(slow), seconds(fast)) for _ in range(rounds)]
    found = sorted(a / b for a, b in pairs)
    return (f"{statistics.median(found):.1f}x ({found[0]:.1f} to {found[-1]:.1f}), "
            f"{1e3 * statistics.median(b for _, b in pairs):.2f} ms")


def modes(features: int = 128, count: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    step = torch.linspace(1e-3, 1e-1, features)[:, None]
    a = step * torch.complex(torch.full((1, count), -0.5), math.pi * torch.arange(count)[None].float())
    return a.requires_grad_(), torch.randn(features, count, dtype=torch.complex64, requires_grad=True)


def s4d(time_: int, rounds: int) -> str:
    a, c = modes()
    weights = torch.randn(128, time_)

    def direct() -> None:
        powers = torch.exp(a[..., None] * torch.arange(time_))
        torch.autograd.grad((2 * torch.einsum("hn,hnl->hl", c, powers).real * weights).sum(), (a, c))

    def ours() -> None:
        torch.autograd.grad((s4d_kernel(a, c, time_) * weights).sum(), (a, c))

    return ratios(direct, ours, rounds)


def linear(rounds: int) -> str:
    """Bytes a second of the scan (two read, one written) over those of a copy (one and one)."""
    a, x = torch.rand(16, 1024, 1024), torch.randn(16, 1024, 1024)
    linear_scan(a, x), x.clone()
    pairs = [(seconds(lambda: linear_scan(a, x)), seconds(x.clone)) for _ in range(rounds)]
    found = sorted((3 / scan) / (2 / copy) for scan, copy in pairs)
    return f"{statistics.median(found):.0%} of the bandwidth of a copy ({found[0]:.0%} to {found[-1]:.0%})"


def additive(rounds: int) -> str:
    q, k, v = (torch.randn(4, 256, 4, 32, requires_grad=True) for _ in range(3))

    def run(backend: str) -> Callable[[], None]:
        def once() -> None:
            with use(backend):
                torch.autograd.grad(additive_scan(q, k, v).sum(), (q, k, v))

        return once

    return ratios(run("torch"), run("numba"), rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description="Linear scan, S4D kernel, additive scan.")
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print(f"linear_scan, 16 M elements: {linear(rounds)}")
    for time_ in (512, 2048):
        print(f"s4d_kernel, 128 features, 32 modes, {time_} steps / the whole product: {s4d(time_, rounds)}")
    print(f"additive_scan, numba / torch in chunks, (4, 256, 4 heads, 32, 32): {additive(rounds)}")
    program = [sys.executable, "-c", FIRST_CALL]
    calls = [float(subprocess.run(program, capture_output=True, text=True, check=True).stdout) for _ in range(3)]
    print(f"first call after import numba and torch, cache warm: {statistics.median(calls):.2f} s")


if __name__ == "__main__":
    main()
