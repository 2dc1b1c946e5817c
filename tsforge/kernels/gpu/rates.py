"""What the selective scan needs on this GPU, beside what no scan can beat.

The floor of a time is the larger of the bytes that have to be moved over the rate of a copy, and the exponentials over
their rate. Forward moves u, delta and y; backward u, delta, the gradient of y and two gradients; each needs every
exponential once. Other arrays are smaller than these by the number of channels or more.
"""

from collections.abc import Callable
from statistics import median

import torch
import triton
import triton.language as tl

from tsforge.kernels.backends import use
from tsforge.kernels.gpu.launch import launch
from tsforge.kernels.selective import selective_scan

BLOCK, ROUNDS = 1024, 2048
BATCH, CHANNELS, STATES = 8, 2048, 16


@triton.jit
def exponentials(out, ROUNDS: tl.constexpr, BLOCK: tl.constexpr):
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = index.to(tl.float32) * 1e-6
    for _ in range(ROUNDS):
        x = tl.exp2(-x)
    tl.store(out + index, x)


def seconds(run: Callable[[], object], repeats: int = 20) -> float:
    """The median time of a call on the GPU, after three that do not count."""
    times = []
    for _ in range(repeats + 3):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) / 1e3)
    return median(times[3:])


def bytes_per_second(size: int = 1 << 28) -> float:
    """Bytes read and written by a copy of `size` numbers of float32."""
    source = torch.zeros(size, device="cuda")
    target = torch.empty_like(source)
    return 2 * source.nbytes / seconds(lambda: target.copy_(source))


def exponentials_per_second(programs: int = 1 << 13) -> float:
    """Powers of two of float32."""
    out = torch.empty(programs * BLOCK, device="cuda")
    sizes = {"warps": 4, "ROUNDS": ROUNDS, "BLOCK": BLOCK}
    return programs * BLOCK * ROUNDS / seconds(lambda: launch(exponentials, programs, [out], **sizes))


def speed() -> None:
    """Prints what the selective scan needs on the GPU, and the floor."""
    copied, powers = bytes_per_second(), exponentials_per_second()
    print(f"\n{torch.cuda.get_device_name()}: copies {copied / 1e12:.2f} TB/s, {powers / 1e12:.2f} T exponentials/s")
    print(f"{'selective_scan':<24}{'':<20}{'seconds':>10}{'floor':>10}{'ratio':>7}")
    for time in (2048, 96):
        run, both = timed(time)
        array, needed = 4 * BATCH * time * CHANNELS, BATCH * time * CHANNELS * STATES
        for name, call, arrays, passes in (("forward", run, 3, 1), ("forward+backward", both, 8, 2)):
            floor = max(arrays * array / copied, passes * needed / powers)
            rows = [(name, call)]
            if time == 96:
                rows.append((f"{name}, graph", graph(call)))
            for label, row in rows:
                took = seconds(row)
                shape = f"({BATCH}, {time}, {CHANNELS}, {STATES})"
                print(f"{shape:<24}{label:<24}{took:10.6f}{floor:10.6f}{took / floor:7.2f}")


def timed(time: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """The forward pass of the Triton path on random numbers, and both passes."""
    u, delta = torch.randn(2, BATCH, time, CHANNELS, device="cuda")
    B, C = torch.randn(2, BATCH, time, STATES, device="cuda")
    given = [u, delta.exp(), -torch.rand(CHANNELS, STATES, device="cuda"), B, C]
    leaves = [value.clone().requires_grad_() for value in given]
    weight = torch.randn_like(u)

    def forward() -> object:
        with use("triton"):
            return selective_scan(*given)

    def both() -> object:
        with use("triton"):
            return torch.autograd.grad(selective_scan(*leaves), leaves, weight)

    return forward, both


def graph(run: Callable[[], object]) -> Callable[[], object]:
    """The same launches, recorded: what is left is the time of the GPU."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        run()
    return recorded.replay
