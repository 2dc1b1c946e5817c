"""Each command does what it says on small data; results go to standard output, all else to standard error."""

import io
import json
import logging
import os
import subprocess
import sys
from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

import tsforge
from tsforge.cli.list_rows import catalogs
from tsforge.cli.output import show_table
from tsforge.cli.show import KINDS
from tsforge.estimators.run import run_recipe
from tsforge.evaluation.metrics import METRICS
from tsforge.models import MODELS
from tsforge.training.arguments import TRAINING
from tsforge.training.recipe import read_recipe

QUICK = ("--set", "max_steps=2")
FIT = ("--model", "dlinear", "--h", "4", "--input-size", "8", "--out", "run", *QUICK)


def series(n: int = 90) -> pl.DataFrame:
    hours = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 31), "1h", eager=True)[:n]
    return pl.concat(
        pl.DataFrame({"unique_id": [name] * n, "ds": hours, "y": np.sin(np.arange(n) / 3 + shift)})
        for name, shift in (("a", 0.0), ("b", 1.0))
    )


@pytest.fixture
def fitted(tsforge_says) -> Path:
    series().write_csv("x.csv")
    assert tsforge_says("fit", "x.csv", *FIT, "-q")[0] == 0
    return Path("run")


WRITERS = {"x.csv": pl.DataFrame.write_csv, "x.parquet": pl.DataFrame.write_parquet, "x.arrow": pl.DataFrame.write_ipc}


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.parquet", "x.arrow"])
def test_whatever_the_file_the_same_forecasts_come_out(tsforge_says, fitted, name):
    if name.endswith(".gz"):
        import gzip

        Path(name).write_bytes(gzip.compress(series().write_csv().encode()))
    else:
        WRITERS[name](series(), name)
    words = [word if word != "run" else "other" for word in FIT]
    assert tsforge_says("fit", name, *words, "-q")[:2] == (0, "")
    forecasts = [tsforge_says("predict", place, "-q") for place in ("run", "other")]
    assert forecasts[0] == forecasts[1]
    assert forecasts[0][0] == 0


def test_predict_writes_csv_that_goes_on_where_the_data_end(tsforge_says, fitted):
    code, out, err = tsforge_says("predict", "run", "--level", "50,60")
    assert (code, err) == (0, "")
    table = pl.read_csv(io.StringIO(out), try_parse_dates=True)
    bands = [f"DLinear-{side}-{level}" for level in (50, 60) for side in ("lo", "hi")]
    assert sorted(table.columns) == sorted(["unique_id", "ds", "DLinear", *bands])
    first = table.group_by("unique_id", maintain_order=True).agg(pl.col("ds").min(), pl.len())
    assert first["ds"].to_list() == [series()["ds"].max() + (series()["ds"][1] - series()["ds"][0])] * 2
    assert first["len"].to_list() == [4, 4]
    assert out.splitlines()[1].startswith("a,2024-01-04 18:00:00,")  # no microseconds that nobody wrote


def test_h_cuts_the_forecast(tsforge_says, fitted):
    whole, two = (tsforge_says("predict", "run", *words)[1].splitlines() for words in ((), ("--h", "2")))
    assert two == [whole[0], *whole[1:3], *whole[5:7]]


@pytest.mark.parametrize(("name", "read"), [
    ("f.csv", lambda path: pl.read_csv(path, try_parse_dates=True)), ("f.parquet", pl.read_parquet),
    ("f.arrow", pl.read_ipc),
])
def test_predict_writes_the_file_it_is_asked_for_and_says_so_once(tsforge_says, fitted, name, read):
    printed = pl.read_csv(io.StringIO(tsforge_says("predict", "run")[1]), try_parse_dates=True)
    code, out, err = tsforge_says("predict", "run", "--out", name)
    assert (code, out, err) == (0, "", f"8 rows are in {name}.\n")
    table = read(name)
    assert table.columns == printed.columns
    assert table["DLinear"].to_list() == pytest.approx(printed["DLinear"].to_list())
    before = Path(name).read_bytes()
    code, _, err = tsforge_says("predict", "run", "--out", name)
    assert code == 2
    assert "--overwrite" in err
    assert Path(name).read_bytes() == before
    code, out, err = tsforge_says("predict", "run", "--out", name, "--overwrite", "--json")
    assert json.loads(out) == {"out": name, "rows": 8}
    assert err == ""


def test_predict_goes_on_after_other_data(tsforge_says, fitted):
    other = series().with_columns(pl.col("y") * 5 + 3).filter(pl.col("unique_id") == "b")
    other.write_csv("other.csv")
    code, out, _ = tsforge_says("predict", "run", "--data", "other.csv")
    assert code == 0
    expected = tsforge.open("run").predict(other)
    assert pl.read_csv(io.StringIO(out))["DLinear"].to_list() == pytest.approx(expected["DLinear"].to_list())


def test_predict_takes_a_dataset_with_arguments_as_data(tsforge_says):
    source = "chaos:system=Lorenz,n=120,pts_per_period=20"
    assert tsforge_says("fit", source, *FIT, "-q")[0] == 0
    code, out, _ = tsforge_says("predict", "run", "--data", source.replace("120", "90"))
    assert code == 0
    table = pl.read_csv(io.StringIO(out))
    assert table["ds"].unique(maintain_order=True).to_list() == [90, 91, 92, 93]


@pytest.mark.parametrize("name", ["co2", "sunspots"])
def test_data_that_come_along_are_fitted_by_name(tsforge_says, name):
    code, out, err = tsforge_says("fit", name, "--model", "dlinear", "--h", "4", "--input-size", "8", *QUICK)
    assert (code, out) == (0, "")
    assert f"The run is in runs/dlinear_{name}_4" in err
    assert tsforge_says("predict", f"runs/dlinear_{name}_4")[0] == 0


def test_without_a_place_a_run_is_named_after_model_data_and_steps(tsforge_says):
    series().write_csv("x.y.csv")
    words = ("--input-size", "8", "--h", "4", "-q", *QUICK)
    assert tsforge_says("fit", "./x.y.csv", "--model", "dlinear", *words)[0] == 0
    assert tsforge_says("fit", "chaos:system=Lorenz,n=99", "--model", "naive", "--h", "4", "-q")[0] == 0
    Path("named.yaml").write_text("frame: {path: x.y.csv}\nmodel: {name: naive, h: 2}\n")
    assert tsforge_says("fit", "named.yaml", "-q")[0] == 0
    assert sorted(path.name for path in Path("runs").iterdir()) == [
        "dlinear_x_4", "naive_chaos-system=Lorenz-n=99_4", "named",
    ]


def test_show_tells_of_a_run_what_it_is(tsforge_says, fitted):
    code, out, err = tsforge_says("show", "run")
    assert (code, err) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert (lines["model"], lines["series"], lines["h"], lines["freq"]) == ("dlinear", "2", "4", "1h")
    code, out, _ = tsforge_says("show", "run", "--json")
    assert json.loads(out)["name"] == "dlinear"


def test_an_existing_path_wins_over_a_name(tsforge_says):
    series().write_csv("x.csv")
    words = [word if word != "run" else "timesnet" for word in FIT]
    assert tsforge_says("fit", "x.csv", *words, "-q")[0] == 0
    assert "dlinear" in tsforge_says("show", "timesnet")[1]
    assert "Wu 2023" in tsforge_says("show", "model:timesnet")[1]


@pytest.mark.parametrize("name", MODELS)
def test_show_prints_one_argument_a_line_and_training_arguments_apart(tsforge_says, name):
    code, out, err = tsforge_says("show", name)
    assert (code, err) == (0, "")
    parts = out.split("\n\n")
    own, training = (next(p for p in parts if p.startswith(title)) for title in ("Arguments", "Training arguments"))
    assert [line.split()[0] for line in training.splitlines()[1:]] == list(TRAINING)
    names = [line.split()[0] for line in own.splitlines()[1:]]
    assert names[:2] == ["h", "input_size"]
    assert set(names).isdisjoint(TRAINING)


def test_show_names_every_row_of_every_catalog(tsforge_says):
    for kind, place in KINDS.items():
        for row in catalogs()[place]:
            code, out, _ = tsforge_says("show", f"{kind}:{row['name']}", "--json")
            assert code == 0
            assert json.loads(out)["summary"] == row["summary"]


def test_show_prints_the_card_and_list_says_whether_the_files_are_here(tsforge_says, monkeypatch, tmp_path):
    monkeypatch.setenv("TSFORGE_DATA", str(tmp_path))
    code, out, _ = tsforge_says("show", "etth1")
    assert code == 0
    for words in ("CC BY-ND 4.0", str(tmp_path / "ett" / "ETTh1.csv"), "f18de3ad", "degrees Celsius"):
        assert words in out
    assert json.loads(tsforge_says("show", "etth1", "--json")[1])["card"]["licence"].startswith("CC BY-ND")
    here = {row["name"]: row["here"] for row in json.loads(tsforge_says("list", "datasets", "--json")[1])}
    assert (here["etth1"], here["co2"], here["chaos"]) == ("no", "yes", "yes")


@pytest.mark.parametrize("kind", catalogs())
def test_list_prints_rows_and_no_empty_column(tsforge_says, kind):
    code, out, _ = tsforge_says("list", kind, "--json")
    assert code == 0
    rows = json.loads(out)
    assert all({"name", "class", "family", "paper", "summary"} <= row.keys() for row in rows)
    code, out, err = tsforge_says("list", kind)
    assert (code, err) == (0, "")
    head, *lines = out.splitlines()
    assert [line.split()[0] for line in lines] == [row["name"] for row in rows]
    assert head.split() == [key for key in rows[0] if any(row[key] for row in rows)]
    assert all(line == line.rstrip() for line in lines)


def test_an_empty_column_would_be_seen(capsys):
    show_table([{"name": "a", "paper": "", "n": 1.5, "x": None}, {"name": "b", "paper": "", "n": None, "x": 0}])
    assert capsys.readouterr().out.splitlines() == ["name    n  x", "a     1.5", "b          0"]


def test_metrics_are_all_listed(tsforge_says):
    assert [row["name"] for row in json.loads(tsforge_says("list", "metrics", "--json")[1])] == list(METRICS)


def test_report_writes_one_page(tsforge_says, fitted):
    code, out, err = tsforge_says("report", "run")
    assert (code, out) == (0, "")
    assert err.endswith("\nOpen run/report.html\n")
    assert "<html" in Path("run/report.html").read_text()
    assert tsforge_says("predict", "run")[0] == 0  # the page does not spoil the run
    code, out, _ = tsforge_says("report", "run", "--out", "page.html", "--json")
    assert (code, json.loads(out)) == (0, {"report": "page.html"})


def test_a_report_replaces_nothing_but_pages(tsforge_says, fitted):
    before = Path("x.csv").read_bytes()
    code, _, err = tsforge_says("report", "run", "--out", "x.csv")
    assert code == 2
    assert ".html" in err
    assert Path("x.csv").read_bytes() == before


def test_a_run_with_covariates_known_ahead_is_reported_too(tsforge_says):
    series().with_columns(x=pl.int_range(pl.len())).write_csv("x.csv")
    words = [word if word != "dlinear" else "timesnet" for word in FIT]
    assert tsforge_says("fit", "x.csv", *words, "--future", "x", "--set", "d_model=2", "--set", "d_ff=2", "-q")[0] == 0
    code, _, err = tsforge_says("report", "run")
    assert code == 0
    assert err.endswith("\nOpen run/report.html\n")


def test_backtest_scores_beside_seasonal_naive_and_tells_what_it_does(tsforge_says):
    series().write_csv("x.csv")
    words = ("backtest", "x.csv", "--model", "dlinear", "--model", "naive", "--h", "4", "--windows", "2",
             "--input-size", "8", "--level", "50", *QUICK)
    code, out, err = tsforge_says(*words, "--out", "bt")
    assert code == 0
    title, head, *rows = out.splitlines()
    assert title == "2 windows of 4 steps"
    assert head.split() == ["model", "mse", "mae", "smape", "mase", "coverage-50"]
    assert [row.split()[0] for row in rows] == ["DLinear", "Naive", "SeasonalNaive"]
    assert "DLinear (1 of 3): one fit, 2 windows" in err
    assert "SeasonalNaive (3 of 3)" in err
    assert sorted(path.name for path in Path("bt").iterdir()) == [
        "backtest.json", "forecasts.parquet", "report.html", "scores.csv",
    ]
    code, out, err = tsforge_says(*words, "--json", "-q")
    assert (code, err) == (0, "")
    told, written = json.loads(out)["scores"], pl.read_csv("bt/scores.csv").to_dicts()
    assert told == [pytest.approx(row) for row in written]


def test_a_backtest_equals_that_of_python(tsforge_says):
    series().write_csv("x.csv")
    assert tsforge_says("backtest", "x.csv", "--h", "4", "--windows", "3", "--step", "2", "--input-size", "8", *QUICK,
                        "--out", "bt", "-q")[0] == 0
    models = [tsforge.DLinear(h=4, input_size=8, max_steps=2), tsforge.SeasonalNaive(h=4)]
    expected = tsforge.backtest(models, series(), n_windows=3, step_size=2)
    written = pl.read_parquet("bt/forecasts.parquet")
    assert written.columns == expected.columns
    for name in ("DLinear", "SeasonalNaive", "y"):
        assert written[name].to_list() == pytest.approx(expected[name].to_list())


def test_an_argument_of_a_backtest_may_be_for_one_model(tsforge_says):
    series().write_csv("x.csv")
    words = ("backtest", "x.csv", "--model", "dlinear", "--model", "timesnet", "--h", "4", "--input-size", "8",
             "--set", "timesnet.d_model=2", "--set", "timesnet.max_steps=1", *QUICK, "--set", "learning_rate=1e-4",
             "--set", "timesnet.d_ff=2", "--out", "bt", "-q")
    assert tsforge_says(*words)[0] == 0
    made = {recipe["model"]["name"]: recipe for recipe in json.loads(Path("bt/backtest.json").read_text())["models"]}
    assert made["timesnet"]["model"]["d_model"] == 2
    assert {name: made[name]["train"]["max_steps"] for name in ("dlinear", "timesnet")} == {"dlinear": 2, "timesnet": 1}
    assert {made[name]["train"]["learning_rate"] for name in ("dlinear", "timesnet")} == {1e-4}
    for wrong, wanted in (("patchtst.d_model=2", "'patchtst'"), ("dlinear.d_model=2", "DLinear"), ("x.y.z=1", "'x.y'")):
        code, out, err = tsforge_says(*words[:8], "--set", wrong, "-q")
        assert (code, out) == (2, "")
        assert wanted in err


@pytest.mark.parametrize("wrong", [("--metric", "maee"), ("--metric", "coverage"), ("--level", "120")])
def test_a_fault_of_the_scores_shows_before_anything_is_fitted(tsforge_says, monkeypatch, wrong):
    series().write_csv("x.csv")
    monkeypatch.setattr(tsforge.DLinear, "fit", lambda *a, **k: pytest.fail("it was fitted"))
    code, out, _ = tsforge_says("backtest", "x.csv", "--h", "4", "--input-size", "8", *wrong, "-q")
    assert (code, out) == (2, "")


@pytest.mark.parametrize("name", ["f.csv", "f.parquet", "f.arrow"])
def test_data_export_writes_the_table_of_a_dataset(tsforge_says, name):
    code, out, err = tsforge_says("data", "export", "sunspots", "--out", name)
    frame = tsforge.load("sunspots")
    assert (code, out, err) == (0, "", f"{len(frame)} rows are in {name}.\n")
    again = tsforge.load(name)
    assert again.table.select("ds", "unique_id").equals(frame.table.select("ds", "unique_id"))


def recipe(**parts) -> dict:
    given = {
        "frame": {"path": "x.csv"},
        "split": {"test": 12, "val": 20},
        "model": {"name": "dlinear", "h": 4, "input_size": 8},
        "train": {"max_steps": 3},
        "evaluate": {"metrics": ["mse", "mase", "coverage"], "level": [80]},
    }
    return given | parts


def test_a_recipe_with_a_test_part_prints_its_table_and_keeps_it(tsforge_says):
    series().write_csv("x.csv")
    Path("r.yaml").write_text(yaml.safe_dump(recipe()))
    code, out, _ = tsforge_says("fit", "r.yaml", "--out", "run")
    assert code == 0
    title, head, *rows = out.splitlines()
    assert title == "test part: 18 windows of 4 steps"
    assert head.split() == ["model", "mse", "mase", "coverage-80"]
    kept = json.loads(Path("run/run.json").read_text())["test"]
    cells = [(row.split()[0], key, cell) for row in rows for key, cell in zip(head.split(), row.split(), strict=True)]
    shown = {(model, key): cell for model, key, cell in cells if key != "model"}
    assert shown == {(row["model"], row["metric"]): f"{row['value']:.4g}" for row in kept}
    assert {row["model"] for row in kept} == {"DLinear", "SeasonalNaive"}
    assert tsforge_says("report", "run", "-q")[0] == 0
    code, out, _ = tsforge_says("fit", "r.yaml", "--out", "run", "--overwrite", "--json", "-q")
    assert json.loads(out)["test"] == kept


def test_the_stored_recipe_runs_again_to_the_same_forecasts(tsforge_says, tmp_path):
    series().write_csv("x.csv")
    for split in ({"test": 12, "val": 24}, {"test": 10, "windows": 2}, {"cutoff": "2024-01-03T12:00:00"}, {}):
        train = {"max_steps": 3} | ({} if "val" in split else {"val_size": 0.3})
        first = run_recipe(read_recipe(recipe(split=split, train=train)), tmp_path / "first", overwrite=True)
        stored = json.loads((tmp_path / "first/run.json").read_text())["recipe"]
        again = run_recipe(read_recipe(stored), tmp_path / "again", overwrite=True)
        assert first.model.predict().equals(again.model.predict())
        assert first.test == again.test
        assert json.loads((tmp_path / "again/run.json").read_text())["recipe"] == stored


QUIET = {
    "fit": ("fit", "x.csv", *(word if word != "run" else "second" for word in FIT)),
    "predict": ("predict", "run", "--out", "f.csv"),
    "report": ("report", "run"),
    "show": ("show", "run"),
    "list": ("list", "models"),
    "backtest": ("backtest", "x.csv", "--h", "4", "--input-size", "8", *QUICK, "--out", "bt"),
    "export": ("data", "export", "co2", "--out", "co2.csv"),
}


@pytest.mark.parametrize("name", QUIET)
def test_quiet_says_nothing_and_leaves_the_log_as_it_was(tsforge_says, fitted, name):
    before = (logging.getLogger("tsforge").level, logging.getLogger("tsforge").handlers[:])
    code, _, err = tsforge_says(*QUIET[name], "--quiet")
    assert (code, err) == (0, "")
    if name in ("fit", "predict", "report", "backtest", "export"):  # the control: without it there are words
        extra = () if name == "report" else ("--overwrite",)
        assert tsforge_says(*QUIET[name], *extra)[2] != ""
    assert (logging.getLogger("tsforge").level, logging.getLogger("tsforge").handlers) == before


def test_json_is_all_there_is_on_standard_output(tsforge_says, fitted):
    for words in (("fit", "x.csv", *FIT, "--overwrite"), ("fit", "x.csv", *FIT, "--resume"), ("predict", "run"),
                  ("predict", "run", "--out", "f.csv"), ("show", "run"), ("show", "dlinear"), ("report", "run"),
                  ("data", "export", "co2", "--out", "c.csv")):
        code, out, _ = tsforge_says(*words, "--json")
        assert code == 0
        json.loads(out, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def test_a_finished_run_has_nothing_to_resume(tsforge_says, fitted):
    before = {path.name: path.read_bytes() for path in fitted.iterdir()}
    code, out, err = tsforge_says("fit", "x.csv", *FIT, "--resume")
    assert (code, out, err) == (0, "", "run is finished already; there is nothing to resume.\n")
    assert {path.name: path.read_bytes() for path in fitted.iterdir()} == before


@pytest.mark.parametrize("words", [("fitt",), ("fit",), ("fit", "x", "--modle", "y"), ("fit", "x", "--h", "y")])
def test_what_the_program_cannot_parse_is_one_line(tsforge_says, words):
    code, out, err = tsforge_says(*words)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert "--help" in err


@pytest.mark.parametrize("words", [(), ("--help",), ("data",), ("fit", "--help")])
def test_help_is_a_result(tsforge_says, words):
    code, out, err = tsforge_says(*words)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: tsforge")


def test_the_module_is_the_program():
    done = subprocess.run([sys.executable, "-m", "tsforge", "--version"], text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tsforge.__version__}\n", "")


@pytest.mark.parametrize("words", [("predict", "run"), ("list", "models"), ("show", "run", "--json")])
def test_a_reader_that_leaves_early_sees_no_traceback(fitted, words):
    reading, writing = os.pipe()
    os.close(reading)  # gone before the first word, as the sharpest `head`
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tsforge", *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_data_check_shows_a_file_and_ends_with_2_where_a_frame_would_refuse_it(tsforge_says, tmp_path):
    days = pl.date_range(date(2024, 1, 1), date(2024, 1, 20), eager=True)
    good = pl.DataFrame({"ds": days, "y": [float(k % 3) for k in range(20)]})
    good.write_csv(tmp_path / "good.csv")
    code, out, err = tsforge_says("data", "check", str(tmp_path / "good.csv"))
    assert (code, err) == (0, "")
    assert "1d" in out
    assert "Nothing stands in the way" in out
    pl.concat([good, good.head(2)]).write_csv(tmp_path / "bad.csv")
    code, out, err = tsforge_says("data", "check", str(tmp_path / "bad.csv"), "--json")
    assert code == 2
    assert json.loads(out)["keys"]["repeated"] == 2
    assert "more than once" in err


def test_data_system_shows_both_estimates_of_an_exponent_with_their_sources(tsforge_says):
    code, out, err = tsforge_says("data", "system", "Lorenz")
    assert (code, err) == (0, "")
    assert "lyapunov_separation" in out
    assert "lyapunov_qr" in out
    known = json.loads(tsforge_says("data", "system", "Lorenz", "--json")[1])
    assert known["parameters"]["rho"] == 28
    assert all(row["source"] for row in known["estimates"])
    code, _, err = tsforge_says("data", "system", "Lorentz")
    assert (code, "Did you mean 'Lorenz'?" in err) == (2, True)
