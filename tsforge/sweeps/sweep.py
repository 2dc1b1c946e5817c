"""A sweep from its beginning to its best run: begun, or gone on with, on this machine; others may join meanwhile."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from optuna.trial import FrozenTrial, TrialState

from tsforge.errors import ArgumentError, OutputExistsError
from tsforge.estimators.base import Estimator
from tsforge.estimators.run import Result, load_frame, prepare_run, rehearse, run_recipe, source_of
from tsforge.estimators.validation import Validated
from tsforge.frame.frame import Frame
from tsforge.sweeps.crew import Crew
from tsforge.sweeps.earlier import add_earlier
from tsforge.sweeps.ledger import REASON, Ledger, Standing, study_of
from tsforge.sweeps.plan import begin, make_plan
from tsforge.sweeps.report import write_sweep_report
from tsforge.sweeps.results import best_of, best_recipe, told, trials_table, write_recipe
from tsforge.sweeps.storage import hidden, open_storage, rest
from tsforge.sweeps.worker import TWIN, Worker
from tsforge.training.artifact import refuse_existing
from tsforge.training.checkpoint import write_aside
from tsforge.training.recipe import Recipe, read_recipe
from tsforge.training.recipe_parts import SweepPart

log = logging.getLogger("tsforge")
JOURNAL, BEST, RECIPE, TABLE, REPORT = "sweep.journal", "best", "best.yaml", "trials.parquet", "report.html"


@dataclass(frozen=True)
class Sweep:
    """What a sweep came to.

    Args:
        study: optuna's study, with all records.
        trials: One row per trial: trial, state, the metric, seconds, attempts, reason, and its settings.
        best_settings: Of the best trial, by dotted key.
        best_value: Its validation error, or whatever the metric is.
        best_recipe: The recipe that repeats it.
        metric: What was minimised or maximised.
        result: The best settings fitted again on all rows before the test part, and scored on it, where there is one;
            None where `refit=False`.
    """

    study: Any
    trials: pl.DataFrame
    best_settings: dict[str, Any]
    best_value: float
    best_recipe: dict[str, Any]
    metric: str
    result: Result | None

    @property
    def model(self) -> Estimator:
        """The fitted best.

        Raises:
            ArgumentError: it was not fitted again.
        """
        if self.result is None:
            raise ArgumentError("This sweep did not fit its best settings again (refit=False): fit `best_recipe`.")
        return self.result.model


class Search:
    """A sweep that was begun.

    Args:
        recipe: With its `sweep` part.
        frame: Its frame; None loads that of the recipe.
        out: The folder of what it leaves; None leaves nothing.
        storage: A path or an address; None is a journal in `out`, or memory where nothing is left.
        name: Of the study.
        workers: Processes on this machine; 1 works in this one.
        resume: Whether it may be there already.
        earlier: Storages or sweep folders of earlier sweeps, whose trials the sampler learns from.
        stored: Where `frame` is kept for other processes, if the recipe does not name it.

    Raises:
        TsforgeError: the recipe, the space or the storage cannot be as they are stated; nothing was tried.
    """

    def __init__(
        self, recipe: Recipe, *, frame: Frame | None = None, out: Path | None, storage: str | Path | None, name: str,
        workers: int = 1, resume: bool = False, earlier: list[str | Path] | None = None, stored: Path | None = None,
    ) -> None:
        if isinstance(workers, bool) or not isinstance(workers, int) or workers < 1:
            raise ArgumentError(f"workers={workers!r}: wanted a number of processes, 1 or more.")
        self.recipe, self.out, self.workers = recipe, out, workers
        self.part = recipe.sweep or SweepPart()
        self.frame = load_frame(recipe.frame) if frame is None else frame
        plan, rows = make_plan(recipe, self.frame, workers=workers, stored=stored)
        self._rehearse()
        if storage is None and out is None and workers > 1:
            raise ArgumentError("Several workers need a place for the trials: give out= (--out) or storage=.")
        place = out / JOURNAL if storage is None and out is not None else storage
        self.storage = None if place is None else str(place)
        opened = open_storage(self.storage, shared=workers > 1)
        study = study_of(opened, name, plan.minimise)
        self.plan = begin(study, plan, self.part.trials, resume=resume)
        self.ledger = Ledger(opened, study)
        if earlier:
            add_earlier(self.ledger, self.plan, earlier)
        self.worker = Worker(self.ledger, self.plan, self.plan.validation(rows))
        self.ended: dict[int, FrozenTrial] = {}
        self._news(lambda _: None)

    def _rehearse(self) -> None:
        """Sees that the test part can be scored as the recipe asks, before anything is tried."""
        if self.recipe.split.tests:
            shared = self.recipe.model_copy(update={"model": {"name": "naive", "h": self.recipe.model["h"]},
                                                    "train": {}, "encoder": None, "context": None})
            model, divided = prepare_run(shared, self.frame)
            rehearse(model, shared, divided)

    def run(
        self, told: Callable[[str], None] = log.info, shown: Callable[[Standing, str], None] | None = None
    ) -> None:
        """Does the trials that are left.

        Args:
            told: Is told a line about each that ends.
            shown: Is given, several times a second while several workers are at work, how it stands and the best so
                far, in words.
        """
        until = None if self.part.timeout is None else time.monotonic() + self.part.timeout
        if len(self.ended):
            told(f"{len(self.ended)} of {self.part.trials} trials are there already.")
        if self.workers == 1:
            self.worker.work(until=until, told=lambda _: self._news(told))
        else:
            threads = int(self.plan.recipe["train"].get("threads", 1))
            assert self.storage is not None
            crew = Crew(self.ledger, self.storage, self.workers, threads, until)
            crew.run(lambda: self._news(told, shown))

    def _news(
        self, told: Callable[[str], None], shown: Callable[[Standing, str], None] | None = None
    ) -> None:
        """Tells of trials that have ended since it last looked."""
        standing = self.ledger.standing()
        for index, trial in sorted(standing.done.items()):
            if index >= 0 and index not in self.ended:
                self.ended[index] = trial
                told(self._line(index, trial, standing))
        if shown is not None:
            shown(standing, self._best_so_far(standing))

    def _line(self, index: int, trial: FrozenTrial, standing: Standing) -> str:
        if trial.state == TrialState.COMPLETE:
            became = f"{self.plan.metric} {trial.value:.5g}"
        else:
            became = "stopped early" if trial.state == TrialState.PRUNED else f"failed: {trial.user_attrs.get(REASON)}"
        twin = trial.user_attrs.get(TWIN)
        became += "" if twin is None else f" (the settings of trial {twin})"
        parts = [part for part in (became, self._best_so_far(standing)) if part]
        settings = told(self.worker.proposer.settings(trial))
        return f"trial {index} ({len(self.ended)} of {self.part.trials}): {', '.join(parts)}; {settings}"

    def _best_so_far(self, standing: Standing) -> str:
        if not standing.complete():
            return ""
        found = best_of(standing, self.plan)
        return f"best {found.value:.5g} of trial {found.user_attrs['index']}"

    def best(self) -> tuple[FrozenTrial, dict[str, Any]]:
        """The best trial and its settings.

        Raises:
            TrainingError: none came to a number.
        """
        trial = best_of(self.ledger.standing(), self.plan)
        return trial, self.worker.proposer.settings(trial)

    def finish(self, *, refit: bool = True, overwrite: bool = False, verbose: bool = False) -> Sweep:
        """Fits the best settings again, scores the test part once, and writes what is left of the sweep.

        Raises:
            TrainingError: no trial came to a number.
            OutputExistsError: the best run of an earlier call is there, and `overwrite` was not given.
        """
        trial, settings = self.best()
        standing = self.ledger.standing()
        table = trials_table(standing, self.worker.proposer, self.plan.metric)
        recipe = best_recipe(self.plan, settings)
        assert trial.value is not None
        if self.out is not None:
            self.out.mkdir(parents=True, exist_ok=True)
            table.write_parquet(self.out / TABLE)
            write_recipe(self.out / RECIPE, recipe, f"Trial {trial.user_attrs['index']} of a sweep: "
                                                    f"{self.plan.metric} {trial.value!r} over its validation windows.")
        result = None
        if refit:
            known = Validated(trial.value, self.plan.metric, self.part.windows)
            result = self._refit(recipe, known, overwrite=overwrite, verbose=verbose)
        done = Sweep(self.ledger.study, table, settings, trial.value, recipe, self.plan.metric, result)
        if self.out is not None:
            self._write(done, standing)
        rest(self.ledger.storage)
        return done

    def _refit(self, recipe: dict[str, Any], known: Validated, *, overwrite: bool, verbose: bool) -> Result:
        made = read_recipe(recipe)
        if self.out is not None:
            return run_recipe(made, self.out / BEST, frame=self.frame, overwrite=overwrite, verbose=verbose,
                              validated=known)
        model, divided = prepare_run(made, self.frame)
        model.fit(divided.fitted, verbose=verbose)
        return Result(model, [], 0)

    def _write(self, done: Sweep, standing: Standing) -> None:
        assert self.out is not None
        states = done.trials["state"].to_list()
        summary = {
            "data": source_of(self.recipe.frame), "storage": hidden(self.storage),
            "study": self.ledger.study.study_name, "trials": f"{states.count('complete')} complete, "
            f"{states.count('pruned')} stopped early, {states.count('failed')} failed",
            "best": f"{self.plan.metric} {done.best_value:.6g}: {told(done.best_settings, 20)}",
            "windows": f"{self.part.windows} before the test part", "sampler": str(self.part.sampler),
            "pruner": str(self.part.pruner), "seed": self.part.seed, "tsforge": self.plan.tsforge,
        }
        if done.result is not None and done.result.test:
            name = done.result.model.name
            summary["test part"] = ", ".join(f"{row['metric']} {row['value']:.5g}" for row in done.result.test
                                             if row["model"] == name and row["value"] is not None)
        try:
            write_sweep_report(self.out / REPORT, self.plan, standing, done.trials, summary)
        except ArgumentError as error:  # plotly is an extra
            log.info(f"No report: {error}")
            write_aside(self.out / "summary.txt", "\n".join(f"{k}: {v}" for k, v in summary.items()).encode())


def refuse_finished(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Raises OutputExistsError where a sweep would be begun in a folder that has one, or something else."""
    if (out / BEST).exists() and not (resume or overwrite):
        raise OutputExistsError(f"{out} holds a sweep that is done. Choose another place, or try more with "
                                "resume=True (--resume) and a larger number of trials.")
    if out.exists() and not (resume or overwrite) and any(out.iterdir()) and not (out / JOURNAL).exists():
        refuse_existing(out, overwrite=False)
