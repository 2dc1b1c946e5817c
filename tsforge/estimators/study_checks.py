"""What is seen of a study before any of its cells is trained: faults, and the runs that are there already."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tsforge.errors import ArtifactError, OutputExistsError, RecipeError, TsforgeError
from tsforge.estimators.checks import check_h
from tsforge.estimators.grid import Cell
from tsforge.estimators.run import finished_run, prepare_run, rehearse, resolved_recipe, unfitted
from tsforge.estimators.study_cells import Frames, Outcome, by_frame, text_of
from tsforge.losses.spec import make_loss
from tsforge.training.arguments import TRAINING, TrainArguments
from tsforge.training.fit import NOT_THE_RESULT
from tsforge.training.recipe import Recipe, read_recipe


def check_cells(cells: Sequence[Cell]) -> None:
    """Makes the estimator of each cell and looks at all that can be seen without data.

    Raises:
        RecipeError: two cells are the same run, or a place of a recipe contradicts another.
        TsforgeError: as making the estimator or its loss raises it; the cell is named.
    """
    seen: dict[str, str] = {}
    for cell in cells:
        try:
            whole = text_of(_resolved(cell.recipe))
            check_recipe_arguments(cell.recipe, cell.recipe.split.val)
        except TsforgeError as error:
            raise type(error)(f"{cell.name}: {error}") from None
        if whole in seen:
            same = f"{seen[whole]} and {cell.name}" if seen[whole] != cell.name else f"two blocks state {cell.name}:"
            raise RecipeError(f"grid: {same} are the same run. Leave one of them out.")
        seen[whole] = cell.name


def check_recipe_arguments(recipe: Recipe, val: int | float | None) -> None:
    """Makes the estimator of a recipe and its loss; raises as they do."""
    arguments = unfitted(recipe, val).get_params(deep=False)
    check_h(arguments["h"])
    if "loss" in arguments:
        make_loss(TrainArguments(**{name: arguments[name] for name in TRAINING}).loss)


def check_data(cells: Sequence[Cell], frames: Frames, *, keep: bool) -> None:
    """Loads the frame of each cell, divides it, and rehearses each way of scoring.

    Args:
        cells: Those to be trained.
        frames: Where frames are kept.
        keep: Whether they are wanted in this process later.

    Raises:
        TsforgeError: as loading, dividing and scoring raise it; the cell is named.
    """
    seen = set()
    for cell in by_frame(cells):
        recipe = cell.recipe
        way = text_of([recipe.frame, recipe.split.model_dump(), recipe.evaluate.model_dump(), recipe.model["h"]])
        if way in seen:
            continue
        seen.add(way)
        try:
            if not keep:
                frames.keep([recipe.frame])
            model, divided = prepare_run(recipe, frames.of(recipe.frame))
            rehearse(model, recipe, divided)
        except TsforgeError as error:
            raise type(error)(f"{cell.name}: {error}") from None


def taken(cells: Sequence[Cell], out: Path, overwrite: bool) -> dict[str, Outcome]:
    """The cells whose run is there already.

    Raises:
        OutputExistsError: a run of another recipe stands in the place of a cell, and `overwrite` was not given.
        ArtifactError: what stands there is no whole run.
    """
    there: dict[str, Outcome] = {}
    other = []
    for cell in cells:
        if not (out / cell.name).exists():
            continue
        try:
            record = finished_run(out / cell.name)
        except ArtifactError:
            if not overwrite:
                raise
            continue
        if _same(record.recipe, cell.recipe):
            there[cell.name] = Outcome(cell.name, record.test or [])
        else:
            other.append(cell.name)
    if other and not overwrite:
        raise OutputExistsError(
            f"{out / other[0]} is a run of another recipe ({len(other)} such runs). Choose another place, restore the "
            "recipe, or replace these runs with overwrite=True (--overwrite)."
        )
    return there


def _same(stored: dict[str, Any] | None, recipe: Recipe) -> bool:
    """Whether a stored recipe, read as recipes are read today, is this one but for where and how fast it runs."""
    try:
        return stored is not None and _result_of(read_recipe(stored)) == _result_of(recipe)
    except TsforgeError:
        return False


def _result_of(recipe: Recipe) -> str:
    whole = _resolved(recipe)
    skip = set(NOT_THE_RESULT) - {"alias"}
    return text_of(whole | {"train": {key: value for key, value in whole["train"].items() if key not in skip}})


def _resolved(recipe: Recipe) -> dict[str, Any]:
    return resolved_recipe(recipe, unfitted(recipe, recipe.split.val))
