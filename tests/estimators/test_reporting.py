"""What the report of a backtest says of several models: over what they are ranked, or why they are not."""

import re
from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.estimators import reporting
from tsforge.estimators.reporting import errors_by_series, ranks_of_backtest, report_backtest, training_part
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.frame.frame import Frame

H, METRICS = 4, ["mse", "mae", "coverage-80"]


def series(n_series, n=240):
    rng = np.random.default_rng(0)
    days = [date(2020, 1, 1) + timedelta(days=k) for k in range(n)]
    return Frame(pl.concat([
        pl.DataFrame({"unique_id": f"s{i:02d}", "ds": days, "y": np.cumsum(rng.standard_normal(n)) + 10 * i})
        for i in range(n_series)
    ]), targets=["y"], freq="1d", season=7)


def backtest(n_series, windows):
    """Models that are wrong by more and more: the naive one on a random walk, seasonal naive, the mean."""
    frame = series(n_series)
    models = [tsforge.Naive(h=H), tsforge.SeasonalNaive(h=H), tsforge.Mean(h=H)]
    return frame, tsforge.backtest(models, frame, n_windows=windows, level=[80])


def places(section):
    return {row[0]: row[1] for row in re.findall(r'<th scope="row">(\w+)</th><td class="number">(\d+)</td>', section)}


def test_of_one_series_windows_are_ranked_and_it_says_so():
    frame, table = backtest(1, 20)
    section = ranks_of_backtest(frame, table, METRICS)
    assert "Over 20 blocks: each window of one series." in section
    assert "not independent of each other" in section
    board = tsforge.leaderboard(table, ["mse", "mae"], by=("unique_id", "cutoff"))
    assert places(section) == {row["model"]: str(row["place"]) for row in board.to_dicts()}
    assert section.count("<svg") == 1
    assert "coverage" not in section  # it has no best end


def test_of_many_series_each_is_one_block():
    frame, table = backtest(12, 3)
    section = ranks_of_backtest(frame, table, METRICS)
    assert "Over 12 blocks: each series, over its windows." in section
    assert "not independent" not in section
    board = tsforge.leaderboard(table, ["mse", "mae"], by="unique_id")
    assert places(section) == {row["model"]: str(row["place"]) for row in board.to_dicts()}


def test_of_few_series_their_windows_are_blocks():
    frame, table = backtest(3, 5)
    assert "Over 15 blocks: each window of 3 series." in ranks_of_backtest(frame, table, METRICS)


def test_where_nothing_can_be_found_it_says_why():
    frame, table = backtest(1, 3)
    section = ranks_of_backtest(frame, table, METRICS)
    assert "<table" not in section
    assert "cannot be said of this backtest. 3 groups" in section
    frame, table = backtest(1, 10)
    holed = table.with_columns(Mean=pl.when(pl.col("ds") != pl.lit(table["ds"][3])).then("Mean"))
    assert "Mean (1)" in ranks_of_backtest(frame, holed, METRICS)
    assert "<table" in ranks_of_backtest(frame, table, METRICS)  # the control


def test_one_model_or_metrics_without_a_best_end_are_not_ranked():
    frame, table = backtest(1, 10)
    assert ranks_of_backtest(frame, table, ["coverage-80", "median"]) == ""
    one = table.select("unique_id", "ds", "cutoff", "Naive", "y")
    assert ranks_of_backtest(frame, one, METRICS) == ""


def test_a_metric_is_ranked_by_the_rows_that_train_and_by_the_name_that_it_has():
    frame, table = backtest(1, 10)
    scores = scores_table(evaluate(table, ["mase", "interval_score", "dtw(band=2)"], by=(), season=7,
                                   train=training_part(frame, table)))
    section = ranks_of_backtest(frame, table, scores.columns[1:])
    assert all(name in section for name in ("mase", "interval_score-80", "dtw(band=2)"))
    first = training_part(frame, table)["ds"].max()
    assert first == table["cutoff"].min()


def test_a_metric_without_a_value_for_some_series_leaves_the_first_one_to_rank():
    frame, table = backtest(12, 2)
    lost = pl.when(pl.col("unique_id") != "s03").then("Mean-lo-80")
    section = ranks_of_backtest(frame, table.with_columns(lost.alias("Mean-lo-80")), ["mae", "interval_score-80"])
    assert "Over 12 blocks: each series" in section
    assert "interval_score" not in section
    assert "interval_score-80" in ranks_of_backtest(frame, table, ["mae", "interval_score-80"])  # the control


def test_of_very_many_series_some_are_ranked_and_it_says_so(monkeypatch):
    monkeypatch.setattr(reporting, "MOST_BLOCKS", 9)
    frame, table = backtest(18, 2)
    section = ranks_of_backtest(frame, table, METRICS)
    assert "Over 9 blocks: each series (9 of 18 series, evenly chosen), over its windows." in section


def test_the_report_of_a_backtest_has_its_leaderboard_its_scores_and_its_errors_by_series(tmp_path):
    frame, table = backtest(12, 9)
    scores = scores_table(evaluate(table, ["mse", "coverage"], by=()))
    page = report_backtest(tmp_path / "r.html", frame, table, scores, title="B", summary={}).read_text()
    ids = re.findall(r'<section id="([a-z-]+)"', page)
    assert ids == ["run", "ranks", "profile", "forecasts", "horizon", "by-series", "calibration", "residuals", "scores"]
    mae = errors_by_series(table).filter(unique_id="s03", model="Naive")["value"].item()
    expected = (table.filter(unique_id="s03")["y"] - table.filter(unique_id="s03")["Naive"]).abs().mean()
    assert mae == pytest.approx(expected)
    assert errors_by_series(backtest(1, 2)[1]) is None
