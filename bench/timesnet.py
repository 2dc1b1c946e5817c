"""TimesNet against a straightforward implementation of the published block, as ratios of seconds.

The straightforward block keeps six convolutions for each of the k periods, as the paper reads. All networks start from
the same weights, after `--warm` training steps: untrained weights choose periods 2 and 3, on which any comparison is
flattering. Measurements alternate, and the median of the ratios is printed.

    python bench/timesnet.py [--threads 2] [--rounds 15] [--warm 200]
"""

import argparse
import os
import statistics
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tsforge.batch import Batch
from tsforge.models import timesnet
from tsforge.models.timesnet import TimesBlock, TimesNet

H, INPUT_SIZE, CHANNELS, BATCH = 96, 96, 7, 32
SETTLE = 25  # calls before the clock runs: torch compiles a convolution when it first meets its sizes


class SixKernels(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(in_channels, out_channels, 2 * j + 1, padding=j) for j in range(6))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([convolution(x) for convolution in self.convolutions], dim=-1).mean(-1)


class PublishedBlock(nn.Module):
    """The block of the paper, step by step."""

    def __init__(self, d_model: int, d_ff: int) -> None:
        super().__init__()
        self.widen, self.narrow = SixKernels(d_model, d_ff), SixKernels(d_ff, d_model)

    def forward(self, x: Tensor, top_k: int, frozen: None = None, *, shared: bool = True) -> Tensor:
        batch, steps, channels = x.shape
        spectrum = torch.fft.rfft(x, dim=1)
        amplitude = spectrum.abs().mean(0).mean(-1)
        amplitude[0] = 0
        frequencies = torch.topk(amplitude, top_k).indices
        results = []
        for period in (steps // frequencies).tolist():
            length = -(-steps // period) * period
            filled = torch.cat([x, x.new_zeros(batch, length - steps, channels)], dim=1) if length > steps else x
            maps = filled.reshape(batch, length // period, period, channels).permute(0, 3, 1, 2).contiguous()
            maps = self.narrow(F.gelu(self.widen(maps)))
            results.append(maps.permute(0, 2, 3, 1).reshape(batch, -1, channels)[:, :steps])
        weights = F.softmax(spectrum.abs().mean(-1)[:, frequencies], dim=1)
        return (torch.stack(results, dim=-1) * weights[:, None, None]).sum(-1) + x

    def take(self, block: nn.Module) -> None:
        """The weights of our `block`."""
        assert isinstance(block, TimesBlock)
        pairs = [pair for part in (block.widen, block.narrow) for pair in zip(part.kernels, part.biases, strict=True)]
        with torch.no_grad():
            for own, other in zip(self.parameters(), [weight for pair in pairs for weight in pair], strict=True):
                own.copy_(other)


def series() -> tuple[np.ndarray, str]:
    """ETTh1's training rows, standardised, or a daily and weekly wave with noise where the file is not there."""
    folder = os.environ.get("TSFORGE_DATA") or Path(__file__).parents[2] / "shared" / "data"
    path = Path(folder) / "ett" / "ETTh1.csv"
    if path.exists():
        values = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(1, 8), max_rows=8640)
        return (values - values.mean(0)) / values.std(0), "ETTh1"
    generator, hours = np.random.default_rng(0), np.arange(8640)[:, None]
    phase = generator.uniform(0, 6.28, (2, CHANNELS))
    waves = np.sin(hours * 6.28318 / 24 + phase[0]) + 0.5 * np.sin(hours * 6.28318 / 168 + phase[1])
    return waves + 0.5 * generator.standard_normal((8640, CHANNELS)), "daily and weekly waves with noise"


def batches(values: np.ndarray):
    """Endless random windows."""
    table, generator = torch.tensor(values, dtype=torch.float32), torch.Generator().manual_seed(0)
    while True:
        starts = torch.randint(len(table) - INPUT_SIZE - H + 1, (BATCH, 1), generator=generator)
        past, future = table[starts + torch.arange(INPUT_SIZE + H)].split([INPUT_SIZE, H], dim=1)
        seen = torch.ones_like(past, dtype=torch.bool)
        yield Batch(past=past, past_mask=seen, series=starts[:, 0], future=future, future_mask=torch.ones_like(seen))


class Training:
    """One network with its optimiser."""

    def __init__(self, model: TimesNet) -> None:
        self.model, self.optimizer = model.train(), torch.optim.Adam(model.parameters(), lr=1e-4)

    def step(self, batch: Batch) -> None:
        assert batch.future is not None
        self.optimizer.zero_grad()
        F.mse_loss(self.model(batch)[..., 0], batch.future).backward()
        self.optimizer.step()

    def infer(self, batch: Batch) -> None:
        with torch.inference_mode():
            self.model(batch)


def seconds(work, batch: Batch) -> float:
    start = time.perf_counter()
    work(batch)
    return time.perf_counter() - start


def contenders(values: np.ndarray, warm: int) -> dict[str, Training]:
    """The three networks with one set of trained weights."""
    ours = {periods: Training(TimesNet(H, INPUT_SIZE, CHANNELS, periods=periods)) for periods in ("batch", "window")}
    for batch, _ in zip(batches(values), range(warm), strict=False):
        ours["batch"].step(batch)
    trained = ours["batch"].model
    ours["window"].model.load_state_dict(trained.state_dict())
    published = TimesNet(H, INPUT_SIZE, CHANNELS, periods="batch")
    published.load_state_dict(trained.state_dict())
    blocks = [PublishedBlock(16, 32) for _ in trained.blocks]
    for block, source in zip(blocks, trained.blocks, strict=True):
        block.take(source)
    published.blocks = nn.ModuleList(blocks)
    return {"published": Training(published), **ours}


def found(model: TimesNet, batch: Batch) -> list[dict[int, int]]:
    """How many windows have each period, layer by layer."""
    counts: list[dict[int, int]] = []
    search = timesnet.find_periods

    def note(*args, **kwargs):
        periods, weights = search(*args, **kwargs)
        counts.append(dict(Counter(periods.flatten().tolist()).most_common()))
        return periods, weights

    timesnet.find_periods = note
    try:
        model(batch)
    finally:
        timesnet.find_periods = search
    return counts


def compare(networks: dict[str, Training], values: np.ndarray, work: str, rounds: int, batch_count: int) -> None:
    times = {name: [] for name in networks}
    source = batches(values)
    for network in networks.values():
        network.model.train(work == "step")
        for _ in range(SETTLE):
            getattr(network, work)(next(source))
    for _ in range(rounds):
        batch = next(source)
        for name, network in networks.items():
            times[name].append(seconds(getattr(network, work), batch))
    for name in ("batch", "window"):
        ratios = [a / b for a, b in zip(times["published"], times[name], strict=True)]
        ours, theirs = (statistics.median(times[key]) * 1e3 / batch_count for key in (name, "published"))
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        print(f'  periods="{name}":'.ljust(20), f"{middle:.2f} times as fast (quartiles {low:.2f} to {high:.2f}); "
              f"{ours:.2f} ms against {theirs:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description="TimesNet against the published block.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warm", type=int, default=200, help="training steps before anything is measured")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    values, name = series()
    networks = contenders(values, options.warm)
    print(f"TimesNet {INPUT_SIZE} -> {H}, {CHANNELS} channels of {name}, batch {BATCH}, d_model 16, d_ff 32, 2 layers, "
          f"top_k 5; {options.threads} threads; after {options.warm} training steps")
    for periods in ("batch", "window"):
        print(f'  periods="{periods}" finds', *found(networks[periods].model.eval(), next(batches(values))))
    print("a training step (forward, backward, Adam), against the published block:")
    compare(networks, values, "step", options.rounds, 1)
    print("an inference window, against the published block:")
    compare(networks, values, "infer", 2 * options.rounds, BATCH)


if __name__ == "__main__":
    main()
