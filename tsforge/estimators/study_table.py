"""The table of a study: a row per setting, the mean of each metric over seeds, and its spread."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from tsforge.estimators.estimator import estimator
from tsforge.estimators.grid import NAME, SEED, Cell, H
from tsforge.estimators.study_cells import Outcome, text_of

NAIVE = "seasonal_naive"  # what a run is scored beside
BASELINE = estimator(NAIVE).__name__

Values = dict[str, float | None]  # by metric


@dataclass
class _Group:
    """Runs that are one row.

    Args:
        model: The column of its forecasts.
        keys: What tells its row from others, by whole dotted key.
        runs: The scores of each run.
    """

    model: str
    keys: dict[str, Any]
    runs: list[Values] = field(default_factory=list)


def score_rows(cells: Sequence[Cell], outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """One row per cell, model and metric: run, what its block states, model, metric, value, cells."""
    done = [(cell, outcomes[cell.name].test) for cell in cells if cell.name in outcomes]
    return [{"run": cell.name, "setting": cell.setting, **row} for cell, test in done for row in test]


def study_table(cells: Sequence[Cell], outcomes: Mapping[str, Outcome]) -> list[dict[str, Any]]:
    """One row per setting without its seed, then seasonal naive once for each way of scoring it.

    Returns:
        `model`, a column per key that tells settings apart, per metric its mean over seeds and its `_sd` (ddof 1; None
        for one run, and both where a run has no value), and `n`, the runs in the mean.
    """
    own: dict[str, _Group] = {}
    beside: dict[str, _Group] = {}
    named = set()
    for cell in cells:
        for model, values in _by_model(outcomes.get(cell.name)).items():
            if model == BASELINE and cell.recipe.model["name"] != NAIVE:
                beside.setdefault(_way(cell, values), _Group(model, _of_the_data(cell), [values]))
                continue
            own.setdefault(_setting(cell), _Group(model, cell.told)).runs.append(values)
            if cell.recipe.model["name"] == NAIVE:
                named.add(_way(cell, values))
    groups = [*own.values(), *(group for way, group in beside.items() if way not in named)]
    columns = _columns(cells)
    metrics = list(dict.fromkeys(metric for group in groups for values in group.runs for metric in values))
    return [_row(group, columns, metrics) for group in groups]


def _by_model(outcome: Outcome | None) -> dict[str, Values]:
    values: dict[str, Values] = {}
    for row in outcome.test if outcome else ():
        values.setdefault(row["model"], {})[row["metric"]] = row["value"]
    return values


def _setting(cell: Cell) -> str:
    """All of a recipe but its seed."""
    plain = cell.recipe.plain()
    return text_of(plain | {"train": {key: value for key, value in plain["train"].items() if key != "seed"}})


def _way(cell: Cell, values: Values) -> str:
    """What a score of a model without arguments depends on, and the score, as far as rounding leaves it alone."""
    plain = cell.recipe.plain()
    parts = [plain[part] for part in ("frame", "split", "evaluate")]
    scores = {metric: None if value is None else f"{value:.9g}" for metric, value in values.items()}
    return text_of([*parts, cell.recipe.model["h"], scores])


def _of_the_data(cell: Cell) -> dict[str, Any]:
    parts = ("frame.", "split.", "evaluate.")
    return {key: value for key, value in cell.told.items() if key == H or key.startswith(parts)}


def _columns(cells: Iterable[Cell]) -> dict[str, str]:
    """A short column name for each key that tells settings apart: `h`, `d_model`, `frame` for `frame.name`."""
    keys = list(dict.fromkeys(key for cell in cells for key in cell.told if key not in (NAME, SEED)))
    short = [key.removesuffix(".name").rpartition(".")[2] for key in keys]
    return {
        key: name if short.count(name) == 1 and name not in ("model", "n") else key
        for key, name in zip(keys, short, strict=True)
    }


def _row(group: _Group, columns: dict[str, str], metrics: Iterable[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"model": group.model}
    for key, name in columns.items():
        value = group.keys.get(key)
        row[name] = json.dumps(value) if isinstance(value, dict | list) else value
    for metric in metrics:
        known = [value for values in group.runs if (value := values.get(metric)) is not None]
        whole = len(known) == len(group.runs)  # a run that came to no number is not left out of a mean
        row[metric] = fmean(known) if whole else None
        row[f"{metric}_sd"] = stdev(known) if whole and len(known) > 1 else None
    return row | {"n": len(group.runs)}
