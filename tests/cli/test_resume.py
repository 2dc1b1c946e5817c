"""A training that is killed, interrupted or runs out of disk leaves a whole run, what it can go on from, or nothing."""

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.training.artifact import read_run

pytestmark = pytest.mark.slow
SAME = ("model.safetensors", "context.arrow")
STEPS = 160
SMALL = {"d_model": 4, "d_ff": 4, "e_layers": 1, "top_k": 2, "num_kernels": 2, "dropout": 0.3, "max_steps": STEPS,
         "validate_every": 40, "checkpoint_every": 3, "batch_size": 8, "accelerator": "cpu", "schedule": "cosine"}


def words(*more: str) -> list[str]:
    arguments = [word for name, value in SMALL.items() for word in ("--set", f"{name}={value}")]
    return [sys.executable, "-m", "tsforge", "fit", "x.csv", "--model", "timesnet", "--h", "4", "--input-size", "16",
            "--out", "run", *arguments, *more]


def start(place: Path, *more: str, **given) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(words(*more), cwd=place, env=environment, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, **given)


def finished(place: Path, *more: str) -> tuple[int, str]:
    process = start(place, *more)
    _, err = process.communicate(timeout=300)
    return process.returncode, err


@pytest.fixture(scope="module")
def data() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    t = np.arange(240)
    y = [np.sin(t / 3) + 0.1 * rng.normal(size=len(t)), 3 + np.sin(t / 4)]
    return pl.DataFrame({"unique_id": ["a"] * len(t) + ["b"] * len(t), "ds": [*t, *t], "y": np.concatenate(y)})


@pytest.fixture
def place(tmp_path, data) -> Path:
    data.write_csv(tmp_path / "x.csv")
    return tmp_path


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, data) -> Path:
    place = tmp_path_factory.mktemp("whole")
    data.write_csv(place / "x.csv")
    assert finished(place, "-q") == (0, "")
    return place / "run"


def assert_same_run(run: Path, other: Path) -> None:
    for name in SAME:
        assert (run / name).read_bytes() == (other / name).read_bytes()
    records = [json.loads((folder / "run.json").read_text()) for folder in (run, other)]
    assert records[0] == records[1]  # history among them


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not path.exists() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    assert path.exists()


def step_of(place: Path) -> int:
    from tsforge.training.checkpoint import Checkpoint

    found = Checkpoint.read(place / "run.partial")
    return 0 if found is None else found.progress.step


def test_a_run_killed_again_and_again_goes_on_to_the_same_bytes(place, uninterrupted):
    draws = random.Random(7)
    checkpoint = place / "run.partial" / "checkpoint.safetensors"
    kills, steps = 0, []
    while kills < 60:
        process = start(place, "--resume", "-q")
        if kills % 3 == 0 and kills:
            time.sleep(draws.uniform(0.0, 1.5))  # while it loads
        else:
            before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
            until = time.monotonic() + 120
            while process.poll() is None and time.monotonic() < until:
                if checkpoint.exists() and checkpoint.stat().st_mtime_ns != before:
                    break
                time.sleep(0.001)
            time.sleep(draws.uniform(0.0, 0.15))  # somewhere in the steps, the writes and the renames after it
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
        if (place / "run").exists():
            read_run(place / "run")  # whole, or this raises
        steps.append(step_of(place) if checkpoint.exists() else 0)  # a checkpoint is whole, or this raises
        if process.returncode == 0 or (kills >= 10 and steps[-1]):
            break
    assert kills >= 8
    assert steps == sorted(steps)  # no kill loses what an earlier process reached
    for _ in range(3):  # while the run itself is written
        process = start(place, "--resume", "-q")
        while process.poll() is None and not any(place.glob(".run.*.part")):
            time.sleep(0.0002)
        time.sleep(draws.uniform(0.0, 0.004))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (place / "run").exists():
            read_run(place / "run")
    assert finished(place, "--resume", "-q") == (0, "")
    assert_same_run(place / "run", uninterrupted)
    assert not (place / "run.partial").exists()
    code, err = finished(place, "--resume")
    assert (code, err) == (0, "run is finished already; there is nothing to resume.\n")


def test_another_seed_makes_other_bytes_so_the_comparison_can_fail(place, uninterrupted):
    assert finished(place, "--set", "seed=1", "-q") == (0, "")
    with pytest.raises(AssertionError):
        assert_same_run(place / "run", uninterrupted)


def test_ctrl_c_says_how_to_go_on_and_goes_on_to_the_same_bytes(place, uninterrupted):
    process = start(place)
    wait_for(place / "run.partial" / "checkpoint.safetensors", process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "--resume" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in place.iterdir()) == ["run.partial", "x.csv"]
    code, err = finished(place)  # without the word nothing is thrown away
    assert code == 2
    assert "--resume" in err
    assert finished(place, "--resume", "-q") == (0, "")
    assert_same_run(place / "run", uninterrupted)
    assert sorted(path.name for path in place.iterdir()) == ["run", "x.csv"]


@pytest.mark.parametrize("share", [0.5, 0.0])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(place, uninterrupted, share):
    """A file may hold less than a checkpoint (share 0), or a checkpoint but not all of the run."""
    limit = 2_000 if not share else max(path.stat().st_size for path in uninterrupted.iterdir()) - 1

    def small_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write says EFBIG, as a full disk says ENOSPC
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start(place, "-q", preexec_fn=small_files)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    left = sorted(str(path.relative_to(place)) for path in place.rglob("*"))
    assert not any(".part" in Path(name).suffixes or name.startswith(".run") for name in left if name != "run.partial")
    assert "run" not in left
    assert finished(place, "--resume", "-q") == (0, "")
    assert_same_run(place / "run", uninterrupted)
    tsforge.open(place / "run").predict()
