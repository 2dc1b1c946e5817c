"""Series that do not fit into memory: building a store, gathering its windows, an epoch over a Weather2K-sized file.

Building reads a folder of parquet in parts, against reading it whole into a Frame and its arrays; each in a process of
its own, whose memory is watched. Gathering takes random windows of a mapped array and scales them, against copies of
the same windows out of scaled tensors in memory. The epoch visits every row of a sparse file once.

    python bench/store.py [--series 300000] [--stations 1866] [--rounds 5]
"""

import argparse
import multiprocessing
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch

from tsforge.data.mapped import open_store, write_store
from tsforge.data.prepare import Preparation, Prepared, prepare
from tsforge.data.store import build_store
from tsforge.data.weather2k import FIRST_RELEASE, Weather2K
from tsforge.data.windows import Cutoffs, Windows
from tsforge.frame.block import Block
from tsforge.frame.block_frame import BlockFrame
from tsforge.frame.frame import Frame
from tsforge.training.loader import TrainLoader

LENGTH, INPUT_SIZE, H = 100, 72, 24
START = datetime(2024, 1, 1)


def memory() -> tuple[int, int]:
    """Bytes in memory, with and without pages of mapped files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024, int(lines["RssAnon"].split()[0]) * 1024


def watched(work: Callable[..., Any], *arguments: Any) -> tuple[float, int, int, Any]:
    """Seconds, the most bytes that `work` took over what there was, all and private ones, and what it returned."""
    before, peaks, done = memory(), [0, 0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peaks[:] = [max(peak, now - then) for peak, now, then in zip(peaks, memory(), before, strict=True)]

    thread = threading.Thread(target=watch)
    thread.start()
    start = time.perf_counter()
    result = work(*arguments)
    spent = time.perf_counter() - start
    done.set()
    thread.join()
    return spent, peaks[0], peaks[1], result


def apart(work: Callable[..., Any], *arguments: Any) -> tuple[float, int, int, Any]:
    """`watched` in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(watched, work, *arguments).result()


def write_parquet(folder: Path, series: int) -> int:
    """Ten files of daily values; the bytes of the table in memory."""
    folder.mkdir()
    rng, size = np.random.default_rng(0), 0
    stamps = pl.datetime_range(START, datetime(2025, 1, 1), "1d", eager=True)[:LENGTH]
    for number, ids in enumerate(np.array_split(np.arange(series), 10)):
        names = pl.Series([f"atm-{k:06d}" for k in ids]).gather(np.repeat(np.arange(len(ids)), LENGTH))
        table = pl.DataFrame({"unique_id": names, "ds": stamps.gather(np.tile(np.arange(LENGTH), len(ids))),
                              "y": rng.normal(size=len(names))})
        table.write_parquet(folder / f"{number}.parquet")
        size += int(table.estimated_size())
    return size


def build(source: Path, folder: Path) -> int:
    write_store(source, folder, freq="1d")
    return len(open_store(folder))


def whole(source: Path) -> int:
    return len(build_store(Frame(pl.read_parquet(source / "*.parquet"), freq="1d")).values)


def bench_building(folder: Path, series: int) -> None:
    size = write_parquet(folder / "parquet", series)
    spent, peak, private, rows = apart(build, folder / "parquet", folder / "store")
    other, other_peak, _, other_rows = apart(whole, folder / "parquet")
    assert rows == other_rows == series * LENGTH, "both have every row"
    print(f"store, {series:,} series x {LENGTH} rows of parquet: {spent:.1f} s, {rows / spent:,.0f} rows/s, peak "
          f"{peak / size:.2f} times the {size / 1e6:,.0f} MB of the table ({private / size:.2f} private); a Frame and "
          f"its arrays take {other / spent:.2f} times as long and {other_peak / size:.2f} times its size")


def prepared_of(frame: Frame) -> Prepared:
    store = build_store(frame)
    return prepare(store, Preparation.fit(store, store.ends, "standard", "series"))


def bench_gathering(folder: Path, rounds: int) -> None:
    """[station, variable, step] as Weather2K lies on disk; 2 of 4 variables, 100 stations."""
    values = np.random.default_rng(0).normal(size=(100, 4, 8192)).astype(np.float32)
    np.save(folder / "values.npy", values)
    mapped = np.load(folder / "values.npy", mmap_mode="r").transpose(0, 2, 1)
    names = ["a", "b", "c", "d"]
    frame = BlockFrame(Block.dense(mapped, names), ids=range(100), first=START, freq="1h", targets=["b", "c"])
    lazy = prepared_of(frame)
    eager = prepared_of(Frame(frame.to_polars(), targets=["b", "c"], freq="1h"))
    rng = np.random.default_rng(1)
    series = rng.integers(0, 100, 64 * 256)
    index = Cutoffs(series, series * 8192 + rng.integers(INPUT_SIZE, 8192 - H, len(series)))
    times: dict[str, list[float]] = {"lazy": [], "eager": [], "copies": []}
    blocks = eager.values.as_strided((len(eager.values) - INPUT_SIZE - H, INPUT_SIZE + H, 2), (2, 2, 1))  # pyright: ignore
    first = torch.from_numpy(index.rows - INPUT_SIZE + 1)
    for _ in range(rounds):
        for name, part in (("lazy", lazy), ("eager", eager)):
            start = time.process_time()
            numbers = np.split(np.arange(len(series)), 64)
            batches = [batch.past for batch in Windows(part, index, INPUT_SIZE, H).batches(numbers)]
            times[name].append(time.process_time() - start)
        start = time.process_time()
        copies = [blocks.index_select(0, part) for part in first.split(256)]
        times["copies"].append(time.process_time() - start)
        assert torch.equal(batches[3], copies[3][:, :INPUT_SIZE])
    middle = {name: statistics.median(spent) for name, spent in times.items()}
    print(f"windows {INPUT_SIZE} + {H} of 2 channels: {len(series) / middle['lazy']:,.0f}/s from a mapped file; from "
          f"scaled tensors {middle['lazy'] / middle['eager']:.1f} times as fast, bare strided copies "
          f"{middle['lazy'] / middle['copies']:.1f} times")


def epoch(path: Path) -> tuple[float, float, int]:
    """Seconds of scaling and of one visit to every row, and the rows."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    frame = Weather2K(path=path, targets=["t", "rh"]).frame()
    prepared = prepared_of(frame)
    scaled = time.perf_counter()
    assert isinstance(frame, BlockFrame)
    ends = np.arange(INPUT_SIZE - 1, frame.block.lengths[0], INPUT_SIZE + H)
    index = Cutoffs(np.repeat(np.arange(len(frame.ids)), len(ends)), (prepared.starts[:, None] + ends).ravel())
    windows = Windows(prepared, index, INPUT_SIZE, H)
    batches = TrainLoader(windows, 256, seed=0, start=0, stop=-(-len(windows) // 256))
    rows = sum(len(batch) for batch in batches) * (INPUT_SIZE + H)
    return scaled - start, time.perf_counter() - scaled, rows


def bench_epoch(folder: Path, stations: int) -> None:
    shape = (stations, *FIRST_RELEASE.shape[1:])
    np.lib.format.open_memmap(folder / "weather2k.npy", mode="w+", dtype=np.float32, shape=shape)  # sparse
    _, peak, private, (scaling, spent, rows) = apart(epoch, folder / "weather2k.npy")
    size = 4 * int(np.prod(shape))
    print(f"Weather2K, {stations:,} stations, {size / 1e9:.1f} GB, 2 of 20 variables: scaling {scaling:.1f} s, "
          f"an epoch over {rows:,} rows {spent:.1f} s ({rows / spent:,.0f} rows/s); peak private memory "
          f"{private / 1e9:.2f} GB, {private / size:.3f} of the file ({peak / 1e9:.2f} GB with its pages)")


def main() -> None:
    parser = argparse.ArgumentParser(description="Stores on disk: building, gathering, an epoch.")
    parser.add_argument("--series", type=int, default=300_000)
    parser.add_argument("--stations", type=int, default=FIRST_RELEASE.shape[0])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        bench_building(Path(folder), options.series)
        bench_gathering(Path(folder), options.rounds)
        bench_epoch(Path(folder), options.stations)


if __name__ == "__main__":
    main()
