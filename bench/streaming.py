"""A step of a streaming model after short and long histories, against reading the whole context again.

    python bench/streaming.py [--rounds 15] [--threads 2] [--histories 1000 10000 100000]
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

H, INPUT_SIZE, TRAINED = 24, 96, 600
MODELS = {"S4D": {}, "Chimera": {"decode": "closed_loop"}}


def waves(begin: int, end: int) -> pl.DataFrame:
    """Hours of one series of two channels with a daily wave."""
    hours, rng = np.arange(begin, end), np.random.default_rng(begin)
    daily = {f"y{c}": np.sin(hours * 2 * np.pi / 24 + c) + 0.1 * rng.standard_normal(len(hours)) for c in (0, 1)}
    return pl.DataFrame({"ds": hours, **daily})


def milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1e3 * (time.perf_counter() - start)


def fitted(name: str) -> tsforge.S4D:
    made = getattr(tsforge, name)(h=H, input_size=INPUT_SIZE, max_steps=20, streaming=True, **MODELS[name])
    return made.fit(waves(0, TRAINED), freq="1i", season=24)


def compare(name: str, histories: list[int], rounds: int) -> None:
    """Medians of `update` with one row and of `predict()`, and one `predict(table)`, which reads everything."""
    model, known, first = fitted(name), TRAINED, None
    for history in histories:
        table = waves(0, history)
        if history > known:
            model.update(table.tail(history - known))
        update, predict = [], []
        for number in range(rounds + 3):  # the first ones warm up
            row = waves(history + number, history + number + 1)
            spent = milliseconds(lambda row=row: model.update(row)), milliseconds(model.predict)
            if number >= 3:
                update.append(spent[0])
                predict.append(spent[1])
        known = history + rounds + 3
        whole = milliseconds(lambda table=table: model.predict(table))
        step, ahead = statistics.median(update), statistics.median(predict)
        first = step if first is None else first
        print(f"  {name} after {history:>7,} steps: update {step:.1f} ms, {step / first:.2f} x the first; predict() "
              f"{ahead:.1f} ms; predict(table) {whole:.0f} ms, {whole / (step + ahead):.1f} x both", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="A step of a streaming model after histories of different length.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--histories", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.getLogger("tsforge").setLevel(logging.ERROR)
    print(f"One row of two channels, {options.threads} threads, medians of {options.rounds} rounds")
    for name in MODELS:
        compare(name, sorted(options.histories), options.rounds)


if __name__ == "__main__":
    main()
