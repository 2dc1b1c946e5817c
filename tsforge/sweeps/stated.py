"""What a command line states of a sweep, as a recipe does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tsforge.errors import ArgumentError, RecipeError
from tsforge.training.overrides import overridden, read_yaml
from tsforge.training.recipe import Recipe, check_recipe, read_given


def swept(source: str | Path | Mapping[str, Any], overrides: Sequence[str], part: Mapping[str, Any]) -> Recipe:
    """The recipe of a sweep: what is given, with overrides, and with what else is stated of its `sweep` part.

    Raises:
        RecipeError: it cannot be read, or has a grid.
        DataNotFoundError: there is no such file.
    """
    given = read_given(source)
    for override in overrides:
        given = overridden(given, override)
    recipe = check_recipe({**given, "sweep": {**(given.get("sweep") or {}), **part}}, source)
    if recipe.grid:
        raise RecipeError(f"{source}: a grid makes a study of several runs; leave it out, or state it as a space.")
    return recipe


def space_of(words: Sequence[str] | None) -> dict[str, Any] | None:
    """`["d_model=16,32", "learning_rate=1e-4..1e-2:log"]` as a recipe states it; None of nothing.

    Raises:
        ArgumentError: a word cannot be read.
    """
    return dict(_dimension(word) for word in words) if words else None


def _dimension(word: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    if not equals or not key.strip() or not text.strip():
        raise ArgumentError(f"--space {word!r}: wanted key=16,32,64, key=1..4 or key=0.0001..0.01:log.")
    if text == "declared":
        return key.strip(), text
    if ".." in text:
        ends, _, log = text.partition(":")
        if log not in ("", "log"):
            raise ArgumentError(f"--space {word!r}: after the ends comes :log or nothing.")
        low, _, high = ends.partition("..")
        return key.strip(), {"low": _value(low, word), "high": _value(high, word)} | ({"log": True} if log else {})
    return key.strip(), [_value(part, word) for part in text.split(",")]


def _value(text: str, word: str) -> Any:
    return read_yaml(text, f"--space {word!r}")
