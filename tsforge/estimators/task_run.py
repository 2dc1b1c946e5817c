"""Runs of tasks beside the forecast: the test rows of a recipe, and what a fitted model is worth on them."""

from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import RecipeError
from tsforge.estimators.tasks import TaskDeep
from tsforge.evaluation.metrics.curves import average_precision
from tsforge.evaluation.metrics.detection import point_adjusted, precision_recall_f1, vus_pr
from tsforge.frame.frame import Frame
from tsforge.frame.labels import KEYS
from tsforge.training.recipe import Recipe
from tsforge.training.tasks import Anomaly, Imputation, read_task

BUFFER = 100  # steps of the volume under the curves


def is_forecast(recipe: Recipe) -> bool:
    """Whether a recipe asks for a forecast."""
    return recipe.task is None or read_task(recipe.task).name == "forecast"


def check_task_recipe(recipe: Recipe) -> None:
    """Raises RecipeError where a recipe of another task has parts that speak of forecasts."""
    if "h" in recipe.model:
        raise RecipeError("model.h: a forecast has a horizon, this task has none. Leave it out.")
    if recipe.validation is not None:
        raise RecipeError("validation: its windows are forecast, which this task does not do. Leave it out.")
    if recipe.split.tests and recipe.task is not None and read_task(recipe.task).name == "classification":
        raise RecipeError("split: a class is of a whole series, so no rows of it are a test part. Load the test series "
                          "apart, and ask tsforge predict.")


def test_scores(model: TaskDeep, test: Frame) -> list[dict[str, Any]]:
    """`model, metric, value, cells` of an imputer or a detector on test rows.

    An imputer stands beside linear interpolation of the same cells. A detector that finds labels of steps in the frame
    is judged by those of its first column; thresholds are of training rows.
    """
    task = read_task(model.task)
    errors = model.reconstruction_errors(test)
    rows = [_row(model.name, metric, errors[metric], int(errors["cells"])) for metric in ("mse", "mae")]
    if isinstance(task, Imputation):
        beside = model.interpolation_errors(test)
        rows += [_row("Interpolation", metric, beside[metric], int(beside["cells"])) for metric in ("mse", "mae")]
    if isinstance(task, Anomaly) and test.labels is not None and "ds" in test.labels.columns:
        rows += _detection(model, test)
    return rows


def _detection(model: TaskDeep, test: Frame) -> list[dict[str, Any]]:
    found = model.step_scores_of(test)
    label = next(name for name in test.labels.columns if name not in KEYS)  # pyright: ignore[reportOptionalMemberAccess]
    found = found.join(test.labels.select(*KEYS, label), on=KEYS, how="left", maintain_order="left")  # pyright: ignore[reportOptionalMemberAccess]
    found = found.filter(pl.col(label).is_not_null(), pl.col("score").is_not_null())
    truth, scores, series = found[label].to_numpy(), found["score"].to_numpy(), found["unique_id"].rle_id().to_numpy()
    flags = (scores > model.threshold()).astype(np.int64)
    plain = precision_recall_f1(truth, flags)
    told = {
        "precision": plain.precision, "recall": plain.recall, "f1": plain.f1,
        "f1_adjusted": precision_recall_f1(truth, point_adjusted(truth, flags, series=series)).f1,
        "average_precision": average_precision(truth, scores),
        "vus_pr": vus_pr(truth, scores, max_buffer=BUFFER, series=series),
    }
    return [_row(model.name, metric, value, len(truth)) for metric, value in told.items()]


def _row(model: str, metric: str, value: float, cells: int) -> dict[str, Any]:
    return {"model": model, "metric": metric, "value": value if np.isfinite(value) else None, "cells": cells}
