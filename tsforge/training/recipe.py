"""Recipe: one YAML is one whole run. pydantic reads it at the edge and lives here alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, ValidationError, field_validator

from tsforge.errors import DataNotFoundError, RecipeError, suggest
from tsforge.training.overrides import overridden, read_yaml
from tsforge.training.recipe_parts import EvaluatePart, Part, SplitPart, SweepPart, ValidationPart


class Recipe(Part):
    """One whole run; or, with a grid, what the runs of a study share.

    Args:
        grid: Blocks of dotted keys with their values, whose products are the runs of a study.
        sweep: What `tsforge sweep` tries; a fit leaves it alone.
        frame: `name` of a dataset with its arguments, or `path` of a file; and roles.
        split: What trains and what tests.
        model: `name` and hyper-parameters, `h` and `input_size` among them.
        encoder: What takes the place of the model's embedding: a name, or `name` and its arguments.
        context: What tells the model of its window or series: one encoder or a list.
        task: What is asked of the model: a name, or `name` and its arguments; a forecast unless told.
        train: Training arguments.
        evaluate: How the test part is scored.
        validation: Windows before the test part that are scored first, by a model which has not seen them.
    """

    grid: list[dict[str, Any]] = Field(default_factory=list)
    sweep: SweepPart | None = None
    frame: dict[str, Any] = Field(default_factory=dict)
    split: SplitPart = SplitPart()
    model: dict[str, Any]
    encoder: str | dict[str, Any] | None = None
    context: str | dict[str, Any] | list[str | dict[str, Any]] | None = None
    task: str | dict[str, Any] | None = None
    train: dict[str, Any] = Field(default_factory=dict)
    evaluate: EvaluatePart = EvaluatePart()
    validation: ValidationPart | None = None

    @field_validator("grid", mode="before")
    @classmethod
    def _grid_has_blocks(cls, value: Any) -> Any:
        blocks = value if isinstance(value, list) else [value]
        if not blocks or not all(isinstance(block, Mapping) and block for block in blocks):
            raise ValueError("wanted a block of keys or a list of them, as in grid: {model.h: [24, 48]}")
        for key, values in (pair for block in blocks for pair in block.items()):
            if not isinstance(key, str) or not all(key.split(".")):
                raise ValueError(f"{key!r} is no key; wanted one such as model.name")
            if values == []:
                raise ValueError(f"{key} has no value")
        return blocks

    @field_validator("model")
    @classmethod
    def _model_has_a_name(cls, value: dict[str, Any], info: Any) -> dict[str, Any]:
        sweep = info.data.get("sweep")
        swept = sweep is not None and bool({"name", "model.name"} & (sweep.space or {}).keys())
        later = info.data.get("grid") != [] or swept
        if not later and not isinstance(value.get("name"), str):
            raise ValueError("needs a name, as in model: {name: timesnet, h: 96}")
        return value

    def plain(self) -> dict[str, Any]:
        """The recipe as JSON values; of a run, so without a grid and a sweep."""
        plain = self.model_dump(mode="json", exclude={"grid", "sweep"})
        return {key: part for key, part in plain.items() if part is not None}


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """The recipe of one run from a YAML file or from plain values, with `key=value` overrides.

    Raises:
        RecipeError: an unknown key (the nearest is named), a value of the wrong kind, or a grid.
        DataNotFoundError: there is no such file.
    """
    given = read_given(source)
    for override in overrides:
        given = overridden(given, override)
    recipe = check_recipe(given, source)
    if recipe.grid:
        name = source if isinstance(source, str | Path) else "RECIPE"
        raise RecipeError(f"{name}: a grid makes a study of several runs: start it with `tsforge study {name}`.")
    return recipe


def read_given(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """The plain values of a recipe, not checked.

    Raises:
        RecipeError: the file is no YAML of keys.
        DataNotFoundError: there is no such file.
    """
    return _load_yaml(Path(source)) if isinstance(source, str | Path) else dict(source)


def check_recipe(given: Mapping[str, Any], source: Any = None) -> Recipe:
    """The recipe that plain values are; messages begin with `source` where it names a file.

    Raises:
        RecipeError: an unknown key (the nearest is named), or a value of the wrong kind.
    """
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        raise RecipeError(_in_words(error, source)) from None


def _load_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataNotFoundError(f"There is no recipe at {path}.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: this is no text in UTF-8 ({error.reason} at byte {error.start}).") from None
    given = read_yaml(text, str(path))
    if not isinstance(given, dict):
        raise RecipeError(f"{path} holds no recipe: wanted keys such as frame, model and train.")
    return given


def _in_words(error: ValidationError, source: Any) -> str:
    where = f"{source}: " if isinstance(source, str | Path) else ""
    words: dict[str, str] = {}  # a value that may be of several kinds has a fault for each of them
    for fault in error.errors():
        path = _path(fault["loc"])
        place, wanted = ".".join(path), fault["msg"].removeprefix("Input should be ")
        if fault["type"] == "extra_forbidden":
            words[place] = f"there is no key {place!r}.{_nearest(path)}"
        elif fault["type"] == "missing":
            words[place] = f"the key {place!r} is missing."
        elif fault["type"] == "value_error":
            words[place] = f"{place}: {wanted.removeprefix('Value error, ')}."
        elif place in words:
            words[place] = f"{words[place].removesuffix('.')}, or {wanted}."
        else:
            words[place] = f"{place} = {fault['input']!r}: wanted {wanted}."
    return where + " ".join(words.values())


def _path(steps: Sequence[Any]) -> list[str]:
    """The keys that lead to a fault, without the kinds that pydantic tried there."""
    part: Any = Recipe
    for depth, step in enumerate(steps):
        fields = getattr(part, "model_fields", None)
        if fields is None:
            return [str(key) for key in steps[:depth]]
        part = _kind(fields[step].annotation) if step in fields else None
    return [str(key) for key in steps]


def _kind(annotation: Any) -> Any:
    """The part that a key is of, where it may be left out."""
    kinds = [kind for kind in get_args(annotation) if isinstance(kind, type) and issubclass(kind, Part)]
    return kinds[0] if kinds else annotation


def _nearest(path: list[str]) -> str:
    part: Any = Recipe
    for step in path[:-1]:
        part = _kind(part.model_fields[step].annotation)
    return suggest(path[-1], part.model_fields) or f" The keys are: {', '.join(part.model_fields)}."


class RunRecord(Part):
    """run.json: everything about a run but its numbers, which stand in model.safetensors."""

    format: int
    tsforge: str
    kind: Literal["deep", "local"]
    name: str
    arguments: dict[str, Any]
    recipe: dict[str, Any] | None
    roles: dict[str, Any]
    input_size: int = Field(ge=1)
    sizes: dict[str, Any]
    preparation: dict[str, Any]
    ids: list[Any]
    trained_until: list[int]
    scores: list[tuple[float, float]]
    history: list[dict[str, Any]]
    steps: int
    best_step: int | None
    versions: dict[str, str]
    fingerprint: str
    table_kind: str
    time_dtype: str
    test: list[dict[str, Any]] | None = None
    validation: dict[str, Any] | None = None
    adapted: list[dict[str, Any]] = Field(default_factory=list)  # how it was changed after it was fitted
    classes: list[StrictStr | StrictBool | StrictInt | StrictFloat] = Field(default_factory=list)  # of a classifier


def check_record(values: Any) -> RunRecord:
    """A record of a run, checked.

    Raises:
        RecipeError: it is not one.
    """
    try:
        return RunRecord.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
