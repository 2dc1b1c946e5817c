"""A grid is the product it says, and a study is its runs: each trained once, all of them checked before the first."""

import json
import re
import shutil
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import ParameterGrid

from tsforge.errors import OutputExistsError, RecipeError, TsforgeError
from tsforge.estimators import run, study_cells
from tsforge.estimators.grid import read_grid
from tsforge.estimators.study import run_study
from tsforge.estimators.study_cells import Outcome
from tsforge.estimators.study_checks import check_cells
from tsforge.estimators.study_table import score_rows, study_table
from tsforge.training import fit
from tsforge.training.recipe import read_recipe

SHARED = {"model": {"input_size": 8}, "train": {"max_steps": 3, "accelerator": "cpu", "calibration_share": 0.0}}
SEEDS = {"model.name": ["dlinear", "nlinear"], "model.h": 4, "train.seed": [0, 1]}


def cells(grid, overrides=(), **parts):
    return read_grid(SHARED | parts | {"grid": grid}, overrides)


def names(grid, **parts) -> list[str]:
    return [cell.name for cell in cells(grid, **parts)]


@pytest.fixture
def data(tmp_path) -> dict:
    rng = np.random.default_rng(0)
    hours = pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 4), "1h", eager=True)
    y = 5 + np.sin(np.arange(len(hours)) / 3) + 0.1 * rng.normal(size=len(hours))
    pl.DataFrame({"unique_id": ["a"] * len(hours), "ds": hours, "y": y}).write_parquet(tmp_path / "x.parquet")
    return {"frame": {"path": str(tmp_path / "x.parquet")}, "split": {"test": 12}}


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """The folders whose training began, in their order."""
    began: list[str] = []
    real = study_cells.run_recipe

    def watched(recipe, out, **words):
        began.append(out.name)
        return real(recipe, out, **words)

    monkeypatch.setattr(study_cells, "run_recipe", watched)
    return began


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


# --- the grid --------------------------------------------------------------------------------------------------------


def test_a_grid_is_the_product_of_each_block_as_in_scikit_learn():
    blocks = [SEEDS | {"train.batch_size": [8, 16]}, {"model.name": "mlp", "model.h": [4, 5], "model.hidden": [[8, 8]]}]
    listed = [{key: v if isinstance(v, list) else [v] for key, v in block.items()} for block in blocks]
    wanted = sorted(json.dumps(setting, sort_keys=True) for setting in ParameterGrid(listed))
    assert sorted(json.dumps(cell.setting, sort_keys=True) for cell in cells(blocks)) == wanted


def test_the_last_list_of_a_block_changes_fastest_and_one_block_needs_no_list():
    assert names(SEEDS) == ["dlinear_4_seed0", "dlinear_4_seed1", "nlinear_4_seed0", "nlinear_4_seed1"]
    assert names([SEEDS]) == names(SEEDS)


def test_keys_of_a_block_override_the_recipe_and_the_rest_of_it_stays():
    one, two = cells({"model.name": "dlinear", "h": 4, "max_steps": [7, 9], "frame.system": "Lorenz"},
                     frame={"name": "chaos", "n": 300})
    assert one.recipe.train == SHARED["train"] | {"max_steps": 7}
    assert two.recipe.train == SHARED["train"] | {"max_steps": 9}
    assert one.recipe.model == {"name": "dlinear", "h": 4, "input_size": 8}
    assert one.recipe.frame == {"name": "chaos", "n": 300, "system": "Lorenz"}


def test_an_argument_that_is_a_list_is_a_list_in_a_list():
    one, two = cells({"model.name": "mlp", "model.h": 4, "model.hidden": [[8, 4], [16]]})
    assert (one.recipe.model["hidden"], two.recipe.model["hidden"]) == ([8, 4], [16])
    assert one.name != two.name


def test_an_encoder_may_be_varied_by_name_with_its_arguments_and_against_none():
    made = cells({"encoder": [None, "phc", {"name": "phc", "n": 2}]}, model={"name": "timesnet", "h": 4})
    assert [cell.recipe.encoder for cell in made] == [None, "phc", {"name": "phc", "n": 2}]
    assert len({cell.name for cell in made}) == 3


def test_names_tell_model_h_and_seed_and_else_only_what_is_needed():
    rates = {"model.name": "dlinear", "model.h": 4, "train.learning_rate": [1e-3, 1e-2]}
    assert names(rates) == ["dlinear_4_learning_rate0.001", "dlinear_4_learning_rate0.01"]
    other = {"model.name": "mlp", "model.h": 4, "train.learning_rate": 1e-3}
    assert names([SEEDS | {"train.learning_rate": 1e-2}, other])[-1] == "mlp_4"
    assert names({"frame.system": ["Lorenz", "Rossler"]}, model={"name": "dlinear", "h": 4}) == ["Lorenz", "Rossler"]


def test_a_block_of_another_model_leaves_the_names_as_they_were():
    assert names([{"model.name": "mlp", "model.h": 9}, SEEDS])[1:] == names(SEEDS)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.one_of(st.text(max_size=140), st.integers(), st.floats(), st.none(), st.booleans(),
                          st.lists(st.integers(), min_size=1)), min_size=1, max_size=6, unique_by=json.dumps))
def test_names_are_distinct_folders_on_every_file_system_whatever_the_values(values):
    given = {"model.name": "dlinear", "model.h": 4, "frame.system": values}
    one, again = names(given), names(given | {"frame.system": values[::-1]})
    assert len({name.lower() for name in one}) == len(values)
    assert sorted(one) == sorted(again)
    for name in one:
        assert re.fullmatch(r"[\w.=+-]+", name, re.ASCII)
        assert len(name) < 120
        assert not name.endswith((".partial", ".json", ".csv", "."))


def test_two_cells_that_are_one_run_are_refused_also_where_one_states_a_default():
    check_cells(cells([SEEDS]))
    for twin in ({"model.name": "dlinear", "model.h": 4, "train.seed": 1}, {"model.name": "nlinear", "model.h": 4}):
        with pytest.raises(RecipeError, match="same run"):
            check_cells(cells([SEEDS, twin]))


WRONG = {
    "a list without a value": ({"model.h": []}, "model.h has no value"),
    "no block": ([], "wanted a block"),
    "nothing": (None, "wanted a block"),
    "an empty block": ([{}], "wanted a block"),
    "a block that is none": ([3], "wanted a block"),
    "a key that is none": ({"model..h": 3}, "'model..h' is no key"),
    "a key twice": ({"model.name": "dlinear", "h": 3, "model.h": 4}, "twice"),
    "a key and a part of it": ({"model.name": "dlinear", "train.loss": "mae", "train.loss.name": "mse"}, "twice"),
    "a part that is not there": ({"model.name": "dlinear", "modell.h": 3}, "'model'"),
    "no name": ({"model.h": 3}, "needs a name"),
}


@pytest.mark.parametrize("fault", WRONG)
def test_a_grid_that_cannot_be_read_is_named(fault):
    grid, wanted = WRONG[fault]
    with pytest.raises(RecipeError, match=re.escape(wanted)):
        cells(grid)


def test_a_recipe_with_a_grid_is_no_run_and_one_without_is_no_study():
    with pytest.raises(RecipeError, match="tsforge study"):
        read_recipe(SHARED | {"grid": SEEDS})
    with pytest.raises(RecipeError, match="tsforge fit"):
        read_grid(SHARED | {"model": {"name": "dlinear", "h": 3}})


def test_an_override_wins_over_the_grid_which_then_does_not_vary_that_key():
    made = cells(SEEDS, ["seed=5", "max_steps=2", "model.h=6"])
    assert [cell.recipe.train["seed"] for cell in made] == [5, 5]
    assert {cell.recipe.model["h"] for cell in made} == {6}
    assert {cell.recipe.train["max_steps"] for cell in made} == {2}
    with pytest.raises(RecipeError, match="the grid states train"):
        cells(SEEDS | {"train.loss": ["mse", "mae"]}, ["train.loss.delta=1"])


def test_local_models_are_spared_what_all_share_and_they_lack_but_not_what_their_block_states():
    blocks = [{"model.name": ["dlinear", "seasonal_naive"], "model.h": 4}]
    check_cells(cells(blocks))
    neural, local = cells(blocks)
    assert neural.recipe.train["max_steps"] == 3
    assert (local.recipe.train, local.recipe.model) == ({}, {"name": "seasonal_naive", "h": 4})
    assert cells(blocks, train={"val_size": 5})[1].recipe.train == {"val_size": 5}
    assert [cell.recipe.encoder for cell in cells(blocks, encoder={"name": "phc"})] == [{"name": "phc"}, None]
    for stated in ({"train.seed": 0}, {"model.input_size": 4}):
        with pytest.raises(TsforgeError, match="SeasonalNaive has no argument"):
            check_cells(cells([{"model.name": "seasonal_naive", "model.h": 4} | stated]))
    with pytest.raises(TsforgeError, match="has no argument 'max_stepps'"):
        check_cells(cells(blocks, train={"max_stepps": 5})[1:])


# --- the runs --------------------------------------------------------------------------------------------------------


def test_a_study_is_its_runs_and_a_second_call_trains_nothing(tmp_path, data, trained):
    made = cells(SEEDS, **data)
    run_study(made, tmp_path / "out")
    assert trained == [cell.name for cell in made]
    before = contents(tmp_path / "out")
    alone = run.run_recipe(made[1].recipe, tmp_path / "alone")
    assert (tmp_path / "alone" / "model.safetensors").read_bytes() == before["dlinear_4_seed1/model.safetensors"]
    assert before["dlinear_4_seed0/model.safetensors"] != before["dlinear_4_seed1/model.safetensors"]
    again = run_study(made, tmp_path / "out")
    assert len(trained) == len(made)
    assert contents(tmp_path / "out") == before
    assert again.outcomes[made[1].name].test == alone.test
    assert pl.read_csv(tmp_path / "out" / "table.csv").to_dicts() == again.table


def test_an_interrupted_study_goes_on_to_the_same_bits_and_trains_what_is_left(tmp_path, data, trained, monkeypatch):
    made = cells(SEEDS, **data)
    run_study(made, tmp_path / "whole")
    trained.clear()
    real = run._score_or_keep

    def interrupted(model, recipe, divided, out):
        if out.name == made[2].name:
            raise KeyboardInterrupt  # trained, not yet scored: its checkpoint is there
        return real(model, recipe, divided, out)

    monkeypatch.setattr(run, "_score_or_keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_study(made, tmp_path / "out")
    states = [row["state"] for row in json.loads((tmp_path / "out" / "study.json").read_text())["runs"]]
    assert states == ["done", "done", "waiting", "waiting"]
    assert (tmp_path / "out" / f"{made[2].name}.partial").is_dir()
    monkeypatch.setattr(run, "_score_or_keep", real)
    steps, train = [], fit._train
    monkeypatch.setattr(fit, "_train", lambda *words: steps.append(1) or train(*words))
    run_study(made, tmp_path / "out")
    assert trained == [cell.name for cell in (*made[:3], *made[2:])]
    assert len(steps) == 1  # the last; the one before it had its checkpoint
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_cell_that_fails_is_recorded_and_tried_again_and_the_others_go_on(tmp_path, data, trained):
    diverges = {"model.name": "dlinear", "model.h": 4, "train.learning_rate": 1e30}
    made = cells([diverges, SEEDS], **data)
    study = run_study(made, tmp_path / "out")
    assert list(study.failed) == ["dlinear_4_learning_rate1e+30"]
    assert "diverged" in study.failed["dlinear_4_learning_rate1e+30"]
    assert [row["model"] for row in study.table] == ["DLinear", "NLinear", "SeasonalNaive"]
    kept = json.loads((tmp_path / "out" / "study.json").read_text())
    assert [row["state"] for row in kept["runs"]] == ["failed", "done", "done", "done", "done"]
    assert "diverged" in kept["runs"][0]["reason"]
    trained.clear()
    assert run_study(made, tmp_path / "out").failed == study.failed
    assert trained == [made[0].name]


FAULTS = {
    "an argument": {"model.kernel_sise": 3},
    "a value": {"train.max_steps": -1},
    "two that exclude each other": {"train.max_epochs": 1},
    "a loss": {"train.loss": "maee"},
    "a metric": {"evaluate.metrics": [["maee"]]},
    "a level": {"evaluate.metrics": [["coverage"]]},
    "a dataset": {"frame.path": "nowhere.csv"},
    "a model": {"model.name": "dlinaer"},
    "a horizon": {"model.h": 99},
    "no horizon": {"model.h": None},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_all_cells_are_checked_before_the_first_is_trained(fault, tmp_path, data, trained):
    wrong = {"model.name": "dlinear", "model.h": 5} | FAULTS[fault]
    with pytest.raises(TsforgeError):
        run_study(cells([SEEDS, wrong], **data), tmp_path / "out")
    assert trained == []
    assert not (tmp_path / "out").exists()


def test_a_run_of_another_recipe_is_refused_before_any_training_and_replaced_when_asked(tmp_path, data, trained):
    first = [{"model.name": name, "model.h": 4} for name in ("dlinear", "nlinear")]
    run_study(cells(first, **data), tmp_path / "out")
    kept = contents(tmp_path / "out" / "nlinear_4")
    changed = cells([first[0] | {"train.batch_size": 5}, first[1], {"model.name": "mean", "model.h": 4}], **data)
    trained.clear()
    with pytest.raises(OutputExistsError, match="another recipe"):
        run_study(changed, tmp_path / "out")
    assert trained == []
    run_study(changed, tmp_path / "out", overwrite=True)
    assert trained == ["dlinear_4", "mean_4"]
    assert contents(tmp_path / "out" / "nlinear_4") == kept


def test_a_run_that_differs_in_where_it_ran_is_taken_and_one_of_another_result_is_not(tmp_path, data, trained):
    run_study(cells({"model.name": "dlinear", "model.h": 4}, **data), tmp_path / "out")
    for override, wanted in (("threads=1", 1), ("checkpoint_every=2", 1), ("learning_rate=0.5", None)):
        made = cells({"model.name": "dlinear", "model.h": 4}, [override], **data)
        if wanted is None:
            with pytest.raises(OutputExistsError):
                run_study(made, tmp_path / "out")
        else:
            run_study(made, tmp_path / "out")
    assert len(trained) == 1


def test_a_study_does_not_write_into_a_run_and_a_spoiled_run_is_not_taken(tmp_path, data):
    made = cells({"model.name": ["dlinear"], "model.h": 4}, **data)
    run_study(made, tmp_path / "out")
    with pytest.raises(OutputExistsError, match="folder of its own"):
        run_study(made, tmp_path / "out" / "dlinear_4")
    (tmp_path / "out" / "dlinear_4" / "model.safetensors").write_bytes(b"")
    with pytest.raises(TsforgeError, match="SHA256SUMS"):
        run_study(made, tmp_path / "out")


def test_each_frame_is_loaded_once_and_the_runs_of_one_follow_each_other(tmp_path, data, trained, monkeypatch):
    shutil.copy(data["frame"]["path"], tmp_path / "z.parquet")
    loaded, load = [], study_cells.load_frame
    monkeypatch.setattr(study_cells, "load_frame", lambda part: loaded.append(Path(part["path"]).stem) or load(part))
    places = [data["frame"]["path"], str(tmp_path / "z.parquet")]
    made = cells({"model.name": ["mean", "naive"], "frame.path": places, "model.h": 4}, split=data["split"])
    run_study(made, tmp_path / "out")
    assert loaded == ["x", "z"]
    assert trained == [made[number].name for number in (0, 2, 1, 3)]


@pytest.mark.slow
def test_workers_come_to_the_bits_of_one_process_and_a_failure_stays_with_its_cell(tmp_path, data):
    diverges = {"model.name": "dlinear", "model.h": 4, "train.learning_rate": 1e30}
    made = cells([diverges, SEEDS], **data)
    study = run_study(made, tmp_path / "two", workers=2)
    run_study(made, tmp_path / "one")
    assert list(study.failed) == [made[0].name]
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


# --- the table -------------------------------------------------------------------------------------------------------


def scored(made, values: dict[str, list[float | None]], naive: float = 0.5) -> dict[str, Outcome]:
    """Outcomes with these values of mse by run, beside seasonal naive."""
    return {
        cell.name: Outcome(cell.name, [
            {"model": cell.recipe.model["name"], "metric": "mse", "value": value, "cells": 1},
            {"model": "SeasonalNaive", "metric": "mse", "value": naive, "cells": 1},
        ])
        for cell, value in zip(made, values, strict=True)
    }


def test_a_row_is_the_mean_over_seeds_and_their_spread():
    made = cells({"model.name": ["dlinear", "nlinear"], "model.h": 4, "train.seed": [0, 1, 2]})
    values = [1.0, 2.0, 4.5, 3.0, 3.0, 3.0]
    one, two, naive = study_table(made, scored(made, values))
    assert one["mse"] == pytest.approx(np.mean(values[:3]))
    assert one["mse_sd"] == pytest.approx(np.std(values[:3], ddof=1))
    assert one["mse_sd"] != pytest.approx(np.std(values[:3]))
    assert (two["mse"], two["mse_sd"], two["n"]) == (3.0, 0.0, 3)
    assert naive == {"model": "SeasonalNaive", "h": 4, "mse": 0.5, "mse_sd": None, "n": 1}
    rows = score_rows(made, scored(made, values))
    assert [row["value"] for row in rows if row["model"] != "SeasonalNaive"] == values
    assert rows[0] == {"run": "dlinear_4_seed0", "setting": made[0].setting, "model": "dlinear", "metric": "mse",
                       "value": 1.0, "cells": 1}


def test_one_seed_has_no_spread_and_a_run_without_a_number_is_not_left_out_of_a_mean():
    made = cells({"model.name": ["dlinear", "nlinear"], "model.h": 4, "train.seed": [0, 1]})
    outcomes = scored(made, [1.0, 2.0, 3.0, None])
    del outcomes[made[1].name]
    one, two, _ = study_table(made, outcomes)
    assert (one["mse"], one["mse_sd"], one["n"]) == (1.0, None, 1)
    assert (two["mse"], two["mse_sd"], two["n"]) == (None, None, 2)


def test_settings_are_not_averaged_and_seasonal_naive_stands_once_for_each_h():
    made = cells({"model.name": "dlinear", "model.h": [4, 5], "train.batch_size": [8, 16], "train.seed": [0, 1]})
    rows = study_table(made, scored(made, [float(n) for n in range(8)]))
    assert [(row["h"], row["batch_size"], row["mse"]) for row in rows] == [
        (4, 8, 0.5), (4, 16, 2.5), (5, 8, 4.5), (5, 16, 6.5), (4, None, 0.5), (5, None, 0.5),
    ]


def test_seasonal_naive_that_the_grid_names_is_not_shown_twice(tmp_path, data):
    made = cells([SEEDS, {"model.name": "seasonal_naive", "model.h": [4, 5]}], **data)
    rows = run_study(made, tmp_path / "out").table
    assert [(row["model"], row["h"]) for row in rows] == [
        ("DLinear", 4), ("NLinear", 4), ("SeasonalNaive", 4), ("SeasonalNaive", 5),
    ]


def test_columns_of_one_name_are_told_apart_by_their_parts():
    made = cells({"frame.name": ["co2", "sunspots"], "model.n": [1, 2], "frame.n": [3, 4]}, model={"name": "x", "h": 1})
    assert list(study_table(made, scored(made, [0.0] * 8))[0]) == [
        "model", "frame", "model.n", "frame.n", "mse", "mse_sd", "n",
    ]
