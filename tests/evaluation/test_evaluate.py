import logging
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
import utilsforecast.losses as reference
from polars.testing import assert_frame_equal
from utilsforecast.evaluation import evaluate as reference_evaluate

from tsforge.errors import ArgumentError, UnknownNameError
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.evaluation.metrics import METRICS, Metric, seasonal_scale

MODELS = ("Net", "Naive")
QUANTILES = {"-lo-90": 0.05, "-lo-50": 0.25, "-q-0.5": 0.5, "-hi-50": 0.75, "-hi-90": 0.95}
SEASON = 3
CELLS = {name: row for name, row in METRICS.items() if isinstance(row, Metric)}


def backtest(seed: int = 0, missing: float = 0.2) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Forecasts of series with unequally many windows, two targets, missing truth; and the frame they come from."""
    rng = np.random.default_rng(seed)
    keys = [(name, target, cutoff, cutoff + step)
            for name, windows in (("a", 4), ("b", 1), ("c", 2)) for target in ("u", "v")
            for cutoff in range(windows) for step in (1, 2, 3)]
    table = pl.DataFrame(keys, schema=["unique_id", "target", "cutoff", "ds"], orient="row")
    y = rng.normal(size=len(keys)) * 10.0 ** table["unique_id"].rank("dense").to_numpy()
    table = table.with_columns(y=pl.when(pl.Series(rng.random(len(keys)) >= missing)).then(pl.Series(y)))
    for model in MODELS:
        spread = np.sort(rng.normal(size=(len(keys), 5)), axis=1) * 10
        table = table.with_columns(pl.Series(model, rng.normal(size=len(keys)) * 10),
                                   *(pl.Series(model + end, spread[:, k]) for k, end in enumerate(QUANTILES)))
    train = pl.DataFrame({
        "unique_id": np.repeat(["a", "b", "c"], 14), "ds": np.tile(np.arange(-9, 5), 3),
        "u": rng.normal(size=42) + 3, "v": rng.normal(size=42) * 4,
    }).with_columns(u=pl.when(pl.Series(rng.random(42) < missing)).then(None).otherwise("u"))
    return table, train


def by_the_pure_functions(part: pl.DataFrame, model: str, label: str, train: np.ndarray, standard: bool) -> float:
    """The value of one group of cells of one (series, target) pair."""
    mean, sd = (np.nanmean(train), np.nanstd(train)) if standard else (0, 1)
    columns = {name: (part[name].cast(float).fill_null(np.nan).to_numpy() - mean) / sd
               for name in part.columns if name == "y" or name.startswith(model)}
    name, _, number = label.partition("-")
    metric, y, q_hats = CELLS[name], columns["y"], [columns[model + end] for end in QUANTILES]
    if metric.needs == "point":
        past = (train - mean) / sd
        extra = [seasonal_scale(past, SEASON, metric.needs_scale)] if metric.needs_scale else []
        return metric.function(y, columns[model], *extra)
    if metric.needs == "interval":
        past = (train - mean) / sd
        extra = [] if name == "coverage" else [float(number)]
        extra += [seasonal_scale(past, SEASON)] if metric.needs_scale else []
        return metric.function(y, columns[f"{model}-lo-{number}"], columns[f"{model}-hi-{number}"], *extra)
    levels = list(QUANTILES.values())
    if metric.weights is None:
        return metric.function(y, q_hats[levels.index(float(number))], float(number))
    return metric.function(y, np.stack(q_hats, axis=-1), levels)


@pytest.mark.parametrize("scale", [None, "train"])
@pytest.mark.parametrize("by", [(), ("unique_id",), ("target", "step"), ("cutoff",), ("target", "unique_id")])
def test_every_metric_is_the_mean_over_pairs_of_the_pure_function(by, scale):
    table, train = backtest(seed=len(by))
    result = evaluate(table, list(CELLS), by=by, scale=scale, train=train, season=SEASON)
    table = table.with_columns(step=pl.col("ds") - pl.col("cutoff"))
    assert set(result["metric"].str.extract(r"^(\w+)")) == set(CELLS)
    for row in result.iter_rows(named=True):
        group = table.filter(*(pl.col(key) == row[key] for key in by))
        values = []
        for (name, target), part in group.group_by("unique_id", "target"):
            past = train.filter(pl.col("unique_id") == name, pl.col("ds") <= 0)[target]
            past = past.cast(float).fill_null(np.nan).to_numpy()
            if part["y"].count():
                values.append(by_the_pure_functions(part, row["model"], row["metric"], past, scale == "train"))
        assert row["value"] == pytest.approx(np.mean(values) if values else math.nan, nan_ok=True)
        assert row["cells"] == group["y"].count()


def test_pooled_values_are_the_pure_function_of_all_rows():
    table, _ = backtest()
    names = [name for name, metric in CELLS.items() if not metric.needs_scale]
    for row in evaluate(table, names, by=(), pool=True).iter_rows(named=True):
        by_hand = by_the_pure_functions(table, row["model"], row["metric"], np.zeros(0), False)
        assert row["value"] == pytest.approx(by_hand)


def test_pooling_differs_from_the_mean_over_pairs():
    table = pl.DataFrame({"unique_id": ["a", "a", "a", "b"], "ds": [1, 2, 3, 1], "y": 0.0, "M": [1.0, 1.0, 1.0, 5.0]})
    means = evaluate(table, ["mse", "rmse"], by=())["value"].to_list()
    pooled = evaluate(table, ["mse", "rmse"], by=(), pool=True)["value"].to_list()
    assert means == [13, 3]  # the root is taken in each pair
    assert pooled == [7, math.sqrt(7)]


def test_by_series_it_equals_utilsforecast():
    table, train = backtest(missing=0)
    table = table.filter(pl.col("target") == "u").drop("target")
    ours = evaluate(table, ["mse", "mae", "rmse"], by=("unique_id", "cutoff"))
    theirs = reference_evaluate(table, [reference.mse, reference.mae, reference.rmse], models=list(MODELS))
    theirs = theirs.unpivot(index=["unique_id", "cutoff", "metric"], variable_name="model", on=list(MODELS))
    order = ["unique_id", "cutoff", "metric", "model", "value"]
    assert_frame_equal(ours.select(order), theirs.select(order), check_row_order=False)
    table, past = table.filter(pl.col("cutoff") == 0).drop("cutoff"), train.select("unique_id", "ds", y="u")
    ours = evaluate(table, "mase", train=past, season=SEASON).pivot(on="model", index="unique_id", values="value")
    before = past.filter(pl.col("ds") < 1)
    theirs = reference.mase(table, list(MODELS), seasonality=SEASON, train_df=before)
    assert_frame_equal(ours, theirs, check_row_order=False)


@pytest.mark.parametrize("by", [(), ("unique_id",), ("step",)])
def test_the_order_of_rows_does_not_matter(by):
    table, train = backtest()
    options = {"by": by, "train": train, "season": SEASON, "scale": "train"}
    shuffled = evaluate(table.sample(fraction=1, shuffle=True, seed=1), list(CELLS), **options)
    assert_frame_equal(shuffled, evaluate(table, list(CELLS), **options))
    train = train.sample(fraction=1, shuffle=True, seed=1)
    assert_frame_equal(shuffled, evaluate(table, list(CELLS), **options | {"train": train}))


def test_the_result_is_sorted_by_key_then_in_the_order_of_models_and_metrics():
    table, _ = backtest()
    result = evaluate(table, ["mae", "coverage", "mse"])
    assert result.columns == ["unique_id", "model", "metric", "value", "cells"]
    labels = ["mae", "coverage-50", "coverage-90", "mse"]
    assert result.select("unique_id", "model", "metric").rows() == [
        (name, model, label) for name in "abc" for model in MODELS for label in labels]


def test_steps_are_counted_inside_each_cutoff_also_across_gaps_in_time():
    days = {"cutoff": [0, 0, 0, 3, 3, 3], "ds": [1, 4, 5, 4, 5, 8]}
    table = pl.DataFrame({"unique_id": "a", **days, "y": 0.0, "M": [1.0, 2, 3, 1, 2, 3]})
    assert evaluate(table, "mae", by="step").rows() == [(k, "M", "mae", float(k), 2) for k in (1, 2, 3)]
    dates = table.with_columns((pl.date(2020, 1, 1) + pl.duration(days=pl.col(name))).alias(name) for name in days)
    assert_frame_equal(evaluate(dates, "mae", by="step"), evaluate(table, "mae", by="step"))


def test_rows_of_train_after_the_first_cutoff_change_nothing(caplog):
    table, train = backtest()
    table = table.filter(pl.col("cutoff") > 0)  # of a and c; first cutoff 1

    def scores(from_when: int) -> pl.DataFrame:
        factor = pl.when(pl.col("ds") >= from_when).then(100).otherwise(1)
        changed = train.with_columns(pl.col("u", "v") * factor)
        return evaluate(table, ["mse", "mase", "rmsse"], scale="train", train=changed, season=SEASON)

    with caplog.at_level(logging.INFO, "tsforge"):
        clean = scores(100)
    assert "6 of 28 rows of train lie after the first cutoff" in caplog.text
    assert_frame_equal(scores(2), clean)
    assert not scores(1).equals(clean)


def test_without_cutoffs_rows_of_train_from_the_first_forecast_on_change_nothing():
    table = pl.DataFrame({"unique_id": "a", "ds": [5, 6], "y": [1.0, 2], "M": [2.0, 2]})
    train = pl.DataFrame({"unique_id": "a", "ds": range(7), "y": [0.0, 1, 0, 2, 0, 1e3, 1e3]})
    assert_frame_equal(evaluate(table, scale="train", train=train), evaluate(table, scale="train", train=train[:5]))
    assert not evaluate(table, scale="train", train=train).equals(evaluate(table, scale="train", train=train[:4]))


def test_standardised_scores_forget_the_units():
    table, train = backtest()
    names = ["mse", "mae", "smape", "wql", "crps", "interval_score", "coverage"]
    other = table.with_columns(pl.exclude("unique_id", "target", "cutoff", "ds") * 1.8 + 32)
    fahrenheit = train.with_columns(pl.col("u", "v") * 1.8 + 32)
    ours = evaluate(table, names, scale="train", train=train)
    assert_frame_equal(evaluate(other, names, scale="train", train=fahrenheit), ours)
    assert not np.allclose(evaluate(other, names)["value"], evaluate(table, names)["value"])


def test_scaled_errors_are_the_same_with_and_without_standardising():
    table, train = backtest()
    options = {"train": train, "season": SEASON}
    assert_frame_equal(evaluate(table, ["mase", "rmsse"], scale="train", **options),
                       evaluate(table, ["mase", "rmsse"], **options))
    assert not evaluate(table, "mae", scale="train", **options).equals(evaluate(table, "mae", **options))


def test_the_sd_of_a_constant_series_counts_as_one():
    table = pl.DataFrame({"unique_id": "a", "ds": [50], "y": [0.1], "M": [2.1]})
    train = pl.DataFrame({"unique_id": "a", "ds": range(50), "y": 0.1})  # whose computed sd may be 1e-17
    assert evaluate(table, "mae", scale="train", train=train)["value"].item() == pytest.approx(2)


def test_null_nan_and_a_smaller_frame_are_the_same_missing_truth():
    table, _ = backtest()
    table = table.with_columns(pl.col("y").fill_null(np.nan))
    nulls, absent = table.with_columns(pl.col("y").fill_nan(None)), table.filter(pl.col("y").is_not_nan())
    for other in (nulls, absent):
        assert_frame_equal(evaluate(other, list(CELLS)[:4], by=()), evaluate(table, list(CELLS)[:4], by=()))


def test_a_missing_forecast_of_an_observed_cell_makes_the_overall_value_nan():
    table, _ = backtest(missing=0)
    hole = pl.col("ds") == 4
    result = evaluate(table.with_columns(Net=pl.when(~hole).then("Net")), ["mse", "rmse", "smape"], by=())
    assert result["value"].is_nan().to_list() == [True] * 3 + [False] * 3
    unseen = table.with_columns(pl.when(~hole).then(pl.col("Net", "y")))
    assert not evaluate(unseen, ["mse", "rmse", "smape"], by=())["value"].is_nan().any()


def test_pairs_without_truth_are_left_out_and_counted(caplog):
    table, _ = backtest(missing=0)
    bare = table.with_columns(y=pl.when(pl.col("unique_id") != "b").then("y"))
    with caplog.at_level(logging.INFO, "tsforge"):
        left = evaluate(bare, "mae", by=())
    assert caplog.messages == [
        "mae: 2 of 6 (unique_id, target) groups have no cell to score and are left out of the means."]
    assert_frame_equal(left, evaluate(table.filter(pl.col("unique_id") != "b"), "mae", by=()))
    row = evaluate(bare, "mae").filter(pl.col("unique_id") == "b")
    assert row["value"].is_nan().all()
    assert row["cells"].sum() == 0


def test_series_without_a_scale_are_left_out_for_every_model_and_counted(caplog):
    table, train = backtest(missing=0)
    flat = train.with_columns(v=pl.when(pl.col("unique_id") == "b").then(1.0).otherwise("v"))
    with caplog.at_level(logging.INFO, "tsforge"):
        values = evaluate(table, ["mae", "mase"], by=(), train=flat, season=SEASON)
    assert any(message.startswith("mase: 3 observed cells are left out") for message in caplog.messages)
    assert values["cells"].to_list() == [42, 39, 42, 39]
    kept = table.filter((pl.col("unique_id") != "b") | (pl.col("target") != "v"))
    assert_frame_equal(values.filter(metric="mase"), evaluate(kept, "mase", by=(), train=train, season=SEASON))


def test_intervals_count_as_quantiles_unless_the_quantile_is_there():
    table = pl.DataFrame({"unique_id": "a", "ds": [1], "y": [0.0], "M": 0.0, "M-lo-99.5": -1.0, "M-hi-99.5": 2.0})
    assert evaluate(table, "pinball").select("metric", "value").rows() == [
        ("pinball-0.0025", pytest.approx(0.0025)), ("pinball-0.9975", pytest.approx(0.005))]
    table = table.with_columns(pl.lit(-4.0).alias("M-q-0.0025"))
    assert evaluate(table, "pinball")["value"].to_list() == pytest.approx([0.01, 0.005])


def test_models_whose_names_look_alike_keep_their_own_intervals():
    bands = {"M-lo-80": -1.0, "M-hi-80": 1.0, "M-M-lo-80": 1.0, "M-M-hi-80": 2.0}
    table = pl.DataFrame({"unique_id": "a", "ds": [1], "y": 0.0, "M": 0.0, "M-M": 0.0, **bands})
    assert evaluate(table, "coverage").select("model", "value").rows() == [("M", 1.0), ("M-M", 0.0)]


@pytest.mark.parametrize("kind", ["pandas", "pyarrow"])
def test_the_result_is_of_the_kind_that_was_given(kind):
    table, train = backtest()
    given, past = (getattr(frame, f"to_{kind[2:] if kind == 'pyarrow' else kind}")() for frame in (table, train))
    result = evaluate(given, list(CELLS), by="step", train=past, season=SEASON)
    assert type(result) is type(given)
    assert type(scores_table(result)) is type(given)
    expected = evaluate(table, list(CELLS), by="step", train=train, season=SEASON)
    assert_frame_equal(pl.DataFrame(result), expected)


def test_the_table_of_scores_has_a_row_per_model_and_a_column_per_metric():
    table, _ = backtest()
    scores = evaluate(table, ["mse", "coverage"], by=())
    wide = scores_table(scores)
    assert wide.columns == ["model", "mse", "coverage-50", "coverage-90"]
    assert wide["model"].to_list() == list(MODELS)
    assert wide.select(pl.concat_list(pl.exclude("model")).list.explode())["mse"].to_list() == scores["value"].to_list()
    assert scores_table(evaluate(table, "mse", by="step")).columns == ["step", "model", "mse"]
    with pytest.raises(ArgumentError, match="no column 'metric'"):
        scores_table(wide)


@pytest.mark.parametrize(("options", "error", "words"), [
    ({"metrics": "masse"}, UnknownNameError, "no metric named 'masse'. Did you mean 'mase'"),
    ({"metrics": ()}, ArgumentError, "metrics is empty"),
    ({"metrics": "mase"}, ArgumentError, "mase needs the training rows: give train="),
    ({"scale": "test"}, ArgumentError, "scale='test' is not known: it is None or 'train'"),
    ({"scale": "train"}, ArgumentError, "scale='train' needs the training rows: give train="),
    ({"metrics": "rmsse", "train": backtest()[1]}, ArgumentError, "rmsse needs season="),
    ({"by": "steps"}, ArgumentError, "Did you mean 'step'"),
])
def test_what_cannot_be_computed_is_refused_with_a_way_out(options, error, words):
    with pytest.raises(error, match=words):
        evaluate(backtest()[0], **options)


def test_a_frame_that_cannot_be_scored_is_refused_with_a_way_out():
    table, _ = backtest()
    for frame, metric, words in (
        (table.drop("y"), "mse", "no column 'y'. Join the truth"),
        (table.drop("ds"), "mse", "no column 'ds'"),
        (table.lazy(), "mse", "LazyFrame, wanted an eager frame"),
        (table.with_columns(station=pl.lit("x")), "mse", "Column 'station' holds String"),
        (table.with_columns(sample=1), "mse", "mse does not score sample paths, which forecasts holds"),
        (table.select("unique_id", "ds", "y"), "mse", "wanted one per model"),
        (table.drop("Naive-lo-50", "Naive-hi-90"), "coverage", "'Naive-lo-80' and 'Naive-hi-80'.*give level="),
        (table.select("unique_id", "target", "ds", "y", "Net"), "crps", "'Net-q-0.1'.*quantiles="),
    ):
        with pytest.raises(ArgumentError, match=words):
            evaluate(frame, metric)
    with pytest.raises(ArgumentError, match="no column 'cutoff'"):
        evaluate(table.drop("cutoff"), by="cutoff")


def test_training_rows_that_do_not_fit_are_refused_with_a_way_out():
    table, train = backtest(missing=0)
    single = table.filter(pl.col("target") == "u").drop("target")
    for frame, past, words in (
        (table, train.filter(pl.col("unique_id") == "a"), "4 series .* the first is unique_id 'b', target 'u'"),
        (table, train.filter((pl.col("unique_id") == "a") | (pl.col("ds") > 2)), "4 series .* unique_id .b., target"),
        (table, train.drop("v"), "train has no column 'v'"),
        (table, train.with_columns(pl.lit(pd.Timestamp(2020, 1, 1)).alias("ds")), "ds is Datetime.* in train, Int64"),
        (single, train, "train has the value columns .'u', 'v'."),
    ):
        with pytest.raises(ArgumentError, match=words):
            evaluate(frame, scale="train", train=past)
    named = train.rename({"u": "y"})
    assert_frame_equal(evaluate(single, scale="train", train=named),
                       evaluate(single, scale="train", train=train.drop("v")))
