"""What a report shows, gathered from a run or a backtest: profile, context, scores, errors by step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tsforge.errors import RecipeError
from tsforge.estimators.base import Estimator
from tsforge.estimators.fitted import versions
from tsforge.estimators.run import divide, forecasts_of_test, load_frame, open_with_record
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.evaluation.report import write_report
from tsforge.frame.canonical import to_polars
from tsforge.frame.frame import Frame
from tsforge.training.recipe import read_recipe

MOST_CUTOFFS = 12  # a report draws this many cutoffs of a long test part; its scores are those of the run

NO_SCORES = pl.DataFrame(schema={"model": pl.String})
NO_HORIZON = pl.DataFrame(schema={"step": pl.Int64, "model": pl.String, "metric": pl.String, "value": pl.Float64})


def report_run(run: Path, out: Path) -> Path:
    """Writes the report of a run that a recipe made.

    Raises:
        ArtifactError: the folder is no whole run.
        RecipeError: the run does not say where its data come from.
    """
    model, record = open_with_record(run)
    if not record.recipe or not record.recipe.get("frame"):
        raise RecipeError(
            f"{run} was saved from Python and does not say where its data are: reports are of `tsforge fit`."
        )
    recipe = read_recipe(record.recipe)
    frame = load_frame(recipe.frame)
    divided = divide(frame, recipe.split, model.h, recipe.train.get("val_size"))
    summary = {"model": model.name, "steps": record.steps, **record.versions,
               "recipe": yaml.safe_dump(record.recipe, sort_keys=False)}
    if divided.cutoffs is None:
        forecasts, scores, horizon = _after_the_end(model), NO_SCORES, NO_HORIZON
    else:
        kept = divided.cutoffs.gather_every(max(1, len(divided.cutoffs) // MOST_CUTOFFS))
        forecasts = forecasts_of_test(model, recipe, divided, kept)
        scores = scores_table(pl.DataFrame(record.test))
        horizon = evaluate(
            forecasts, ["mse", "mae"], by=("step",), scale=recipe.evaluate.scale, train=divided.train.table
        )
    return write_report(
        out,
        title=f"{model.name} on {source_of(recipe.frame)}",
        summary=summary,
        profile=profile(frame),
        history=record.history,
        forecasts=forecasts,
        context=long_values(frame),
        scores=scores,
        horizon=horizon,
    )


def report_backtest(
    out: Path, frame: Frame, forecasts: pl.DataFrame, scores: pl.DataFrame, *, title: str, summary: dict[str, Any],
    metrics: Sequence[str], history: list[dict[str, Any]],
) -> Path:
    """Writes the report of a backtest."""
    horizon = evaluate(forecasts, list(metrics), by=("step",))
    return write_report(out, title=title, summary=summary | versions(), profile=profile(frame), history=history,
                        forecasts=forecasts, context=long_values(frame), scores=scores, horizon=horizon)


def source_of(part: dict[str, Any]) -> str:
    """The dataset or file that the frame part of a recipe names."""
    return str(next((part[key] for key in ("name", "path", "data") if key in part), "a frame"))


def _after_the_end(model: Estimator) -> pl.DataFrame:
    """Forecasts after the end of the data, where no truth is known yet."""
    table = to_polars(model.predict())[0].rename({model.schema_.time_col: "ds"})
    ids = (
        pl.lit("series").alias("unique_id")
        if model.schema_.id_col is None
        else pl.col(model.schema_.id_col).alias("unique_id")
    )
    ends = model.trained_until().rename({"ds": "cutoff"})
    return table.select(ids, pl.exclude(model.schema_.id_col or "")).join(ends, on="unique_id").with_columns(
        y=pl.lit(None, pl.Float64)
    )


def profile(frame: Frame) -> pl.DataFrame:
    """One row per series and target: rows, missing, first, last, min, mean, max, sd."""
    steps = pl.len().cast(pl.Int64) if frame.steps is None else pl.col("step").max() + 1
    table = frame.table if frame.steps is None else frame.table.with_columns(step=frame.steps)
    parts = [
        table.group_by("unique_id", maintain_order=True).agg(
            target=pl.lit(name),
            rows=pl.len(),
            missing=steps - pl.col(name).count(),
            first=pl.col("ds").first(),
            last=pl.col("ds").last(),
            min=pl.col(name).min(),
            mean=pl.col(name).mean(),
            max=pl.col(name).max(),
            sd=pl.col(name).std(ddof=0),
        )
        for name in frame.targets
    ]
    return pl.concat(parts, how="vertical_relaxed")


def long_values(frame: Frame) -> pl.DataFrame:
    """`unique_id, ds, target, y`."""
    return frame.table.select("unique_id", "ds", *frame.targets).unpivot(
        on=list(frame.targets), index=["unique_id", "ds"], variable_name="target", value_name="y"
    )
