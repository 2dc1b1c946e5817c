"""Each bad input ends with exit code 2 and one paragraph, and leaves nothing behind."""

import json
import pickle
from datetime import date
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tsforge


def series(n: int = 60) -> pl.DataFrame:
    t = np.arange(n)
    days = pl.select(pl.lit(date(2024, 1, 1)) + pl.duration(days=pl.Series(t))).to_series()
    return pl.DataFrame({"unique_id": ["a"] * n, "ds": days, "y": np.sin(t / 3)})


def text(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.all().cast(pl.String))


def spoiled(**cells: dict[int, str]) -> pl.DataFrame:
    """The series as text, with some cells changed."""
    table = text(series())
    for column, changes in cells.items():
        values = table[column].to_list()
        for row, value in changes.items():
            values[row] = value
        table = table.with_columns(pl.Series(column, values))
    return table


FIT = (
    "fit",
    "x.csv",
    "--model",
    "dlinear",
    "--h",
    "4",
    "--input-size",
    "8",
    "--out",
    "run",
    "--set",
    "max_steps=2",
    "-q",
)
TABLES = {
    "no time column": (series().rename({"ds": "when"}), ["There is no time column", "'when'", "--time-col"]),
    "unparsable date in row k": (spoiled(ds={6: "2024-02-31"}), ["'ds'", "row 7", "'2024-02-31'", "1 of 60"]),
    "duplicated time": (
        pl.concat([text(series()), text(series())[3:5]]),
        ["'a'", "2024-01-04", "2 repeated rows", "keep"],
    ),
    "text in a value column": (spoiled(y={9: "broken"}), ["'a'", "'y'", "2024-01-10", "'broken'", "1 such"]),
    "infinity": (spoiled(y={9: "inf"}), ["'a'", "'y'", "2024-01-10", "infinite", "1 such"]),
    "all-missing target": (series().with_columns(y=pl.lit(None, pl.Float64)), ["'y'", "60 rows", "1 series"]),
    "too short": (series(11), ["'a'", "11 training rows", "8 + 4 = 12", "short='pad'"]),
    "off the grid": (spoiled(ds={9: "2024-01-09 12:00:00"}), ["'a'", "2024-01-09 12:00", "1d", "--freq"]),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_bad_table_names_series_column_time_count_and_fix(tsforge_says, tmp_path, kind):
    table, wanted = TABLES[kind]
    if kind == "off the grid":
        table = table.with_columns(
            ds=pl.when(pl.col("ds").str.len_chars() == 10).then(pl.col("ds") + " 00:00:00").otherwise("ds")
        )
    table.write_csv("x.csv")
    code, out, err = tsforge_says(*FIT)
    assert (code, out) == (2, "")
    for words in wanted:
        assert words in err
    assert err.startswith("error: ")
    assert err.strip().count("\n") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


ARGUMENTS = {
    "missing file": (("fit", "y.csv", *FIT[2:]), ["y.csv", "x.csv"]),
    "empty file": (("fit", "empty.csv", *FIT[2:]), ["empty.csv", "empty"]),
    "h = 0": ((*FIT[:5], "0", *FIT[6:]), ["h=0", "1 or more"]),
    "h < 0": ((*FIT[:5], "-3", *FIT[6:]), ["h=-3"]),
    "unknown model": ((*FIT[:3], "timesnt", *FIT[4:]), ["'timesnt'", "Did you mean 'timesnet'?"]),
    "unknown dataset": (("fit", "etth", *FIT[2:]), ["'etth'", "etth1"]),
    "unknown argument": ((*FIT, "--set", "kernel_sise=3"), ["DLinear", "'kernel_sise'", "'kernel_size'"]),
    "another library's word": ((*FIT, "--set", "input_chunk_length=3"), ["input_chunk_length", "input_size"]),
    "unknown key of a recipe": (("fit", "r.yaml", "--out", "run", "-q"), ["'splitt'", "'split'"]),
    "unknown argument in a recipe": (("fit", "s.yaml", "--out", "run", "-q"), ["max_stepz", "max_steps"]),
    "no model": (("fit", "x.csv", "--h", "3"), ["--model"]),
    "a set without =": ((*FIT, "--set", "kernel_size"), ["key=value"]),
    "unknown catalog": (("list", "modles"), ["'modles'", "'models'"]),
    "unknown row": (("show", "timesnt"), ["'timesnt'", "'timesnet'"]),
    "unknown metric": (("backtest", "x.csv", "--h", "4", "--metric", "maee", "--set", "max_steps=2", "-q"), ["'maee'"]),
    "a level of 0": (("backtest", "x.csv", "--h", "4", "--level", "0", "-q"), ["level", "80"]),
    "too many windows": (("backtest", "x.csv", "--h", "4", "--windows", "99", "-q"), ["too short", "99 windows"]),
    "no such run": (("predict", "nowhere"), ["There is no run at nowhere"]),
}


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_a_bad_argument_says_what_was_given_and_what_was_wanted(tsforge_says, tmp_path, kind):
    series().write_csv("x.csv")
    Path("empty.csv").touch()
    frame = "frame: {path: x.csv}\n"
    Path("r.yaml").write_text(frame + "model: {name: dlinear, h: 4}\nsplitt: {test: 4}\n")
    Path("s.yaml").write_text(frame + "model: {name: dlinear, h: 4, input_size: 8}\ntrain: {max_stepz: 4}\n")
    before = sorted(path.name for path in tmp_path.iterdir())
    words, wanted = ARGUMENTS[kind]
    code, out, err = tsforge_says(*words)
    assert (code, out) == (2, "")
    for word in wanted:
        assert word in err
    assert err.strip().count("\n") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_unsorted_time_is_sorted_with_a_notice(tsforge_says):
    series().reverse().write_csv("x.csv")
    code, _, err = tsforge_says(*FIT[:-1])
    assert code == 0
    assert "note: Time was not in order (59 rows go back); the rows were sorted." in err


@pytest.fixture
def run_with_covariate(tsforge_says):
    series().with_columns(x=pl.int_range(60)).write_csv("x.csv")
    words = [word if word != "dlinear" else "timesnet" for word in FIT]
    assert tsforge_says(*words, "--future", "x", "--set", "d_model=2", "--set", "d_ff=2")[0] == 0
    return Path("run")


def test_a_covariate_missing_in_predict_is_named(tsforge_says, run_with_covariate):
    code, _, err = tsforge_says("predict", "run", "-q")
    assert code == 2
    assert "'x' is known ahead" in err
    assert "--future-data" in err
    ahead = pl.DataFrame(
        {"unique_id": ["a"] * 4, "ds": [f"2024-03-0{k}" for k in range(1, 5)], "x": [60, None, 62, 63]}
    )
    ahead.write_csv("f.csv")
    code, _, err = tsforge_says("predict", "run", "-q", "--future-data", "f.csv")
    assert code == 2
    for word in ("'a'", "'x'", "2024-03-02", "1 such values of 4"):
        assert word in err
    ahead.drop("x").write_csv("g.csv")
    code, _, err = tsforge_says("predict", "run", "-q", "--future-data", "g.csv")
    assert code == 2
    assert "no column 'x'" in err
    ahead.with_columns(pl.col("x").fill_null(61)).write_csv("h.csv")
    code, out, _ = tsforge_says("predict", "run", "-q", "--future-data", "h.csv")
    assert code == 0
    assert len(out.splitlines()) == 5


def test_a_run_that_is_cut_flipped_newer_or_holds_a_pickle_is_refused(tsforge_says):
    series().write_csv("x.csv")
    assert tsforge_says(*FIT)[0] == 0
    run = Path("run")
    whole = {path.name: path.read_bytes() for path in run.iterdir()}
    record = json.loads(whole["run.json"]) | {"format": 99}
    spoil = {
        "model.safetensors": whole["model.safetensors"][:100],
        "context.arrow": b"\x00" + whole["context.arrow"][1:],
        "run.json": json.dumps(record).encode(),
        "model.pkl": pickle.dumps([1]),
    }
    wanted = {
        "model.safetensors": "does not match",
        "context.arrow": "does not match",
        "run.json": "Upgrade",
        "model.pkl": "which no run has",
    }
    for name, content in spoil.items():
        (run / name).write_bytes(content)
        if name == "run.json":
            sums = {
                n: sha256((run / n).read_bytes()).hexdigest()
                for n in ("context.arrow", "model.safetensors", "run.json")
            }
            (run / "SHA256SUMS").write_text("".join(f"{digest}  {n}\n" for n, digest in sums.items()))
        code, out, err = tsforge_says("predict", "run")
        assert (code, out) == (2, "")
        assert wanted[name] in err
        for path in run.iterdir():
            path.unlink()
        for kept, old in whole.items():
            (run / kept).write_bytes(old)
    assert tsforge_says("predict", "run", "-q")[0] == 0


def test_what_is_not_ours_to_name_is_exit_code_1(tsforge_says, monkeypatch):
    series().write_csv("x.csv")
    monkeypatch.setattr(tsforge.DLinear, "fit", lambda *a, **k: 1 / 0)
    code, _, err = tsforge_says(*FIT)
    assert code == 1
    assert "error in tsforge: ZeroDivisionError" in err
    assert "--debug" in err


def test_an_interrupt_leaves_no_run(tsforge_says, monkeypatch, tmp_path):
    from tsforge.training.module import ForecastModule

    series().write_csv("x.csv")

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ForecastModule, "training_step", stop)
    code, _, err = tsforge_says(*FIT)
    assert code == 130
    assert "interrupted" in err
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
