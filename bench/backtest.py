"""A backtest over all windows, as a ratio to a bare pass of the network over the same windows.

The bare pass gathers the windows, runs the network on them and brings its outputs back to the user's units; the
backtest also reads the frame, looks up the truth and writes the forecast table. On one thread; both are measured in
turn, and the median of the ratios of their CPU seconds is printed. The last figure is a bare pass and as many bytes
written as the table has: no backtest can cost less.

    python bench/backtest.py [--rounds 9] [--windows 2785]
"""

import argparse
import logging
import os
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import torch

import tsforge
from tsforge.data.prepare import prepare
from tsforge.data.store import build_store
from tsforge.data.windows import Cutoffs, Windows
from tsforge.estimators.outputs import cutoff_rows
from tsforge.evaluation.backtest import cutoffs_of
from tsforge.training.predict import network_outputs

H, INPUT_SIZE, ROWS = 96, 96, 8640  # the training rows of ETTh1
START = datetime(2016, 7, 1)


def channels() -> pl.DataFrame:
    """ETTh1's training rows, or noise of the same shape where the file is not there."""
    folder = os.environ.get("TSFORGE_DATA") or Path(__file__).parents[2] / "shared" / "data"
    path = Path(folder) / "ett" / "ETTh1.csv"
    if path.exists():
        return pl.read_csv(path, try_parse_dates=True).head(ROWS).rename({"date": "ds"})
    noise = np.random.default_rng(0).standard_normal((ROWS, 7))
    return pl.DataFrame(noise, schema=list("abcdefg")).with_columns(ds=pl.Series(hours(ROWS)))


def series(count: int = 10) -> pl.DataFrame:
    """As many rows in each of several series of one channel."""
    noise = np.random.default_rng(0).standard_normal((count, ROWS))
    tables = [pl.DataFrame({"unique_id": f"series {n}", "ds": hours(ROWS), "y": noise[n]}) for n in range(count)]
    return pl.concat(tables)


def hours(count: int) -> list[datetime]:
    return [START + timedelta(hours=n) for n in range(count)]


def bare_pass(model, frame: tsforge.Frame, count: int) -> Callable[[], np.ndarray]:
    """The windows of the backtest through the network; what can be made ready before is."""
    store = build_store(frame, ahead=H, open_ended=True)
    own, rows = cutoff_rows(store, cutoffs_of(frame, H, count, 1))
    prepared = prepare(store, model.fitted_.preparation)
    windows = Windows(prepared, Cutoffs(own, rows), INPUT_SIZE, H, targets=False)
    loc, scale = prepared.loc[own][:, None], prepared.scale[own][:, None]
    return lambda: network_outputs(model.fitted_.predictor, windows, model.batch_size)[..., 0] * scale + loc


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(model, table: pl.DataFrame, count: int, rounds: int) -> str:
    """Backtest and bare pass in turn."""
    targets = [name for name in table.columns if name not in ("unique_id", "ds")]
    frame = tsforge.Frame(table, targets=targets, freq="1h", season=24)
    last = frame.table["ds"].max() - timedelta(hours=H + count - 1)
    model.fit(frame.rows(pl.col("ds") <= last))

    def backtest() -> pl.DataFrame:
        return tsforge.backtest(model, frame, n_windows=count, step_size=1, fit=False)

    forecasts = backtest()
    bare = bare_pass(model, frame, count)
    made = bare().transpose(0, 2, 1).ravel()
    assert np.array_equal(made, forecasts[model.name].to_numpy()), "both make the same forecasts"
    megabytes = forecasts.estimated_size() / 1e6
    works = {"backtest": backtest, "bare": bare, "write": lambda: np.empty(int(1e6 * megabytes), np.uint8).fill(1)}
    times = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(seconds(work))
    bare_seconds = np.array(times["bare"])
    ratios, floor = np.array(times["backtest"]) / bare_seconds, 1 + np.array(times["write"]) / bare_seconds
    return (f"  {model.name}, {count * frame.table['unique_id'].n_unique()} windows of {len(targets)} channels: "
            f"{np.median(ratios):.2f} x the bare pass ({ratios.min():.2f} to {ratios.max():.2f}), which takes "
            f"{1e3 * statistics.median(times['bare']):.0f} ms; a pass and {megabytes:.0f} MB written: "
            f"{np.median(floor):.2f} x")


def split(rounds: int, rows: int = 13_000, count: int = 1000) -> str:
    """The cutoffs of a backtest on one series, and the windows that they stand for."""
    table = pl.DataFrame({"ds": hours(rows), "y": np.random.default_rng(0).standard_normal(rows)})
    frame = tsforge.Frame(table, freq="1h", season=24)
    store = build_store(frame, ahead=H, open_ended=True)

    def windows() -> Cutoffs:
        return Cutoffs(*cutoff_rows(store, cutoffs_of(frame, H, count, 1)))

    assert len(windows()) == count
    times = [seconds(windows) for _ in range(10 * rounds)]
    return f"  {rows} rows into {count} windows: {1e3 * statistics.median(times):.1f} ms (goal 5 ms)"


def main() -> None:
    parser = argparse.ArgumentParser(description="A backtest against a bare pass of the network.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--windows", type=int, default=2785, help="cutoffs of each series")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("tsforge").setLevel(logging.ERROR)
    print(f"backtests, {INPUT_SIZE} -> {H}, one thread, medians of {options.rounds} rounds")
    print(split(options.rounds))
    for name, table in (("ten series", series()), ("seven channels", channels())):
        print(name)
        for made, share in ((tsforge.DLinear, 1), (tsforge.TimesNet, 20)):  # TimesNet is slow: a share of the windows
            model = made(h=H, input_size=INPUT_SIZE, max_steps=100, val_size=0)
            print(compare(model, table, -(-options.windows // share), max(options.rounds // share, 3)), flush=True)


if __name__ == "__main__":
    main()
