import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

import tsforge

ROOT = Path(__file__).parents[2]


def sales(ids: str, scale: float = 1.0) -> pl.DataFrame:
    t = np.arange(60)
    day = pl.date_range(pl.date(2024, 1, 1), pl.date(2024, 2, 29), eager=True)
    return pl.concat([pl.DataFrame({"shop": [name] * 60, "day": day, "sold": scale * np.sin(t / 3 + k)})
                      for k, name in enumerate(ids)])


@pytest.fixture
def run(tmp_path):
    sales("ab").write_csv(tmp_path / "old.csv")
    sales("c", 3.0).write_csv(tmp_path / "new.csv")
    model = tsforge.DLinear(h=4, input_size=14, max_steps=3, accelerator="cpu")
    model.fit(sales("ab"), targets="sold", id_col="shop", time_col="day", freq="1d", season=7)
    model.save(tmp_path / "run")
    return model


def test_a_run_is_adapted_to_a_table_with_its_columns_and_forecasts(run, tmp_path, tsforge_says):
    words = ["adapt", "run", "--adapter", "flora", "--data", "new.csv", "--out", "run2", "--set", "rank=1",
             "--set", "learning_rate=1e-2", "--max-steps", "3"]
    code, out, err = tsforge_says(*words)
    assert (code, out) == (0, ""), err
    assert "numbers train" in err
    assert "tsforge predict run2" in err
    adapted = tsforge.open(tmp_path / "run2")
    wanted = tsforge.adapt(run, "flora", sales("c", 3.0), rank=1, learning_rate=1e-2, max_steps=3)
    assert adapted.predict().equals(wanted.predict())
    assert not adapted.predict(sales("a")).equals(run.predict(sales("a")))
    code, out, _ = tsforge_says("predict", "run2", "-q")
    assert (code, len(out.splitlines())) == (0, 5)
    code, _, err = tsforge_says(*words)
    assert (code, "exists already" in err) == (2, True)
    assert tsforge_says(*words, "--overwrite", "-q")[0] == 0


def test_runs_are_composed_and_made_small(run, tmp_path, tsforge_says):
    for name in ("one", "two"):
        words = ["adapt", "run", "--adapter", "full", "--data", "new.csv", "--out", name, "--max-steps", "2", "-q"]
        assert tsforge_says(*words, "--set", f"seed={len(name)}")[0] == 0
    code, out, err = tsforge_says("adapt", "run", "--adapter", "task_vectors", "--other", "one", "--other", "two",
                                  "--set", "init=[1, 0.5]", "--out", "sum", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["run"], told["adapted"]["adapter"], len(told["adapted"]["others"])) == ("sum", "task_vectors", 2)
    assert tsforge.open(tmp_path / "sum").trained_until()["unique_id"].to_list() == ["a", "b", "c"]
    assert tsforge_says("adapt", "run", "--adapter", "quantized", "--out", "small", "-q")[0] == 0
    kinds = {name: {key.partition("/")[0] for key in load_file(tmp_path / name / "model.safetensors")}
             for name in ("run", "small")}
    assert kinds["small"] - kinds["run"] == {"bytes"}
    assert tsforge_says("show", "small")[0] == 0


def test_faults_end_with_two_and_say_what_to_do(run, tsforge_says):
    adapt = ["adapt", "run", "--out", "run2", "-q"]
    for words, told in (
        ([*adapt], "learns from data: give X (--data)"),
        ([*adapt, "--data", "new.csv", "--adapter", "lora"], "no adapter named 'lora'. Did you mean 'flora'?"),
        ([*adapt, "--data", "new.csv", "--set", "rnak=2"], "Did you mean 'rank'?"),
        ([*adapt, "--data", "new.csv", "--set", "flora.rank=2"], "bare keys"),
        ([*adapt, "--data", "new.csv", "--set", "max_steps=2", "--max-steps", "3"], "twice"),
        ([*adapt, "--data", "none.csv"], "none.csv"),
        (["adapt", "nowhere", "--out", "run2", "--data", "new.csv"], "no run at nowhere"),
        (["adapt", "run"], "--out"),
    ):
        code, out, err = tsforge_says(*words)
        assert (code, out) == (2, "")
        assert told in err
    assert not Path("run2").exists()


def test_its_help_brings_no_torch():
    code = ("import sys\nsys.argv = ['tsforge', 'adapt', '--help']\nfrom tsforge.cli.main import main\n"
            "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\nprint('torch' in sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert "--adapter" in done.stdout
    assert done.stdout.splitlines()[-1] == "False"
