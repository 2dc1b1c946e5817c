"""Recipe: one YAML is one whole run. pydantic reads it at the edge and lives here alone."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tsforge.errors import DataNotFoundError, RecipeError, suggest
from tsforge.training.arguments import TRAINING


class Part(BaseModel):
    """A part of a recipe that knows its keys."""

    model_config = ConfigDict(extra="forbid")


class SplitPart(Part):
    """What is trained on, held back and tested.

    Args:
        protocol: "published" takes the split that the dataset states.
        val: Last steps (int) or share (float) of the training part held back; None follows the training arguments.
        test: Last steps of each series kept for the test.
        cutoff: The last time that may be trained on; what follows is the test part.
        windows: Test windows: "all", or this many.
        step: Steps between the cutoffs of test windows; None is 1 for all windows, else h.
    """

    protocol: Literal["published"] | None = None
    val: int | float | None = None
    test: int | None = Field(default=None, ge=1)
    cutoff: Any = None
    windows: Literal["all"] | int = "all"
    step: int | None = Field(default=None, ge=1)

    @property
    def tests(self) -> bool:
        """Whether there is a test part."""
        return self.protocol is not None or self.test is not None or self.cutoff is not None


class EvaluatePart(Part):
    """How the test part is scored.

    Args:
        metrics: Names of metrics.
        scale: "train" standardises by the training rows, as published tables do.
        level: Percents of the intervals to score.
        pool: Averages rows instead of series.
    """

    metrics: list[str] = ["mse", "mae"]
    scale: Literal["train"] | None = None
    level: list[float] = []
    pool: bool = False


class Recipe(Part):
    """One whole run.

    Args:
        frame: `name` of a dataset with its arguments, or `path` of a file; and roles.
        split: What trains and what tests.
        model: `name` and hyper-parameters, `h` and `input_size` among them.
        train: Training arguments.
        evaluate: How the test part is scored.
    """

    frame: dict[str, Any] = {}
    split: SplitPart = SplitPart()
    model: dict[str, Any]
    train: dict[str, Any] = {}
    evaluate: EvaluatePart = EvaluatePart()

    @field_validator("model")
    @classmethod
    def _model_has_a_name(cls, value: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(value.get("name"), str):
            raise ValueError("model needs a name, as in model: {name: timesnet, h: 96}")
        return value

    def plain(self) -> dict[str, Any]:
        """The recipe as JSON values."""
        return self.model_dump(mode="json")


def read_recipe(source: str | Path | Mapping[str, Any], overrides: Sequence[str] = ()) -> Recipe:
    """A recipe from a YAML file or from plain values, with `key=value` overrides.

    Raises:
        RecipeError: an unknown key (the nearest is named), or a value of the wrong kind.
        DataNotFoundError: there is no such file.
    """
    given = _load_yaml(Path(source)) if isinstance(source, str | Path) else dict(source)
    for override in overrides:
        given = _overridden(given, override)
    try:
        return Recipe.model_validate(given)
    except ValidationError as error:
        raise RecipeError(_in_words(error, source)) from None


def _load_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise DataNotFoundError(f"There is no recipe at {path}.")
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is no YAML: {error}") from None
    if not isinstance(given, dict):
        raise RecipeError(f"{path} holds no recipe: wanted keys such as frame, model and train.")
    return given


def _overridden(given: dict[str, Any], override: str) -> dict[str, Any]:
    """`train.max_steps=10`; a bare key is of `model` or `train`, whichever knows it."""
    name, equals, text = override.partition("=")
    if not equals:
        raise RecipeError(f"--set {override!r}: wanted key=value, as in --set train.max_steps=10.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        value = text
    path = name.strip().split(".")
    if len(path) == 1:
        path = ["train" if path[0] in TRAINING else "model", path[0]]
    changed = dict(given)
    place = changed
    for step in path[:-1]:
        inner = place.get(step)
        place[step] = dict(inner) if isinstance(inner, Mapping) else {}
        place = place[step]
    place[path[-1]] = number(value)
    return changed


def number(value: Any) -> Any:
    """`1e-4` is a float: YAML 1.1 reads it as text for want of a dot."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _in_words(error: ValidationError, source: Any) -> str:
    where = f"{source}: " if isinstance(source, str | Path) else ""
    words = []
    for fault in error.errors():
        place = ".".join(str(step) for step in fault["loc"])
        if fault["type"] == "extra_forbidden":
            parent: Any = Recipe
            for step in fault["loc"][:-1]:
                parent = parent.model_fields[step].annotation
            known = list(parent.model_fields)
            hint = suggest(str(fault["loc"][-1]), known) or f" The keys are: {', '.join(known)}."
            words.append(f"there is no key {place!r}.{hint}")
        elif fault["type"] == "missing":
            words.append(f"the key {place!r} is missing.")
        else:
            words.append(f"{place} = {fault['input']!r}: {fault['msg'].removeprefix('Value error, ')}.")
    return where + " ".join(words)


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
