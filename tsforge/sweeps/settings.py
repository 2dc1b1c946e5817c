"""The settings of a sweep: dotted keys of a recipe with what they may be, and what a trial takes.

    model.d_model: [16, 32, 64]                       one of these
    train.learning_rate: {low: 1e-4, high: 1e-2, log: true}
    model.top_k: declared                             what the model states beside itself
    model: declared                                   all that it states; train and encoder likewise
    model.name: {dlinear: declared, timesnet: {d_model: [16, 32]}}     a choice, each with a space of its own
    encoder: {none: {}, phnn: {encoder.n: [2, 4]}}
    train.max_steps: 200                              a value that is only set
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tsforge.encoders import ENCODERS
from tsforge.errors import ArgumentError, TsforgeError, suggest
from tsforge.estimators.estimator import from_recipe
from tsforge.estimators.grid import NAME, run_of
from tsforge.local import LOCAL
from tsforge.models import MODELS
from tsforge.space import Choice, Declared, Dimension, Integer, Real, read_dimension
from tsforge.training.arguments import TRAINING_SPACE
from tsforge.training.overrides import WHOLE, whole_path

DECLARED = "declared"
PARTS = ("model", "train", "encoder")
Settings = dict[str, Any]  # by dotted key
Params = dict[str, Any]  # by name, as a study keeps them


@dataclass(frozen=True)
class Leaf:
    """A key and what it may be; `name` is what a study calls it."""

    name: str
    key: str
    dimension: Dimension


@dataclass(frozen=True)
class Fixed:
    """A key that is only set."""

    key: str
    value: Any


@dataclass(frozen=True)
class Branch:
    """A choice, each with a space of its own: label -> the key and value that it sets, and its space."""

    name: str
    choices: Mapping[str, tuple[str, Any, "Space"]]


@dataclass(frozen=True)
class Space:
    """What a sweep may set."""

    items: tuple[Leaf | Fixed | Branch, ...]

    def drawn(self, trial: Any) -> Settings:
        """The settings that a trial of optuna takes."""
        settings: Settings = {}
        for item in self.items:
            if isinstance(item, Fixed):
                settings[item.key] = item.value
            elif isinstance(item, Leaf):
                settings[item.key] = _draw(trial, item.name, item.dimension)
            else:
                key, value, inside = item.choices[trial.suggest_categorical(item.name, list(item.choices))]
                settings |= {key: value} | inside.drawn(trial)
        return settings

    def named(self, value_of: Callable[[str, Settings], Any], before: Settings | None = None) -> Params:
        """The parameters whose values lie in the space; those of other values are left to be drawn.

        Args:
            value_of: The value of a key, where these settings hold; raises KeyError where it has none.
            before: Settings that hold around this space.
        """
        params, settings = Params(), dict(before or {})
        settings |= {item.key: item.value for item in self.items if isinstance(item, Fixed)}
        for item in self.items:
            try:
                if isinstance(item, Leaf):
                    params |= _param(item.name, item.dimension, value_of(item.key, settings))
                elif isinstance(item, Branch):
                    params |= _branch_params(item, value_of, settings)
            except KeyError:
                continue
        return params

    def keys(self, *, chosen: bool = False) -> set[str]:
        """All keys that may be set, or those alone of which there is something to choose."""
        found: set[str] = set()
        for item in self.items:
            if isinstance(item, Branch):
                for key, _, inside in item.choices.values():
                    found |= {key} | inside.keys(chosen=chosen)
            elif isinstance(item, Leaf) or not chosen:
                found.add(item.key)
        return found


def _branch_params(branch: Branch, value_of: Callable[[str, Settings], Any], settings: Settings) -> Params:
    for label, (key, value, inside) in branch.choices.items():
        if _alike(value_of(key, settings), value):
            return {branch.name: label} | inside.named(value_of, settings | {key: value})
    return {}


def _alike(found: Any, value: Any) -> bool:
    return found == value and type(found) is type(value)


def _param(name: str, dimension: Dimension, value: Any) -> Params:
    if value not in dimension:
        return {}
    return {name: _codes(dimension)[dimension.values.index(value)] if isinstance(dimension, Choice) else value}


def _codes(choice: Choice) -> list[Any]:
    """What a study is shown of the values: themselves, or their JSON where it takes no such values."""
    simple = all(value is None or isinstance(value, bool | int | float | str) for value in choice.values)
    if simple and len(set(choice.values)) == len(choice.values):
        return list(choice.values)
    return [json.dumps(value) for value in choice.values]


def _draw(trial: Any, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, Integer):
        high = dimension.low + (dimension.high - dimension.low) // dimension.step * dimension.step
        return trial.suggest_int(name, dimension.low, high, step=dimension.step, log=dimension.log)
    if isinstance(dimension, Real):
        return trial.suggest_float(name, dimension.low, dimension.high, log=dimension.log)
    codes = _codes(dimension)
    return dimension.values[codes.index(trial.suggest_categorical(name, codes))]


def read_space(given: Mapping[str, Any] | None, recipe: Mapping[str, Any]) -> Space:
    """The space that a recipe states; None is all that its model and its encoder declare.

    Raises:
        ArgumentError: a key stands twice or has no value, or nothing is declared for it.
        RecipeError: a bare key may mean two parts.
    """
    model = recipe.get("model", {})
    if given is None:
        parts = [part for part in PARTS if part == "model" or _declared_of(part, model, recipe.get("encoder"))]
        given = dict.fromkeys(parts, DECLARED)
    space = Space(tuple(_items(given, model, recipe.get("encoder"), "")))
    if not any(not isinstance(item, Fixed) for item in space.items):
        raise ArgumentError(
            f"space: there is nothing to choose for {model.get('name')}. State what may be tried, as in "
            "space: {train.learning_rate: {low: 0.0001, high: 0.01, log: true}}."
        )
    return space


def _items(given: Mapping[Any, Any], model: Mapping[str, Any], encoder: Any, prefix: str) -> list[Any]:
    parts = [raw for raw, value in given.items() if raw in PARTS and value == DECLARED]
    stated = {_whole(str(raw), value, model): value for raw, value in given.items() if raw not in parts}
    if len(stated) + len(parts) < len(given):
        raise ArgumentError(f"space: {', '.join(map(str, given))}: a key stands twice, bare and with its part.")
    items: list[Any] = [
        Leaf(f"{prefix}{part}.{name}", f"{part}.{name}", dim) for part in parts
        for name, dim in _declared_of(part, model, encoder).items() if f"{part}.{name}" not in stated
    ]
    items += [_item(key, value, model, encoder, prefix) for key, value in stated.items()]
    return items


def _whole(raw: str, value: Any, model: Mapping[str, Any]) -> str:
    """A key with its part; the choice of an encoder is that of its name."""
    key = ".".join(whole_path(raw.split("."), model, "space: "))
    return "encoder.name" if key == "encoder" and isinstance(value, Mapping) else key


def _item(key: str, value: Any, model: Mapping[str, Any], encoder: Any, prefix: str) -> Leaf | Fixed | Branch:
    name = f"{prefix}{key}"
    if value == DECLARED:
        part, _, argument = key.partition(".")
        dims = _declared_of(part, model, encoder)
        if argument not in dims:
            raise ArgumentError(f"space: {key}: nothing is declared for it.{suggest(argument, dims)} Give its values.")
        return Leaf(name, key, dims[argument])
    if isinstance(value, Mapping) and not {"low", "high"} & value.keys():
        choices = {_label(made): _choice(key, made, inside, model, encoder, prefix) for made, inside in value.items()}
        if not choices:
            raise ArgumentError(f"space: {key} has no choice.")
        return Branch(name, choices)
    if isinstance(value, Mapping | list | tuple | Integer | Real | Choice):
        return Leaf(name, key, read_dimension(key, value))
    return Fixed(key, value)


def _label(value: Any) -> str:
    return "none" if value is None else str(value)


def _choice(
    key: str, label: Any, inside: Any, model: Mapping[str, Any], encoder: Any, prefix: str
) -> tuple[str, Any, Space]:
    """What a label of a branch sets, and the space that it opens."""
    value = None if key == "encoder.name" and label in (None, "none") else label
    if key == NAME:
        model = {**model, "name": value}
        inside = dict.fromkeys(("model", "train"), DECLARED) if inside == DECLARED else inside
        if str(value) not in {*MODELS, *LOCAL}:
            raise ArgumentError(f"space: there is no model named {value!r}.{suggest(str(value), {*MODELS, *LOCAL})}")
    if key == "encoder.name":
        encoder = value
        inside = {"encoder": DECLARED} if inside == DECLARED else inside
    if not isinstance(inside, Mapping | None):
        raise ArgumentError(f"space: {key}: {label}: wanted a space, {{}} or {DECLARED!r}, and it is {inside!r}.")
    items = tuple(_items(inside or {}, model, encoder, f"{prefix}{_label(label)}/"))
    return ("encoder" if key == "encoder.name" and value is None else key), value, Space(items)


def _declared_of(part: str, model: Mapping[str, Any], encoder: Any) -> Declared:
    """What is stated beside a model, of training, or beside an encoder; nothing where there is no such thing."""
    name = model.get("name")
    if part == "train":
        return TRAINING_SPACE if name in MODELS else {}
    if part == "model":
        catalog = MODELS if name in MODELS else LOCAL
        if not isinstance(name, str) or name not in catalog:
            return {}
        return catalog[name].space
    named = encoder.get("name") if isinstance(encoder, Mapping) else encoder
    return ENCODERS[named].space if isinstance(named, str) and named in ENCODERS else {}


def trial_recipe(recipe: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The recipe of a trial."""
    whole = [(key, value) for key, value in settings.items() if key in WHOLE]  # before the keys inside them
    return run_of(dict(recipe), dict(whole) | settings)[0]


def own_params(space: Space, recipe: Mapping[str, Any]) -> Params:
    """The recipe's own values, defaults included, as far as they lie in the space."""

    def value_of(key: str, settings: Settings) -> Any:
        made = trial_recipe(recipe, settings)
        part, _, argument = key.partition(".")
        if key == "encoder.name":
            encoder = made.get("encoder")
            return encoder.get("name") if isinstance(encoder, Mapping) else encoder
        if key == NAME:
            return made["model"]["name"]
        try:
            arguments = from_recipe({"train": {}, **made}).get_params()
        except (TsforgeError, TypeError):
            raise KeyError(key) from None
        return arguments[f"encoder__{argument}" if part == "encoder" else argument]

    return space.named(value_of)


def stated_params(space: Space, settings: Mapping[str, Any], model: Mapping[str, Any]) -> Params:
    """The parameters of settings that a user states.

    Raises:
        ArgumentError: a key is not in the space, or a value is not.
    """
    whole = {".".join(whole_path(str(key).split("."), model, "start: ")): value for key, value in settings.items()}
    whole = {"encoder.name" if key == "encoder" else key: value for key, value in whole.items()}
    known = space.keys()
    unknown = next((key for key in whole if key not in known), None)
    if unknown is not None:
        raise ArgumentError(f"start: {unknown} is not in the space.{suggest(unknown, known)}")
    params = space.named(lambda key, _: whole[key])
    if len(params) < len(whole):
        raise ArgumentError(f"start: {dict(settings)}: a value is not in the space, or its choice is not stated.")
    return params


def declared_values(recipe: Mapping[str, Any]) -> Settings:
    """What a recipe states of the keys that its model and its training declare."""
    found: Settings = {}
    for part in ("model", "train"):
        dims = _declared_of(part, recipe["model"], None)
        stated = recipe.get(part, {})
        found |= {f"{part}.{name}": stated[name] for name, dim in dims.items() if stated.get(name, dims) in dim}
    return found
