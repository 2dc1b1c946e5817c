"""Runs: a recipe becomes a fitted model in a folder, scored on its test part; and a folder becomes a model again."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.load import load
from tsforge.errors import ArtifactError, FrameError, RecipeError, TsforgeError
from tsforge.estimators.base import Estimator
from tsforge.estimators.estimator import estimator, from_recipe
from tsforge.estimators.fitted import read_fitted
from tsforge.evaluation.backtest import forecasts_at
from tsforge.evaluation.evaluate import evaluate
from tsforge.frame.frame import Frame
from tsforge.training.artifact import refuse_existing
from tsforge.training.recipe import Recipe, RunRecord, SplitPart


@dataclass(frozen=True)
class Divided:
    """A frame and its parts.

    Args:
        frame: All rows.
        fitted: The rows that fitting may look at: training and validation.
        train: The training rows alone, by which scores are scaled.
        cutoffs: `unique_id, cutoff, window` of the test windows, None without a test part.
    """

    frame: Frame
    fitted: Frame
    train: Frame
    cutoffs: pl.DataFrame | None


@dataclass(frozen=True)
class Result:
    """What a recipe came to.

    Args:
        model: The fitted estimator.
        test: Scores on the test part, one row per model and metric; empty without a test part.
        windows: Test windows scored.
    """

    model: Estimator
    test: list[dict[str, Any]]
    windows: int


def open_run(path: str | Path) -> Estimator:
    """The fitted estimator of a run folder.

    Raises:
        ArtifactError: the folder is not a whole, unchanged run of a format this version reads.
    """
    return open_with_record(Path(path))[0]


def open_with_record(path: Path) -> tuple[Estimator, RunRecord]:
    """The fitted estimator of a run folder, and its record."""
    fitted, record = read_fitted(path)
    try:
        model = estimator(record.name)(**record.arguments)
    except (TsforgeError, TypeError) as error:
        raise ArtifactError(f"{path}: the arguments of the run do not fit {record.name} ({error}).") from None
    model.fitted_ = fitted
    return model, record


def run_recipe(
    recipe: Recipe, out: Path, *, resume: bool = False, overwrite: bool = False, verbose: bool = False,
) -> Result:
    """Loads, fits, scores the test part where there is one, and writes the run folder `out`.

    The state of training stands in `OUT.partial` meanwhile, and is gone when `out` is there.

    Raises:
        OutputExistsError: `out` exists and `overwrite` was not given.
        RecipeError: the recipe asks for a split that the data do not have.
        ArtifactError: `resume` was given and the checkpoint belongs to another training.
    """
    refuse_existing(out, overwrite)
    partial = out.with_name(f"{out.name}.partial")
    frame = load_frame(recipe.frame)
    model, divided = prepare_run(recipe, frame)
    if partial.exists() and not resume:
        shutil.rmtree(partial)
    try:
        model.fit(divided.fitted, checkpoint=partial, verbose=verbose)
    except TsforgeError:
        if not resume:  # what failed here would fail again
            shutil.rmtree(partial, ignore_errors=True)
        raise
    test = score_test(model, recipe, divided) if divided.cutoffs is not None else []
    resolved = resolved_recipe(recipe, model)
    model.fitted_.write(out, model.get_params(), resolved, test=test or None, overwrite=overwrite)
    shutil.rmtree(partial, ignore_errors=True)
    return Result(model, test, 0 if divided.cutoffs is None else len(divided.cutoffs))


def prepare_run(recipe: Recipe, frame: Frame) -> tuple[Estimator, Divided]:
    """The estimator of a recipe, not fitted, and the parts of its frame."""
    train = dict(recipe.train)
    published = recipe.split.protocol == "published"
    if published or recipe.split.val is not None:
        if "val_size" in train:
            raise RecipeError(
                "train.val_size and split say the same thing twice: keep split.val, or the published split."
            )
        if published and frame.split is None:
            raise RecipeError(
                "split.protocol = published: this dataset states no split; give split.test or split.cutoff."
            )
        train["val_size"] = frame.split.val if published and frame.split else recipe.split.val
    model = from_recipe({"model": recipe.model, "train": train})
    return model, divide(frame, recipe.split, model.h, train.get("val_size"))


def divide(frame: Frame, split: SplitPart, h: int, val_size: float | int | None) -> Divided:
    """The parts of a frame.

    Raises:
        FrameError: the parts do not fit into the series.
    """
    if not split.tests:
        return Divided(frame, frame, frame, None)
    if frame.steps is None:
        raise FrameError("A test part needs a regular frame: give Frame(..., resample='1h').")
    steps = frame.table.select("unique_id", step=frame.steps)
    length = steps.select(pl.col("step").max().over("unique_id") + 1).to_series()
    if split.protocol == "published" and frame.split is not None:
        first = pl.repeat(frame.split.train + frame.split.val, len(steps), eager=True)
        end = first + frame.split.test
    elif split.test is not None:
        first, end = length - split.test, length
    else:
        seen = frame.table["ds"] <= _stamp(split.cutoff, frame)
        past = steps.with_columns(seen=seen).select(pl.when("seen").then("step").max().over("unique_id")).to_series()
        first, end = past.fill_null(-1) + 1, length
    fitted = frame.rows(steps["step"] < first)
    held = val_size if isinstance(val_size, int) else 0
    train = frame.rows(steps["step"] < first - held)
    return Divided(frame, fitted, train, _test_cutoffs(frame, first, end, split, h))


def _stamp(value: Any, frame: Frame) -> Any:
    dtype = frame.table.schema["ds"]
    if dtype.is_integer():
        return value
    text = pl.Series([str(value)])
    stamp = text.str.to_datetime("%Y-%m-%d", strict=False).fill_null(
        text.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    )
    if stamp[0] is None:
        raise RecipeError(f"split.cutoff = {value!r}: wanted a time such as 2020-01-31 or 2020-01-31 13:00:00.")
    zone = getattr(dtype, "time_zone", None)
    return (stamp.dt.replace_time_zone(zone) if zone else stamp).cast(dtype)[0]


def _test_cutoffs(frame: Frame, first: pl.Series, end: pl.Series, split: SplitPart, h: int) -> pl.DataFrame:
    spans = (
        frame.table.select("unique_id", "ds")
        .with_columns(first=first, end=end)
        .group_by("unique_id", maintain_order=True)
        .first()
    )
    step = split.step or (1 if split.windows == "all" else h)
    parts = []
    for name, begin, low, high in spans.select("unique_id", "ds", "first", "end").iter_rows():
        last = high - h - 1  # the last cutoff whose horizon lies in the part
        steps = np.arange(last, low - 2, -step)[::-1]
        steps = steps if split.windows == "all" else steps[-split.windows :]
        stamps = frame.grid.add(pl.Series([begin] * len(steps), dtype=frame.table.schema["ds"]), steps)
        parts.append(
            pl.DataFrame(
                {"unique_id": pl.Series([name] * len(steps), dtype=frame.table.schema["unique_id"]), "cutoff": stamps}
            )
        )
    cutoffs = pl.concat(parts)
    if not len(cutoffs):
        raise FrameError(
            f"split: no test window of h={h} fits into the test part of any series; make it at least {h} steps."
        )
    return cutoffs.with_columns(window=pl.lit(0))


def score_test(model: Estimator, recipe: Recipe, divided: Divided) -> list[dict[str, Any]]:
    """Scores of the test windows, beside seasonal naive."""
    forecasts = forecasts_of_test(model, recipe, divided)
    part = recipe.evaluate
    season = divided.frame.season
    scores = evaluate(
        forecasts,
        part.metrics,
        by=(),
        scale=part.scale,
        train=divided.train.table.select("unique_id", "ds", *divided.frame.targets),
        season=season,
        pool=part.pool,
    )
    return scores.to_dicts()


def forecasts_of_test(
    model: Estimator, recipe: Recipe, divided: Divided, cutoffs: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Forecasts of the test windows by the model and by seasonal naive, beside the truth."""
    cutoffs = divided.cutoffs if cutoffs is None else cutoffs
    assert cutoffs is not None
    baseline = estimator("seasonal_naive")(h=model.h)
    models = [model]
    if model.name != baseline.name:
        models.append(baseline.fit(divided.fitted))
    return forecasts_at(models, divided.frame, cutoffs, level=recipe.evaluate.level, fit=False)


def load_frame(part: dict[str, Any]) -> Frame:
    """The frame that a recipe names.

    Raises:
        RecipeError: it names none, or two.
    """
    given = dict(part)
    sources = [given.pop(key) for key in ("name", "path", "data") if key in given]
    if len(sources) != 1:
        raise RecipeError("frame: wanted the name of a dataset or the path of a file, as in frame: {name: etth1}.")
    return load(sources[0], **given)


def resolved_recipe(recipe: Recipe, model: Estimator) -> dict[str, Any]:
    """The recipe with every default written out, as it is stored in the run."""
    plain = recipe.plain()
    return plain | model.to_recipe()


