"""A backtest that is killed at any moment goes on: nothing is lost, nothing is done twice, the bytes are the same."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.estimators.shards import engines
from tsforge.estimators.shards.folder import WorkFolder

pytestmark = pytest.mark.slow
NO_RAY = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed: pip install 'tsforge[ray]'")
ENGINES = ["local", pytest.param("ray", marks=NO_RAY)]
SCRIPT = """
import sys
import polars as pl
import tsforge

engine, folder, out = sys.argv[1:]
models = [tsforge.DLinear(h=3, input_size=8, max_steps=20, accelerator="cpu"), tsforge.Theta(h=3), tsforge.Drift(h=3)]
made = tsforge.backtest(models, pl.read_parquet("x.parquet"), n_windows=4, refit=2, engine=engine, workers=2,
                        folder=folder, freq="1i", season=4)
made.write_parquet(out)
"""  # without a guard, which workers do not need


def table(series: int = 150, rows: int = 80) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.concat([
        pl.DataFrame({"unique_id": f"s{k:03d}", "ds": np.arange(rows), "y": rng.normal(size=rows).cumsum()})
        for k in range(series)
    ])


def children(pid: int) -> set[int]:
    """A process and all that it has started."""
    found = {pid}
    for tasks in Path("/proc").glob(f"{pid}/task/*/children"):
        try:
            found |= {each for child in tasks.read_text().split() for each in children(int(child))}
        except OSError:  # it ended meanwhile
            continue
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def works(pid: int) -> bool:
    """Whether a process is one that may do shards: agents of Ray do none, and look for their node a minute longer."""
    try:
        return alive(pid) and b"Agent" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def within(seconds: float, true: Callable[[], Any]) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.002)
    return bool(true())


@pytest.mark.parametrize("engine", ENGINES)
def test_killed_at_random_moments_it_ends_with_the_bytes_of_a_run_that_was_not(tmp_path, engine):
    table().write_parquet(tmp_path / "x.parquet")
    (tmp_path / "run.py").write_text(SCRIPT)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}

    def begun(folder: str, out: str) -> subprocess.Popen:
        words = [sys.executable, "run.py", engine, folder, out]
        return subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)

    whole = begun("whole", "whole.parquet")
    assert (whole.wait(240), whole.communicate()[1]) == (0, "")
    parts = sorted(path.name for path in tmp_path.glob("whole/parts/*"))
    assert len(parts) > 60
    rng, manifest, kills = np.random.default_rng(len(engine)), tmp_path / "work" / "manifest.jsonl", 0
    for share in (0.0, *sorted(rng.uniform(0, 0.9, 2 if engine == "ray" else 3))):
        process, wanted = begun("work", "out.parquet"), share * len(parts)

        def reached(many=wanted, process=process) -> bool:
            lines = manifest.read_bytes().count(b"\n") if manifest.exists() else 0
            return process.poll() is not None or (lines > many if many else (tmp_path / "work" / "plan.json").exists())

        assert within(240, reached)
        time.sleep(rng.uniform(0, 0.05))
        started = children(process.pid)
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        process.communicate()
        assert within(60, lambda started=started: not any(map(works, started)))
        assert not (tmp_path / "out.parquet").exists()
    assert kills == (3 if engine == "ray" else 4)
    last = begun("work", "out.parquet")
    assert (last.wait(240), last.communicate()[1]) == (0, "")
    assert (tmp_path / "out.parquet").read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert sorted(path.name for path in tmp_path.glob("work/parts/*")) == parts
    assert [name for name in parts
            if (tmp_path / "work/parts" / name).read_bytes() != (tmp_path / "whole/parts" / name).read_bytes()] == []
    keys = [json.loads(line)["shard"] for line in manifest.read_bytes().splitlines() if line.endswith(b"}")]
    assert sorted(f"{key}.parquet" for key in keys) == parts  # a shard that has a line never gets another


@pytest.mark.parametrize("engine", ENGINES)
def test_a_worker_that_is_killed_costs_nothing_but_its_own_time(tmp_path, engine, monkeypatch):
    run, killed = engines.ENGINES[engine], []

    def with_a_kill(folder: str, jobs: Any, workers: Any) -> Any:
        for answer in run(folder, jobs, workers):
            yield answer
            if not killed:
                killed.append(int(answer["by"].rpartition(":")[2]))
                os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setitem(engines.ENGINES, engine, with_a_kill)
    models, asked = [tsforge.Theta(h=3), tsforge.Drift(h=3)], {"n_windows": 4, "freq": "1i", "season": 4}
    made = tsforge.backtest(models, table(), engine=engine, workers=2, folder=tmp_path / "work", **asked)
    assert made.equals(tsforge.backtest(models, table(), **asked))
    assert killed
    assert killed[0] != os.getpid()
    assert within(60, lambda: not alive(killed[0]))
    told = (tmp_path / "work" / "manifest.jsonl").read_text().splitlines()
    assert len(told) == len(WorkFolder(tmp_path / "work").lines()) >= 60
    assert len({json.loads(line)["by"] for line in told}) > 1
