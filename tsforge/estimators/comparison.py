"""Finished runs side by side: their forecasts of one test part, and which of the differences are real."""

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.errors import ArgumentError, CapabilityError, RecipeError
from tsforge.estimators.base import Estimator
from tsforge.estimators.division import Divided, training_rows
from tsforge.estimators.exponents import with_exponents
from tsforge.estimators.run import forecasts_of_test, open_with_record, prepare_run, source_of
from tsforge.estimators.study_cells import Frames
from tsforge.estimators.task_run import is_forecast
from tsforge.evaluation.asked import Spec
from tsforge.evaluation.compare import compare
from tsforge.evaluation.leaderboard import leaderboard
from tsforge.evaluation.ranking import ranking
from tsforge.frame.frame import Frame
from tsforge.training.artifact import SUMS
from tsforge.training.recipe import Recipe, read_recipe

KEYS = ("unique_id", "ds", "target", "cutoff")
SEED = re.compile(r"[_-]?seed\d+$")
log = logging.getLogger("tsforge")


@dataclass(frozen=True)
class Comparison:
    """Forecasts of several runs and how they are scored.

    Args:
        forecasts: Forecast frame with the truth as `y` and a column for each run, seasonal naive among them.
        runs: Names of models, and the columns that are trainings of one with several seeds.
        metrics: The metrics that are asked for, or those of the first recipe; the first decides.
        scoring: `scale`, `train` and `season` of `evaluate`.
        by: What is one observation: a series, or where there is one alone its windows.
        frame: The series.
        source: The dataset or file they are from.
    """

    forecasts: pl.DataFrame
    runs: dict[str, list[str]]
    metrics: list[Spec]
    scoring: dict[str, Any]
    by: tuple[str, ...]
    frame: Frame
    source: str

    def board(self, *, alpha: float = 0.05, test: str = "wilcoxon") -> pl.DataFrame:
        """A row for each model; see `leaderboard`."""
        return leaderboard(
            self.forecasts, self.metrics, by=self.by, alpha=alpha, test=test, runs=self.runs, **self.scoring
        )

    def pairs(self, *, alpha: float = 0.05, test: str = "wilcoxon") -> pl.DataFrame:
        """A row for each pair of models by the first metric; see `compare`."""
        return compare(
            self.forecasts, self.metrics[0], by=self.by, alpha=alpha, test=test, runs=self.runs, **self.scoring
        )

    def ranked(self, *, alpha: float = 0.05) -> pl.DataFrame:
        """Mean ranks by the first metric; see `ranking`."""
        return ranking(self.forecasts, self.metrics[0], by=self.by, alpha=alpha, runs=self.runs, **self.scoring)


@dataclass(frozen=True)
class _Tested:
    """A run, opened, with the windows it was tested on."""

    name: str
    model: Estimator
    recipe: Recipe
    divided: Divided

    @property
    def forecasts(self) -> pl.DataFrame:
        return forecasts_of_test(self.model, self.recipe, self.divided)


def compared(
    paths: Iterable[Path], metrics: Sequence[Spec] = (), *, by: Sequence[str] = (), classes: Iterable[type] = (),
) -> Comparison:
    """Runs that were tested on the same windows. Those whose recipes differ by the seed alone are one model.

    Args:
        paths: Run folders, or folders of them such as a study.
        metrics: Metrics of `evaluate`, the first of which decides; those of the first recipe unless told.
        by: What is one observation, out of the groups of `evaluate`.
        classes: Encoders of your own that a run was made with.

    Raises:
        ArgumentError: no run is there, or two were tested on different windows or data.
        ArtifactError: a folder is no whole run.
        RecipeError: a run does not say where its data are, or has no test part.
    """
    frames = Frames()
    tested = [_tested(name, path, frames, tuple(classes)) for name, path in _runs(paths).items()]
    first = tested[0]
    table = first.forecasts
    keys = [name for name in KEYS if name in table.columns]
    columns = [_own(first, table), *(_own(run, run.forecasts) for run in tested[1:])]
    if "SeasonalNaive" in table.columns and all(run.model.name != "SeasonalNaive" for run in tested):
        columns.append(_column("SeasonalNaive", "SeasonalNaive", table))
    joined = table.select(*keys, "y")
    for name, column in columns:
        joined = _beside(joined, column, keys, first.name, name)
    recipe, frame = first.recipe, first.divided.frame
    scoring = {"scale": recipe.evaluate.scale, "season": frame.season,
               "train": training_rows(first.divided.fitted, first.model)}
    several = joined["unique_id"].n_unique() > 1
    return Comparison(joined, _by_recipe(tested), with_exponents(metrics or recipe.evaluate.metrics, frame), scoring,
                      tuple(by) or (("unique_id",) if several else ("unique_id", "cutoff")), frame,
                      source_of(recipe.frame))


def _runs(paths: Iterable[Path]) -> dict[str, Path]:
    """Folders by the names of their columns."""
    found: list[Path] = []
    for path in paths:
        inside = [] if (path / SUMS).exists() else sorted(each.parent for each in path.glob(f"*/{SUMS}"))
        found += inside or [path]  # one that is no run is refused when it is opened
    if not found:
        raise ArgumentError("Name some run folders, or the folder of a study.")
    names = [path.resolve().name for path in found]
    return {name if names.count(name) == 1 else str(path): path for name, path in zip(names, found, strict=True)}


def _tested(name: str, path: Path, frames: Frames, classes: tuple[type, ...]) -> _Tested:
    model, record = open_with_record(path, classes)
    if not record.recipe or not record.recipe.get("frame"):
        raise RecipeError(f"{path} was saved from Python and does not say where its data are: compare runs of `tsforge "
                          "fit` and `tsforge study`, or give the forecasts to tsforge.compare.")
    recipe = read_recipe(record.recipe)
    if not is_forecast(recipe):
        raise CapabilityError(
            f"{path} is a run of another task and makes no forecasts to compare; `tsforge show {path}` says its scores."
        )
    divided = prepare_run(recipe, frames.of(recipe.frame))[1]
    if divided.cutoffs is None:
        raise RecipeError(f"{path} has no test part: add one to its recipe, as in split: {{test: 28}}, and fit again.")
    return _Tested(name, model, recipe, divided)


def _own(run: _Tested, table: pl.DataFrame) -> tuple[str, pl.DataFrame]:
    """The forecasts of a run under the name of its folder."""
    return _column(run.model.name, run.name, table)


def _column(model: str, name: str, table: pl.DataFrame) -> tuple[str, pl.DataFrame]:
    """The forecasts of a model and their intervals under another name."""
    own = [column for column in table.columns if column == model or column.startswith(f"{model}-")]
    keys = [key for key in (*KEYS, "y") if key in table.columns]
    return name, table.select(*keys, *own).rename({column: name + column.removeprefix(model) for column in own})


def _beside(joined: pl.DataFrame, column: pl.DataFrame, keys: list[str], first: str, name: str) -> pl.DataFrame:
    """The table with the forecasts of one more run."""
    alike = set(keys) <= set(column.columns)
    both = joined.join(column, on=keys, how="left", suffix=" of it", maintain_order="left") if alike else joined
    if not alike or len(column) != len(joined) or not both["y"].equals(both["y of it"]):
        raise ArgumentError(f"{first} and {name} were tested on different windows or data: compare runs of one "
                            "dataset, h and split.")
    return both.drop("y of it")


def _by_recipe(tested: Sequence[_Tested]) -> dict[str, list[str]]:
    """Columns by model: those whose recipes differ by the seed alone are one."""
    groups: dict[str, list[str]] = {}
    for run in tested:
        plain = run.recipe.plain()
        for part in ("model", "train"):
            plain[part] = {key: value for key, value in plain.get(part, {}).items() if key != "seed"}
        groups.setdefault(json.dumps(plain, sort_keys=True, default=str), []).append(run.name)
    return {SEED.sub("", names[0]) or names[0]: names for names in groups.values() if len(names) > 1}
