"""Batches of windows a second: our loader, which copies a batch at a time, against a per-item torch DataLoader.

Both go through every training window of the table once, in random order, and hand over past, future and time features;
ours adds masks and the number of each series. On one thread; epochs alternate, and the median of the ratios of their
CPU seconds is printed; beside it the bound, which is to copy as many bytes and nothing else.

    python bench/loader.py [--rounds 9] [--batch-size 32 256]
"""

import argparse
import os
import statistics
import time
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch.utils.data import DataLoader, Dataset

from tsforge.data.prepare import Preparation, prepare
from tsforge.data.splits import split_rows, training_cutoffs
from tsforge.data.store import build_store
from tsforge.data.windows import Windows
from tsforge.frame.frame import Frame
from tsforge.training.loader import TrainLoader

H, INPUT_SIZE, ROWS = 96, 96, 8640  # the training rows of ETTh1


class PerItem(Dataset):
    """One window at a time: past, future, and the time features of both, as research scripts have it."""

    def __init__(self, values: np.ndarray, marks: np.ndarray) -> None:
        self.values, self.marks = values, marks

    def __len__(self) -> int:
        return len(self.values) - INPUT_SIZE - H + 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        middle, end = index + INPUT_SIZE, index + INPUT_SIZE + H
        return self.values[index:middle], self.values[middle:end], self.marks[index:middle], self.marks[middle:end]


def table() -> tuple[pl.DataFrame, str]:
    """ETTh1's training rows, or noise of the same shape where the file is not there."""
    folder = os.environ.get("TSFORGE_DATA") or Path(__file__).parents[2] / "shared" / "data"
    path = Path(folder) / "ett" / "ETTh1.csv"
    if path.exists():
        return pl.read_csv(path, try_parse_dates=True).head(ROWS), "ETTh1"
    noise = np.random.default_rng(0).standard_normal((ROWS, 7))
    start = datetime(2016, 7, 1)
    stamps = [start + timedelta(hours=n) for n in range(ROWS)]
    return pl.DataFrame(noise, schema=list("abcdefg")).with_columns(ds=pl.Series(stamps)), "noise of the shape of ETTh1"


def windows(frame: Frame) -> Windows:
    store = build_store(frame)
    parts = split_rows(store, H, 0, 0.0)
    prepared = prepare(store, Preparation.fit(store, parts.train, "standard", "series"))
    return Windows(prepared, training_cutoffs(parts, INPUT_SIZE, H, "drop", store.ids), INPUT_SIZE, H)


def epoch_of_ours(made: Windows, batch_size: int, epoch: int) -> tuple[int, float]:
    per_epoch = -(-len(made) // batch_size)
    start, seen = time.process_time(), 0
    for batch in TrainLoader(made, batch_size, seed=0, start=epoch * per_epoch, stop=(epoch + 1) * per_epoch):
        seen += len(batch)
    return seen, time.process_time() - start


def epoch_of_items(loader: DataLoader) -> tuple[int, float]:
    start, seen = time.process_time(), 0
    for past, *_ in loader:
        seen += len(past)
    return seen, time.process_time() - start


def copies(count: int, batch_size: int, columns: int) -> tuple[float, float]:
    """Megabytes of an epoch of these windows, and the CPU seconds to copy them within the cache, a batch at a time."""
    source = torch.ones(batch_size, INPUT_SIZE + H, columns)
    target = torch.empty_like(source)
    start = time.process_time()
    for _ in range(count // batch_size):
        target.copy_(source)
    return count * (INPUT_SIZE + H) * columns * 4 / 1e6, time.process_time() - start


def compare(made: Windows, batch_size: int, rounds: int) -> str:
    """Epochs of both in turn."""
    values, marks = made.prepared.values, made.prepared.future
    assert marks is not None
    items = DataLoader(PerItem(values.numpy(), marks.numpy()), batch_size, shuffle=True)
    ours, theirs, bound = [], [], []
    for number in range(rounds + 1):  # the first round warms up
        seen, spent = epoch_of_ours(made, batch_size, number)
        other, spent_by_items = epoch_of_items(items)
        assert seen == other == len(made), "both see each window once"
        megabytes, copied = copies(len(made), batch_size, values.shape[1] + marks.shape[1])
        if number:
            ours.append(spent)
            theirs.append(spent_by_items)
            bound.append(copied)
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    mine, item, copy = (f"{1e3 * statistics.median(times):.1f} ms" for times in (ours, theirs, bound))
    return (f"  batch {batch_size}: {statistics.median(ratios):.1f} times a per-item DataLoader ({min(ratios):.1f} to "
            f"{max(ratios):.1f}); {mine} against {item}; copying {megabytes:.0f} MB takes {copy}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Our loader against a per-item DataLoader.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--batch-size", type=int, nargs="+", default=[32, 256])
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, name = table()
    made = windows(Frame(data, calendar=["hour", "dayofweek", "day", "dayofyear"]))
    print(f"loader, {len(made)} windows {INPUT_SIZE} -> {H} of {name}, CPU time, medians of {options.rounds} rounds")
    for batch_size in options.batch_size:
        print(compare(made, batch_size, options.rounds), flush=True)


if __name__ == "__main__":
    main()
