"""Kills at random moments lose no trial, count none twice, and change no number."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from tsforge.sweeps.ledger import Ledger, study_of
from tsforge.sweeps.results import best_of
from tsforge.sweeps.storage import open_storage
from tsforge.sweeps.sweep import Search
from tsforge.training.recipe import read_recipe

pytestmark = pytest.mark.slow
TRIALS = 40


def recipe(folder: Path, trials: int = TRIALS) -> dict:
    path = folder / "data.csv"
    if not path.exists():
        t = np.arange(160)
        rng = np.random.default_rng(0)
        pl.DataFrame({"ds": t, "y": np.sin(t / 3) + 0.1 * rng.normal(size=160)}).write_csv(path)
    return {
        "frame": {"path": str(path), "freq": "1i"}, "split": {"test": 16},
        "model": {"name": "dlinear", "h": 4, "input_size": 8},
        "train": {"max_steps": 10, "accelerator": "cpu", "threads": 1},
        "sweep": {"trials": trials, "seed": 2, "sampler": {"name": "tpe", "n_startup_trials": 5}, "space": {
            "kernel_size": [3, 5, 7], "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}},
    }


def search(given: dict, out: str) -> None:
    """A sweep in a process of its own, gone on with wherever it stands."""
    Search(read_recipe(given), out=Path(out), storage=None, name="sweep", resume=True).run()


def ledger(out: Path) -> Ledger:
    storage = open_storage(out / "sweep.journal")
    return Ledger(storage, study_of(storage, "sweep", True))


def rows(out: Path) -> list:
    """What each trial took and came to."""
    done = ledger(out).standing().done
    return [(index, done[index].params, done[index].value) for index in sorted(done)]


def test_twenty_kills_of_a_sweep_change_nothing(tmp_path):
    given, draw = recipe(tmp_path), random.Random(0)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tsforge.sweeps.sweep", "lightning"])
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def begun(out):
        process = context.Process(target=search, args=(given, str(out)))
        process.start()
        return process

    begun(whole).join()
    kills = 0
    while kills < 20:
        process, journal = begun(killed), killed / "sweep.journal"
        size = journal.stat().st_size if journal.exists() else 0
        while process.is_alive() and (not journal.exists() or journal.stat().st_size <= size):
            time.sleep(0.001)
        time.sleep(draw.uniform(0.0, 0.25))
        if not process.is_alive():
            break
        process.kill()
        process.join()
        kills += 1
    begun(killed).join()
    assert kills == 20, "the sweep was done before it was killed twenty times: make its trials longer"
    assert rows(killed) == rows(whole)
    assert [index for index, *_ in rows(killed)] == list(range(TRIALS))
    standing = ledger(killed).standing()
    assert standing.running == {}
    assert sum(map(len, standing.hidden.values())) >= 10, "kills that hit no trial show nothing"
    best = [best_of(ledger(out).standing(), plan).user_attrs["index"] for out, plan in
            ((out, Search(read_recipe(given), out=out, storage=None, name="sweep", resume=True).plan)
             for out in (whole, killed))]
    assert best[0] == best[1]


def began(*words: str) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "tsforge", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            text=True, start_new_session=True)


def wait_for_trials(out: Path, count: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (out / "sweep.journal").exists() and len(ledger(out).standing().done) >= count:
            return
        time.sleep(0.05)
    raise AssertionError(process.communicate()[1])


def workers_of(process: subprocess.Popen) -> list[int]:
    said = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    return [int(pid) for pid in said.split()]


def test_workers_and_the_sweep_itself_may_be_killed(tmp_path):
    given = recipe(tmp_path, 24)
    given["train"]["max_steps"] = 100
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(given))
    out = tmp_path / "s"
    words = ("sweep", str(tmp_path / "r.yaml"), "--out", str(out), "--workers", "2")
    first = began(*words)
    wait_for_trials(out, 2, first)
    children = workers_of(first)
    os.kill(children[0], signal.SIGKILL)  # another takes its place
    wait_for_trials(out, 6, first)
    assert len(ledger(out).standing().hidden) >= 1
    children = workers_of(first)
    first.kill()
    first.communicate()
    deadline = time.monotonic() + 30
    while any(Path(f"/proc/{pid}/stat").exists() for pid in children):  # they end with it
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = began(*words, "--resume")
    wait_for_trials(out, 12, second)
    second.send_signal(signal.SIGINT)
    _, err = second.communicate(timeout=60)
    assert second.returncode == 130
    assert "trials are done and kept. Go on with the same command and --resume." in err
    assert "Traceback" not in err
    assert ledger(out).standing().running == {}, "those that ran are open again"
    third = began(*words, "--resume")
    _, err = third.communicate(timeout=240)
    assert third.returncode == 0, err
    standing = ledger(out).standing()
    assert sorted(standing.done) == list(range(24))
    finished = [trial for trial in ledger(out).study.trials if not trial.user_attrs.get("dead")]
    assert len(finished) == 24
    assert (out / "best" / "run.json").exists()


def test_two_workers_share_the_trials_and_a_joined_one_helps(tmp_path):
    given = recipe(tmp_path, 12)
    given["train"]["max_steps"] = 150
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(given))
    out = tmp_path / "s"
    first = began("sweep", str(tmp_path / "r.yaml"), "--out", str(out), "--workers", "2")
    wait_for_trials(out, 1, first)
    joined = began("worker", "--storage", str(out / "sweep.journal"))
    _, err = joined.communicate(timeout=240)
    assert joined.returncode == 0, err
    _, err = first.communicate(timeout=240)
    assert first.returncode == 0, err
    done = ledger(out).standing().done
    assert sorted(done) == list(range(12))
    assert len({trial.user_attrs["worker"]["pid"] for trial in done.values()}) >= 2
