"""The chaos benchmark by hand, and what must not get into it."""

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.data.dysts_benchmark import DystsBenchmark
from tsforge.data.dysts_published import BEST
from tsforge.errors import ArgumentError, UnknownNameError
from tsforge.estimators import chaos_benchmark as room
from tsforge.estimators.chaos_benchmark import chaos_benchmark, write_benchmark
from tsforge.evaluation.metrics import smape

SYSTEMS = ["Lorenz", "Rossler", "Halvorsen", "SprottK", "SprottC", "Rucklidge"]


@pytest.fixture(scope="module")
def data(shared_data) -> None:
    shared_data("dysts/results_test_univariate__pts_per_period_15__periods_12.json.gz")


@pytest.fixture(scope="module")
def found(data):
    return chaos_benchmark([tsforge.Naive(h=30), tsforge.Ridge(h=30, lags=8)], 15, systems=SYSTEMS)


def test_scores_are_those_of_a_fit_on_ten_periods_and_29_forecast_steps(found):
    for system in SYSTEMS:
        frame = DystsBenchmark(system=system).frame()
        y = frame.table["y"].to_numpy()
        model = tsforge.Ridge(h=30, lags=8, val_size=0).fit(frame.rows(pl.col("ds") < 150))
        forecast = model.predict()["Ridge"].to_numpy()
        row = found.scores.row(by_predicate=pl.col("unique_id") == system, named=True)
        assert row["Ridge"] == pytest.approx(smape(y[150:179], forecast[:29]), rel=1e-9)
        assert row["Naive"] == pytest.approx(smape(y[150:179], np.full(29, y[149])), rel=1e-9)


def test_the_table_has_medians_wins_and_the_published_models_with_their_own_scores(found):
    table = {(row["model"], row["fitted"]): row for row in found.table().iter_rows(named=True)}
    assert len(table) == 18
    scores = found.scores
    row = table["Ridge", "here"]
    assert row["median"] == pytest.approx(np.median(scores["Ridge"]))
    assert row["wins"] == pytest.approx(np.mean(scores["Ridge"].to_numpy() < scores[BEST].to_numpy()))
    assert row["column"] == "published"
    assert 0 < row["p"] <= 1
    assert table["NBEATSModel", "by the paper"]["wins"] is None
    # what is published as NaiveSeasonal repeats the last value
    assert table["NaiveSeasonal", "by the paper"]["median"] == pytest.approx(table["Naive", "here"]["median"], rel=1e-9)
    medians = found.table()["median"]
    assert medians.equals(medians.sort())


def test_the_future_changes_no_forecast(data, monkeypatch):
    models = [tsforge.Ridge(h=30, lags=8), tsforge.DelayEnsemble(h=30, delays=3, members=3)]
    before = chaos_benchmark(models, 15, systems=SYSTEMS[:2]).forecasts
    read = DystsBenchmark.table

    def changed(self):
        return read(self).with_columns(y=pl.when(pl.col("ds") >= at).then(pl.col("y") + 100).otherwise(pl.col("y")))

    monkeypatch.setattr(room.DystsBenchmark, "table", changed)
    at = 150
    after = chaos_benchmark(models, 15, systems=SYSTEMS[:2]).forecasts
    assert after.select("Ridge", "DelayEnsemble").equals(before.select("Ridge", "DelayEnsemble"))
    at = 149  # the control
    after = chaos_benchmark(models, 15, systems=SYSTEMS[:2]).forecasts
    assert not after["Ridge"].equals(before["Ridge"])


def test_the_train_trajectory_is_a_column_of_its_own_and_is_learned_from(data):
    def score(train: bool) -> pl.DataFrame:
        model = tsforge.DLinear(h=30, input_size=30, max_steps=20, seed=0)
        return chaos_benchmark([model], 15, systems=SYSTEMS[:2], train=train).table()

    with_train, without = score(True), score(False)
    assert with_train["column"].to_list() == ["with the train trajectory"]
    assert with_train["model"].to_list() == ["DLinear"]
    assert set(without["column"]) == {"published"}
    own = without.filter(pl.col("fitted") == "here")
    assert own["median"][0] != with_train["median"][0]


def test_systems_stand_in_thirds_by_the_lyapunov_times_of_two_periods(found):
    thirds = found.by_exponent("lyapunov_qr")
    assert thirds["systems"].to_list() == [2, 2, 2]
    first = [float(ends.split(" to ")[0]) for ends in thirds["lyapunov_times"]]
    assert first == sorted(first)
    other = found.by_exponent("lyapunov_separation")
    assert other["lyapunov_times"].to_list() != thirds["lyapunov_times"].to_list()
    with pytest.raises(ArgumentError, match="lyapunov_qr"):
        found.by_exponent("largest")


def test_what_cannot_be_compared_is_refused(data):
    with pytest.raises(ArgumentError, match="h=30"):
        chaos_benchmark([tsforge.Naive(h=29)], 15)
    with pytest.raises(ArgumentError, match="train trajectory"):
        chaos_benchmark([tsforge.Naive(h=30)], 15, train=True)
    with pytest.raises(UnknownNameError, match="Lorenz"):
        chaos_benchmark([tsforge.Naive(h=30)], 15, systems=["Lorentz", "Rossler"])
    with pytest.raises(ArgumentError, match="AtmosphericRegime"):
        chaos_benchmark([tsforge.Naive(h=30)], 15, systems=["Lorenz", "AtmosphericRegime"])


def test_the_folder_has_the_table_the_scores_of_each_system_and_a_report(found, tmp_path):
    write_benchmark(found, tmp_path / "chaos", "lyapunov_qr")
    assert {path.name for path in (tmp_path / "chaos").iterdir()} == {
        "backtest.json", "forecasts.parquet", "report.html", "scores.csv", "table.csv", "thirds.csv",
    }
    scores = pl.read_csv(tmp_path / "chaos" / "scores.csv")
    assert scores["Ridge"].to_list() == pytest.approx(found.scores["Ridge"].to_list())
    assert "Ridge" in (tmp_path / "chaos" / "report.html").read_text()
