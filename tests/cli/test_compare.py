"""`tsforge compare` scores finished runs on the windows they were tested on, and says which differ."""

import json
from pathlib import Path

import polars as pl
import pytest
import yaml

import tsforge
from tsforge.errors import ArgumentError
from tsforge.estimators.comparison import compared
from tsforge.estimators.grid import read_grid
from tsforge.estimators.study import run_study

RECIPE = {
    "frame": {"name": "sunspots"}, "split": {"test": 60}, "model": {"input_size": 24, "h": 6},
    "train": {"max_steps": 20, "accelerator": "cpu", "batch_size": 8}, "evaluate": {"metrics": ["mae", "smape"]},
    "grid": [{"model.name": "dlinear", "train.seed": [0, 1]}, {"model.name": ["theta", "mean"]}],
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("compare") / "study"
    run_study(read_grid(RECIPE), place)
    other = RECIPE | {"model": {"name": "mean", "h": 12}, "train": {}}
    del other["grid"]
    (place.parent / "other.yaml").write_text(yaml.safe_dump(other))
    (place.parent / "plain.yaml").write_text(yaml.safe_dump({**other, "split": {}}))
    return place


def test_a_study_is_ranked_with_the_scores_of_its_runs_and_seeds_as_one_model(tsforge_says, study):
    code, out, _ = tsforge_says("compare", str(study))
    assert code == 0
    title, head, *rows = out.splitlines()
    assert title == "55 blocks by unique_id, cutoff"
    assert head.split()[:4] == ["place", "model", "mae", "smape"]
    assert {row.split()[1] for row in rows} == {"dlinear", "theta", "mean", "SeasonalNaive"}
    told = json.loads(tsforge_says("compare", str(study), "--json", "--quiet")[1])
    board = {row["model"]: row for row in told["leaderboard"]}
    stored = {name: json.loads((study / name / "run.json").read_text())["test"][0]["value"]
              for name in ("dlinear_seed0", "dlinear_seed1", "theta", "mean")}
    assert board["theta"]["mae"] == pytest.approx(stored["theta"], rel=1e-6)
    assert board["mean"]["mae"] == pytest.approx(stored["mean"], rel=1e-6)
    assert board["dlinear"]["mae"] == pytest.approx((stored["dlinear_seed0"] + stored["dlinear_seed1"]) / 2, rel=1e-6)
    assert stored["dlinear_seed0"] != stored["dlinear_seed1"]
    assert len(told["pairs"]) == 6


def test_it_is_what_compare_says_of_a_backtest_of_the_same_windows(study):
    found = compared([study / "theta", study / "mean"])
    frame = tsforge.load("sunspots")
    models = [tsforge.Theta(h=6, alias="theta"), tsforge.Mean(h=6, alias="mean"), tsforge.SeasonalNaive(h=6)]
    table = tsforge.backtest(models, frame, n_windows=55, step_size=1)
    expected = tsforge.compare(table, "mae", by=("unique_id", "cutoff"))
    pairs = found.pairs()
    assert pairs["model", "other", "verdict"].equals(expected["model", "other", "verdict"])
    assert pairs["difference"].to_list() == pytest.approx(expected["difference"].to_list(), rel=1e-9)


def test_seasonal_naive_that_is_among_the_runs_is_not_there_twice(study):
    other = RECIPE | {"grid": [{"model.name": "seasonal_naive"}]}
    run_study(read_grid(other), study.parent / "naive")
    found = compared([study / "theta", study.parent / "naive"])
    assert found.board()["model"].sort().to_list() == ["seasonal_naive", "theta"]
    assert "SeasonalNaive" in compared([study / "theta"]).forecasts.columns  # the control


def test_the_metric_asked_for_decides_and_the_diagram_is_drawn(tsforge_says, study, tmp_path):
    words = ["--metric", "smape", "--test", "t", "--diagram", "drawn/cd.svg"]
    code, out, err = tsforge_says("compare", str(study), *words)
    assert code == 0
    assert out.splitlines()[1].split()[2] == "smape"
    assert "drawn/cd.svg" in err
    drawn = (tmp_path / "drawn" / "cd.svg").read_text()
    assert drawn.startswith("<svg")
    assert "theta" in drawn
    assert "smape" in drawn


def test_runs_of_other_windows_are_refused_by_name(tsforge_says, study):
    tsforge_says("fit", str(study.parent / "other.yaml"), "--out", "twelve")
    code, out, err = tsforge_says("compare", str(study / "mean"), "twelve")
    assert (code, out) == (2, "")
    assert "mean and twelve were tested on different windows" in err


def test_runs_that_cannot_be_compared_say_why(tsforge_says, study, tmp_path):
    tsforge_says("fit", str(study.parent / "plain.yaml"), "--out", "plain")
    assert "no test part" in tsforge_says("compare", "plain", str(study))[2]
    tsforge.Mean(h=6).fit(tsforge.load("sunspots")).save(tmp_path / "python")
    assert "saved from Python" in tsforge_says("compare", "python")[2]
    (tmp_path / "empty").mkdir()
    code, _, err = tsforge_says("compare", "empty")
    assert code == 2
    assert "empty" in err
    assert ".svg" in tsforge_says("compare", str(study), "--diagram", "cd.png")[2]
    with pytest.raises(ArgumentError, match="Name some run folders"):
        compared([])


def test_a_changed_truth_would_be_seen(study, monkeypatch):
    from tsforge.estimators import comparison

    whole = comparison.forecasts_of_test

    def changed(model, *rest):
        table = whole(model, *rest)
        return table.with_columns(pl.col("y") + 1) if model.key == "mean" else table

    monkeypatch.setattr(comparison, "forecasts_of_test", changed)
    with pytest.raises(ArgumentError, match="theta and mean"):
        compared([study / "theta", study / "mean"])


def test_the_report_has_the_leaderboard_the_diagram_and_the_forecasts_of_every_run(tsforge_says, study, tmp_path):
    code, _, err = tsforge_says("compare", str(study), "--report", "pages/compared.html")
    assert code == 0
    assert "pages/compared.html" in err
    page = (tmp_path / "pages" / "compared.html").read_text()
    told = json.loads(tsforge_says("compare", str(study), "--json", "--quiet")[1])
    ranks = page.partition('<section id="ranks"')[2].partition("</section>")[0]
    assert ranks.count("<svg") == 1
    assert "Over 55 blocks: each window of one series." in ranks
    errors = page.partition('<section id="residuals"')[2].partition("</section>")[0]
    assert errors.count("one step ahead at successive cutoffs, by lag") == 5
    for row in told["leaderboard"]:
        assert f">{row['model']}<" in ranks
        assert f"{len([name for name in row['better_than'].split(', ') if name])} of 3" in ranks
    assert "No training is recorded." not in page
    data = json.loads(page.partition('id="report-data">')[2].partition("</script>")[0])
    assert set(data["models"]) == {"dlinear_seed0", "dlinear_seed1", "theta", "mean", "SeasonalNaive"}
    assert tsforge_says("compare", str(study), "--report", "x.pdf")[0] == 2


def test_many_models_are_counted_and_not_named_in_the_table(tsforge_says, study):
    grid = {"grid": [{"model.name": "ridge", "model.lags": [1, 2, 3, 4, 5, 6]}]}
    run_study(read_grid(RECIPE | grid), study.parent / "many")
    words = [str(study), str(study.parent / "many")]
    code, out, err = tsforge_says("compare", *words)
    assert code == 0
    assert "--json" in err
    rows = [line.split() for line in out.splitlines()[2:]]
    assert len(rows) == 10
    assert all(row[-1].isdigit() and row[-2].isdigit() for row in rows)
    assert "theta" in tsforge_says("compare", str(study))[1].splitlines()[2]  # the control: few are named
