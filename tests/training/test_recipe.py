"""A recipe is read strictly, changed by --set, and named in words where it cannot be read."""

from datetime import date, datetime
from pathlib import Path

import pytest

from tsforge.errors import DataNotFoundError, RecipeError, TsforgeError
from tsforge.estimators.estimator import estimator, from_recipe
from tsforge.estimators.grid import read_grid
from tsforge.estimators.run import unfitted
from tsforge.local import LOCAL
from tsforge.models import MODELS
from tsforge.training import overrides
from tsforge.training.overrides import read_override, read_yaml
from tsforge.training.recipe import Recipe, check_record, read_given, read_recipe

ROOT = Path(__file__).parents[2]
SMALL = {"frame": {"name": "co2"}, "model": {"name": "dlinear", "h": 4}}


def refused(given, pairs=()) -> str:
    with pytest.raises(RecipeError) as error:
        read_recipe(given, pairs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_that_comes_along_is_read_and_its_model_made(path):
    given = read_given(path)
    if "sweep" in given:  # the models that it chooses from
        names = given["sweep"]["space"]["model.name"]
        shared = {key: part for key, part in given.items() if key != "sweep"}
        runs = [read_recipe({**shared, "model": {**given["model"], "name": name}}) for name in names]
    else:
        runs = [cell.recipe for cell in read_grid(path)] if "grid" in given else [read_recipe(path)]
    for recipe in runs:
        assert unfitted(recipe, recipe.split.val).h == recipe.model["h"]
        assert read_recipe(recipe.plain()) == recipe


UNKNOWN = {
    "splitt": ({"splitt": {}}, "'split'"),
    "split.tset": ({"split": {"tset": 4}}, "'test'"),
    "evaluate.metric": ({"evaluate": {"metric": ["mae"]}}, "'metrics'"),
    "q": ({"q": 1}, ", ".join(Recipe.model_fields)),
}


@pytest.mark.parametrize("place", UNKNOWN)
def test_an_unknown_key_is_named_with_the_nearest(place):
    extra, wanted = UNKNOWN[place]
    said = refused(SMALL | extra)
    assert f"'{place}'" in said
    assert wanted in said


WRONG = {
    "split.test": ({"split": {"test": 0}}, ["0", "greater than or equal to 1"]),
    "split.windows": ({"split": {"test": 4, "windows": "al"}}, ["'al'", "'all'", "integer"]),
    "split.step": ({"split": {"test": 4, "step": True}}, ["True", "integer"]),
    "split.val": ({"split": {"val": "much"}}, ["'much'"]),
    "split.protocol": ({"split": {"protocol": "publisht"}}, ["'published'"]),
    "split": ({"split": {"test": 4, "cutoff": 3}}, ["test and cutoff"]),
    "evaluate.scale": ({"evaluate": {"scale": "test"}}, ["'test'", "'train'"]),
    "train": ({"train": 3}, ["3", "dictionary"]),
    "model": ({"model": {"h": 3}}, ["needs a name"]),
}


@pytest.mark.parametrize("place", WRONG)
def test_a_wrong_value_is_named_with_what_was_wanted(place):
    extra, wanted = WRONG[place]
    said = refused(SMALL | extra)
    assert f"{place} " in said or f"{place}:" in said
    assert said.count(place) <= 2  # once, however many kinds the value may be of
    for word in wanted:
        assert word in said


def test_published_and_val_are_two_places_for_one_thing():
    assert "leave val out" in refused(SMALL | {"split": {"protocol": "published", "val": 10}})


def test_every_fault_is_named_at_once():
    said = refused(SMALL | {"splitt": {}, "evaluate": {"scale": 3}})
    assert "splitt" in said
    assert "evaluate.scale" in said


@pytest.mark.parametrize(("pair", "path", "value"), [
    ("train.max_steps=10", ["train", "max_steps"], 10),
    ("learning_rate=1e-4", ["learning_rate"], 1e-4),
    ("x=-1.5E+3", ["x"], -1500.0),
    ("x=.5e1", ["x"], 5.0),
    ("x=[1, 2e-1, a]", ["x"], [1, 0.2, "a"]),
    ("x={name: huber, delta: 1e-2}", ["x"], {"name": "huber", "delta": 1e-2}),
    ("x=null", ["x"], None),
    ("x=", ["x"], None),
    ("x=true", ["x"], True),
    ("x=nan", ["x"], "nan"),
    ("x=inf", ["x"], "inf"),
    ("x=1e4x", ["x"], "1e4x"),
    ("x='1e4'", ["x"], "1e4"),
    ("x=bf16-mixed", ["x"], "bf16-mixed"),
    ("x=a=b", ["x"], "a=b"),
    ("split.cutoff=2020-01-31", ["split", "cutoff"], date(2020, 1, 31)),
])
def test_an_override_reads_a_value_as_yaml_and_as_people_write_numbers(pair, path, value):
    read = read_override(pair)
    assert read == (path, value)
    assert type(read[1]) is type(value)


@pytest.mark.parametrize("pair", ["x", "=3", ".x=3", "train.=3", "x=[1", "x={a", "x=2020-13-45", ""])
def test_what_is_no_override_says_how_one_is_written(pair):
    with pytest.raises(RecipeError, match="--set"):
        read_override(pair)


def test_a_bare_key_is_of_train_or_of_the_model_and_a_dotted_one_of_what_it_says():
    recipe = read_recipe(SMALL, ["max_steps=3", "kernel_size=5", "split.test=8", "train.seed=2", "model.h=6"])
    assert recipe.train == {"max_steps": 3, "seed": 2}
    assert recipe.model == {"name": "dlinear", "h": 6, "kernel_size": 5}
    assert recipe.split.test == 8
    assert SMALL["model"]["h"] == 4  # the recipe that was given is left as it was


def test_an_override_goes_into_what_is_there():
    given = SMALL | {"train": {"loss": {"name": "huber", "delta": 2.0}, "seed": 1}}
    recipe = read_recipe(given, ["train.loss.delta=1e-1", "train.val_size=0.2"])
    assert recipe.train == {"loss": {"name": "huber", "delta": 0.1}, "seed": 1, "val_size": 0.2}


def test_the_last_override_of_a_key_wins():
    assert read_recipe(SMALL, ["seed=1", "train.seed=2"]).train == {"seed": 2}


def test_a_bare_key_that_may_mean_two_things_is_refused(monkeypatch):
    stated = {"frame": {"name": "co2"}, "model": {"name": "dlinear", "h": 4, "seed": 1}}
    for said in (refused(stated, ["seed=2"]),):
        assert "model.seed" in said
        assert "train.seed" in said
    assert read_recipe(stated, ["model.seed=2"]).model["seed"] == 2
    monkeypatch.setitem(overrides.TRAINING, "kernel_size", 1)
    assert "model.kernel_size" in refused(SMALL, ["kernel_size=3"])
    assert read_recipe(SMALL, ["train.kernel_size=3"]).train == {"kernel_size": 3}


@pytest.mark.parametrize("name", [*MODELS, *LOCAL])
def test_no_argument_of_a_row_is_ambiguous(name):
    for argument in estimator(name)(h=1).get_params():
        if argument != "h":
            read_recipe({"model": {"name": name, "h": 1}}, [f"{argument}=null"])


def test_a_recipe_file_reads_numbers_as_people_write_them(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("model: {name: dlinear, h: 4}\ntrain:\n  learning_rate: 1e-4\n  weight_decay: 5.0e-3\n")
    assert read_recipe(path).train == {"learning_rate": 1e-4, "weight_decay": 5e-3}


FILES = {
    "model: {name: dlinear": ["line 1"],
    "model: {name: dlinear, h: 4}\nmodel: {name: timesnet}\n": ["line 2", "'model' stands twice"],
    "train: {seed: 1, seed: 2}\nmodel: {name: dlinear}": ["line 1", "'seed' stands twice"],
    "- 3": ["holds no recipe"],
    "": ["holds no recipe"],
    "x: !!python/object/apply:os.system [ls]": ["line 1"],
    "a: 1\n---\nb: 2": ["line 2"],
}


@pytest.mark.parametrize("text", FILES)
def test_a_file_that_is_no_recipe_names_the_line(tmp_path, text):
    path = tmp_path / "r.yaml"
    path.write_text(text)
    said = refused(path)
    assert str(path) in said
    for word in FILES[text]:
        assert word in said


def test_a_file_that_is_no_text_and_one_that_is_not_there_are_named(tmp_path):
    (tmp_path / "r.yaml").write_bytes(b"model: \xff\xfe")
    assert "UTF-8" in refused(tmp_path / "r.yaml")
    with pytest.raises(DataNotFoundError, match="nowhere"):
        read_recipe(tmp_path / "nowhere.yaml")


def test_a_text_nested_without_end_is_refused():
    with pytest.raises(RecipeError):
        read_yaml("[" * 5000, "x")


@pytest.mark.parametrize("value", [date(2020, 1, 31), datetime(2020, 1, 31, 13), "2020-01-31 13:00", 400])
def test_a_cutoff_is_the_same_after_it_was_stored(value):
    recipe = read_recipe(SMALL | {"split": {"cutoff": value}})
    assert read_recipe(recipe.plain()) == recipe


@pytest.mark.parametrize("name", [*MODELS, *LOCAL])
def test_to_recipe_and_from_recipe_are_inverse(name):
    plain = estimator(name)(h=3)
    known = plain.get_params()
    changes = {"input_size": 9, "max_steps": 7, "learning_rate": 0.5, "alias": "other", "val_size": 5,
               "loss": {"name": "quantile", "quantiles": [0.1, 0.5, 0.9]}, "dropout": 0.25, "d_model": 6, "season": 4}
    made = estimator(name)(h=3, **{key: value for key, value in changes.items() if key in known})
    assert made.get_params() != known
    for one in (plain, made):
        recipe = one.to_recipe()
        again = from_recipe(read_recipe(recipe).plain())
        assert again.get_params() == one.get_params()
        assert again.to_recipe() == recipe
        assert type(one).from_recipe(recipe).get_params() == one.get_params()


def test_a_recipe_of_an_unknown_row_or_argument_names_the_nearest():
    with pytest.raises(TsforgeError, match="Did you mean 'dlinear'"):
        from_recipe({"model": {"name": "dlinaer", "h": 3}})
    with pytest.raises(TsforgeError, match="Did you mean 'kernel_size'"):
        from_recipe({"model": {"name": "dlinear", "h": 3, "kernel_sise": 3}})


def test_a_record_that_is_none_names_the_key():
    with pytest.raises(RecipeError, match="format"):
        check_record({"name": "dlinear"})
