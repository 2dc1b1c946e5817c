"""Two processes started from the command line train like one, and one of them speaks and writes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow


def fitted(place: Path, devices: int, *more: str) -> str:
    arguments = {"max_steps": 50, "precision": 64, "accelerator": "cpu", "batch_size": 15, "devices": devices}
    settings = [word for name, value in arguments.items() for word in ("--set", f"train.{name}={value}")]
    command = [sys.executable, "-m", "tsforge", "fit", "x.csv", "--model", "dlinear", "--h", "4", "--input-size", "16",
               "--out", f"run{devices}", *settings, *more]
    done = subprocess.run(command, cwd=place, text=True, capture_output=True, timeout=300,
                          env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_two_processes_write_one_run_equal_to_that_of_one(tmp_path):
    rng = np.random.default_rng(0)
    t = np.arange(200)
    y = np.where(rng.random(len(t)) < 0.1, None, np.sin(t / 3))
    pl.DataFrame({"ds": t, "y": pl.Series(y.tolist(), dtype=pl.Float64)}).write_csv(tmp_path / "x.csv")
    fitted(tmp_path, 1)
    said = fitted(tmp_path, 2, "--set", "train.strategy=ddp")
    assert said.count("The run is in run2") == 1
    assert said.count("step 50/50") == 1
    one, two = (load_file(tmp_path / f"run{n}" / "model.safetensors") for n in (1, 2))
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, atol=1e-6)
