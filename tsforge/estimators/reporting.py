"""What a report shows, gathered from a run, a backtest or a comparison: profile, context, scores, errors by step."""

from collections.abc import Sequence
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from tsforge.errors import RecipeError, TsforgeError
from tsforge.estimators.base import Estimator
from tsforge.estimators.comparison import Comparison
from tsforge.estimators.division import divide, every_step, training_rows
from tsforge.estimators.fitted import versions
from tsforge.estimators.run import forecasts_of_test, load_frame, open_with_record, source_of
from tsforge.estimators.task_run import is_forecast
from tsforge.evaluation.asked import Spec, read_metrics
from tsforge.evaluation.critical_difference import critical_difference_diagram
from tsforge.evaluation.evaluate import evaluate, scores_table
from tsforge.evaluation.forecasts import models_of
from tsforge.evaluation.paired import LABEL
from tsforge.evaluation.report import write_report
from tsforge.evaluation.report_ranks import ranks
from tsforge.frame.frame import Frame
from tsforge.training.recipe import Recipe, read_recipe
from tsforge.training.tasks import read_task

MOST_CUTOFFS = 12  # a report draws this many cutoffs of a long test part; its scores are those of the run
ERRORS = ["mse", "mae"]  # by step ahead
MOST_BLOCKS = 5_000  # that are ranked: an interval takes time with the square of their number
TESTS = {"wilcoxon": "Wilcoxon's signed-rank test", "t": "the paired t-test", "dm": "the Diebold-Mariano test"}

NO_SCORES = pl.DataFrame(schema={"model": pl.String})
NO_FORECASTS = pl.DataFrame(schema={
    "unique_id": pl.String, "ds": pl.Int64, "target": pl.String, "cutoff": pl.Int64, "y": pl.Float64,
})
NO_HORIZON = pl.DataFrame(schema={"step": pl.Int64, "model": pl.String, "metric": pl.String, "value": pl.Float64})


def report_run(run: Path, out: Path) -> Path:
    """Writes the report of a run that a recipe made; of a task beside the forecast without forecasts.

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
    scores = scores_table(pl.DataFrame(record.test, infer_schema_length=None)) if record.test else NO_SCORES
    if is_forecast(recipe):
        forecasts, horizon, told = _drawn(model, recipe, frame)
    else:
        forecasts, horizon = NO_FORECASTS, NO_HORIZON
        told = {"task": f"{read_task(recipe.task or 'forecast').name}; it makes no forecasts"}
    summary = {"model": model.name, "steps": record.steps, **record.versions, **told}
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


def _drawn(model: Estimator, recipe: Recipe, frame: Frame) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]:
    """Forecasts of some test windows, or of the end where there is no test part; errors by step; how many they are."""
    divided = divide(frame, recipe.split, model.h)
    if divided.cutoffs is None:
        return model.predict_at(frame, model.trained_until().rename({"ds": "cutoff"})), NO_HORIZON, {}
    kept = divided.cutoffs.gather_every(-(-len(divided.cutoffs) // MOST_CUTOFFS))
    forecasts = forecasts_of_test(model, recipe, divided, kept)
    train = training_rows(divided.fitted, model)
    horizon = evaluate(forecasts, ERRORS, by=("step",), scale=recipe.evaluate.scale, train=train)
    return forecasts, horizon, {
        "test windows": f"{len(divided.cutoffs)} scored, {len(kept)} drawn and in the error by step"
    }


def report_backtest(
    out: Path, frame: Frame, forecasts: pl.DataFrame, scores: pl.DataFrame, *, title: str, summary: dict[str, Any],
    dynamics: str = "",
) -> Path:
    """Writes the report of a backtest, which has no history of training.

    Args:
        out: The file.
        frame: The series.
        forecasts: Forecast frame with the truth as `y`. Several models are ranked by those metrics of `scores` that
            have a best end, the first of which decides.
        scores: A row per model, a column per metric.
        title: Of the page.
        summary: What was run.
        dynamics: HTML on attractors and the growth of errors.
    """
    horizon = evaluate(forecasts, ERRORS, by=("step",))
    return write_report(out, title=title, summary=summary | versions(), profile=profile(frame), history=[],
                        forecasts=forecasts, context=long_values(frame), scores=scores, horizon=horizon,
                        ranks=ranks_of_backtest(frame, forecasts, scores.columns[1:]), dynamics=dynamics,
                        by_series=errors_by_series(forecasts))


def ranks_of_backtest(frame: Frame, forecasts: pl.DataFrame, metrics: Sequence[str]) -> str:
    """HTML of the leaderboard of a backtest, or of why there is none; empty for one model or without such a metric.

    A block is a series, or where these are too few for a difference to be found a window of a series.

    Args:
        frame: The series.
        forecasts: Forecast frame with the truth as `y`.
        metrics: Names as `evaluate` gives them; those that have no best end, or cannot be read again, are left out.
    """
    asked: list[Spec] = [name for name in metrics if _has_a_best_end(name)]
    if not asked or len(models_of(forecasts, [])) < 2:
        return ""
    series = forecasts["unique_id"].unique(maintain_order=True)
    kept = series.gather_every(-(-len(series) // MOST_BLOCKS))
    chosen = forecasts.filter(pl.col("unique_id").is_in(kept.implode()))
    scoring = {"train": training_part(frame, chosen), "season": frame.season}
    ways = [("unique_id",), ("unique_id", "cutoff")] if len(series) > 1 else [("unique_id", "cutoff")]
    refused = ""
    for by, names in product(ways, (asked, asked[:1])):  # the others may have no value for some block
        try:
            return ranks_of(Comparison(chosen, {}, names, scoring, by, frame, ""), of=len(series))
        except TsforgeError as error:
            refused = str(error)
    return f"<p>Which differences are real cannot be said of this backtest. {escape(refused)}</p>"


def _has_a_best_end(name: str) -> bool:
    """Whether a model can be better than another by the metric of this name; not where the name cannot be read."""
    label = LABEL.fullmatch(name)
    try:
        return read_metrics(label["name"] if label else name)[0].metric.direction != "level"
    except TsforgeError:
        return False


def training_part(frame: Frame, forecasts: pl.DataFrame) -> pl.DataFrame:
    """Rows of each series up to its first cutoff."""
    first = forecasts.group_by("unique_id").agg(first=pl.col("cutoff").min())
    rows = every_step(frame).join(first, on="unique_id", maintain_order="left")
    return rows.filter(pl.col("ds") <= pl.col("first")).drop("first")


def errors_by_series(forecasts: pl.DataFrame, **scoring: Any) -> pl.DataFrame | None:
    """`unique_id, model, metric, value` of the mean absolute error, and `target` where there are several."""
    keys = [name for name in ("unique_id", "target") if name in forecasts.columns]
    return None if forecasts["unique_id"].n_unique() < 2 else evaluate(forecasts, ["mae"], by=keys, **scoring)


def report_comparison(out: Path, found: Comparison, *, alpha: float, test: str) -> Path:
    """Writes the report of finished runs side by side: which differences are real, and their forecasts."""
    models = len(models_of(found.forecasts, [])) - sum(len(names) - 1 for names in found.runs.values())
    summary = {"data": found.source, "models": models, "windows": found.forecasts["cutoff"].n_unique(),
               "season": found.frame.season, "freq": found.frame.freq}
    return write_report(
        out, title=f"{models} models on {found.source}", summary=summary | versions(), profile=profile(found.frame),
        history=[], forecasts=found.forecasts, context=long_values(found.frame), scores=NO_SCORES,
        horizon=evaluate(found.forecasts, ERRORS, by=("step",), **found.scoring),
        ranks=ranks_of(found, alpha=alpha, test=test), by_series=errors_by_series(found.forecasts, **found.scoring),
    )


def ranks_of(found: Comparison, *, alpha: float = 0.05, test: str = "wilcoxon", of: int | None = None) -> str:
    """HTML of the leaderboard and, of three models or more, the critical-difference diagram.

    Args:
        found: Forecasts and how they are scored.
        alpha, test: As in `compare`.
        of: How many series there are, where not all of them are in `found`.

    Raises:
        ArgumentError: there are too few blocks for `test` to find anything, or a forecast is missing.
    """
    board = found.board(alpha=alpha, test=test)
    metric, blocks = board.columns[2], int(board["blocks"][0])
    diagram = ""
    if len(board) > 2:
        diagram = critical_difference_diagram(found.ranked(alpha=alpha), f"Mean ranks by {metric}")
    told = (f"{_blocks(found, blocks, of)} Differences in {metric} by {TESTS[test]}, all of them true at once with "
            f"probability {1 - alpha:.3g} or more (Holm).")
    return ranks(board, diagram, told)


def _blocks(found: Comparison, blocks: int, of: int | None) -> str:
    """What is ranked over, in words."""
    series = found.forecasts["unique_id"].n_unique()
    chosen = f" ({series:,} of {of:,} series, evenly chosen)" if of is not None and series < of else ""
    if found.by == ("unique_id",):
        return f"Over {blocks:,} blocks: each series{chosen}, over its windows."
    if found.by != ("unique_id", "cutoff"):
        return f"Over {blocks:,} blocks by {', '.join(found.by)}{chosen}."
    where = "one series" if series == 1 else f"{series:,} series"
    return (f"Over {blocks:,} blocks: each window of {where}{chosen}. Windows of one series are not independent of "
            "each other, so that differences are found too easily.")


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
