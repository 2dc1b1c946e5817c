import numpy as np
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

import tsforge
from tsforge.data.store import build_store
from tsforge.errors import ArgumentError, ArtifactError, CapabilityError, FrameError, UnknownArgumentError
from tsforge.estimators.answers import tiles, untiled
from tsforge.estimators.estimator import estimator
from tsforge.estimators.posing import held_back
from tsforge.models import MODELS

SEASON, LOOKBACK = 6, 12
PAIRS = [(name, task) for name in MODELS for task in MODELS[name].tasks if task != "forecast"]
SMALL = {"max_steps": 4, "batch_size": 16, "accelerator": "cpu"}


def waves(lengths=(60, 45, 52, 20), missing=0.0, channels=2, seed=0):
    rng, parts = np.random.default_rng(seed), []
    for number, length in enumerate(lengths):
        t, values = np.arange(length), {}
        for c in range(channels):
            y = number + np.sin(2 * np.pi * (t + c) / SEASON) + 0.05 * rng.normal(size=length)
            y[rng.random(length) < missing] = np.nan
            values[f"y{c}"] = y
        parts.append(pl.DataFrame({"unique_id": [f"s{number}"] * length, "ds": t, **values}))
    return pl.concat(parts)


def kinds(count=16, steps=20, seed=1):
    """Fast and slow waves, and which is which."""
    rng = np.random.default_rng(seed)
    ids, t = [f"w{k:02d}" for k in range(count)], np.arange(steps)
    rows = pl.concat([
        pl.DataFrame({"unique_id": [name] * steps, "ds": t, "y1": rng.normal(size=steps),
                      "y0": np.sin((2.0 if k % 2 else 0.4) * t + rng.uniform(0, 6))})
        for k, name in enumerate(ids)
    ])
    return rows, pl.DataFrame({"unique_id": ids, "kind": ["fast" if k % 2 else "slow" for k in range(count)]})


def fitted(name, task, **changes):
    made = estimator(name)(task=task, **{"input_size": LOOKBACK, **SMALL, **changes})
    if task != "classification":
        return made.fit(waves(missing=0.1), season=SEASON)
    rows, labels = kinds()
    return made.fit(rows, labels=labels)


def answer(model, table):
    return {"imputation": lambda: model.impute(table), "anomaly": lambda: model.score_anomalies(table),
            "classification": lambda: model.predict_class(table)}[model.task]()


def asked(task):
    return kinds(seed=2)[0] if task == "classification" else waves(missing=0.1, seed=2)


def numbers(table):
    return table.select(pl.selectors.float()).to_numpy()


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_it_answers_its_task_for_every_row_or_series_and_alike_when_saved(name, task, tmp_path):
    model, table = fitted(name, task), asked(task)
    found = answer(model, table)
    assert len(found) == (table["unique_id"].n_unique() if task == "classification" else len(table))
    there = np.isfinite(numbers(found)).all(1)
    seen = table.select(~pl.all_horizontal(pl.selectors.float().is_nan())).to_series().to_numpy()
    assert np.array_equal(there, seen) if task == "anomaly" else there.all()
    model.save(tmp_path / "run")
    opened = tsforge.open(tmp_path / "run")
    assert answer(opened, table).equals(found)
    assert opened.get_params() == model.get_params()
    assert answer(clone(model).fit(*_again(task)[:1], **_again(task)[1]), table).equals(found)
    assert type(model).from_recipe(model.to_recipe()).get_params() == model.get_params()


def _again(task):
    if task == "classification":
        rows, labels = kinds()
        return rows, {"labels": labels}
    return waves(missing=0.1), {"season": SEASON}


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_series_has_the_same_answer_alone_and_in_company(name, task):
    model, table = fitted(name, task), asked(task)
    some = table["unique_id"].unique().sort()[2]
    together, alone = (answer(model, rows) for rows in (table, table.filter(pl.col("unique_id") == some)))
    assert np.nanmax(np.abs(numbers(together.filter(pl.col("unique_id") == some)) - numbers(alone))) < 1e-5


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_what_was_not_asked_for_is_refused_by_name(name, task):
    model, table = fitted(name, task), asked(task)
    for ask in (lambda: model.predict(), lambda: model.predict_at(table, pl.DataFrame()), lambda: model.predict(table)):
        with pytest.raises(CapabilityError, match=f"was made for {task} and makes no forecast"):
            ask()
    for other, ask in (("imputation", model.impute), ("anomaly", model.score_anomalies),
                       ("classification", model.predict_class)):
        if other != task:
            with pytest.raises(CapabilityError, match=f"was made for {task}: ask .*task='{other}'"):
                ask(table)


@pytest.mark.parametrize(("name", "task"), PAIRS)
def test_a_training_that_was_stopped_goes_on_to_the_same_bits(name, task, tmp_path):
    class Stop(Exception):
        pass

    def stop(row):
        if row["step"] == 4:
            raise Stop

    rows, roles = _again(task)
    made = estimator(name)(task=task, input_size=LOOKBACK, validate_every=2, **SMALL | {"max_steps": 6})
    with pytest.raises(Stop):
        clone(made).fit(rows, checkpoint=tmp_path / "c", on_validation=stop, **roles)
    whole, resumed = clone(made).fit(rows, **roles), clone(made).fit(rows, checkpoint=tmp_path / "c", **roles)
    assert resumed.history_ == whole.history_
    assert answer(resumed, asked(task)).equals(answer(whole, asked(task)))


def test_a_checkpoint_of_another_question_is_refused(tmp_path):
    made = tsforge.TimesNet(task="anomaly", input_size=LOOKBACK, **SMALL)
    made.fit(waves(), checkpoint=tmp_path / "c")
    for task in ("imputation", {"name": "anomaly", "quantile": 0.5}):
        with pytest.raises(ArtifactError, match="another training"):
            clone(made).set_params(task=task).fit(waves(), checkpoint=tmp_path / "c")


def test_imputing_keeps_what_was_observed_and_adds_absent_rows():
    model, table = fitted("timesnet", "imputation"), waves(missing=0.1, seed=2)
    holes = table.filter(pl.col("ds") != 9)
    found = model.impute(holes)
    assert found.select("unique_id", "ds").equals(table.select("unique_id", "ds"))
    both = found.join(holes, on=["unique_id", "ds"], suffix="_given")
    for name in ("y0", "y1"):
        kept = both.filter(pl.col(f"{name}_given").is_not_nan())
        assert kept[name].equals(kept[f"{name}_given"].alias(name))


@pytest.mark.slow
def test_an_imputer_that_learned_beats_interpolation_where_most_cells_are_hidden():
    model = tsforge.TimesNet(task={"name": "imputation", "hidden": 0.7}, input_size=24, max_steps=150, d_model=8,
                             top_k=2, learning_rate=5e-3, accelerator="cpu").fit(waves((200, 200)), season=SEASON)
    ours, lines = model.reconstruction_errors(waves((150,), seed=5)), model.interpolation_errors(waves((150,), seed=5))
    assert ours["cells"] == lines["cells"]
    assert ours["mse"] < 0.6 * lines["mse"]
    assert model.score(waves((150,), seed=5)) == -ours["mse"]


@pytest.mark.slow
def test_a_detector_flags_a_planted_spike_by_a_threshold_of_the_fitted_rows_alone():
    model = tsforge.TimesNet(task="anomaly", input_size=24, max_steps=120, d_model=8, accelerator="cpu",
                             learning_rate=5e-3).fit(waves((200, 200)), season=SEASON)
    test = waves((120,), seed=5)
    spoilt = test.with_columns(y0=pl.when(pl.col("ds").is_between(60, 61)).then(9.0).otherwise("y0"))
    before = model.threshold()
    found = model.score_anomalies(spoilt)
    assert model.threshold() == before
    assert found.filter(pl.col("ds").is_between(60, 61))["anomaly"].all()
    assert found.filter(~pl.col("ds").is_between(48, 71))["anomaly"].mean() < 0.2
    own = model.score_anomalies(waves((200, 200)))
    assert own["anomaly"].mean() == pytest.approx(0.01, abs=0.004)
    assert model.score_anomalies(waves((200, 200)), quantile=0.9)["anomaly"].mean() == pytest.approx(0.1, abs=0.01)
    assert model.threshold(0.9) < model.threshold()


@pytest.mark.parametrize("name", [n for n in MODELS if "classification" in MODELS[n].tasks])
def test_a_classifier_tells_fast_from_slow_waves(name):
    rows, labels = kinds(40)
    small = {"timesnet": {"d_model": 8}, "chimera": {"d_model": 8, "n_layers": 1}, "multifit": {"hidden": 16}}[name]
    model = estimator(name)(task="classification", max_steps=60, learning_rate=1e-2, accelerator="cpu", **small)
    model.fit(rows, labels=labels)
    others, truth = kinds(30, seed=7)
    assert model.score(tsforge.Frame(others, labels=truth)) > 0.8
    found = model.predict_class(others)
    assert np.allclose(found.select(pl.sum_horizontal(pl.selectors.float())).to_series(), 1)


def test_series_of_other_lengths_and_labels_as_a_column_or_with_a_date_are_classified_alike():
    rows, labels = kinds()
    long = rows.join(labels, on="unique_id").filter((pl.col("unique_id") != "w03") | (pl.col("ds") > 4))
    table = rows.filter((pl.col("unique_id") != "w03") | (pl.col("ds") > 4))
    made = tsforge.TimesNet(task="classification", **SMALL)
    one, other = clone(made).fit(table, labels=labels), clone(made).fit(long, labels="kind")
    assert one.fitted_.input_size == 20
    assert one.predict_class(rows).equals(other.predict_class(rows))


def test_held_back_series_are_a_share_of_each_class_by_name_and_do_not_train(caplog):
    codes, ids = np.array([0] * 20 + [1] * 10 + [2] + [-1] * 5), pl.Series([f"s{k}" for k in range(36)])
    held = held_back(codes, ids, 0.2, 0)
    assert [int(held[codes == code].sum()) for code in (0, 1, 2, -1)] == [4, 2, 0, 0]
    order = np.random.default_rng(0).permutation(36)
    assert (held_back(codes[order], ids[order], 0.2, 0) == held[order]).all()
    assert (held_back(codes, ids, 0.2, 1) != held).any()
    assert not held_back(codes, ids, 0, 0).any()
    rows, labels = kinds()
    spoilt = rows.with_columns(y1=pl.when(pl.col("unique_id").is_in(_held_names(labels))).then(50.0).otherwise("y1"))
    made = tsforge.TimesNet(task="classification", val_size=0.25, **SMALL)
    one, other = clone(made).fit(rows, labels=labels).fitted_, clone(made).fit(spoilt, labels=labels).fitted_
    assert np.array_equal(one.preparation.targets.loc, other.preparation.targets.loc)  # scaled by training series alone
    assert [row["loss"] for row in one.history] == [row["loss"] for row in other.history]


def _held_names(labels):
    codes = labels["kind"].replace_strict({"fast": 0, "slow": 1}).to_numpy()
    return labels["unique_id"].filter(pl.Series(held_back(codes, labels["unique_id"], 0.25, 0))).to_list()


def test_arguments_of_tasks_change_what_is_learned():
    rows, labels = kinds()
    rare = labels.with_columns(kind=pl.when(pl.col("unique_id") < "w12").then(pl.lit("slow")).otherwise("kind"))
    plain, balanced = (tsforge.TimesNet(task={"name": "classification", "balanced": even}, **SMALL)
                       .fit(rows, labels=rare) for even in (False, True))
    assert not plain.predict_class(rows).equals(balanced.predict_class(rows))
    few, many = (tsforge.TimesNet(task={"name": "imputation", "hidden": share}, input_size=LOOKBACK, **SMALL)
                 .fit(waves()) for share in (0.1, 0.8))
    assert not few.impute(waves(missing=0.1)).equals(many.impute(waves(missing=0.1)))
    strict, loose = (tsforge.TimesNet(task={"name": "anomaly", "quantile": q}, input_size=LOOKBACK, **SMALL)
                     .fit(waves()) for q in (0.99, 0.5))
    assert strict.threshold() > loose.threshold()


def test_windows_stand_one_after_another_and_the_last_ends_with_its_series():
    store = build_store(tsforge.Frame(waves((10, 4, 3), channels=1), targets="y0"))
    index = tiles(store, 4)
    assert index.series.tolist() == [0, 0, 0, 1, 2]
    assert index.rows.tolist() == [3, 7, 9, 13, 16]
    values = np.arange(5)[:, None, None] * 100 + np.arange(4)[None, :, None]
    rows = untiled(values, index, store)[:, 0]
    assert rows.tolist() == [0, 1, 2, 3, 100, 101, 102, 103, 202, 203, 300, 301, 302, 303, 401, 402, 403]


def test_stations_as_channels_go_back_to_rows_of_their_own():
    table = waves((40, 40), missing=0.1, channels=1)
    model = tsforge.TimesNet(task="imputation", input_size=LOOKBACK, **SMALL)
    found = model.fit(table, targets="y0", channels_from="unique_id").impute(table)
    assert found.columns == ["unique_id", "ds", "y0"]
    assert found.select("unique_id", "ds").equals(table.select("unique_id", "ds"))
    assert not found["y0"].has_nulls()
    kept = found["y0"].filter(table["y0"].is_not_nan())
    assert kept.equals(table["y0"].filter(table["y0"].is_not_nan()))


@pytest.mark.parametrize(("arguments", "error", "said"), [
    ({"task": "imputaton"}, ArgumentError, "Did you mean 'imputation'"),
    ({"task": {"name": "imputation", "share": 0.1}}, UnknownArgumentError, "its arguments are hidden"),
    ({"task": {"name": "imputation", "hidden": 1.5}}, ArgumentError, "above 0 and below 1"),
    ({"task": {"name": "anomaly", "quantile": 99}}, ArgumentError, "a level above 0 and below 1"),
    ({"task": 3}, ArgumentError, "wanted a name"),
    ({"task": "imputation", "context": "delays"}, CapabilityError, "context= bends a forecast"),
    ({"task": "imputation", "input_size": 0}, ArgumentError, "input_size=0"),
    ({"task": "classification", "loss": "mae"}, ArgumentError, "trained with cross entropy"),
    ({"task": "forecast"}, ArgumentError, "h=None"),
    ({"task": "imputation", "input_size": 500}, FrameError, "too short"),
    ({"task": "classification"}, FrameError, "has no labels"),
], ids=str)
def test_what_cannot_work_is_refused_with_what_to_give(arguments, error, said):
    with pytest.raises(error, match=said):
        tsforge.TimesNet(**{"input_size": LOOKBACK, **SMALL, **arguments}).fit(waves())


@pytest.mark.parametrize(("labels", "said"), [
    (lambda t: t.with_columns(kind=pl.lit("one")), r"wanted two classes or more"),
    (lambda t: t.with_columns(kind=pl.Series(np.linspace(0, 1, len(t)))), r"holds fractions"),
    (lambda t: t.with_columns(other=pl.lit(1)), r"say which is the class"),
])
def test_labels_that_are_no_classes_are_refused(labels, said):
    rows, table = kinds()
    with pytest.raises(FrameError, match=said):
        tsforge.TimesNet(task="classification", **SMALL).fit(rows, labels=labels(table))


def test_a_step_label_that_changes_inside_a_series_is_no_class():
    rows, _ = kinds()
    with pytest.raises(FrameError, match="a class is of a whole series"):
        tsforge.TimesNet(task="classification", **SMALL).fit(rows.with_columns(k=pl.col("ds") > 5), labels="k")


def test_models_that_only_forecast_say_who_does_more():
    with pytest.raises(UnknownArgumentError, match="TimesNet, Chimera and MultiFIT"):
        tsforge.DLinear(h=3, task="anomaly")
    with pytest.raises(CapabilityError, match="MultiFIT does not do imputation; Chimera, TimesNet do"):
        tsforge.MultiFIT(task="imputation").fit(waves())
    with pytest.raises(NotFittedError):
        tsforge.TimesNet(task="anomaly").score_anomalies(waves())
