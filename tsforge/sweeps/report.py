"""The report of a sweep: its history, what mattered, and how the settings lie, as optuna draws them."""

from pathlib import Path
from typing import Any

import optuna
import polars as pl
from optuna import visualization
from optuna.trial import FrozenTrial

from tsforge.evaluation.report_figures import Figure, figures_page
from tsforge.sweeps.ledger import Standing
from tsforge.sweeps.plan import Plan
from tsforge.sweeps.proposal import quiet
from tsforge.sweeps.results import best_of

SHOWN = 10  # trials in the table


def write_sweep_report(
    path: Path, plan: Plan, standing: Standing, trials: pl.DataFrame, summary: dict[str, Any]
) -> Path:
    """Writes the page.

    Args:
        path: The file.
        plan: Of the sweep.
        standing: Its trials.
        trials: The same as a table.
        summary: Names and values at the head of the page.

    Raises:
        ArgumentError: plotly is not installed.
    """
    best = trials.filter(pl.col("state") == "complete").sort(plan.metric, descending=not plan.minimise)
    shown = best.head(SHOWN).drop("reason", "state", "attempts")
    failed = trials.filter(pl.col("state") == "failed").select("trial", "reason", "seconds")
    tables = {f"The {len(shown)} best trials": shown} | ({"Trials that failed": failed} if len(failed) else {})
    return figures_page(path, title=f"Sweep of {summary['data']}: {plan.metric}", summary=summary, tables=tables,
                        figures=figures_of(plan, standing))


def figures_of(plan: Plan, standing: Standing) -> list[Figure]:
    """The figures that so many trials allow: history; then, where two settings vary, the others.

    Where a choice opens settings of its own, the others are of the trials that took the same choices as the best one.
    """
    metric, finished = plan.metric, [trial for index, trial in sorted(standing.done.items()) if index >= 0]
    with quiet():
        figures = [Figure("history", "History", f"{metric} of each trial, and the best so far", _json(
            visualization.plot_optimization_history(_study(plan, finished), target_name=metric)))]
        alike, varied, told = _alike(plan, standing)
        if len(varied) < 2 or len(alike) < 4:
            return figures
        study = _study(plan, alike)
        fanova = optuna.importance.FanovaImportanceEvaluator(seed=0)
        first, second = list(optuna.importance.get_param_importances(study, params=varied, evaluator=fanova))[:2]
        return [
            *figures,
            Figure("importances", "What mattered", f"Share of the variance of {metric} that each setting accounts for "
                   f"(fANOVA){told}", _json(visualization.plot_param_importances(
                       study, params=varied, target_name=metric, evaluator=fanova))),
            Figure("parallel", "All settings", f"One line per trial through its settings, coloured by {metric}{told}",
                   _json(visualization.plot_parallel_coordinate(study, params=varied, target_name=metric))),
            Figure("contour", "The two that mattered most", f"{metric} over {_short(first)} and {_short(second)}{told}",
                   _json(visualization.plot_contour(study, params=[first, second], target_name=metric))),
        ]


def _study(plan: Plan, trials: list[FrozenTrial]) -> Any:
    study = optuna.create_study(direction="minimize" if plan.minimise else "maximize")
    study.add_trials(trials)
    return study


def _alike(plan: Plan, standing: Standing) -> tuple[list[FrozenTrial], list[str], str]:
    """Complete trials with the settings of the best one, those settings that vary, and words on which they are."""
    best, complete = best_of(standing, plan), standing.complete()
    alike = [trial for trial in complete if trial.params.keys() == best.params.keys()]
    varied = [name for name in best.params if len({str(trial.params[name]) for trial in alike}) > 1]
    some = f", of the {len(alike)} trials with the same choices as the best" if len(alike) < len(complete) else ""
    return alike, varied, some


def _short(name: str) -> str:
    """The key that a parameter is of, without the choices that lead to it."""
    return name.rpartition("/")[2]


def _json(figure: Any) -> str:
    return figure.to_json()
