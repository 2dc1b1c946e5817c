"""What the three fits have in common: sizes, data, and one formula for the loss. Standard library at import.

Source    ETTh1, as in `tsforge/data/ett.py`; its first 8,640 hours, standardised per channel.
Paper     Zeng et al. (2023), "Are Transformers Effective for Time Series Forecasting?", arXiv:2205.13504 (DLinear).
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Callable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

H, INPUT_SIZE, KERNEL_SIZE, ROWS = 96, 96, 25, 8640
STEPS, WARM_STEPS, BATCH, LEARNING_RATE, SEED = 100, 2, 1024, 1e-3, 0
PARAMETERS = 2 * (INPUT_SIZE * H + H)


def find_etth1() -> Path:
    """The file, below `TSFORGE_DATA` where that is set."""
    folder = os.environ.get("TSFORGE_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(folder).resolve() / "ett" / "ETTh1.csv"


def read_etth1() -> tuple[list[str], list[datetime], Any]:
    """Names of the channels, stamps, and standardised float32 values [time, channel]."""
    import numpy as np

    with find_etth1().open(newline="") as file:
        header, *rows = csv.reader(file)
    rows = rows[:ROWS]
    values = np.array([row[1:] for row in rows], dtype=np.float64)
    values = (values - values.mean(0)) / values.std(0)
    return header[1:], [datetime.fromisoformat(row[0]) for row in rows], values.astype(np.float32)


def training_loss(values: Any, trend: Any, remainder: Any, bias: Any) -> float:
    """Mean squared error over all windows and channels of `values` [time, channel].

    `trend` and `remainder` are the two maps [h, lookback]; `bias` [h] is the sum of theirs.
    """
    import numpy as np

    total, count, reach = 0.0, 0, KERNEL_SIZE // 2
    for channel in values.T.astype(np.float64):
        windows = np.lib.stride_tricks.sliding_window_view(channel, INPUT_SIZE + H)
        past, future = windows[:, :INPUT_SIZE], windows[:, INPUT_SIZE:]
        padded = np.pad(past, ((0, 0), (reach, reach)), mode="edge")
        sums = np.pad(padded.cumsum(axis=1), ((0, 0), (1, 0)))
        smooth = (sums[:, KERNEL_SIZE:] - sums[:, :-KERNEL_SIZE]) / KERNEL_SIZE
        forecast = smooth @ trend.T + (past - smooth) @ remainder.T + bias
        total += float(((forecast - future) ** 2).sum())
        count += future.size
    return total / count


def options_of(description: str) -> argparse.ArgumentParser:
    """The options that all fits have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=1)
    return parser


def measure(
    distributions: list[str], prepare: Callable[[int], Callable[[], Any]],
    maps: Callable[[Any], tuple[list[Any], Any, Any]], values: Any, threads: int,
) -> None:
    """Prints one line of JSON about the second of two fits; the first, of `WARM_STEPS` steps, pays for what is lazy.

    Args:
        distributions: Names in the package index of what is timed, for their versions.
        prepare: Builds a new model of so many steps; what it returns fits that model and returns it.
        maps: The trained weights as tensors: all of them, then `(weight, bias)` of the trend's map and the remainder's.
        values: The training series [time, channel].
        threads: CPU threads of torch.
    """
    import torch

    torch.set_num_threads(threads)
    prepare(WARM_STEPS)()
    fit = prepare(STEPS)
    start, busy = time.perf_counter(), time.process_time()
    fitted = fit()
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    parameters, trend, remainder = maps(fitted)
    (trend, trend_bias), (remainder, remainder_bias) = (
        [part.detach().double().numpy() for part in pair] for pair in (trend, remainder)
    )
    print(json.dumps({
        "seconds": seconds,
        "cpu": cpu,
        "parameters": sum(parameter.numel() for parameter in parameters),
        "loss": training_loss(values, trend, remainder, trend_bias + remainder_bias),
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in distributions},
    }))
