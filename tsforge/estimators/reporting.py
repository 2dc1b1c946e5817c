"""What a report shows, gathered from a run, a backtest or a comparison: profile, context, scores, errors by step."""

from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tsforge.errors import RecipeError
from tsforge.estimators.comparison import Comparison
from tsforge.estimators.division import divide, every_step, training_rows
from tsforge.estimators.fitted import versions
from tsforge.estimators.run import forecasts_of_test, load_frame, open_with_record, source_of
from tsforge.evaluation.critical_difference import critical_difference_diagram
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.evaluation.report import write_report
from tsforge.evaluation.report_ranks import ranks
from tsforge.frame.frame import Frame
from tsforge.training.recipe import read_recipe

MOST_CUTOFFS = 12  # a report draws this many cutoffs of a long test part; its scores are those of the run
ERRORS = ["mse", "mae"]  # by step ahead
TESTS = {"wilcoxon": "Wilcoxon's signed-rank test", "t": "the paired t-test", "dm": "the Diebold-Mariano test"}

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
    divided = divide(frame, recipe.split, model.h)
    summary = {"model": model.name, "steps": record.steps, **record.versions}
    if divided.cutoffs is None:
        ends = model.trained_until().rename({"ds": "cutoff"})
        forecasts, scores, horizon = model.predict_at(frame, ends), NO_SCORES, NO_HORIZON
    else:
        kept = divided.cutoffs.gather_every(-(-len(divided.cutoffs) // MOST_CUTOFFS))
        forecasts = forecasts_of_test(model, recipe, divided, kept)
        scores = scores_table(pl.DataFrame(record.test, infer_schema_length=None))
        train = training_rows(divided.fitted, model)
        horizon = evaluate(forecasts, ERRORS, by=("step",), scale=recipe.evaluate.scale, train=train)
        summary["test windows"] = f"{len(divided.cutoffs)} scored, {len(kept)} drawn and in the error by step"
    summary["recipe"] = yaml.safe_dump(record.recipe, sort_keys=False)
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
    dynamics: str = "",
) -> Path:
    """Writes the report of a backtest, which has no history of training."""
    horizon = evaluate(forecasts, ERRORS, by=("step",))
    return write_report(out, title=title, summary=summary | versions(), profile=profile(frame), history=[],
                        forecasts=forecasts, context=long_values(frame), scores=scores, horizon=horizon,
                        dynamics=dynamics)


def report_comparison(out: Path, found: Comparison, *, alpha: float, test: str) -> Path:
    """Writes the report of finished runs side by side: which differences are real, and their forecasts."""
    board = found.board(alpha=alpha, test=test)
    metric, blocks = board.columns[2], int(board["blocks"][0])
    diagram = ""
    if len(board) > 2 and blocks > 1:
        diagram = critical_difference_diagram(found.ranked(alpha=alpha), f"Mean ranks by {metric}")
    told = (f"{blocks:,} blocks by {', '.join(found.by)}. Differences in {metric} by {TESTS[test]}, all of them true "
            f"at once with probability {1 - alpha:.3g} or more (Holm).")
    summary = {"data": found.source, "models": len(board), "windows": found.forecasts["cutoff"].n_unique(),
               "season": found.frame.season, "freq": found.frame.freq}
    return write_report(
        out, title=f"{len(board)} models on {found.source}", summary=summary | versions(), profile=profile(found.frame),
        history=[], forecasts=found.forecasts, context=long_values(found.frame), scores=NO_SCORES,
        horizon=evaluate(found.forecasts, ERRORS, by=("step",), **found.scoring), ranks=ranks(board, diagram, told),
    )


def profile(frame: Frame) -> pl.DataFrame:
    """One row per series and target: steps, how many are missing, first, last, min, mean, max, sd."""
    table = every_step(frame)
    parts = [
        table.group_by("unique_id", maintain_order=True).agg(
            target=pl.lit(name),
            rows=pl.len(),
            missing=pl.col(name).null_count(),
            first=pl.col("ds").first(),
            last=pl.col("ds").last(),
            min=pl.col(name).min(),
            mean=pl.col(name).mean(),
            max=pl.col(name).max(),
            sd=pl.col(name).std(ddof=0),
        )
        for name in frame.schema.targets
    ]
    return pl.concat(parts, how="vertical_relaxed")


def long_values(frame: Frame) -> pl.DataFrame:
    """`unique_id, ds, target, y`."""
    table = frame.observations()
    parts = [
        table.select("unique_id", "ds", target=pl.lit(name), y=pl.col(name).cast(pl.Float64))
        for name in frame.schema.targets
    ]
    return pl.concat(parts)
