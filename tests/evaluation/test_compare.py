import logging

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy import stats

from tsforge.errors import ArgumentError, UnknownNameError
from tsforge.evaluation.compare import compare, judge
from tsforge.evaluation.evaluate import evaluate
from tsforge.evaluation.leaderboard import leaderboard
from tsforge.evaluation.paired import losses_of
from tsforge.evaluation.significance import bootstrap_interval, diebold_mariano, holm

SPREAD = {"Good": 1.0, "Twin": 1.0, "Bad": 2.0, "Worst": 3.0}


def backtest(seed: int = 0, series: int = 20, windows: int = 12, h: int = 3, step: int = 3) -> pl.DataFrame:
    """Forecasts whose errors differ in spread alone: Good and Twin are alike, Bad is worse, Worst worst."""
    rng = np.random.default_rng(seed)
    keys = [(f"s{n:02}", step * window, step * window + k) for n in range(series) for window in range(windows)
            for k in range(1, h + 1)]
    table = pl.DataFrame(keys, schema=["unique_id", "cutoff", "ds"], orient="row")
    y = rng.normal(size=len(keys))
    errors = {name: pl.Series(y + spread * rng.normal(size=len(keys))) for name, spread in SPREAD.items()}
    return table.with_columns(y=pl.Series(y), **errors)


def pair(table: pl.DataFrame, model: str, other: str) -> dict:
    found = table.filter((pl.col("model") == model) & (pl.col("other") == other))
    return found.row(0, named=True)


def losses(table: pl.DataFrame, model: str, by: str = "unique_id", metric: str = "mae") -> np.ndarray:
    return evaluate(table, metric, by=by).filter(pl.col("model") == model).sort(by)["value"].to_numpy()


def test_planted_differences_are_found_and_those_that_are_none_are_not():
    verdicts = {(row["model"], row["other"]): row["verdict"] for row in compare(backtest()).iter_rows(named=True)}
    assert len(verdicts) == 6
    for (model, other), verdict in verdicts.items():
        assert verdict == ("no difference shown" if {model, other} == {"Good", "Twin"} else f"{model} is better")
        assert SPREAD[model] <= SPREAD[other]


@pytest.mark.parametrize("test", ["wilcoxon", "t", "dm"])
def test_every_number_of_a_row_is_that_of_its_test_on_the_losses_of_evaluate(test):
    table = backtest(seed=1)
    result = compare(table, "rmse", test=test, alpha=0.1)
    for row in result.iter_rows(named=True):
        one, two = losses(table, row["model"], metric="rmse"), losses(table, row["other"], metric="rmse")
        assert row["difference"] == pytest.approx((one - two).mean())
        assert (row["lo"], row["hi"]) == pytest.approx(bootstrap_interval(one, two, alpha=0.1))
        assert row["p_t"] == pytest.approx(stats.ttest_rel(one, two).pvalue)
        assert row["p_wilcoxon"] == pytest.approx(stats.wilcoxon(one, two).pvalue)
        over_time = [losses(table, name, by="cutoff", metric="rmse") for name in (row["model"], row["other"])]
        assert row["p_dm"] == pytest.approx(diebold_mariano(*over_time, h=1).p)
    assert result["p_holm"].to_numpy() == pytest.approx(holm(result[f"p_{test}"].to_numpy()))


@pytest.mark.parametrize(("step", "overlapping"), [(3, 1), (5, 1), (2, 2), (1, 3)])
def test_diebold_mariano_allows_for_as_many_windows_as_overlap(step, overlapping):
    table = backtest(step=step, windows=20)
    row = pair(compare(table), "Bad", "Worst")
    over_time = [losses(table, name, by="cutoff") for name in ("Bad", "Worst")]
    assert row["p_dm"] == pytest.approx(diebold_mariano(*over_time, h=overlapping).p)
    assert row["p_dm"] != pytest.approx(diebold_mariano(*over_time, h=overlapping + 1).p)


def test_the_order_of_models_and_rows_does_not_matter():
    table = backtest()
    order = ["unique_id", "cutoff", "ds", "y", "Worst", "Twin", "Bad", "Good"]
    shuffled = table.select(order).sample(fraction=1, shuffle=True, seed=0)
    assert_frame_equal(compare(shuffled), compare(table))
    assert_frame_equal(leaderboard(shuffled), leaderboard(table))


def test_under_no_difference_a_pair_is_called_different_as_seldom_as_alpha_says_and_uncorrected_more():
    rng = np.random.default_rng(0)
    found, uncorrected = 0, 0
    for _ in range(100):
        table = pl.DataFrame({"unique_id": range(12), "ds": 1, "y": 0.0})
        table = table.with_columns(pl.Series(name, rng.normal(size=12)) for name in "ABCD")
        pairs = judge(losses_of(table, "mae", "unique_id"), None, test="wilcoxon", alpha=0.05)
        found += any(pair.differs for pair in pairs)
        uncorrected += any(pair.outcomes["wilcoxon"].p <= 0.05 for pair in pairs)
    assert found <= 11
    assert uncorrected >= 14


def test_of_a_metric_whose_most_is_best_the_most_is_better():
    result = compare(backtest(series=40), "directional_accuracy")
    row = pair(result, "Good", "Worst")
    assert row["difference"] > 0
    assert 0 < row["lo"] <= row["difference"] <= row["hi"]
    assert row["verdict"] == "Good is better"
    assert leaderboard(backtest(series=40), "directional_accuracy")["directional_accuracy"].is_sorted(descending=True)


def test_where_test_and_mean_disagree_neither_is_called_better():
    d = np.array([-20.0, 0.1, 0.11, 0.12, 0.13, 0.14, 0.15, 0.16, 0.17, 0.18, 0.19, 0.2, 0.21])
    table = pl.DataFrame({"unique_id": range(13), "ds": 1, "y": 0.0, "Mostly": 30.0, "Mean": 30.0 + d})
    row = compare(table).row(0, named=True)
    assert (row["model"], row["other"]) == ("Mean", "Mostly")
    assert row["p_holm"] <= 0.05
    assert row["verdict"] == "wilcoxon finds Mostly better, the mean does not"
    assert leaderboard(table, "mae")["place"].to_list() == [1, 1]


def with_seeds(table: pl.DataFrame, shifts: tuple[float, ...]) -> pl.DataFrame:
    runs = {f"Good-s{n}": pl.col("y") + (pl.col("Good") - pl.col("y")) * (1 + shift) for n, shift in enumerate(shifts)}
    return table.with_columns(**runs).drop("Good")


def test_runs_of_a_model_are_compared_by_their_mean_loss_and_their_spread_widens_the_interval():
    table, shifts = backtest(), (-0.3, 0.0, 0.3)
    seeded = with_seeds(table, shifts)
    runs = {"Good": [f"Good-s{n}" for n in range(3)]}
    plain = pair(compare(table), "Good", "Bad")
    row = pair(compare(seeded, runs=runs), "Good", "Bad")
    assert row["difference"] == pytest.approx(plain["difference"])
    assert row["p_t"] == pytest.approx(plain["p_t"])
    assert row["hi"] - row["lo"] > 1.2 * (plain["hi"] - plain["lo"])
    with pytest.raises(UnknownNameError, match=r"runs names 'Good-s9'.*Did you mean 'Good-s"):
        compare(seeded, runs={"Good": ["Good-s0", "Good-s9"]})
    with pytest.raises(ArgumentError, match="a name and columns of its own"):
        compare(seeded, runs={"Bad": ["Good-s0", "Good-s1"]})


def test_forecasts_that_are_missing_are_refused_with_counts_or_left_out_for_all_models(caplog):
    table = backtest()
    gone = (pl.col("unique_id") == "s03") | (pl.col("ds") == 5)
    holed = table.with_columns(Worst=pl.when(~gone).then("Worst"), Bad=pl.when(pl.col("ds") != 8).then("Bad").otherwise(
        float("nan")))
    with pytest.raises(ArgumentError, match=r"Of 720 cells .* Bad \(20\), Worst \(55\)\..*missing='drop'"):
        compare(holed)
    with caplog.at_level(logging.INFO, "tsforge"):
        result = compare(holed, missing="drop")
    assert "74 of 720 cells with a truth are left out for all models" in caplog.text
    assert "1 of 20 (unique_id) groups have nothing to score" in caplog.text
    assert result["blocks"].to_list() == [19] * 6
    assert_frame_equal(result, compare(table.filter(~gone, pl.col("ds") != 8)))
    with pytest.raises(ArgumentError, match="missing='keep'"):
        compare(table, missing="keep")


def test_truths_that_are_missing_are_left_out_and_intervals_of_other_metrics_are_not_asked_for():
    table = backtest().with_columns(pl.lit(None, dtype=pl.Float64).alias("Bad-lo-80"))
    holed = table.with_columns(y=pl.when(pl.col("unique_id") != "s00").then("y"))
    assert_frame_equal(compare(holed), compare(table.filter(pl.col("unique_id") != "s00")))


def test_one_quantile_of_several_is_compared_by_its_label():
    table = backtest().select("unique_id", "cutoff", "ds", "y", "Good", "Bad")
    ends = {f"{name}-{end}-80": pl.col(name) + (-1 if end == "lo" else 1) for name in ("Good", "Bad")
            for end in ("lo", "hi")}
    table = table.with_columns(**ends)
    assert compare(table, "pinball-0.1")["metric"].to_list() == ["pinball-0.1"]
    assert compare(table, "interval_score")["metric"].to_list() == ["interval_score-80"]
    with pytest.raises(ArgumentError, match=r"'pinball' is not one value .* name one of pinball-0\.1, pinball-0\.9"):
        compare(table, "pinball")
    with pytest.raises(ArgumentError, match="best at its level"):
        compare(table, "coverage-80")
    with pytest.raises(UnknownNameError, match="Did you mean 'smape'"):
        compare(table, "smap")


def test_with_too_few_blocks_or_models_it_says_what_is_needed():
    table = backtest()
    one = table.filter(pl.col("unique_id") == "s00")
    with pytest.raises(ArgumentError, match=r"1 scored groups by \(unique_id\).*by=\('unique_id', 'cutoff'\)"):
        compare(one)
    assert compare(one, by=("unique_id", "cutoff"))["blocks"].to_list() == [12] * 6
    few = table.filter(pl.col("unique_id") < "s06")
    with pytest.raises(ArgumentError, match=r"6 groups .* 6 pairs at alpha=0\.05 finds nothing below 8,.* test='t'"):
        compare(few)
    assert compare(few, test="t")["blocks"].to_list() == [6] * 6
    with pytest.raises(ArgumentError, match="forecasts of Good alone"):
        compare(table.select("unique_id", "cutoff", "ds", "y", "Good"))
    with pytest.raises(ArgumentError, match="by is empty"):
        compare(table, by=())
    with pytest.raises(ArgumentError, match=r"test='wilcoxn'.*Did you mean 'wilcoxon'"):
        compare(table, test="wilcoxn")


def test_the_least_number_of_blocks_is_just_enough():
    table = pl.DataFrame({"unique_id": range(6), "ds": 1, "y": 0.0, "A": 1.0})
    table = table.with_columns(B=pl.lit(1.0) + pl.col("unique_id") + 1)
    assert compare(table)["verdict"].to_list() == ["A is better"]
    with pytest.raises(ArgumentError, match="5 groups"):
        compare(table.head(5))


@pytest.mark.parametrize("change", ["drop", "one", "own"])
def test_without_cutoffs_that_allow_it_diebold_mariano_is_absent_with_a_notice_or_refused(change, caplog):
    table = backtest()
    shift = pl.col("unique_id").str.slice(1).cast(pl.Int64)
    table, words = {
        "drop": (table.drop("cutoff").unique(["unique_id", "ds"]), "no column 'cutoff'"),
        "one": (table.filter(pl.col("cutoff") == 0), "more than 1 windows where 1 overlap, and there are 1"),
        "own": (table.with_columns(pl.col("cutoff", "ds") + shift), "align='time'"),
    }[change]
    with caplog.at_level(logging.INFO, "tsforge"):
        assert compare(table)["p_dm"].is_nan().all()
    assert words in caplog.text
    with pytest.raises(ArgumentError, match=words):
        compare(table, test="dm")


def test_the_leaderboard_says_who_is_better_than_whom_and_what_ties():
    table = backtest()
    board = leaderboard(table, ["mae", "mse", "mae"])
    assert board.columns == ["place", "model", "mae", "mae-lo", "mae-hi", "mse", "mse-lo", "mse-hi", "mean_rank",
                             "better_than", "tied_with", "blocks"]
    assert board["place"].to_list() == [1, 1, 3, 4]
    first, second = board["model"][:2]
    assert board["better_than"].to_list() == ["Bad, Worst", "Bad, Worst", "Worst", ""]
    assert board["tied_with"].to_list() == [second, first, "", ""]
    for row in board.iter_rows(named=True):
        for metric in ("mae", "mse"):
            values = losses(table, row["model"], metric=metric)
            assert row[metric] == pytest.approx(values.mean())
            assert (row[f"{metric}-lo"], row[f"{metric}-hi"]) == pytest.approx(bootstrap_interval(values))
    assert board["mae"].is_sorted()


def test_the_leaderboard_agrees_with_compare_by_every_test():
    table = backtest(seed=2, series=10)
    for test in ("wilcoxon", "t", "dm"):
        board, pairs = leaderboard(table, "mae", test=test), compare(table, test=test)
        beaten = {row["model"]: {*filter(None, row["better_than"].split(", "))} for row in board.iter_rows(named=True)}
        for row in pairs.iter_rows(named=True):
            assert (row["other"] in beaten[row["model"]]) == (row["verdict"] == f"{row['model']} is better")


def test_the_kind_of_frame_that_was_given_comes_back():
    table = backtest(series=8)
    assert isinstance(compare(table.to_pandas()), pd.DataFrame)
    assert isinstance(leaderboard(table.to_pandas()), pd.DataFrame)
    assert leaderboard(table.to_pandas())["place"].tolist() == leaderboard(table)["place"].to_list()


def test_metrics_have_to_be_named():
    with pytest.raises(ArgumentError, match="metrics is empty"):
        leaderboard(backtest(), [])


def test_of_sample_paths_a_cell_is_left_out_where_one_path_of_one_model_is_missing():
    table = backtest(series=10, windows=2).select("unique_id", "cutoff", "ds", "y", "Good", "Bad")
    paths = pl.concat([table.with_columns(pl.col("Good", "Bad") + n / 10, sample=pl.lit(n)) for n in range(3)])
    gone = (pl.col("unique_id") == "s04") & (pl.col("ds") == 2)
    holed = paths.with_columns(Bad=pl.when(~(gone & (pl.col("sample") == 1))).then("Bad"))
    assert_frame_equal(compare(holed, "crps", missing="drop"), compare(paths.filter(~gone), "crps"))
    spec = {"name": "dtw", "band": 1}
    assert compare(table, spec)["metric"].to_list() == evaluate(table, spec)["metric"].unique().to_list()
