"""What a sweep costs beyond its fits: seconds of a trial that are not spent on fitting, forecasting and scoring.

Each trial runs in one process on one thread, with its records in a journal, in memory and, where asked for, in a
database. The fit itself is measured inside the sweep, so noise of the machine is in both.

    python bench/sweeps.py [--trials 60] [--storage postgresql://...]
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import tsforge
from tsforge.estimators.validation import Validation
from tsforge.frame.frame import Frame
from tsforge.sweeps.face import recipe_of
from tsforge.sweeps.sweep import Search

SPACE = {"kernel_size": [3, 5, 7, 9], "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True}}


def table(series: int = 20, rows: int = 400) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.concat(
        pl.DataFrame({"unique_id": f"s{n}", "ds": np.arange(rows), "y": rng.normal(size=rows).cumsum()})
        for n in range(series)
    )


def overhead(storage: str | None, trials: int, pruner: Any) -> tuple[float, float]:
    """Seconds of a trial beyond its validation, and those of the validation; the first trial warms up."""
    spent: list[float] = []
    real = Validation.of

    def timed(self: Validation, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return real(self, *arguments)
        finally:
            spent.append(time.perf_counter() - began)

    model = tsforge.DLinear(h=8, input_size=16, max_steps=20, threads=1, accelerator="cpu")
    part = {"trials": trials, "sampler": "tpe", "pruner": pruner}
    recipe = recipe_of(model, SPACE, part)
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "sweep.journal") if storage == "journal" else storage
        search = Search(recipe, frame=Frame(table()), out=None, storage=place, name=f"bench {time.time()}")
        Validation.of = timed
        try:
            ended: list[float] = []
            search.worker.work(told=lambda _: ended.append(time.perf_counter()))
        finally:
            Validation.of = real
    whole = (ended[-1] - ended[0]) / (trials - 1)
    inside = sum(spent[1:]) / (trials - 1)
    return whole - inside, inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--storage")
    given = parser.parse_args()
    print(f"a trial of {given.trials}: ms beyond its fit, forecasts and score; ms of these; the goal is 100 ms beyond")
    for storage in ["journal", None, *([given.storage] if given.storage else [])]:
        for pruner in (None, "median"):
            beyond, inside = overhead(storage, given.trials, pruner)
            name = "memory" if storage is None else storage.partition(":")[0]
            print(f"{name:12} pruner {pruner!s:8} {beyond * 1e3:8.1f} {inside * 1e3:8.1f}")


if __name__ == "__main__":
    main()
