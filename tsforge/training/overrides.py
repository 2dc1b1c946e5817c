"""YAML as recipes are written in it, and `key=value` overrides of a recipe."""

import re
from collections.abc import Mapping
from inspect import signature
from typing import Any

import yaml

from tsforge.errors import RecipeError
from tsforge.local import LOCAL
from tsforge.models import MODELS
from tsforge.training.arguments import TRAINING

WHOLE = ("encoder", "context", "task")  # parts that may be a name alone
EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


class _Yaml(yaml.SafeLoader):
    """Reads `1e-4` as a number, which YAML 1.1 takes for text, and refuses a key that stands twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} stands twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


_Yaml.add_implicit_resolver("tag:yaml.org,2002:float", EXPONENT, list("-+.0123456789"))


def read_yaml(text: str, where: str) -> Any:
    """The values in a YAML text.

    Raises:
        RecipeError: it is no YAML; names `where` it stands and the line.
    """
    try:
        loader = _Yaml(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise RecipeError(f"{where}{line}: this is no YAML ({error.problem or error.context}).") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{where}: this is no YAML ({' '.join(str(error).split())}).") from None


def read_override(pair: str) -> tuple[list[str], Any]:
    """`"train.max_steps=10"` -> (["train", "max_steps"], 10).

    Raises:
        RecipeError: it is no `key=value`, or the value is no YAML.
    """
    name, equals, text = pair.partition("=")
    path = name.strip().split(".")
    if not equals or not all(path):
        raise RecipeError(f"--set {pair!r}: wanted key=value, as in --set train.max_steps=10.")
    return path, read_yaml(text, f"--set {pair!r}")


def overridden(given: Mapping[str, Any], pair: str) -> dict[str, Any]:
    """The recipe with one key changed; a bare key is of `model` or of `train`.

    Raises:
        RecipeError: the override cannot be read, or its bare key may mean either part.
    """
    path, value = read_override(pair)
    return replaced(given, whole_path(path, given.get("model"), "--set "), value)


def whole_path(path: list[str], model: Any, where: str) -> list[str]:
    """The path of a key, with its part where it is bare: `model`, or `train` for a training argument.

    Args:
        path: Steps of the key.
        model: The `model` part that the key goes with.
        where: Begins the message.

    Raises:
        RecipeError: a bare key may mean either part.
    """
    return path if len(path) > 1 or path[0] in WHOLE else [_part_of(path[0], model, where), *path]


def replaced(given: Mapping[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    """The recipe with another value at a path; what was given is left as it was.

    Raises:
        RecipeError: the key is of one encoder, and there are several.
    """
    changed = place = dict(given)
    if len(path) > 1 and path[0] in WHOLE:
        place[path[0]] = _arguments_of(place.get(path[0]), ".".join(path))
    for step in path[:-1]:
        inner = place.get(step)
        place[step] = dict(inner) if isinstance(inner, Mapping) else {}
        place = place[step]
    place[path[-1]] = value
    return changed


def _arguments_of(part: Any, key: str) -> Any:
    """An encoder or a task that is a name alone, as one with arguments."""
    if isinstance(part, list):
        raise RecipeError(f"{key}: there is a list of {len(part)} encoders. State the whole list in the recipe.")
    return {"name": part} if isinstance(part, str) else part


def _part_of(name: str, model: Any, where: str) -> str:
    if name not in TRAINING:
        return "model"
    stated = model if isinstance(model, Mapping) else {}
    own = name in stated or name in _own_arguments(stated.get("name"))
    if own and stated.get("name") in LOCAL:  # which is not trained by steps: `seed` can be its own alone
        return "model"
    if own:
        raise RecipeError(f"{where}{name}: this may mean model.{name} or train.{name}; write the one you mean.")
    return "train"


def _own_arguments(name: Any) -> tuple[str, ...]:
    """What the constructor of a row takes; nothing where there is no such row, which is found out later."""
    catalog = next((rows for rows in (MODELS, LOCAL) if isinstance(name, str) and name in rows), None)
    return () if catalog is None else tuple(signature(catalog[name]).parameters)
