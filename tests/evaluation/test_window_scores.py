import logging
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from tsforge.errors import ArgumentError, UnknownArgumentError, UnknownNameError
from tsforge.evaluation.asked import read_metrics
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.evaluation.metrics import METRICS, WindowMetric, crps_of_samples, energy_score, variogram_score

H = 40
SPECS = [
    "dtw", "dtw(band=2)", "directional_accuracy", "valid_prediction_time",
    {"name": "valid_prediction_time", "threshold": 0.9, "exponent": 0.05, "source": "by hand"},
    "valid_prediction_time(rule=smape)", "attractor_kl(dimension=2, bins=4)", "attractor_mmd(dimension=1)",
    "spectrum_hellinger", "lyapunov_error(dimension=1, fit=[0, 2])",
    {"name": "correlation_dimension_error", "dimension": 1, "shares": [0.01, 0.4]},
]
PATHS = {"energy_score": energy_score, "variogram_score": variogram_score}


def backtest(targets: tuple[str, ...] = ("u", "v"), seed: int = 0) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Series with 3, 1 and 2 windows, and the training rows."""
    rng = np.random.default_rng(seed)
    keys = [(name, target, cutoff * H, cutoff * H + step)
            for name, windows in (("a", 3), ("b", 1), ("c", 2)) for target in targets
            for cutoff in range(windows) for step in range(1, H + 1)]
    table = pl.DataFrame(keys, schema=["unique_id", "target", "cutoff", "ds"], orient="row")
    y = rng.normal(size=len(keys)) + (table["target"] == "v").to_numpy() * 5
    noise = rng.normal(size=len(keys)) * np.resize(np.linspace(0, 2, H), len(keys))
    table = table.with_columns(y=y, Net=y + noise, Naive=rng.normal(size=len(keys)))
    train = pl.DataFrame({"unique_id": np.repeat(["a", "b", "c"], 30), "ds": np.tile(np.arange(-29, 1), 3),
                          "u": rng.normal(size=90), "v": rng.normal(size=90) * 3})
    return (table if len(targets) > 1 else table.drop("target")), train


def by_hand(table: pl.DataFrame, train: pl.DataFrame, model: str, asked, scaled: bool) -> dict:
    """The value of each window by the pure function: (series, target or None, cutoff) -> value."""
    values = {}
    keys = ["unique_id", "cutoff"] if asked.together else ["unique_id", "cutoff", "target"]
    for key, part in table.group_by(keys):
        names = part["target"].unique().sort().to_list()
        past = train.filter(pl.col("unique_id") == key[0]).select(names).to_numpy()
        mean, sd = (past.mean(axis=0), past.std(axis=0)) if scaled else (0, 1)
        y, y_hat = (np.stack([part.filter(target=name).sort("ds")[column].to_numpy() for name in names], axis=1)
                    for column in ("y", model))
        y, y_hat = (y - mean) / sd, (y_hat - mean) / sd
        more = {"sd": past.std(axis=0) / sd} if asked.needs_sd else {}
        values[(*key, None)[:3]] = asked.metric.function(y, y_hat, **asked.arguments, **more)
    return values


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("by", [(), ("unique_id",), ("cutoff",)])
def test_a_value_is_the_mean_over_pairs_of_the_mean_over_windows_of_the_pure_function(by, scaled):
    table, train = backtest()
    found = evaluate(table, SPECS, by=by, train=train, scale="train" if scaled else None)
    for asked in read_metrics(SPECS):
        for model in ("Net", "Naive"):
            values = by_hand(table, train, model, asked, scaled)
            for row in found.filter(metric=asked.label, model=model).iter_rows(named=True):
                mine = {key: value for key, value in values.items()
                        if all(row[name] == key[("unique_id", "cutoff").index(name)] for name in by)}
                pairs = {(key[0], key[2]) for key in mine}
                means = [np.mean([v for k, v in mine.items() if (k[0], k[2]) == pair]) for pair in pairs]
                assert row["value"] == pytest.approx(np.mean(means)), asked.label
                assert row["cells"] == len(mine) * H * (2 if asked.together else 1)


def test_pooled_windows_count_alike():
    table, train = backtest()
    for asked in read_metrics(SPECS[:4]):
        values = by_hand(table, train, "Net", asked, False)
        pooled = evaluate(table, asked.label, by=(), train=train, pool=True)["value"][0]
        assert pooled == pytest.approx(np.mean(list(values.values())))
    assert evaluate(table, "dtw", by=(), pool=True)["value"][0] != evaluate(table, "dtw", by=())["value"][0]


def test_targets_are_taken_together_or_each_as_told():
    table, train = backtest()
    for name, asked in (("dtw", True), ("valid_prediction_time", False)):
        label = f"{name}({'threshold=0.4, ' if name[0] == 'v' else ''}together={str(asked).lower()})"
        found = evaluate(table, {"name": name, "together": asked}, by=(), train=train)
        (one,) = read_metrics({"name": name, "together": asked})
        values = by_hand(table, train, "Net", one, False)
        assert found["metric"][0] == label
        pairs = {(k[0], k[2]) for k in values}
        wanted = np.mean([np.mean([v for k, v in values.items() if (k[0], k[2]) == pair]) for pair in pairs])
        assert found["value"][0] == pytest.approx(wanted)
        assert found["value"][0] != pytest.approx(evaluate(table, name, by=(), train=train)["value"][0])


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_the_order_of_rows_does_not_matter(spec):
    table, train = backtest()
    shuffled = table.sample(fraction=1, shuffle=True, seed=1)
    assert_frame_equal(evaluate(shuffled, spec, train=train), evaluate(table, spec, train=train))


def test_no_window_is_dropped_silently(caplog):
    table, train = backtest()
    holed = table.with_columns(y=pl.when((pl.col("unique_id") != "a") | (pl.col("ds") != 20)).then("y"))
    with caplog.at_level(logging.INFO, "tsforge"):
        cells = {row["metric"]: row["cells"] for row in
                 evaluate(holed, ["mse", *SPECS], by=(), train=train).filter(model="Net").iter_rows(named=True)}
    whole = 6 * 2 * H
    gap = {"attractor_kl", "attractor_mmd", "lyapunov_error", "correlation_dimension_error", "spectrum_hellinger"}
    for label, count in cells.items():
        assert count == (whole - 2 * H if label.partition("(")[0] in gap else whole - 2), label
    for name in gap:
        said = [line for line in caplog.messages if line.startswith(name)]
        assert len(said) == 1
        assert "windows with a truth are left out: their truth has gaps" in said[0]
    assert not any(line.startswith(("dtw", "valid")) for line in caplog.messages)


def test_a_missing_forecast_makes_the_value_nan_for_that_model_alone(caplog):
    table, train = backtest()
    hole = table.with_columns(Net=pl.when(pl.col("ds") != 1).then("Net"))
    with caplog.at_level(logging.INFO, "tsforge"):
        found = evaluate(hole, SPECS, by=(), train=train)
    assert found.filter(model="Net")["value"].is_nan().all()
    assert not found.filter(model="Naive")["value"].is_nan().any()
    assert "dtw: Net has no value in 6 of 12 windows, so its scores there are nan." in caplog.messages
    other = found.filter(model="Naive")
    assert_frame_equal(other, evaluate(table, SPECS, by=(), train=train).filter(model="Naive"))


def test_a_target_that_training_never_saw_is_left_out_of_the_joint_error():
    table, train = backtest()
    blind = train.with_columns(v=pl.lit(None, dtype=pl.Float64))
    found = evaluate(table, "valid_prediction_time", by=(), train=blind)
    alone = evaluate(table.filter(target="u"), "valid_prediction_time", by=(), train=train)
    assert_frame_equal(found, alone)


def test_windows_that_end_early_are_as_long_as_their_truth():
    table, train = backtest()
    cut = table.filter((pl.col("unique_id") != "c") | (pl.col("ds") <= 2 * H - 7))
    nulls = table.with_columns(y=pl.when((pl.col("unique_id") != "c") | (pl.col("ds") <= 2 * H - 7)).then("y"))
    assert_frame_equal(evaluate(cut, SPECS, by=(), train=train), evaluate(nulls, SPECS, by=(), train=train))


def test_each_series_may_have_its_own_exponent():
    table, train = backtest()
    rates = {"a": 0.1, "b": 0.2, "c": 0.3}
    spec = {"name": "valid_prediction_time", "exponent": rates, "source": "by hand"}
    times, steps = (evaluate(table, one, train=train) for one in (spec, "valid_prediction_time"))
    rate = times["unique_id"].replace_strict(rates, return_dtype=pl.Float64)
    assert times["value"].to_list() == pytest.approx((steps["value"] * rate).to_list())
    assert times["metric"][0] == "valid_prediction_time(threshold=0.4, exponent=by series, source=by hand)"
    del rates["b"]
    with pytest.raises(ArgumentError, match="no number for 1 series, the first is 'b'"):
        evaluate(table, {**spec, "exponent": rates}, train=train)
    with pytest.raises(ArgumentError, match="exponent='lyapunov_qr': wanted the largest Lyapunov exponent"):
        evaluate(table, {**spec, "exponent": "lyapunov_qr"}, train=train)


@pytest.mark.parametrize(("spec", "by", "words"), [
    ("dtw", "step", "has one value for a window, none for each step"),
    ("dtw", "ds", "none for each ds"),
    ("attractor_mmd", "target", "looks at all targets .* 'together': False"),
    ("valid_prediction_time", (), "valid_prediction_time.* needs the training rows"),
    ("energy_score", (), "needs sample paths: a key column 'sample'"),
    ("attractor_kl(dimension=50)", (), "at least 50"),
])
def test_what_cannot_be_scored_is_refused_with_a_way_out(spec, by, words):
    with pytest.raises(ArgumentError, match=words):
        evaluate(backtest()[0], spec, by=by)


def test_a_metric_of_each_target_can_be_grouped_by_it():
    table, _ = backtest()
    found = evaluate(table, ["dtw", "spectrum_hellinger"], by="target")
    for target in "uv":
        alone = evaluate(table.filter(target=target), ["dtw", "spectrum_hellinger"], by=())
        assert_frame_equal(found.filter(target=target).drop("target"), alone)


def test_frames_of_one_target_and_of_pandas_are_scored_alike():
    table, train = backtest(("u",))
    past = train.select("unique_id", "ds", "u")
    found = evaluate(table, SPECS, by="cutoff", train=past)
    pandas = evaluate(table.to_pandas(), SPECS, by="cutoff", train=past.to_pandas())
    assert isinstance(pandas, pd.DataFrame)
    assert_frame_equal(pl.DataFrame(pandas), found)
    assert scores_table(evaluate(table, SPECS, by=(), train=past)).shape == (2, 1 + len(SPECS))


def test_a_frame_without_rows_has_no_value():
    table, _ = backtest()
    found = evaluate(table.clear(), [spec for spec in SPECS if "valid" not in str(spec)], by=())
    assert found["value"].is_nan().all()
    assert found["cells"].sum() == 0


# --- sample paths


def sampled(n: int = 7) -> pl.DataFrame:
    table, _ = backtest()
    rng = np.random.default_rng(5)
    paths = table.join(pl.DataFrame({"sample": range(n)}), how="cross")
    return paths.with_columns(pl.col(name) + pl.Series(rng.normal(size=len(paths))) for name in ("Net", "Naive"))


def test_paths_are_scored_by_the_pure_functions():
    table = sampled()
    found = evaluate(table.sample(fraction=1, shuffle=True, seed=2), ["energy_score", "variogram_score", "crps"],
                     by=("unique_id", "cutoff"))
    for (name, cutoff), part in table.group_by("unique_id", "cutoff"):
        ordered = part.sort("sample", "ds", "target")
        y = ordered["y"].to_numpy().reshape(7, H, 2)[0]
        for model in ("Net", "Naive"):
            mine = found.filter(unique_id=name, cutoff=cutoff, model=model)
            values = dict(mine.select("metric", "value").iter_rows())
            x = ordered[model].to_numpy().reshape(7, H, 2)
            for label, function in PATHS.items():
                assert values[label] == pytest.approx(function(y, x))
            assert values["crps"] == pytest.approx(crps_of_samples(y, x))
            assert mine["cells"].to_list() == [2 * H] * 3


def test_the_crps_of_paths_can_be_had_by_step_scaled_and_in_training_units():
    table, (_, train) = sampled(), backtest()
    steps = evaluate(table, "crps", by="step")
    assert len(steps) == 2 * H
    mean = steps.group_by("model").agg(pl.col("value").mean()).sort("model")["value"].to_list()
    assert mean == pytest.approx(evaluate(table, "crps", by=()).sort("model")["value"].to_list())
    scaled = evaluate(table, "crps", scale="train", train=train, by=("unique_id", "target"))
    plain = evaluate(table, "crps", by=("unique_id", "target"))
    sd = train.unpivot(index=["unique_id", "ds"], variable_name="target").group_by("unique_id", "target").agg(
        pl.col("value").std(ddof=0).alias("sd"))
    joined = plain.join(sd, on=["unique_id", "target"], maintain_order="left")
    assert scaled["value"].to_list() == pytest.approx((joined["value"] / joined["sd"]).to_list())
    size = table.group_by("unique_id", "target").agg(pl.col("y").abs().mean().alias("size"))
    ratio = evaluate(table, "scaled_crps", by=("unique_id", "target"))
    joined = plain.join(size, on=["unique_id", "target"], maintain_order="left")
    assert ratio["value"].to_list() == pytest.approx((joined["value"] / joined["size"]).to_list())


def test_paths_that_are_not_whole_are_refused():
    table = sampled()
    for wrong, words in (
        (table[1:], r"1 of 480 cells do not have each of the 7 samples once and one truth .* target 'u'"),
        (pl.concat([table, table[:1]]), "1 of 480 cells"),
        (table.with_columns(y=pl.when(pl.int_range(pl.len()) > 0).then("y").otherwise(9.0)), "1 of 480 cells"),
    ):
        with pytest.raises(ArgumentError, match=words):
            evaluate(wrong, "energy_score")
    for name in ("mse", "coverage", "pinball"):
        with pytest.raises(ArgumentError, match=rf"{name} does not score sample paths.*crps, .*energy_score"):
            evaluate(table, name)
    with pytest.raises(ArgumentError, match="dtw scores one path, and forecasts holds several"):
        evaluate(table, "dtw")


def test_a_path_that_is_missing_makes_the_value_nan():
    table = sampled().with_columns(Net=pl.when(pl.int_range(pl.len()) != 5).then("Net"))
    found = evaluate(table, ["energy_score", "variogram_score", "crps"], by=())
    assert found["value"].is_nan().to_list() == [True] * 3 + [False] * 3


# --- what is asked for


def test_a_text_and_a_mapping_ask_for_the_same():
    for text, mapping in (
        ("dtw(band=2)", {"name": "dtw", "band": 2}),
        ("lyapunov_error(dimension=1, fit=[0, 10])", {"name": "lyapunov_error", "fit": [0, 10], "dimension": 1}),
        ("valid_prediction_time(rule=smape,threshold=20)",
         {"name": "valid_prediction_time", "threshold": 20, "rule": "smape"}),
        ('dtw(together=true)', {"name": "dtw", "together": True}),
        ('valid_prediction_time(exponent=0.9, source="Gilpin (2021), table 1")',
         {"name": "valid_prediction_time", "exponent": 0.9, "source": "Gilpin (2021), table 1"}),
    ):
        assert read_metrics(text) == read_metrics(mapping)
        (one,) = read_metrics(mapping)
        assert [again.label for again in read_metrics(one.label)] == [one.label]  # a name asks for its result again


def test_the_threshold_always_stands_in_the_name():
    labels = [one.label for one in read_metrics(["valid_prediction_time", "valid_prediction_time(rule=smape)", "dtw"])]
    assert labels == ["valid_prediction_time(threshold=0.4)", "valid_prediction_time(threshold=30, rule=smape)", "dtw"]


def test_what_is_asked_twice_is_given_once_and_what_only_looks_alike_is_refused():
    assert len(read_metrics(["mse", "mse", "dtw", {"name": "dtw"}])) == 2
    two = [{"name": "valid_prediction_time", "exponent": {"a": rate}} for rate in (0.1, 0.2)]
    with pytest.raises(ArgumentError, match="give each its source="):
        read_metrics(two)
    assert len(read_metrics([spec | {"source": str(k)} for k, spec in enumerate(two)])) == 2


@pytest.mark.parametrize(("spec", "error", "words"), [
    ("winkler", UnknownNameError, "'winkler'. It is called 'interval_score'"),
    ("VPT", UnknownNameError, "It is called 'valid_prediction_time'"),
    ("dtww(band=1)", UnknownNameError, "'dtww'. Did you mean 'dtw'"),
    ("dtw(bands=1)", UnknownArgumentError, "no argument 'bands'. Did you mean 'band'"),
    ("dtw(source=me)", UnknownArgumentError, "no argument 'source'.* It takes band, together."),
    ("mse(band=1)", UnknownArgumentError, "The metric mse has no argument 'band'. It takes none."),
    ("valid_prediction_time(sd=1)", UnknownArgumentError, "no argument 'sd'"),
    ("lyapunov_error(dimension=2)", ArgumentError, "lyapunov_error needs fit="),
    ("dtw(3)", ArgumentError, "cannot be read: wanted a name, a text as"),
    ({"band": 3}, ArgumentError, "cannot be read"),
    ((), ArgumentError, "metrics is empty"),
])
def test_what_cannot_be_read_is_refused_with_a_way_out(spec, error, words):
    with pytest.raises(error, match=words):
        read_metrics(spec)


def test_every_window_metric_has_the_keywords_of_its_function_in_its_batch_form():
    for row in METRICS.values():
        if isinstance(row, WindowMetric):
            batch = WindowMetric(row.name, row.values, row.needs, row.values, "", "")
            assert list(batch.arguments()) == list(row.arguments()), row.name


def test_a_value_that_is_not_there_is_nan_and_not_best():
    table, train = backtest()
    still = table.with_columns(Naive=pl.lit(0.0))
    found = evaluate(still, "lyapunov_error(dimension=1, fit=[0, 2])", by=(), train=train)
    assert math.isnan(found.filter(model="Naive")["value"][0])
