"""Warm latency of a forecast of one series through the public face, against the forward pass of the bare network.

    python bench/predict.py [--rounds 50] [--threads 2]
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable

import numpy as np
import polars as pl
import torch

import tsforge
from tsforge.batch import Batch

H, INPUT_SIZE, ROWS = 24, 96, 600


def wave() -> pl.DataFrame:
    """One series of hours with a daily wave."""
    hours = np.arange(ROWS)
    y = np.sin(hours * 2 * np.pi / 24) + 0.1 * np.random.default_rng(0).standard_normal(ROWS)
    return pl.DataFrame({"ds": hours, "y": y})


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def batch_of(model) -> Batch:
    """What `predict()` hands to the network: the periods of TimesNet, and so its work, depend on it."""
    seen: list[Batch] = []
    hook = model.fitted_.predictor.register_forward_pre_hook(lambda network, arguments: seen.extend(arguments))
    model.predict()
    hook.remove()
    return seen[0]


def compare(model, table: pl.DataFrame, rounds: int) -> str:
    """Medians of `predict()`, `predict(table)` and the bare forward, taken in turn."""
    model.fit(table, freq="1i", season=24)
    network = model.fitted_.predictor
    batch = batch_of(model)

    def forward() -> None:
        with torch.inference_mode():
            network(batch)

    works = {"predict()": model.predict, "predict(table)": lambda: model.predict(table), "forward": forward}
    times: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 5):  # the first ones warm up
        for name, work in works.items():
            spent = milliseconds(work)
            if number >= 5:
                times[name].append(spent)
    bare = statistics.median(times["forward"])
    parts = [f"{name} {statistics.median(times[name]):.2f} ms, {statistics.median(times[name]) / bare:.1f} x"
             for name in ("predict()", "predict(table)")]
    return f"  {model.name}: ".ljust(14) + f"{'; '.join(parts)} the bare forward ({bare:.2f} ms)"


def main() -> None:
    parser = argparse.ArgumentParser(description="Latency of a forecast of one series.")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("tsforge").setLevel(logging.ERROR)
    print(f"{H} steps of one series from {INPUT_SIZE}, {options.threads} threads, medians of {options.rounds} rounds")
    for made in (tsforge.DLinear, tsforge.TimesNet):
        print(compare(made(h=H, input_size=INPUT_SIZE, max_steps=120, val_size=0), wave(), options.rounds), flush=True)


if __name__ == "__main__":
    main()
