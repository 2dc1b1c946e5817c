"""Runs: a recipe becomes a fitted model in a folder, scored on its test part; and a folder becomes a model again."""

import logging
import math
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.data.load import load
from tsforge.errors import ArtifactError, CapabilityError, OutputExistsError, RecipeError, TsforgeError
from tsforge.estimators.base import Estimator, recorded_arguments
from tsforge.estimators.checks import check_h
from tsforge.estimators.division import Divided, divide, divide_rows, training_rows
from tsforge.estimators.ensemble import open_ensemble
from tsforge.estimators.ensemble_artifact import is_ensemble
from tsforge.estimators.estimator import estimator, from_recipe
from tsforge.estimators.exponents import with_exponents
from tsforge.estimators.fitted import read_fitted
from tsforge.estimators.nested import WAYS
from tsforge.estimators.outputs import last_rows
from tsforge.estimators.parameters import own_arguments, with_tuples
from tsforge.estimators.task_run import check_task_recipe, is_forecast, test_scores
from tsforge.estimators.tasks import TaskDeep
from tsforge.estimators.validation import Validated, Validation
from tsforge.evaluation.backtest import forecasts_at
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.frame.frame import Frame
from tsforge.training.artifact import read_run, refuse_existing
from tsforge.training.checkpoint import NAME, Checkpoint
from tsforge.training.recipe import Recipe, RunRecord
from tsforge.training.specs import resolved
from tsforge.training.tasks import read_task

log = logging.getLogger("tsforge")


@dataclass(frozen=True)
class Result:
    """What a recipe came to.

    Args:
        model: The fitted estimator.
        test: Scores on the test part, one row per model and metric; empty without a test part.
        windows: Test windows scored.
        validation: `metric`, `value`, `windows` of the validation windows; None where the recipe has none.
    """

    model: Estimator
    test: list[dict[str, Any]]
    windows: int
    validation: dict[str, Any] | None = None

    @property
    def table(self) -> list[dict[str, Any]]:
        """The scores with one row per model and one column per metric."""
        return scores_table(pl.DataFrame(self.test)).to_dicts() if self.test else []


def open_run(path: str | Path, *, classes: Iterable[type] = ()) -> Estimator:
    """The fitted estimator of a run folder.

    Args:
        path: The folder.
        classes: Encoders of your own that the run was made with, where no installed package names them.

    Raises:
        ArtifactError: the folder is not a whole, unchanged run of a format this version reads, or it names an encoder
            that is neither in the catalog nor among `classes`.
    """
    path, classes = Path(path), tuple(classes)
    if is_ensemble(path):
        return open_ensemble(path, lambda member: open_run(member, classes=classes))
    return open_with_record(path, classes)[0]


def open_task(path: Path, name: str) -> TaskDeep:
    """The fitted estimator of a run folder that was fitted for one task.

    Raises:
        CapabilityError: it was fitted for another.
    """
    model = open_run(path)
    if not isinstance(model, TaskDeep) or read_task(model.task).name != name:
        task = read_task(getattr(model, "task", "forecast"))
        raise CapabilityError(f"{path} is a run of {type(model).__name__} for {task.name}; this command needs one that "
                              f"was fitted with --task {name}.")
    return model


def open_with_record(path: Path, classes: Iterable[type] = ()) -> tuple[Estimator, RunRecord]:
    """The fitted estimator of the run folder of one model, and its record."""
    if is_ensemble(path):
        raise ArtifactError(f"{path} is an ensemble, which has no recipe and no test part: tsforge.open and `tsforge "
                            "predict` read it, and its members are run folders inside it.")
    classes = tuple(classes)
    fitted, record = read_fitted(path, classes)
    try:
        ways = {way: resolved(record.arguments[way], classes) for way in WAYS if way in record.arguments}
        made = estimator(record.name)
        model = made(**with_tuples(record.arguments, own_arguments(made.network)) | ways)
    except (TsforgeError, TypeError) as error:
        raise ArtifactError(f"{path}: the arguments of the run do not fit {record.name} ({error}).") from None
    model.fitted_ = fitted
    return model, record


def run_recipe(
    recipe: Recipe, out: Path, *, frame: Frame | None = None, resume: bool = False, overwrite: bool = False,
    verbose: bool = False, validated: Validated | None = None,
) -> Result:
    """Loads, fits, scores the test part where there is one, and writes the run folder `out`.

    The state of training stands in `OUT.partial` meanwhile, and is gone when `out` is there. `frame` is that of the
    recipe, where it is loaded already; `validated` is what its validation came to, where that is known.

    Raises:
        OutputExistsError: `out` exists, or the checkpoint of an unfinished run, and `overwrite` was not given.
        RecipeError: the recipe asks for a split that the data do not have.
        ArtifactError: `resume` was given and the checkpoint belongs to another training.
    """
    refuse_existing(out, overwrite)
    partial = _partial(out)
    _heed_checkpoint(out, resume, overwrite)
    model, divided = prepare_run(recipe, load_frame(recipe.frame) if frame is None else frame)
    rehearse(model, recipe, divided)
    if recipe.validation is not None and validated is None:
        validated = Validation(divided.fitted, recipe.validation, model.h, recipe.evaluate.level).of(model)
    if not resume:
        shutil.rmtree(partial, ignore_errors=True)
    try:
        model.fit(divided.fitted, checkpoint=partial, verbose=verbose)
    except TsforgeError:
        if not resume:  # what failed here would fail again
            shutil.rmtree(partial, ignore_errors=True)
        raise
    if int(os.environ.get("LOCAL_RANK", "0")):  # started to train beside the first process, which writes
        raise SystemExit(0)
    test = _score_or_keep(model, recipe, divided, out)
    said = None if validated is None else asdict(validated)
    model.fitted_.write(
        out, recorded_arguments(model), resolved_recipe(recipe, model), test=test or None, validation=said,
        overwrite=overwrite,
    )
    shutil.rmtree(partial, ignore_errors=True)
    return Result(model, test, 0 if divided.cutoffs is None else len(divided.cutoffs), said)


def finished_run(out: Path) -> RunRecord:
    """The record of a run that is whole; its checkpoint goes where a kill has left it beside the run.

    Raises:
        ArtifactError: the folder is no whole run.
    """
    record = read_run(out)[0]
    found = Checkpoint.read(_partial(out))
    if found is not None and found.progress.stopped and found.progress.history == record.history:
        shutil.rmtree(_partial(out))
    return record


def kept_training(out: Path) -> bool:
    """Whether a checkpoint is there from which the training of `out` can go on."""
    return (_partial(out) / NAME).exists()


def _partial(out: Path) -> Path:
    return out.with_name(f"{out.name}.partial")


def _heed_checkpoint(out: Path, resume: bool, overwrite: bool) -> None:
    kept = kept_training(out)
    if kept and not (resume or overwrite):
        raise OutputExistsError(
            f"{_partial(out)} holds an unfinished training: go on with resume=True (--resume), or throw it away with "
            "overwrite=True (--overwrite)."
        )
    if resume and not kept:
        log.info(f"There is no checkpoint in {_partial(out)}; the training starts at its first step.")


def prepare_run(recipe: Recipe, frame: Frame) -> tuple[Estimator, Divided]:
    """The estimator of a recipe, not fitted, and the parts of its frame.

    Raises:
        RecipeError: two places of the recipe state one argument, or the data do not have the split.
    """
    published = frame.split if recipe.split.protocol == "published" else None
    model = unfitted(recipe, recipe.split.val if published is None else published.val)
    if not is_forecast(recipe):
        return model, divide_rows(frame, recipe.split)
    return model, divide(frame, recipe.split, check_h(model.h))


def unfitted(recipe: Recipe, val: int | float | None) -> Estimator:
    """The estimator of a recipe whose split holds back `val` steps (int) or share; None states nothing.

    Raises:
        RecipeError: two places of the recipe state one argument, or none states h.
    """
    train = dict(recipe.train)
    if not is_forecast(recipe):
        check_task_recipe(recipe)
    elif "h" not in recipe.model:
        raise RecipeError("model.h is missing: the number of steps to forecast, as in model: {name: dlinear, h: 24}.")
    twice = sorted((recipe.model.keys() & train.keys()) - {"name"})
    if twice:
        raise RecipeError(f"model.{twice[0]} and train.{twice[0]} say the same thing twice: keep one of them.")
    if val is not None:
        if "val_size" in train or "val_size" in recipe.model:
            raise RecipeError(
                "train.val_size and split say the same thing twice: keep split.val, or the published split."
            )
        train["val_size"] = val
    ways = {way: getattr(recipe, way) for way in (*WAYS, "task")}
    return from_recipe({"model": recipe.model, **ways, "train": train})


def rehearse(model: Estimator, recipe: Recipe, divided: Divided) -> None:
    """Scores one window of each series, so that a fault of `evaluate` shows before a long training.

    The forecasts are those of seasonal naive; it takes no irregular rows, and there the last one goes on.

    Raises:
        UnknownNameError: there is no such metric.
        ArgumentError: a metric needs intervals and there is no level, or a level cannot be.
    """
    if divided.cutoffs is None:
        return
    some = divided.cutoffs.group_by("unique_id", maintain_order=True).first()
    if divided.frame.schema.irregular:
        forecasts = last_rows(divided.frame, some, model.h, recipe.evaluate.level)
    else:
        baseline = estimator("seasonal_naive")(h=model.h).fit(divided.fitted)
        forecasts = forecasts_at([baseline], divided.frame, some, level=recipe.evaluate.level, fit=False)
    level = log.level
    log.setLevel(logging.WARNING)  # what is left out is said once, when all windows are scored
    try:
        _scores(forecasts, model, recipe, divided)
    finally:
        log.setLevel(level)


def _score_or_keep(model: Estimator, recipe: Recipe, divided: Divided, out: Path) -> list[dict[str, Any]]:
    if divided.test is not None and isinstance(model, TaskDeep):
        return test_scores(model, divided.test)
    if divided.cutoffs is None:
        return []
    log.info(f"scoring {len(divided.cutoffs)} test windows")
    try:
        return score_test(model, recipe, divided)
    except TsforgeError as error:
        if not kept_training(out):
            raise
        raise type(error)(
            f"{error} The training is kept in {_partial(out)}: change `evaluate` and go on with --resume."
        ) from None


def score_test(model: Estimator, recipe: Recipe, divided: Divided) -> list[dict[str, Any]]:
    """Scores of the test windows: model, metric, value (None where there is none), cells.

    Seasonal naive is scored beside the model where rows are regular.
    """
    scores = _scores(forecasts_of_test(model, recipe, divided), model, recipe, divided)
    return [row | {"value": row["value"] if math.isfinite(row["value"]) else None} for row in scores.to_dicts()]


def _scores(forecasts: pl.DataFrame, model: Estimator, recipe: Recipe, divided: Divided) -> pl.DataFrame:
    part = recipe.evaluate
    train = training_rows(divided.fitted, model)
    metrics = with_exponents(part.metrics, divided.frame)
    return evaluate(
        forecasts, metrics, by=(), scale=part.scale, train=train, season=divided.frame.season, pool=part.pool
    )


def forecasts_of_test(
    model: Estimator, recipe: Recipe, divided: Divided, cutoffs: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Forecasts of the test windows by the model and, where rows are regular, by seasonal naive, beside the truth."""
    cutoffs = divided.cutoffs if cutoffs is None else cutoffs
    assert cutoffs is not None
    baseline = estimator("seasonal_naive")(h=model.h)
    models = [model]
    if model.name != baseline.name and not divided.frame.schema.irregular:
        models.append(baseline.fit(divided.fitted))
    return forecasts_at(models, divided.frame, cutoffs, level=recipe.evaluate.level, fit=False)


def load_frame(part: dict[str, Any]) -> Frame:
    """The frame that a recipe names: `name` of a dataset, `path` of a file, or `data`, which may be either.

    Raises:
        RecipeError: it names none, or two.
    """
    given = dict(part)
    sources = {key: given.pop(key) for key in ("name", "path", "data") if key in given}
    if len(sources) != 1 or not isinstance(next(iter(sources.values())), str):
        raise RecipeError("frame: wanted the name of a dataset or the path of a file, as in frame: {name: etth1}.")
    source = next(iter(sources.values()))
    return load(Path(source) if "path" in sources else source, **given)


def resolved_recipe(recipe: Recipe, model: Estimator) -> dict[str, Any]:
    """The recipe with every default written out, as it is stored in the run; it runs again."""
    plain = recipe.plain() | model.to_recipe()
    if recipe.split.protocol is not None or recipe.split.val is not None:
        del plain["train"]["val_size"]  # the split states it
    return plain


def source_of(part: dict[str, Any]) -> str:
    """The dataset or file that the frame part of a recipe names."""
    return str(next((part[key] for key in ("name", "path", "data") if key in part), "a frame"))
