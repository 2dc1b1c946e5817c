"""A dimension knows its values, and is read from what a recipe states."""

from inspect import signature

import pytest

from tsforge.encoders import ENCODERS
from tsforge.errors import ArgumentError
from tsforge.estimators.parameters import own_arguments
from tsforge.local import LOCAL
from tsforge.models import MODELS
from tsforge.space import Choice, Integer, Real, read_dimension
from tsforge.training.arguments import TRAINING, TRAINING_SPACE

ROWS = [(catalog, name) for catalog in (MODELS, LOCAL, ENCODERS) for name in catalog.table]


@pytest.mark.parametrize("dimension", [Integer(1, 8), Integer(16, 128, step=16), Integer(1, 100, log=True),
                                       Real(0.0, 1.0), Real(1e-4, 1e-2, log=True), Choice(7, None, "a", [1, 2])],
                         ids=repr)
def test_what_a_dimension_states_is_read_as_the_same_dimension(dimension):
    assert read_dimension("key", dimension.plain()) == dimension


def test_a_dimension_holds_its_values_and_no_others():
    assert 32 in Integer(16, 128, step=16)
    assert 33 not in Integer(16, 128, step=16)
    assert True not in Integer(0, 2)
    assert 0.5 in Real(0.0, 1.0)
    assert 1 in Real(0.0, 1.0)
    assert 1.5 not in Real(0.0, 1.0)
    assert "a" not in Real(0.0, 1.0)
    assert True in Choice(False, True)
    assert 1 not in Choice(False, True)
    assert [1, 2] in Choice([1, 2], [3])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("many", "wanted a list of values"), (3, "wanted a list of values"), ([], "needs a value"),
        ([1, 1], "stands twice"), ({"low": 1}, "high is missing"), ({"low": 2, "high": 1}, "nothing between"),
        ({"low": 0.0, "high": 1.0, "log": True}, "has no logarithm"), ({"low": 1, "high": 4, "logg": True}, "'log'"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "none beside log"), ({"low": "a", "high": 2}, "a number"),
        ({"low": 0.1, "high": 1.0, "step": 2}, "whole numbers"), ({"low": 1, "high": 4, "log": 1}, "true or false"),
        ({"low": float("nan"), "high": 2.0}, "wanted a number"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_is_no_dimension_is_refused_with_its_key(given, words):
    with pytest.raises(ArgumentError, match=words) as raised:
        read_dimension("model.d_model", given)
    assert str(raised.value).startswith("space: model.d_model")


@pytest.mark.parametrize(("catalog", "name"), ROWS, ids=[f"{catalog.kind}-{name}" for catalog, name in ROWS])
def test_what_a_row_declares_are_arguments_of_its_constructor_and_its_defaults_lie_in_it(catalog, name):
    made = catalog[name]
    own = own_arguments(made) if catalog is not ENCODERS else signature(made).parameters
    for argument, dimension in made.space.items():
        assert argument in own
        assert own[argument].default in dimension, argument


def test_what_training_declares_are_training_arguments_with_their_defaults():
    assert all(TRAINING[name] in dimension for name, dimension in TRAINING_SPACE.items())


def test_every_neural_model_declares_something():
    assert all(MODELS[name].space for name in MODELS.table)
