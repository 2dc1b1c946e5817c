"""Grid: the recipe of a study becomes the recipes of its runs, each with a name of its own.

Blocks    A block maps dotted keys to a value or a list of values and stands for the product of its lists, as
          `param_grid` of scikit-learn does; an argument that is a list itself is a list in a list.
Names     `dlinear_96_seed0`: model, h and seed as far as the grid states them; runs alike in model and h are told apart
          by the other keys in which they differ.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from inspect import signature
from itertools import product
from pathlib import Path
from typing import Any

from tsforge.errors import RecipeError
from tsforge.estimators.estimator import estimator
from tsforge.local import LOCAL
from tsforge.training.arguments import TRAINING
from tsforge.training.overrides import WHOLE, read_override, replaced, whole_path
from tsforge.training.recipe import Recipe, check_recipe, read_given, read_recipe

NAME, H, SEED = "model.name", "model.h", "train.seed"
LONGEST = 100  # letters of a name; file systems take 255 bytes
TAKEN = (".partial", ".json", ".csv")  # endings of what else stands in the folder of a study


@dataclass(frozen=True)
class Cell:
    """One run of a study.

    Args:
        name: Its folder.
        recipe: The whole of it.
        setting: What its block of the grid states, by whole dotted key.
        told: The part of `setting` that its name is made of.
    """

    name: str
    recipe: Recipe
    setting: dict[str, Any]
    told: dict[str, Any]


def read_grid(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> list[Cell]:
    """The runs of a study, in the order of its blocks; the last list of a block changes fastest.

    Args:
        source: A YAML file, or its plain values.
        overrides: `key=value`, for all runs: what the grid states for that key is left out.

    Raises:
        RecipeError: there is no grid, a key stands twice, or a recipe cannot be read.
        DataNotFoundError: there is no such file.
    """
    shared = {"model": {}} | read_given(source)
    blocks = check_recipe(shared, source).grid
    if not blocks:
        name = source if isinstance(source, str | Path) else "RECIPE"
        raise RecipeError(f"{name}: there is no grid, so this is one run: start it with `tsforge fit {name}`.")
    del shared["grid"]
    for pair in overrides:
        path, value = read_override(pair)
        path = whole_path(path, shared["model"], "--set ")
        shared, blocks = replaced(shared, path, value), [_without(block, path) for block in blocks]
    settings, recipes = [], []
    for block in blocks:
        for chosen in product(*(values if isinstance(values, list) else [values] for values in block.values())):
            given, setting = run_of(shared, dict(zip(block, chosen, strict=True)))
            settings.append(setting)
            recipes.append(_read(given, setting, source))
    told = [_told(settings, number) for number in range(len(settings))]
    return [Cell(*parts) for parts in zip(_names(told, recipes), recipes, settings, told, strict=True)]


def _without(block: dict[str, Any], path: list[str]) -> dict[str, Any]:
    """The block without a key that an override states; a bare key of a block is of the same part."""
    whole = ".".join(path)
    for key in block:
        if key.startswith(f"{whole}.") or whole.startswith(f"{key}."):
            raise RecipeError(f"--set {whole}: the grid states {key}; give that one whole.")
    same = (whole, path[1]) if path[0] in ("model", "train") and len(path) == 2 else (whole,)
    return {key: values for key, values in block.items() if key not in same}


def run_of(shared: dict[str, Any], chosen: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The plain recipe of a run, and what it states beyond the shared part, by whole key."""
    name = next((chosen[key] for key in (NAME, "name") if key in chosen), shared["model"].get("name"))
    model = shared["model"] | ({} if name is None else {"name": name})
    parts = {"model": _taken(model, model, ["input_size"]), "train": _taken(shared.get("train", {}), model, TRAINING)}
    given, setting = _taken(shared, model, WHOLE) | parts, {}
    for key, value in chosen.items():
        path = whole_path(key.split("."), model, "grid: ")
        whole = ".".join(path)
        twin = next((k for k in setting if f"{k}.".startswith(f"{whole}.") or whole.startswith(f"{k}.")), None)
        if twin is not None:
            raise RecipeError(f"grid: {twin} and {whole} state one thing twice in a block: keep one of them.")
        given, setting[whole] = replaced(given, path, value), value
    return given, setting


def _taken(part: dict[str, Any], model: dict[str, Any], neural: Iterable[str]) -> dict[str, Any]:
    """What all runs share, for a local model without those of the `neural` arguments that it lacks."""
    name = model.get("name")
    if not isinstance(name, str) or name not in LOCAL:
        return part
    takes = signature(estimator(name)).parameters
    return {key: value for key, value in part.items() if key in takes or key not in neural}


def _read(given: dict[str, Any], setting: dict[str, Any], source: Any) -> Recipe:
    try:
        return read_recipe(given)
    except RecipeError as error:
        where = f"{source}: " if isinstance(source, str | Path) else ""
        raise RecipeError(f"{where}{error} This is the run {_words(setting)} of the grid.") from None


def _told(settings: list[dict[str, Any]], number: int) -> dict[str, Any]:
    """The keys of a setting that name it: see the head of this file."""
    own = settings[number]
    alike = [other for other in settings if all(other.get(key) == own.get(key) for key in (NAME, H))]
    differ = [
        key for key in own
        if key not in (NAME, H, SEED) and any(key not in other or other[key] != own[key] for other in alike)
    ]
    return {key: own[key] for key in (NAME, H, *differ, SEED) if key in own}


def _names(told: list[dict[str, Any]], recipes: list[Recipe]) -> list[str]:
    """A folder name each; where two would be one, or a name will not do, a digest of the recipe is added."""
    plain = [_words(part) for part in told]
    folded = [name.lower() for name in plain]  # some file systems see no capitals
    names = []
    for name, recipe in zip(plain, recipes, strict=True):
        if folded.count(name.lower()) > 1 or len(name) > LONGEST or name.endswith(TAKEN):
            content = json.dumps(recipe.plain(), sort_keys=True, default=str).encode()
            name = f"{name[:LONGEST]}_{blake2b(content, digest_size=4).hexdigest()}"
        names.append(name)
    return names


def _words(setting: dict[str, Any]) -> str:
    """`dlinear_96_d_model16_no-context_seed0`; a word speaks for itself, a number needs its key."""
    parts = []
    for key, value in setting.items():
        word = key.rpartition(".")[2]
        if value is None or value in ([], {}):
            parts.append(f"no-{word}")
            continue
        alone = isinstance(value, str) or key == H
        text = json.dumps(value, default=str) if isinstance(value, dict | list) else str(value)
        parts.append(re.sub(r"[^\w.=+]+", "-", text if alone else f"{word}{text}", flags=re.ASCII))
    return "_".join(parts).strip("-.") or "run"
