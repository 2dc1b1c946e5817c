"""The fused two-dimensional scan against the wavefront in torch, forward and backward, on grids of Chimera's size.

The wavefront takes all cells with v + t = s at once, from coefficients in memory, and has its own adjoint, which is
far quicker than torch's tape through it; so has the way back through the coefficients. Rounds of the two alternate; the
median of their ratios is printed: of CPU seconds on one thread, which other work on the machine disturbs little, and of
the clock on more. Run with large allocations kept by the process, without which torch's temporaries are
paged in anew at each call, which would flatter us:

    MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 python bench/kernels_grid.py [--threads 2]
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tsforge.kernels import use
from tsforge.kernels.grid import scan_2d

SIZES = [(8, variates, 96, d, 16) for variates in (7, 21) for d in (1, 16)]
KEPT = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_")


def arguments(batch: int, variates: int, steps: int, d: int, n: int) -> dict[str, Tensor]:
    """Steps from 1e-3 to 1, rates -1 ... -n, coupling at half of what is stable."""
    cells, states = (batch, variates, steps, d), (batch, variates, steps, n)
    rates = -torch.arange(1.0, n + 1).repeat(d, 1)
    made = {"x": torch.randn(cells)} | {name: 10 ** (3 * torch.rand(cells) - 3) for name in ("delta1", "delta2")}
    made |= {"a1": rates, "a2": 0.7 * rates, "a3": 0.7 * rates, "a4": rates}
    made |= {name: torch.randn(states) for name in ("b1", "b2", "c1", "c2")}
    return {name: tensor.clone().requires_grad_() for name, tensor in made.items()}


def work(backend: str, given: dict[str, Tensor], coupling: str, backward: bool) -> Callable[[], None]:
    def forward() -> None:
        with use(backend), torch.no_grad():
            scan_2d(**given, coupling=coupling)

    def both() -> None:
        with use(backend):
            y = scan_2d(**given, coupling=coupling)
            torch.autograd.grad(y, list(given.values()), torch.ones_like(y))

    return both if backward else forward


def seconds(run: Callable[[], None]) -> float:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    start = clock()
    run()
    return clock() - start


def compare(given: dict[str, Tensor], coupling: str, backward: bool, rounds: int) -> str:
    ours, theirs = (work(backend, given, coupling, backward) for backend in ("numba", "torch"))
    for run in (ours, theirs):  # compiles, and fills the caches
        run()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    mine, other = (1e3 * statistics.median(times) for times in zip(*pairs, strict=True))
    return (f"{statistics.median(ratios):5.1f} times ({ratios[rounds // 4]:.1f} to {ratios[-1 - rounds // 4]:.1f}): "
            f"{mine:.2f} ms against {other:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="The fused two-dimensional scan against the wavefront in torch.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if not all(os.environ.get(name) for name in KEPT):
        print(f"{' and '.join(KEPT)} are not set: the ratios flatter us.")
    torch.manual_seed(0)
    print(f"scan_2d, float32, {torch.get_num_threads()} threads, medians of {options.rounds} rounds (middle half)")
    for size in SIZES:
        given = arguments(*size)
        for coupling in ("zoh_input", "exp"):
            for backward in (False, True):
                passes = "forward and backward" if backward else "forward"
                said = compare(given, coupling, backward, options.rounds)
                print(f"  {'x'.join(map(str, size)):>13} {coupling:9} {passes:20} {said}", flush=True)


if __name__ == "__main__":
    main()
