"""TimesNet on ETTh1, 96 steps from 96, by a program that shares nothing with tsforge: does it end at the same place?

Rows from the csv, a per-item DataLoader, the block from its equations with its kernels one by one, and the training
loop of the published scripts: Adam, two epochs at 1e-4, then halved, at most ten epochs, patience 3.

    TSFORGE_DATA=... python bench/timesnet_published.py [--seed 0] [--fill zeros|last]

Paper     Wu et al. (2023), "TimesNet", arXiv:2210.02186
"""

import argparse
import copy
import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

S, P, WIDTH, HIDDEN, TOP_K, BATCH = 96, 96, 16, 32, 5, 32
PARTS = ((0, 8_640), (8_640 - S, 11_520), (11_520 - S, 14_400))


class Items(Dataset):
    """One window at a time: values, marks, the future."""

    def __init__(self, values: np.ndarray, marks: np.ndarray, start: int, end: int) -> None:
        self.values, self.marks, self.start, self.count = values, marks, start, end - start - S - P + 1

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        at = index + self.start
        return self.values[at : at + S], self.marks[at : at + S], self.values[at + S : at + S + P]


def parts() -> list[Items]:
    """Train, validation and test windows of the published split, standardised by the training rows."""
    table = pl.read_csv(Path(os.environ["TSFORGE_DATA"]) / "ett" / "ETTh1.csv", try_parse_dates=True)
    t = table["date"].dt
    marks = np.stack([t.hour() / 23, (t.weekday() - 1) / 6, (t.day() - 1) / 30, (t.ordinal_day() - 1) / 365], 1) - 0.5
    x = table.drop("date").to_numpy().astype(np.float64)
    train = x[: PARTS[0][1]]
    values = ((x - train.mean(0)) / train.std(0)).astype(np.float32)
    return [Items(values, marks.astype(np.float32), *part) for part in PARTS]


class Inception(nn.Module):
    def __init__(self, given: int, made: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(nn.Conv2d(given, made, 2 * j + 1, padding=j) for j in range(6))
        for convolution in self.convolutions:
            nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(convolution.bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([convolution(x) for convolution in self.convolutions], -1).mean(-1)


class Block(nn.Module):
    def __init__(self, fill: str) -> None:
        super().__init__()
        self.fill = fill
        self.maps = nn.Sequential(Inception(WIDTH, HIDDEN), nn.GELU(), Inception(HIDDEN, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        batch, steps, width = x.shape
        spectrum = torch.fft.rfft(x, dim=1).abs()
        strength = spectrum.mean((0, 2)).clone()
        strength[0] = 0
        top = torch.topk(strength, TOP_K).indices
        shares, results = torch.softmax(spectrum.mean(-1)[:, top], 1), []
        for frequency in top.tolist():
            period = steps // frequency
            length = -(-steps // period) * period
            end = x[:, steps - (length - steps) :] if self.fill == "last" else x.new_zeros(batch, length - steps, width)
            folded = torch.cat([x, end], 1) if length > steps else x
            folded = folded.reshape(batch, length // period, period, width).permute(0, 3, 1, 2)
            results.append(self.maps(folded).permute(0, 2, 3, 1).reshape(batch, -1, width)[:, :steps])
        return sum(part * shares[:, i, None, None] for i, part in enumerate(results)) + x


class Network(nn.Module):
    def __init__(self, channels: int, fill: str) -> None:
        super().__init__()
        self.value = nn.Conv1d(channels, WIDTH, 3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.value.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.time = nn.Linear(4, WIDTH, bias=False)
        angle = torch.arange(S)[:, None] * torch.exp(torch.arange(0, WIDTH, 2) * (-math.log(1e4) / WIDTH))
        self.position = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        self.dropout, self.extend = nn.Dropout(0.1), nn.Linear(S, S + P)
        self.blocks, self.norm = nn.ModuleList(Block(fill) for _ in range(2)), nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, channels)

    def forward(self, x: Tensor, marks: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True).detach()
        x = x - mean
        deviation = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5)
        y = self.dropout(self.value((x / deviation).mT).mT + self.position + self.time(marks))
        y = self.extend(y.mT).mT
        for block in self.blocks:
            y = self.norm(block(y))
        return (self.head(y) * deviation + mean)[:, -P:]


@torch.no_grad()
def errors(network: Network, items: Items, batch: int = BATCH) -> tuple[float, float]:
    """MSE and MAE over all windows."""
    network.eval()
    squares = absolute = cells = 0.0
    for x, marks, y in DataLoader(items, batch):
        apart = network(x, marks) - y
        squares += apart.square().sum().item()
        absolute += apart.abs().sum().item()
        cells += apart.numel()
    network.train()
    return squares / cells, absolute / cells


def main() -> None:
    parser = argparse.ArgumentParser(description="TimesNet on ETTh1 by a program of its own.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fill", choices=("zeros", "last"), default="zeros")
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    train, validation, test = parts()
    network = Network(train.values.shape[1], options.fill)
    optimizer, best, kept, waited = torch.optim.Adam(network.parameters(), lr=1e-4), math.inf, {}, 0
    for epoch in range(10):
        for x, marks, y in DataLoader(train, BATCH, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            F.mse_loss(network(x, marks), y).backward()
            optimizer.step()
        found, tested = errors(network, validation)[0], errors(network, test)
        print(f"epoch {epoch + 1}: validation {found:.4f}, test {tested[0]:.4f} / {tested[1]:.4f}", flush=True)
        waited = 0 if found < best else waited + 1
        if found < best:
            best, kept = found, copy.deepcopy(network.state_dict())
        if waited == 3:
            break
        optimizer.param_groups[0]["lr"] = 1e-4 * 0.5**epoch
    network.load_state_dict(kept)
    for batch in (1, BATCH, 256):
        print(f"best weights, test batches of {batch}: {errors(network, test, batch)}")


if __name__ == "__main__":
    main()
