"""A run fits on what its recipe lets it see, and is scored as `evaluate` scores by hand."""

import json
import logging
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import tsforge
from tsforge.errors import (
    ArgumentError,
    ArtifactError,
    CalibrationError,
    FrameError,
    OutputExistsError,
    RecipeError,
    TrainingError,
    TsforgeError,
    UnknownNameError,
)
from tsforge.estimators.division import divide, every_step, training_rows
from tsforge.estimators.run import finished_run, kept_training, load_frame, open_run, prepare_run, run_recipe
from tsforge.training.checkpoint import Checkpoint
from tsforge.training.recipe import SplitPart, read_recipe

H, LOOKBACK, N = 4, 8, 80


def table(lengths=(N, N - 17)) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    parts = []
    for name, length in zip("abcd", lengths, strict=False):
        hours = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 2, 1), "1h", eager=True)[:length]
        y = 5 + np.sin(np.arange(length) / 3) + 0.1 * rng.normal(size=length)
        parts.append(pl.DataFrame({"unique_id": [name] * length, "ds": hours, "y": y}))
    return pl.concat(parts)


@pytest.fixture
def data(tmp_path) -> Path:
    table().write_parquet(tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


def recipe(data, **parts):
    given = {
        "frame": {"path": str(data)},
        "split": {"test": 12, "val": 10},
        "model": {"name": "dlinear", "h": H, "input_size": LOOKBACK, "kernel_size": 5},
        "train": {"max_steps": 5, "accelerator": "cpu"},
        "evaluate": {"metrics": ["mse", "mae", "mase"], "scale": "train"},
    }
    return read_recipe(given | parts)


def weights(model) -> list[torch.Tensor]:
    return list(model.fitted_.predictor.state_dict().values())


# --- what is fitted and what tests -----------------------------------------------------------------------------------


def test_the_published_split_of_etth1_is_that_of_the_tables(shared_data):
    shared_data("ett/ETTh1.csv")
    frame = load_frame({"name": "etth1"})
    counts = {96: 2785, 192: 2689, 336: 2545, 720: 2161}
    for h, count in counts.items():
        given = {"model": {"name": "timesnet", "h": h, "input_size": 96}, "split": {"protocol": "published"}}
        model, divided = prepare_run(read_recipe(given), frame)
        assert model.get_params()["val_size"] == 2880
        assert len(divided.fitted) == 8640 + 2880
        cutoffs = divided.cutoffs["cutoff"]
        assert len(cutoffs) == count
        assert cutoffs[0] == frame.table["ds"][11_519]  # so the first target is row 11520
        assert cutoffs[-1] == frame.table["ds"][14_400 - h - 1]  # and the last one the last of the part
        train = training_rows(divided.fitted, model)
        assert train.equals(frame.table.select("unique_id", "ds", *frame.targets)[:8640])


def cutoff_steps(split: dict, lengths=(N, N - 17), h: int = H) -> dict[str, list[int]]:
    frame = tsforge.Frame(table(lengths))
    cutoffs = divide(frame, SplitPart(**split), h).cutoffs
    assert cutoffs is not None
    start = datetime(2024, 1, 1)
    steps = cutoffs.with_columns(step=(pl.col("cutoff") - start).dt.total_hours())
    return {key[0]: part["step"].to_list() for key, part in steps.group_by("unique_id", maintain_order=True)}


def test_the_test_part_is_the_last_steps_of_each_series():
    assert cutoff_steps({"test": 7}) == {"a": [72, 73, 74, 75], "b": [55, 56, 57, 58]}


def test_windows_are_counted_from_the_end_and_step_apart():
    assert cutoff_steps({"test": 12, "windows": 2}) == {"a": [71, 75], "b": [54, 58]}
    assert cutoff_steps({"test": 12, "windows": 3, "step": 2}) == {"a": [71, 73, 75], "b": [54, 56, 58]}
    assert cutoff_steps({"test": 12, "step": 3}) == {"a": [69, 72, 75], "b": [52, 55, 58]}
    assert cutoff_steps({"test": 6, "windows": 99}) == {"a": [75], "b": [58]}  # as many as there is room for


def test_a_cutoff_is_the_last_time_that_is_fitted_on():
    frame = tsforge.Frame(table())
    for cutoff in ("2024-01-03 11:00", "2024-01-03T11:00:00"):
        divided = divide(frame, SplitPart(cutoff=cutoff), H)
        assert divided.fitted.table["ds"].max() == datetime(2024, 1, 3, 11)
        assert divided.cutoffs["cutoff"].min() == datetime(2024, 1, 3, 11)
        assert len(divided.fitted) == 2 * 60
    assert cutoff_steps({"cutoff": "2024-01-03 10:00"}, lengths=(65, 63)) == {"a": [58, 59, 60], "b": [58]}


def test_a_cutoff_of_integer_time_is_an_integer():
    frame = tsforge.Frame(pl.DataFrame({"unique_id": ["a"] * 30, "ds": range(100, 130), "y": [0.5] * 30}))
    divided = divide(frame, SplitPart(cutoff=119), H)
    assert divided.fitted.table["ds"].to_list() == list(range(100, 120))
    assert divided.cutoffs["cutoff"].to_list() == list(range(119, 126))
    with pytest.raises(RecipeError, match="whole number"):
        divide(frame, SplitPart(cutoff="2020-01-01"), H)


def test_a_cutoff_without_an_offset_is_a_time_of_the_frames_zone():
    there = table((N,)).with_columns(pl.col("ds").dt.replace_time_zone("Europe/Berlin"))
    frame = tsforge.Frame(there)
    for cutoff in ("2024-01-03 11:00", "2024-01-03 10:00+00:00"):
        fitted = divide(frame, SplitPart(cutoff=cutoff), H).fitted
        assert len(fitted) == 60
    with pytest.raises(RecipeError, match="no zone"):
        divide(tsforge.Frame(table()), SplitPart(cutoff="2024-01-03 10:00+00:00"), H)
    with pytest.raises(RecipeError, match="wanted a time"):
        divide(frame, SplitPart(cutoff="soon"), H)


def test_a_series_that_begins_in_the_test_part_is_forecast_only_once_it_has_a_row():
    short = cutoff_steps({"test": 12}, lengths=(N, 6))
    assert short["b"] == [0, 1]
    with pytest.raises(FrameError, match="no row to fit on"):
        cutoff_steps({"test": 99})
    with pytest.raises(FrameError, match="no test window of h=4"):
        cutoff_steps({"test": 3})


def test_training_rows_are_those_that_train_the_estimator():
    frame = tsforge.Frame(table())
    for val_size, held in ((10, [10, 10]), (0.25, [20, 15]), (None, [0, 0]), (0, [0, 0]), (60, [60, 0])):
        model = tsforge.DLinear(h=H, input_size=LOOKBACK, val_size=val_size)
        lengths = training_rows(frame, model).group_by("unique_id", maintain_order=True).len()["len"].to_list()
        assert lengths == [N - held[0], N - 17 - held[1]]


def test_every_step_has_a_row_also_where_the_table_has_none():
    gaps = table((20, 10)).filter(pl.int_range(pl.len()) % 5 != 2)
    rows = every_step(tsforge.Frame(gaps, freq="1h"))
    assert rows.drop_nulls().equals(gaps)
    assert (len(rows), rows["y"].null_count()) == (30, 6)


def test_what_is_tested_on_changes_no_weight_and_what_is_fitted_on_does(data, tmp_path):
    first = run_recipe(recipe(data), tmp_path / "first")
    changed = table().with_columns(number=pl.int_range(pl.len()).over("unique_id"), size=pl.len().over("unique_id"))
    for place, same in (("number >= size - 12", True), ("number >= size - 13", False)):
        spoiled = changed.with_columns(y=pl.when(pl.sql_expr(place)).then(pl.col("y") * 3 + 1).otherwise("y"))
        spoiled.drop("number", "size").write_parquet(data)
        again = run_recipe(recipe(data), tmp_path / "again", overwrite=True)
        alike = [torch.equal(a, b) for a, b in zip(weights(first.model), weights(again.model), strict=True)]
        laws = [next(iter(one.model.fitted_.law.scores.values())).pooled.values for one in (first, again)]
        assert (all(alike) and np.array_equal(*laws)) is same  # the last fitted rows calibrate
    assert first.model.trained_until()["ds"].to_list() == [datetime(2024, 1, 3, 19), datetime(2024, 1, 3, 2)]


# --- scores ----------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_evaluate_by_hand(data, tmp_path):
    result = run_recipe(recipe(data), tmp_path / "run")
    fitted = pl.concat([part[:-12] for part in table().partition_by("unique_id", maintain_order=True)])
    train = pl.concat([part[:-10] for part in fitted.partition_by("unique_id", maintain_order=True)])
    model = tsforge.DLinear(h=H, input_size=LOOKBACK, kernel_size=5, max_steps=5, val_size=10, accelerator="cpu")
    forecasts = []
    for one in (model.fit(fitted), tsforge.SeasonalNaive(h=H).fit(fitted)):
        steps = [tsforge.backtest([one], table(), n_windows=9, step_size=1, align="end", fit=False)]
        forecasts.append(pl.concat(steps))
    both = forecasts[0].join(forecasts[1].drop("y"), on=["unique_id", "ds", "cutoff"])
    by_hand = tsforge.evaluate(both, ["mse", "mae", "mase"], by=(), scale="train", train=train, season=24)
    assert result.windows == 18
    for row, expected in zip(result.test, by_hand.to_dicts(), strict=True):
        assert row == {**expected, "value": pytest.approx(expected["value"], rel=1e-6)}
    everything = tsforge.evaluate(both, ["mse"], by=(), scale="train", train=fitted, season=24)
    assert abs(everything["value"][0] / result.test[0]["value"] - 1) > 1e-4  # the control: validation rows would show


def test_scores_of_data_with_absent_rows_count_steps_and_not_rows(tmp_path):
    whole = table()
    gaps = pl.int_range(pl.len()) % 11 == 5
    scores = []
    for name, given in (("null", whole.with_columns(y=pl.when(~gaps).then("y"))), ("absent", whole.filter(~gaps))):
        given.write_parquet(tmp_path / f"{name}.parquet")
        part = {"path": str(tmp_path / f"{name}.parquet"), "freq": "1h"}
        cutoff = {"cutoff": "2024-01-03 02:00:00", "val": 10}
        scores.append(run_recipe(recipe("", frame=part, split=cutoff), tmp_path / name).test)
    assert scores[0] == scores[1]


def test_a_score_of_nothing_is_none_and_the_run_is_written(data, tmp_path):
    last = table().with_columns(
        y=pl.when(pl.int_range(pl.len()).over("unique_id") >= pl.len().over("unique_id") - 12).then(None).otherwise("y")
    )
    last.write_parquet(data)
    result = run_recipe(recipe(data), tmp_path / "run")
    assert {row["value"] for row in result.test} == {None}
    assert json.loads((tmp_path / "run/run.json").read_text())["test"] == result.test
    open_run(tmp_path / "run")


def test_scores_table_has_a_row_per_model(data, tmp_path):
    result = run_recipe(recipe(data), tmp_path / "run")
    assert [list(row) for row in result.table] == [["model", "mse", "mae", "mase"]] * 2
    assert [row["model"] for row in result.table] == ["DLinear", "SeasonalNaive"]


@pytest.mark.parametrize(("part", "error"), [
    ({"metrics": ["maee"]}, UnknownNameError), ({"metrics": ["coverage"]}, ArgumentError),
    ({"level": [120.0]}, ArgumentError),
])
def test_a_fault_of_evaluate_shows_before_the_training(data, tmp_path, monkeypatch, part, error):
    monkeypatch.setattr(tsforge.DLinear, "fit", lambda *a, **k: pytest.fail("it was fitted"))
    with pytest.raises(error):
        run_recipe(recipe(data, evaluate=part), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_training_whose_scoring_fails_is_kept_and_can_be_scored_otherwise(data, tmp_path):
    with pytest.raises(CalibrationError, match="--resume"):
        run_recipe(recipe(data, evaluate={"metrics": ["coverage"], "level": [82]}), tmp_path / "run")
    assert kept_training(tmp_path / "run")
    resumed = run_recipe(recipe(data), tmp_path / "run", resume=True)
    fresh = run_recipe(recipe(data), tmp_path / "fresh")
    assert resumed.test == fresh.test
    assert not (tmp_path / "run.partial").exists()


# --- what a recipe may say -------------------------------------------------------------------------------------------


def prepared(**parts):
    return prepare_run(recipe("x", **parts), tsforge.Frame(table()))


def test_split_val_is_the_size_of_the_validation():
    assert prepared()[0].val_size == 10
    assert prepared(split={"test": 12, "val": 0.2})[0].val_size == 0.2
    assert prepared(split={"test": 12})[0].val_size == 0.1
    assert prepared(split={"test": 12}, train={"val_size": 7})[0].val_size == 7


def test_two_places_for_one_argument_are_an_error():
    with pytest.raises(RecipeError, match="twice"):
        prepared(train={"val_size": 7})
    with pytest.raises(RecipeError, match="twice"):
        prepared(model={"name": "dlinear", "h": 4, "val_size": 7})
    with pytest.raises(RecipeError, match=r"model\.seed and train\.seed"):
        prepared(model={"name": "dlinear", "h": 4, "seed": 7}, train={"seed": 7})


def test_a_recipe_has_to_say_how_many_steps_and_which_data():
    with pytest.raises(RecipeError, match=r"model\.h"):
        prepared(model={"name": "dlinear"})
    with pytest.raises(ArgumentError, match="h=0"):
        prepared(model={"name": "dlinear", "h": 0})
    for part in ({}, {"name": "co2", "path": "x.csv"}, {"name": 3}):
        with pytest.raises(RecipeError, match="frame"):
            load_frame(part)


def test_a_path_is_a_file_also_where_a_dataset_is_called_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TsforgeError, match="no file"):
        load_frame({"path": "co2"})
    assert load_frame({"data": "co2"}).table.equals(load_frame({"name": "co2"}).table)


def test_the_published_split_needs_a_dataset_that_has_one():
    with pytest.raises(RecipeError, match="states no split"):
        prepared(split={"protocol": "published"})


# --- the folder ------------------------------------------------------------------------------------------------------


def unfinished(data, place: Path, monkeypatch) -> None:
    """Leaves a checkpoint behind, as a kill would."""
    from tsforge.training.module import ForecastModule

    def stop(self, *_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ForecastModule, "on_validation_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(recipe(data, train={"max_steps": 5, "accelerator": "cpu", "checkpoint_every": 2}), place)
    assert kept_training(place)


def test_an_unfinished_training_is_thrown_away_only_when_asked(data, tmp_path, monkeypatch):
    place, train = tmp_path / "run", {"max_steps": 5, "accelerator": "cpu", "checkpoint_every": 2}
    unfinished(data, place, monkeypatch)
    with pytest.raises(OutputExistsError, match="--resume"):
        run_recipe(recipe(data, train=train), place)
    assert kept_training(place)
    with pytest.raises(ArtifactError, match="another training"):
        run_recipe(recipe(data, train=train | {"seed": 3}), place, resume=True)
    assert kept_training(place)
    result = run_recipe(recipe(data, train=train), place, resume=True)
    assert not (tmp_path / "run.partial").exists()
    fresh = run_recipe(recipe(data, train=train), tmp_path / "fresh")
    assert all(torch.equal(a, b) for a, b in zip(weights(result.model), weights(fresh.model), strict=True))
    unfinished(data, tmp_path / "other", monkeypatch)
    run_recipe(recipe(data, train=train | {"seed": 3}), tmp_path / "other", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "other", "run", "x.parquet"]


def test_to_resume_without_a_checkpoint_is_said(data, tmp_path, caplog):
    with caplog.at_level(logging.INFO, "tsforge"):
        run_recipe(recipe(data), tmp_path / "run", resume=True)
    assert "starts at its first step" in caplog.text


def test_a_checkpoint_that_a_kill_left_beside_its_finished_run_goes(data, tmp_path, monkeypatch):
    place = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("tsforge.estimators.run.shutil.rmtree", lambda *a, **k: None)
        run_recipe(recipe(data), place)
    assert Checkpoint.read(tmp_path / "run.partial").progress.stopped
    record = finished_run(place)
    assert record.steps == 5
    assert not (tmp_path / "run.partial").exists()
    unfinished(data, tmp_path / "new", monkeypatch)  # of another training: it stays
    (tmp_path / "new.partial").rename(tmp_path / "run.partial")
    finished_run(place)
    assert (tmp_path / "run.partial").exists()


def test_a_failed_training_leaves_nothing(data, tmp_path):
    with pytest.raises(TrainingError):
        run_recipe(recipe(data, train={"max_steps": 50, "learning_rate": 1e30}), tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]


def test_a_run_that_is_there_is_left_alone_unless_it_may_go(data, tmp_path):
    run_recipe(recipe(data), tmp_path / "run")
    before = (tmp_path / "run/run.json").read_bytes()
    with pytest.raises(OutputExistsError):
        run_recipe(recipe(data, train={"max_steps": 2}), tmp_path / "run")
    assert (tmp_path / "run/run.json").read_bytes() == before
    assert run_recipe(recipe(data, train={"max_steps": 2}), tmp_path / "run", overwrite=True).model.max_steps == 2


@pytest.mark.parametrize("name", ["naive", "seasonal_naive"])
def test_a_local_model_runs_as_a_recipe_too(data, tmp_path, name):
    local = recipe(data, model={"name": name, "h": H}, train={})
    result = run_recipe(local, tmp_path / "run")
    models = ["Naive", "SeasonalNaive"] if name == "naive" else ["SeasonalNaive"]
    assert [row["model"] for row in result.table] == models
    assert open_run(tmp_path / "run").predict().equals(result.model.predict())


def test_series_may_be_the_channels_of_one_run(tmp_path):
    table((N, N)).write_parquet(tmp_path / "x.parquet")
    part = {"path": str(tmp_path / "x.parquet"), "channels_from": "unique_id"}
    result = run_recipe(recipe("", frame=part), tmp_path / "run")
    assert result.windows == 9
    assert [row["model"] for row in result.table] == ["DLinear", "SeasonalNaive"]
