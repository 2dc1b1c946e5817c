"""A sweep finds what is best before the test part, tells what failed, and goes on as if it had never been stopped."""

import logging
from typing import Any

import numpy as np
import optuna
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import tsforge
from tsforge.errors import ArgumentError, ArtifactError, OutputExistsError, TrainingError, TsforgeError
from tsforge.estimators import run as run_module
from tsforge.estimators.run import run_recipe
from tsforge.estimators.validation import Validation
from tsforge.frame.frame import Frame
from tsforge.sweeps import worker as worker_module
from tsforge.sweeps.plan import make_plan
from tsforge.sweeps.sweep import Search
from tsforge.training.recipe import read_recipe
from tsforge.training.recipe_parts import ValidationPart

SEASONS = {"season": [2, 3, 4, 5]}


def table(rows: int = 96, season: int = 4, *, test: int = 0, test_season: int = 4, seed: int = 0) -> pl.DataFrame:
    """Two noisy series with a season; the last `test` rows have another one."""
    rng, parts = np.random.default_rng(seed), []
    for name in ("a", "b"):
        t = np.arange(rows)
        y = 3 * np.cos(2 * np.pi * t / season)
        y[rows - test :] = 3 * np.cos(2 * np.pi * t[rows - test :] / test_season)
        parts.append(pl.DataFrame({"unique_id": name, "ds": t, "y": y + 0.1 * rng.normal(size=rows)}))
    return pl.concat(parts)


def dlinear(**changes: Any) -> Any:
    return tsforge.DLinear(**{"h": 4, "input_size": 8, "max_steps": 4, "accelerator": "cpu", "threads": 1} | changes)


def naive_recipe(**sweep: Any) -> Any:
    stated = {"space": SEASONS, "sampler": "brute_force", "trials": 4} | sweep
    return read_recipe({"frame": {"name": "sunspots"}, "split": {"test": 24},
                        "model": {"name": "seasonal_naive", "h": 4}, "sweep": stated})


def search(tmp_path, frame: Any, recipe: Any = None, **changes: Any) -> Search:
    made = recipe or naive_recipe()
    return Search(made, frame=Frame(frame), out=tmp_path / "s", storage=None, name="sweep", **changes)


def test_the_season_of_the_data_is_found_and_the_best_is_fitted_on_all_rows():
    found = tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, trials=4, sampler="brute_force")
    assert found.best_settings == {"model.season": 4}
    assert found.trials["model.season"].sort().to_list() == [2, 3, 4, 5]
    assert found.trials["state"].unique().to_list() == ["complete"]
    assert found.best_value == found.trials["mse"].min()
    assert found.model.season == 4
    assert found.model.trained_until()["ds"].to_list() == [95, 95]


def test_the_number_of_a_trial_is_the_error_of_a_backtest():
    frame, model = Frame(table()), tsforge.SeasonalNaive(h=4, season=3)
    part = ValidationPart(windows=3, step=2, scale=None)
    by_hand = tsforge.evaluate(tsforge.backtest([model], frame, n_windows=3, step_size=2), "mse", by=())["value"][0]
    assert Validation(frame, part, 4).of(model).value == pytest.approx(by_hand, rel=1e-12)
    scaled = Validation(frame, ValidationPart(windows=3, step=2), 4).of(model)
    assert (scaled.metric, scaled.windows) == ("mse", 3)
    assert scaled.value == pytest.approx(by_hand / 4.5, rel=0.05), "the variance of the cosine is 4.5"


def test_what_the_test_part_holds_changes_no_trial_and_a_sweep_that_saw_it_would_choose_otherwise(tmp_path):
    plain, other = table(test=24), table(test=24, test_season=3)
    tables = []
    for name, data in (("plain", plain), ("other", other)):
        one = search(tmp_path / name, data)
        one.run()
        tables.append(one.finish(refit=False).trials.drop("seconds"))
    assert_frame_equal(*tables)
    leaky = search(tmp_path / "leaky", other, naive_recipe().model_copy(update={"split": read_recipe(
        {"model": {"name": "naive", "h": 1}}).split}))
    leaky.run()
    best = tables[1].sort("mse")["model.season"][0]
    assert (best, leaky.finish(refit=False).best_settings["model.season"]) == (4, 3)


def test_the_test_part_is_scored_once_by_the_best(tmp_path, monkeypatch):
    scored = []
    real = run_module.score_test
    monkeypatch.setattr("tsforge.estimators.run.score_test", lambda model, *a: scored.append(model) or real(model, *a))
    one = search(tmp_path, table(test=24))
    one.run()
    assert scored == []
    done = one.finish()
    assert [model.season for model in scored] == [4]
    assert {row["model"] for row in done.result.test} == {"SeasonalNaive"}


def test_the_recipe_of_the_best_comes_to_the_same_number_again_to_the_last_bit(tmp_path):
    space = {"kernel_size": [3, 5], "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    found = tsforge.sweep(dlinear(threads=None), table(), space, trials=3, out=tmp_path / "s")
    assert found.best_recipe["train"]["threads"] >= 1
    again = run_recipe(read_recipe(tmp_path / "s" / "best.yaml"), tmp_path / "again", frame=Frame(table()))
    assert again.validation == {"metric": "mse", "value": found.best_value, "windows": 3}
    assert_frame_equal(again.model.predict(), tsforge.open(tmp_path / "s" / "best").predict())
    other = read_recipe({**found.best_recipe, "train": found.best_recipe["train"] | {"seed": 1}})
    assert run_recipe(other, tmp_path / "other", frame=Frame(table())).validation["value"] != found.best_value


def test_a_sweep_that_is_gone_on_with_is_one_that_never_stopped(tmp_path):
    space = {"kernel_size": [3, 5, 7], "learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    settings: dict[str, Any] = {"sampler": {"name": "tpe", "n_startup_trials": 2}, "seed": 3}
    whole = tsforge.sweep(dlinear(), table(), space, trials=7, **settings)
    tsforge.sweep(dlinear(), table(), space, trials=3, out=tmp_path / "s", **settings)
    on = tsforge.sweep(dlinear(), table(), space, trials=7, out=tmp_path / "s", resume=True, **settings)
    assert_frame_equal(on.trials.drop("seconds"), whole.trials.drop("seconds"))
    assert len(on.study.trials) == 7
    other = tsforge.sweep(dlinear(), table(), space, trials=7, **settings | {"seed": 4})
    assert not other.trials["train.learning_rate"].equals(whole.trials["train.learning_rate"])


def test_an_interrupted_trial_is_done_again_with_its_settings(tmp_path, monkeypatch):
    space = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    whole = tsforge.sweep(dlinear(), table(), space, trials=4)
    real, calls = Validation.of, []

    def interrupted(self, model, listener=None):
        calls.append(model.learning_rate)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, model, listener)

    monkeypatch.setattr(worker_module.Validation, "of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tsforge.sweep(dlinear(), table(), space, trials=4, out=tmp_path / "s")
    on = tsforge.sweep(dlinear(), table(), space, trials=4, out=tmp_path / "s", resume=True)
    assert calls[2] == calls[3]
    assert on.trials["attempts"].to_list() == [1, 1, 2, 1]
    assert_frame_equal(on.trials.drop("seconds", "attempts"), whole.trials.drop("seconds", "attempts"))


def test_a_trial_that_fails_is_told_with_its_reason_and_the_others_go_on(tmp_path):
    space = {"kernel_size": [3, 4, 5], "learning_rate": [1e-3, 1e30]}
    found = tsforge.sweep(dlinear(), table(), space, trials=6, sampler="brute_force", out=tmp_path / "s")
    by = {(row["model.kernel_size"], row["train.learning_rate"]): row for row in found.trials.to_dicts()}
    assert len(by) == 6
    assert "kernel_size=4" in by[4, 1e-3]["reason"]
    assert "diverged" in by[3, 1e30]["reason"]
    assert [by[k, 1e-3]["state"] for k in (3, 5)] == ["complete"] * 2
    assert found.best_settings["train.learning_rate"] == 1e-3
    assert "Trials that failed" in (tmp_path / "s" / "report.html").read_text()


def test_an_error_of_a_library_fails_a_trial_and_not_the_sweep(monkeypatch):
    def broken(self, model, listener=None):
        raise ZeroDivisionError("of a library")

    monkeypatch.setattr(worker_module.Validation, "of", broken)
    with pytest.raises(TrainingError, match=r"No trial .* came to a number.*ZeroDivisionError: of a library"):
        tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, trials=2)


def test_a_trial_whose_number_is_none_is_no_best_one():
    short = table(30).with_columns(y=pl.when(pl.col("ds") >= 18).then(None).otherwise("y"))
    with pytest.raises(TrainingError, match="mse is not a number"):
        tsforge.sweep(tsforge.SeasonalNaive(h=4), short, SEASONS, trials=2, scale=None)


def test_a_pruner_stops_hopeless_trials_early():
    space = {"learning_rate": [0.03, 1e-7]}
    settings: dict[str, Any] = {"trials": 8, "sampler": "random", "seed": 1,
                                "pruner": {"name": "median", "n_startup_trials": 2}}
    model = dlinear(max_steps=30, validate_every=3)
    found = tsforge.sweep(model, table(), space, start=[{"learning_rate": 0.03}] * 2, **settings)
    states = dict(found.trials.group_by("train.learning_rate").agg(pl.col("state").unique()).iter_rows())
    assert states[1e-7] == ["pruned"]
    assert "complete" in states[0.03]
    kept = tsforge.sweep(model, table(), space, start=[{"learning_rate": 0.03}] * 2, **settings | {"pruner": None})
    assert kept.trials["state"].unique().to_list() == ["complete"]


def test_wilcoxon_compares_fits_at_several_cutoffs():
    space = {"season": [4, 3]}
    found = tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), space, trials=2, windows=12, step=3, refit=True,
                          sampler="brute_force", start=[{"season": 4}],
                          pruner={"name": "wilcoxon", "n_startup_steps": 4})
    assert found.trials.select("model.season", "state").rows() == [(4, "complete"), (3, "pruned")]
    assert 4 <= len(found.study.trials[1].intermediate_values) < 12


def test_the_model_is_chosen_too_each_with_its_own_arguments():
    found = tsforge.sweep([dlinear(kernel_size=3), tsforge.SeasonalNaive(h=4, season=4), tsforge.Naive(h=4)], table(),
                          trials=6)
    first = found.trials.head(3)
    assert first["model.name"].to_list() == ["dlinear", "seasonal_naive", "naive"], "each as it was given"
    assert first["model.kernel_size"].to_list() == [3, None, None]
    assert found.best_settings["model.name"] == "seasonal_naive"
    assert isinstance(found.model, tsforge.SeasonalNaive)


def test_settings_that_were_tried_are_not_fitted_again(monkeypatch):
    fitted = []
    real = Validation.of
    monkeypatch.setattr(Validation, "of", lambda self, model, *a: fitted.append(model) or real(self, model, *a))
    found = tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), {"season": [3, 4]}, trials=6, sampler="random")
    assert len(fitted) == 2
    assert len(found.trials) == 6
    assert found.trials.group_by("model.season").agg(pl.col("mse").n_unique())["mse"].to_list() == [1, 1]


def test_settings_stated_first_are_tried_after_the_own_ones():
    found = tsforge.sweep(tsforge.SeasonalNaive(h=4, season=2), table(), SEASONS, trials=3, start=[{"season": 5}])
    assert found.trials["model.season"].to_list()[:2] == [2, 5]


def test_a_metric_of_which_more_is_better_is_maximised():
    found = tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, trials=4, sampler="brute_force",
                          metric="directional_accuracy")
    assert found.best_value == found.trials["directional_accuracy"].max()
    assert found.study.direction == optuna.study.StudyDirection.MAXIMIZE


def test_a_sampler_learns_from_earlier_sweeps_on_the_same_data_only(tmp_path):
    space = {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}}
    tpe: dict[str, Any] = {"sampler": {"name": "tpe", "n_startup_trials": 4}}
    tsforge.sweep(dlinear(), table(), space, trials=6, out=tmp_path / "first", **tpe)
    alone = tsforge.sweep(dlinear(), table(), space, trials=3, seed=1, **tpe)
    taught = tsforge.sweep(dlinear(), table(), space, trials=3, seed=1, earlier=[tmp_path / "first"], **tpe)
    assert len(taught.trials) == 3
    assert taught.trials["train.learning_rate"][1] != alone.trials["train.learning_rate"][1]
    with pytest.raises(ArgumentError, match="has another frame than this sweep"):
        tsforge.sweep(dlinear(), table(seed=9), space, trials=2, earlier=[tmp_path / "first"])
    with pytest.raises(ArgumentError, match="has another metric"):
        tsforge.sweep(dlinear(), table(), space, trials=2, metric="mae", earlier=[tmp_path / "first"])


def test_a_timeout_begins_no_trial_after_it():
    with pytest.raises(TrainingError, match="none has ended yet"):
        tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, trials=4, timeout=0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"space": {"h": [2, 4]}}, "model.h is no setting"), ({"space": {"seed": [1, 2]}}, "train.seed is no setting"),
        ({"space": {"split.test": [1, 2]}}, "errors on other rows"), ({"pruner": "wilcoxon"}, "set refit: true"),
        ({"pruner": "median", "space": {"loss": ["mse", "mae"]}}, "train.loss, which is in the space"),
        ({"sampler": "tpf"}, "no sampler named 'tpf'. Did you mean 'tpe'"),
        ({"pruner": {"name": "median", "startup": 3}}, "cannot be made"), ({"metric": "coverage"}, "best at its level"),
        ({"metric": "coverage", "direction": "maximize"}, "no columns|level"), ({"workers": 0}, "workers=0"),
        ({"start": [{"kernel_size": 4}]}, "a value is not in the space"), ({"windows": 40}, "too short for 40 windows"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_is_refused_before_anything_is_tried(changes, words, tmp_path):
    given: dict[str, Any] = {"space": {"kernel_size": [3, 5]}, "trials": 2, "out": tmp_path / "s"} | changes
    with pytest.raises(TsforgeError, match=words):
        tsforge.sweep(dlinear(), table(), **given)


def test_what_is_no_model_is_refused():
    for wrong in (tsforge.DLinear, "dlinear"):
        with pytest.raises(ArgumentError, match="is no model"):
            tsforge.sweep([wrong], table())
    with pytest.raises(ArgumentError, match="different classes"):
        tsforge.sweep([dlinear(), dlinear(kernel_size=3)], table())
    with pytest.raises(ArgumentError, match="names them"):
        tsforge.sweep([dlinear(), tsforge.Naive(h=4)], table(), {"kernel_size": [3, 5]})


def test_a_study_that_is_there_is_gone_on_with_only_when_asked_and_only_if_it_is_the_same(tmp_path):
    place = tmp_path / "sweep.journal"
    first: dict[str, Any] = {"trials": 2, "storage": place, "sampler": "random"}
    tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, **first)
    with pytest.raises(ArgumentError, match=r"is there already.*--resume"):
        tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, **first)
    with pytest.raises(ArgumentError, match="of another sweep: space differ"):
        tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), {"season": [2, 3]}, **first, resume=True)
    with pytest.raises(ArgumentError, match="of another sweep: data differ"):
        tsforge.sweep(tsforge.SeasonalNaive(h=4), table(seed=5), SEASONS, **first, resume=True)
    tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, **first, study_name="other")
    tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, trials=2, out=tmp_path / "s")
    with pytest.raises(OutputExistsError, match="holds a sweep that is done"):
        tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, trials=2, out=tmp_path / "s")


def test_a_worker_that_joins_takes_the_plan_from_the_storage_and_refuses_other_data(tmp_path):
    found = tsforge.sweep(tsforge.SeasonalNaive(h=4), table(), SEASONS, trials=2, out=tmp_path / "s", sampler="random")
    found.study.set_user_attr("trials", 4)
    joined = worker_module.join(str(tmp_path / "s" / "sweep.journal"), "sweep")
    ended = []
    joined.work(told=ended.append)
    assert [one.index for one in ended] == [2, 3]
    assert ended[0].words("mse").startswith("mse 0.")
    with pytest.raises(ArgumentError, match="has no study 'other'; it has: sweep"):
        worker_module.join(str(tmp_path / "s" / "sweep.journal"), "other")
    place = tmp_path / "s" / "frame" / "frame.arrow"
    whole = pl.read_ipc(place.read_bytes())
    whole.with_columns(y=pl.col("y") + 1).write_ipc(place, compression="uncompressed")
    with pytest.raises(ArtifactError, match="others than those that this sweep began with"):
        worker_module.join(str(tmp_path / "s" / "sweep.journal"), "sweep")


def test_a_frame_that_lay_in_a_place_that_is_gone_is_kept_anew(tmp_path):
    first: dict[str, Any] = {"storage": tmp_path / "sweep.journal", "sampler": "random"}
    model = tsforge.SeasonalNaive(h=4)
    tsforge.sweep(model, table(), SEASONS, trials=2, out=tmp_path / "a", **first)
    (tmp_path / "a").rename(tmp_path / "gone")
    on = tsforge.sweep(model, table(), SEASONS, trials=3, out=tmp_path / "b", resume=True, **first)
    assert len(on.trials) == 3
    assert worker_module.join(str(tmp_path / "sweep.journal"), "sweep").plan.stored == str(tmp_path / "b" / "frame")


def test_a_recipe_states_its_sweep_and_a_fit_leaves_it_alone(tmp_path):
    recipe = naive_recipe()
    plan, rows = make_plan(recipe, Frame(table(test=24)))
    assert rows.table["ds"].max() == 71
    assert plan.recipe["validation"]["windows"] == 3
    alone = run_recipe(recipe, tmp_path / "run", frame=Frame(table(test=24)))
    assert alone.validation is None
    assert "sweep" not in recipe.plain()


def test_a_sweep_leaves_the_surroundings_as_they_were():
    before = (optuna.logging.get_verbosity(), torch.get_num_threads(), torch.random.get_rng_state(),
              logging.getLogger("tsforge").level)
    np.random.seed(7)  # noqa: NPY002 - the global state is what is looked at
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    tsforge.sweep(dlinear(), table(), {"kernel_size": [3, 5]}, trials=2)
    after = (optuna.logging.get_verbosity(), torch.get_num_threads(), torch.random.get_rng_state(),
             logging.getLogger("tsforge").level)
    assert before[:2] == after[:2]
    assert torch.equal(before[2], after[2])
    assert (np.random.get_state()[1] == state).all()  # noqa: NPY002
    assert before[3] == after[3]
