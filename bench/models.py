"""Every model of the catalog with its defaults, relative to DLinear and PatchTST: training step, memory, latency.

Each is fitted for `--warm` steps first, for the work of some depends on their weights: TimesNet folds by the periods
that it finds. Then all are measured in turn, and the medians of the ratios within a round are printed. A step is
forward, backward and Adam. `predict()` forecasts one series, `predict(frame)` 256 windows, each a series of its own.

Memory is the rise of the peak of resident memory during two steps in a process of its own (Linux): weights, gradients,
the state of Adam, activations and what the kernels take aside. There blocks are given back to the system as soon as
they are free, so that what the allocator keeps is not counted; a smaller step before has compiled what is compiled.
The system counts to some 0.2 MB, which is a third of what DLinear takes: of ratios to DLinear trust the order alone.

    python bench/models.py [--h 96] [--input-size 96] [--channels 7] [--batch 32] [--rounds 15] [--threads 2]
                           [--warm 100] [--models patchtst timesnet]
"""

import argparse
import copy
import logging
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from timesnet import series
from torch.nn import functional as F

import tsforge
from tsforge.batch import Batch
from tsforge.estimators.estimator import estimator
from tsforge.models import MODELS
from tsforge.models.base import Model

REFERENCES = ("dlinear", "patchtst")
WINDOWS = 256  # of one call of `predict(frame)`
SETTLE, BOUT = 3, 0.05  # calls before the clock runs; seconds of a measurement, so that short calls are warm as well
GIVEN_BACK = {"MALLOC_MMAP_THRESHOLD_": "4096", "MALLOC_TRIM_THRESHOLD_": "4096"}


class Training:
    """A network with its optimiser."""

    def __init__(self, network: Model) -> None:
        self.network = network.train()
        self.optimizer = torch.optim.Adam(network.parameter_groups(1e-3, 0.0))

    def step(self, batch: Batch) -> None:
        assert batch.future is not None
        self.optimizer.zero_grad()
        F.mse_loss(self.network(batch)[..., 0], batch.future).backward()
        self.optimizer.step()


def columns(channels: int) -> np.ndarray:
    """[step, channel]; beyond the seven there are, channels come again."""
    values, _ = series()
    return values[:, np.arange(channels) % values.shape[1]]


def table(values: np.ndarray, name: str) -> pl.DataFrame:
    """One series of hours with a column for each channel."""
    known = {f"y{channel}": column for channel, column in enumerate(values.T)}
    return pl.DataFrame({"unique_id": [name] * len(values), "ds": np.arange(len(values)), **known})


def frame(*tables: pl.DataFrame) -> tsforge.Frame:
    return tsforge.Frame(pl.concat(tables), targets=tables[0].columns[2:], freq="1i", season=24)


def random_windows(values: np.ndarray, input_size: int, h: int, count: int, seed: int = 0) -> Batch:
    starts = np.random.default_rng(seed).integers(len(values) - input_size - h + 1, size=(count, 1))
    both = torch.tensor(values[starts + np.arange(input_size + h)], dtype=torch.float32)
    past, future = both.split([input_size, h], dim=1)
    seen, ahead = (torch.ones_like(part, dtype=torch.bool) for part in (past, future))
    return Batch(past=past, past_mask=seen, series=torch.zeros(count, dtype=torch.long), future=future,
                 future_mask=ahead)


def fitted(name: str, values: np.ndarray, options: argparse.Namespace) -> Any:
    """The estimator of a row after some steps."""
    made = estimator(name)(h=options.h, input_size=options.input_size, batch_size=options.batch, val_size=0,
                           max_steps=options.warm, accelerator="cpu")
    return made.fit(frame(table(values, "all")))


def trainable(model: Any) -> Model:
    """A copy of its network that learns again; what never does lies in buffers."""
    return copy.deepcopy(model.fitted_.predictor).requires_grad_(True)


def milliseconds(work: Callable[[int], object], number: int, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work(number)
    return 1e3 * (time.perf_counter() - start) / calls


def alternate(works: dict[str, Callable[[int], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of a call of each, round by round."""
    calls = {}
    for name, work in works.items():
        milliseconds(work, 0, SETTLE)
        calls[name] = max(1, round(1e3 * BOUT / milliseconds(work, 0, 1)))
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name, work in works.items():
            times[name].append(milliseconds(work, number, calls[name]))
    return times


def measured(models: dict[str, Any], values: np.ndarray, options: argparse.Namespace) -> dict[str, dict]:
    """Figures of each model, measure by measure."""
    sizes = {"input_size": options.input_size, "h": options.h}
    batches = [random_windows(values, **sizes, count=options.batch, seed=seed) for seed in range(options.rounds)]
    starts = np.random.default_rng(0).integers(len(values) - options.input_size, size=WINDOWS)
    windows = frame(*(table(values[start : start + options.input_size], f"{number:03}")
                      for number, start in enumerate(starts)))
    works: dict[str, dict[str, Callable[[int], object]]] = {"step": {}, "predict": {}, "windows": {}}
    for name, model in models.items():
        training = Training(trainable(model))
        works["step"][name] = lambda number, training=training: training.step(batches[number])
        works["predict"][name] = lambda number, model=model: model.predict()
        works["windows"][name] = lambda number, model=model: model.predict(windows)
    figures: dict[str, dict] = {kind: alternate(work, options.rounds) for kind, work in works.items()}
    return figures | {"memory": {name: [memory(model, options)] for name, model in models.items()}}


def memory(model: Any, options: argparse.Namespace) -> float:
    """Megabytes of a training step, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        saved = model.save(Path(folder) / "run")
        command = [sys.executable, __file__, "--peak-of", str(saved), "--batch", str(options.batch),
                   "--threads", str(options.threads)]
        run = subprocess.run(command, env=os.environ | GIVEN_BACK, stdout=subprocess.PIPE, check=True)
    return float(run.stdout)


def peak(folder: Path, batch: int) -> float:
    """Megabytes by which resident memory rises at most (Linux)."""
    model: Any = tsforge.open(folder)
    values, sizes = columns(model.fitted_.predictor.in_channels), {"input_size": model.input_size, "h": model.h}
    Training(trainable(model)).step(random_windows(values, **sizes, count=2))  # compiles
    windows, status = random_windows(values, **sizes, count=batch), Path("/proc/self/status")
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
    before = int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0])
    training = Training(trainable(model))
    for _ in range(2):  # Adam has its state from the first on
        training.step(windows)
    return (int(re.findall(r"VmHWM:\s+(\d+)", status.read_text())[0]) - before) * 1024 / 1e6


def printed(models: dict[str, Any], figures: dict[str, dict]) -> None:
    """The ratios as a table, then what they are relative to."""
    measures = {"step": "training step", "memory": "peak memory", "predict": "predict 1",
                "windows": f"predict {WINDOWS}"}
    titles = ["model", "parameters", *(f"{measure}, / {MODELS.row(name).class_name}"
                                       for measure in measures.values() for name in REFERENCES)]
    print("| " + " | ".join(titles) + " |\n| --- |" + " ---: |" * (len(titles) - 1))
    for name, model in models.items():
        count = sum(weight.numel() for weight in model.fitted_.predictor.parameters())
        ratios = [statistics.median(np.divide(figures[kind][name], figures[kind][reference]))
                  for kind in measures for reference in REFERENCES]
        print(f"| {model.name} | {count:,} | " + " | ".join(f"{ratio:.3g}" for ratio in ratios) + " |")
    for name in REFERENCES:
        middle = {kind: statistics.median(figures[kind][name]) for kind in measures}
        print(f"\n{models[name].name}: a step {middle['step']:.2f} ms and {middle['memory']:.1f} MB, one series "
              f"{middle['predict']:.2f} ms, {WINDOWS} windows {middle['windows']:.1f} ms", end="")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost of every model, relative to DLinear and PatchTST.")
    sizes = {"h": 96, "input-size": 96, "channels": 7, "batch": 32, "rounds": 15, "threads": torch.get_num_threads()}
    for name, size in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--warm", type=int, default=100, help="training steps before anything is measured")
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=[*MODELS], help="besides the two")
    parser.add_argument("--peak-of", type=Path, help="only the memory of a saved run")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    logging.getLogger("tsforge").setLevel(logging.ERROR)
    if options.peak_of:
        print(peak(options.peak_of, options.batch))
        return
    values = columns(options.channels)
    models = {name: fitted(name, values, options) for name in MODELS if name in (*REFERENCES, *options.models)}
    print(f"{options.h} steps from {options.input_size}, {options.channels} channels of {series()[1]}, batch "
          f"{options.batch}, {options.threads} threads, medians of {options.rounds} rounds after {options.warm} steps; "
          f"predict 1 and {WINDOWS}: windows in a call\n", flush=True)
    printed(models, measured(models, values, options))


if __name__ == "__main__":
    main()
