"""`tsforge study` prints one table, ends with 2 where a run failed, and goes on where it was stopped."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

SHARED = {
    "frame": {"name": "sunspots"},
    "split": {"test": 24},
    "model": {"input_size": 24},
    "train": {"max_steps": 2, "accelerator": "cpu", "batch_size": 8},
}
GRID = {"model.name": "dlinear", "model.h": [6, 12], "train.seed": [0, 1]}


@pytest.fixture
def recipe(tmp_path):
    def write(grid, **train) -> None:
        made = SHARED | {"train": SHARED["train"] | train, "grid": grid}
        (tmp_path / "small.yaml").write_text(yaml.safe_dump(made, sort_keys=False))

    write(GRID)
    return write


def test_a_study_prints_means_and_spreads_and_keeps_them(tsforge_says, recipe):
    code, out, err = tsforge_says("study", "small.yaml")
    assert code == 0
    title, head, *rows = out.splitlines()
    assert title == "test parts of 4 runs"
    assert head.split() == ["model", "h", "mse", "mae", "n"]
    assert [row.split()[:2] for row in rows] == [["DLinear", "6"], ["DLinear", "12"], ["SeasonalNaive", "6"],
                                                 ["SeasonalNaive", "12"]]
    assert [row.count("±") for row in rows] == [2, 2, 0, 0]
    assert "dlinear_6_seed0 (1 of 4" in err
    assert {path.name for path in Path("runs/small").iterdir()} == {
        "dlinear_6_seed0", "dlinear_6_seed1", "dlinear_12_seed0", "dlinear_12_seed1", "study.json", "table.csv",
    }
    code, again, err = tsforge_says("study", "small.yaml", "--json")
    assert code == 0
    assert "4 of 4 runs are there already" in err
    told = json.loads(again)
    assert told["table"] == pl.read_csv("runs/small/table.csv").to_dicts()
    assert [row["state"] for row in told["runs"]] == ["done"] * 4


def test_quiet_leaves_the_table_alone(tsforge_says, recipe):
    code, out, err = tsforge_says("study", "small.yaml", "--out", "s", "-q", "--set", "seed=0", "--set", "model.h=6")
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 4
    assert "±" not in out


def test_a_run_that_fails_ends_the_study_with_2_after_the_table(tsforge_says, recipe):
    recipe([{"model.name": "dlinear", "model.h": 6, "train.learning_rate": [1e30, 1e-3]}])
    code, out, err = tsforge_says("study", "small.yaml", "--out", "s", "-q")
    assert code == 2
    assert "DLinear" in out
    assert "1 of 2 runs failed: dlinear_6_learning_rate1e+30." in err
    assert "diverged" in Path("s/study.json").read_text()


def test_fit_refuses_a_grid_and_study_a_recipe_without_one(tsforge_says, recipe):
    code, out, err = tsforge_says("fit", "small.yaml")
    assert (code, out) == (2, "")
    assert "tsforge study small.yaml" in err
    Path("one.yaml").write_text("frame: {name: sunspots}\nmodel: {name: mean, h: 2}\n")
    code, out, err = tsforge_says("study", "one.yaml")
    assert (code, out) == (2, "")
    assert "tsforge fit one.yaml" in err
    assert not Path("runs").exists()


def test_workers_must_be_a_number_of_processes(tsforge_says, recipe):
    code, _, err = tsforge_says("study", "small.yaml", "--workers", "0")
    assert code == 2
    assert "workers=0" in err


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_study_that_is_stopped_goes_on_to_the_same_bytes(tsforge_says, recipe, tmp_path, workers, sent):
    recipe(GRID, max_steps=1200, validate_every=40)
    words = [sys.executable, "-m", "tsforge", "study", "small.yaml", "--workers", workers, "-q"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    assert subprocess.run([*words, "--out", "whole"], cwd=tmp_path, env=environment, check=False).returncode == 0
    process = subprocess.Popen(
        [*words, "--out", "out"], cwd=tmp_path, env=environment, text=True, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 120
    while not list(tmp_path.glob("out/*.partial/*.safetensors")) and time.monotonic() < until:
        time.sleep(0.01)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert list(tmp_path.glob("out/*.partial"))
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert "go on with the same command" in err
        assert "Traceback" not in err
    time.sleep(1)  # a killed study takes its workers along
    assert subprocess.run([*words, "--out", "out"], cwd=tmp_path, env=environment, check=False).returncode == 0
    files = {path.relative_to(tmp_path / "whole") for path in tmp_path.glob("whole/**/*") if path.is_file()}
    assert files == {path.relative_to(tmp_path / "out") for path in tmp_path.glob("out/**/*") if path.is_file()}
    assert [name for name in files if (tmp_path / "whole" / name).read_bytes() != (tmp_path / "out" / name).read_bytes()
            ] == []
