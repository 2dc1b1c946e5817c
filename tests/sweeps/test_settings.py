"""A space becomes settings, and settings become recipes."""

from typing import Any

import optuna
import pytest

from tsforge.errors import ArgumentError, RecipeError
from tsforge.space import Choice, Integer
from tsforge.sweeps.settings import Leaf, own_params, read_space, stated_params, trial_recipe
from tsforge.sweeps.stated import space_of

DLINEAR = {"model": {"name": "dlinear", "h": 4, "input_size": 8}, "train": {"max_steps": 3}}
BRANCHES: dict[str, Any] = {
    "model.name": {"dlinear": {"kernel_size": [13, 25], "train.max_steps": 7}, "s4d": "declared", "naive": {}},
}


def drawn(space, params):
    return space.drawn(optuna.trial.FixedTrial(params))


def test_a_bare_key_is_of_the_model_or_of_its_training():
    space = read_space({"kernel_size": [13, 25], "learning_rate": {"low": 1e-4, "high": 1e-2}}, DLINEAR)
    assert [item.key for item in space.items] == ["model.kernel_size", "train.learning_rate"]


def test_nothing_stated_is_all_that_the_model_and_its_training_declare():
    space = read_space(None, DLINEAR)
    assert space.keys() == {"model.kernel_size", "model.individual", "train.learning_rate", "train.batch_size"}
    assert read_space(None, {"model": {"name": "croston", "h": 2}}).keys() == {
        "model.variant", "model.alpha", "model.beta"}


def test_an_encoder_that_the_recipe_names_declares_its_own():
    recipe = {"model": {"name": "timesnet", "h": 4}, "encoder": {"name": "phnn", "n": 2}}
    assert {"encoder.n", "encoder.kernel_size"} <= read_space(None, recipe).keys()
    keys = read_space(None, DLINEAR).keys()
    assert not [key for key in keys if key.startswith("encoder.")]


def test_a_single_key_may_take_what_is_declared_for_it():
    space = read_space({"kernel_size": "declared"}, DLINEAR)
    assert space.items == (Leaf("model.kernel_size", "model.kernel_size", Choice(7, 13, 25, 49)),)


def test_a_stated_key_wins_over_what_its_part_declares():
    space = read_space({"model": "declared", "kernel_size": [3, 5]}, DLINEAR)
    dims = {item.key: item.dimension for item in space.items}
    assert dims == {"model.kernel_size": Choice(3, 5), "model.individual": Choice(False, True)}


def test_a_choice_opens_its_own_space_alone():
    space = read_space(BRANCHES, {"model": {"h": 4}})
    one = drawn(space, {"model.name": "dlinear", "dlinear/model.kernel_size": 13})
    assert one == {"model.name": "dlinear", "model.kernel_size": 13, "train.max_steps": 7}
    assert drawn(space, {"model.name": "naive"}) == {"model.name": "naive"}
    assert "s4d/model.d_state" in {leaf.name for leaf in space.items[0].choices["s4d"][2].items}


def test_the_recipe_of_a_trial_holds_its_settings_and_leaves_the_shared_one_alone():
    before = {"model": {"h": 4, "input_size": 8}, "train": {"max_steps": 3}}
    space = read_space(BRANCHES, before)
    made = trial_recipe(before, drawn(space, {"model.name": "dlinear", "dlinear/model.kernel_size": 13}))
    assert made == {"model": {"h": 4, "input_size": 8, "name": "dlinear", "kernel_size": 13}, "train": {"max_steps": 7}}
    assert before == {"model": {"h": 4, "input_size": 8}, "train": {"max_steps": 3}}


def test_a_local_model_is_not_given_what_it_has_no_use_for():
    shared = {"model": {"h": 4, "input_size": 8}, "train": {"max_steps": 3}}
    assert trial_recipe(shared, {"model.name": "naive"}) == {"model": {"h": 4, "name": "naive"}, "train": {}}


def test_an_encoder_is_chosen_with_its_arguments_or_left_out():
    recipe = {"model": {"name": "timesnet", "h": 4}}
    space = read_space({"encoder": {"none": {}, "phnn": {"encoder.n": [2, 4]}, "delays": "declared"}}, recipe)
    taken = trial_recipe(recipe, drawn(space, {"encoder.name": "phnn", "phnn/encoder.n": 4}))
    assert taken["encoder"] == {"name": "phnn", "n": 4}
    assert trial_recipe(recipe, drawn(space, {"encoder.name": "none"}))["encoder"] is None


def test_values_that_a_study_cannot_hold_are_given_back_as_they_are():
    space = read_space({"d_model": [[1, 2], {"a": 1}, None]}, DLINEAR)
    assert drawn(space, {"model.d_model": '{"a": 1}'}) == {"model.d_model": {"a": 1}}


def test_a_range_ends_where_its_step_does():
    space = read_space({"d_model": Integer(16, 100, step=32)}, DLINEAR)
    assert drawn(space, {"model.d_model": 80}) == {"model.d_model": 80}
    with pytest.warns(UserWarning, match="out of the range.*high=80"):
        drawn(space, {"model.d_model": 112})


def test_the_own_values_of_a_recipe_are_found_defaults_included():
    space = read_space({"kernel_size": [13, 25], "individual": [True], "learning_rate": {"low": 1e-4, "high": 1e-2}},
                       {**DLINEAR, "train": {"learning_rate": 0.005}})
    own = own_params(space, {**DLINEAR, "train": {"learning_rate": 0.005}})
    assert own == {"model.kernel_size": 25, "train.learning_rate": 0.005}, "individual=False lies outside"
    inside = read_space({"model.name": {"dlinear": {"kernel_size": [25]}, "s4d": {}}}, DLINEAR)
    assert own_params(inside, DLINEAR) == {"model.name": "dlinear", "dlinear/model.kernel_size": 25}
    assert own_params(inside, {"model": {"h": 4}}) == {}


def test_settings_that_a_user_states_become_parameters():
    space = read_space(BRANCHES, {"model": {"h": 4}})
    assert stated_params(space, {"model.name": "dlinear", "model.kernel_size": 13}, {"h": 4}) == {
        "model.name": "dlinear", "dlinear/model.kernel_size": 13}
    with pytest.raises(ArgumentError, match=r"kernel_sizes is not in the space\. Did you mean 'model.kernel_size'"):
        stated_params(space, {"model.name": "dlinear", "model.kernel_sizes": 13}, {"h": 4})
    with pytest.raises(ArgumentError, match="a value is not in the space"):
        stated_params(space, {"model.name": "dlinear", "model.kernel_size": 14}, {"h": 4})


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({}, "nothing to choose"), ({"kernel_size": 25}, "nothing to choose"),
        ({"kernel_sise": "declared"}, "nothing is declared for it. Did you mean 'kernel_size'"),
        ({"model.name": {"dlinea": {}}}, "no model named 'dlinea'. Did you mean 'dlinear'"),
        ({"model.name": {"dlinear": 3}}, "wanted a space"), ({"model.name": {}}, "has no choice"),
        ({"kernel_size": [1], "model.kernel_size": [2]}, "stands twice"),
    ],
    ids=["nothing", "only set", "undeclared", "no model", "no space", "no choice", "twice"],
)
def test_a_space_that_cannot_be_is_refused(space, words):
    with pytest.raises((ArgumentError, RecipeError), match=words):
        read_space(space, DLINEAR)


def test_words_of_a_command_line_state_a_space():
    assert space_of(None) is None
    words = ["d_model=16,32", "learning_rate=1e-4..1e-2:log", "n=1..4", "scaler=standard,null", "k=declared"]
    assert space_of(words) == {
        "d_model": [16, 32], "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "n": {"low": 1, "high": 4},
        "scaler": ["standard", None], "k": "declared",
    }


@pytest.mark.parametrize("word", ["d_model", "=3", "d_model=", "n=1..4:logg"])
def test_a_word_that_states_no_space_is_refused(word):
    with pytest.raises(ArgumentError, match="--space"):
        space_of([word])
