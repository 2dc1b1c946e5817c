"""What a sweep came to: a table of its trials, the recipe of the best one, and words about it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from optuna.trial import FrozenTrial, TrialState

from tsforge.errors import TrainingError
from tsforge.sweeps.ledger import REASON, SECONDS, Standing
from tsforge.sweeps.plan import Plan
from tsforge.sweeps.proposal import Proposer
from tsforge.sweeps.settings import trial_recipe
from tsforge.training.checkpoint import write_aside
from tsforge.training.recipe_parts import EvaluatePart, SplitPart, ValidationPart

ORDER = ("frame", "split", "model", "encoder", "context", "train", "evaluate", "validation")
READ = {"split": SplitPart, "evaluate": EvaluatePart, "validation": ValidationPart}
STATES = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed",
          TrialState.RUNNING: "running"}


def trials_table(standing: Standing, proposer: Proposer, metric: str) -> pl.DataFrame:
    """One row per trial: index, state, the metric, seconds, attempts, reason, and a column for each setting.

    Settings of several kinds (a number here, a word there) and lists stand as JSON.
    """
    trials = [trial for index, trial in sorted({**standing.running, **standing.done}.items()) if index >= 0]
    rows = [_row(trial, proposer, metric) for trial in trials]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return pl.DataFrame({name: _column([row.get(name) for row in rows]) for name in columns})


def _row(trial: FrozenTrial, proposer: Proposer, metric: str) -> dict[str, Any]:
    attrs = trial.user_attrs
    return {
        "trial": attrs["index"], "state": STATES[trial.state],
        metric: trial.value if trial.state == TrialState.COMPLETE else None, "seconds": attrs.get(SECONDS),
        "attempts": attrs["attempt"] + 1, "reason": attrs.get(REASON), **proposer.settings(trial),
    }


def _column(values: list[Any]) -> pl.Series:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and not kinds & {list, dict}):
        return pl.Series(values, strict=False)
    return pl.Series([None if value is None else json.dumps(value) for value in values], dtype=pl.String)


def best_of(standing: Standing, plan: Plan) -> FrozenTrial:
    """The best trial; of equal ones the earliest.

    Raises:
        TrainingError: none came to a number; says why.
    """
    complete = standing.complete()
    if not complete:
        reasons = {str(trial.user_attrs.get(REASON)) for trial in standing.done.values() if REASON in trial.user_attrs}
        told = " ".join(sorted(reasons)[:3]) or "none has ended yet."
        raise TrainingError(f"No trial of the sweep came to a number, so there is no best one: {told}")
    sign = 1 if plan.minimise else -1
    return min(complete, key=lambda trial: (sign * _value(trial), trial.user_attrs["index"]))


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def best_recipe(plan: Plan, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a trial as one that `tsforge fit` runs: its validation comes to the number of the trial."""
    return {part: value for part in ORDER if (value := trial_recipe(plan.recipe, dict(settings)).get(part)) is not None}


def write_recipe(path: Path, recipe: Mapping[str, Any], says: str) -> None:
    """Writes a recipe as YAML under a line of comment, without what is as it is where nothing is said."""
    kept = {part: _said(part, value) for part, value in recipe.items()}
    kept = {part: value for part, value in kept.items() if value}
    text = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=110)
    write_aside(path, f"# {says}\n{text}".encode())


def _said(part: str, value: Any) -> Any:
    if part not in READ:
        return value
    default = READ[part]().model_dump(mode="json")
    whole = {key: known for key, known in value.items() if known != default[key]}
    return whole or ({"metric": value["metric"]} if part == "validation" else {})


def told(settings: Mapping[str, Any], most: int = 6) -> str:
    """`d_model=32, learning_rate=0.0031`: settings in a line."""
    parts = []
    for key, value in settings.items():
        short = f"{value:.3g}" if isinstance(value, float) else str(value)
        parts.append(f"{key.removesuffix('.name').rpartition('.')[2]}={short}")
    return ", ".join(parts[:most]) + (", ..." if len(parts) > most else "")
