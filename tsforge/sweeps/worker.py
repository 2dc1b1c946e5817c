"""A worker: takes one open trial after the other, until all of them are done."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from tsforge.errors import ArgumentError, TsforgeError
from tsforge.estimators.study_cells import FAILURES
from tsforge.estimators.validation import Validation
from tsforge.sweeps.ledger import REASON, SECONDS, Claim, Ledger, study_of
from tsforge.sweeps.plan import TRIALS, Plan, plan_of, trial_model
from tsforge.sweeps.proposal import INDEX, Proposer
from tsforge.sweeps.settings import trial_recipe
from tsforge.sweeps.storage import hidden, open_storage, rest

POLL = 1.0  # seconds between looks at trials that others are doing: one of them may die
TWIN = "settings_of"  # the trial that had them before
PROGRAM = "from tsforge.sweeps.worker import main; main()"


@dataclass(frozen=True)
class Ended:
    """A trial that is over: COMPLETE, PRUNED or FAIL, its number, and why it failed."""

    index: int
    state: TrialState
    value: float | None
    reason: str | None
    seconds: float

    def words(self, metric: str) -> str:
        """`mse 0.31, 2.1 s`."""
        became = {TrialState.COMPLETE: f"{metric} {self.value}", TrialState.PRUNED: "stopped early"}
        return f"{became.get(self.state, f'failed: {self.reason}')}, {self.seconds:.1f} s"


class Worker:
    """Does trials of a sweep.

    Args:
        ledger: Where they are claimed.
        plan: What they are.
        validation: The windows that they are judged on.
    """

    def __init__(self, ledger: Ledger, plan: Plan, validation: Validation) -> None:
        self.ledger, self.plan, self.validation = ledger, plan, validation
        self.proposer = plan.proposer()

    def work(
        self, *, until: float | None = None, told: Callable[[Ended], None] | None = None, waits: bool = True
    ) -> None:
        """Does trials until all are done.

        Args:
            until: The moment, in seconds of `time.monotonic`, from which on none is begun.
            told: Is told of each trial done here.
            waits: Whether to stay while others do the last ones, which they may not live to finish.
        """
        try:
            while until is None or time.monotonic() < until:
                self.ledger.reap()
                claim = self.ledger.claim(self.proposer, int(self.ledger.study.user_attrs[TRIALS]))
                if claim is not None:
                    ended = self._run(claim)
                    if told is not None and ended is not None:
                        told(ended)
                elif waits and self.ledger.standing().running:
                    time.sleep(POLL)
                else:
                    return
        finally:
            rest(self.ledger.storage)

    def _run(self, claim: Claim) -> Ended | None:
        began = time.monotonic()
        twin = self._twin(claim)
        if twin is not None:
            return self._ended(claim, TrialState.COMPLETE, twin.value, None, 0.0, {TWIN: twin.user_attrs[INDEX]})
        try:
            with self.ledger.beating(claim):
                state, value, reason = self._outcome(claim)
        except BaseException:  # Ctrl-C: somebody else may do it at once
            self.ledger.give_up(claim.id)
            raise
        return self._ended(claim, state, value, reason, time.monotonic() - began, {})

    def _twin(self, claim: Claim) -> FrozenTrial | None:
        """The first complete trial with the settings of this one, which would come to the same number."""
        done = sorted(self.ledger.standing().done.items())
        alike = (t for i, t in done if i >= 0 and t.state == TrialState.COMPLETE and t.params == claim.trial.params)
        return next(alike, None)

    def _ended(
        self, claim: Claim, state: TrialState, value: float | None, reason: str | None, seconds: float,
        attrs: dict[str, Any],
    ) -> Ended | None:
        attrs = attrs | {SECONDS: round(seconds, 3)} | ({} if reason is None else {REASON: reason})
        counted = self.ledger.finish(claim, state, value, attrs)
        return Ended(claim.index, state, value, reason, seconds) if counted else None

    def _outcome(self, claim: Claim) -> tuple[TrialState, float | None, str | None]:
        reports = Reports(self.ledger, self.proposer, claim, refits=self.validation.refits)
        try:
            recipe = trial_recipe(self.plan.recipe, self.proposer.settings(claim.trial))
            found = self.validation.of(trial_model(self.plan, recipe), reports)
        except optuna.TrialPruned:
            return TrialState.PRUNED, reports.last, None
        except FAILURES as error:
            return TrialState.FAIL, None, str(error) or type(error).__name__
        except Exception as error:  # of the model, a library or ours: the other trials may do well
            return TrialState.FAIL, None, f"{type(error).__name__}: {error}"
        if found.value != found.value:
            return TrialState.FAIL, None, f"{found.metric} is not a number: a forecast is missing"
        return TrialState.COMPLETE, found.value, None


class Reports:
    """Listens to a validation for a pruner.

    A model that is fitted once reports the losses of its training, by the number of the validation. One that is fitted
    at several cutoffs reports the error of each fit to wilcoxon, which compares them one by one, and to the other
    pruners the mean of those so far.

    Args:
        ledger: Where the others' reports are.
        proposer: Who knows the pruner.
        claim: The trial.
        refits: Whether the model is fitted several times.
    """

    def __init__(self, ledger: Ledger, proposer: Proposer, claim: Claim, *, refits: bool) -> None:
        self.ledger, self.proposer, self.claim, self.refits = ledger, proposer, claim, refits
        self.values: dict[int, float] = {}
        self.scores: list[float] = []

    @property
    def last(self) -> float | None:
        """The error so far, where what is reported are errors."""
        return sum(self.scores) / len(self.scores) if self.scores else None

    def trained(self, row: dict[str, Any]) -> None:
        """A validation within the training."""
        if row["val_loss"] is not None:
            self._report(len(self.values) + 1, row["val_loss"], minimise=True)

    def scored(self, fit: int, score: float) -> None:
        """The windows of one fit."""
        self.scores.append(score)
        pruner = self.proposer.pruner
        alone = pruner == "wilcoxon" or (isinstance(pruner, dict) and pruner.get("name") == "wilcoxon")
        assert self.last is not None
        self._report(fit, score if alone else self.last, minimise=self.proposer.minimise)

    def _report(self, step: int, value: float, *, minimise: bool) -> None:
        if self.proposer.pruner is None:
            return
        self.values[step] = value
        self.ledger.report(self.claim, step, value)
        mine = self.claim.index
        others = [trial for trial in self.ledger.standing().visible if trial.user_attrs[INDEX] != mine]
        if self.proposer.stops(self.claim.trial, self.values, others, minimise=minimise):
            raise optuna.TrialPruned


def join(storage: str, name: str, *, shared: bool = True) -> Worker:
    """A worker for a sweep that was begun.

    Raises:
        ArgumentError: the storage cannot be shared, or the study is no sweep.
        DataNotFoundError: the storage or the data are not on this machine.
    """
    opened = open_storage(storage, shared=shared, exists=True)
    if name not in [study.study_name for study in opened.get_all_studies()]:
        known = ", ".join(study.study_name for study in opened.get_all_studies()) or "none"
        raise ArgumentError(f"{hidden(storage)} has no study {name!r}; it has: {known}.")
    study = study_of(opened, name, minimise=True)
    plan, _ = plan_of(study)
    return Worker(Ledger(opened, study), plan, plan.validation(plan.frame()))


def main() -> None:
    """The life of a process of `tsforge sweep`: reads what to join, and ends with the one that began it."""
    said = json.loads(sys.stdin.readline())
    Thread(target=_end_with_the_sweep, daemon=True).start()
    try:
        worker = join(said["storage"], said["study"])
    except TsforgeError as error:
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), flush=True)
        return
    until = None if said["seconds"] is None else time.monotonic() + said["seconds"]
    worker.work(until=until, waits=False)


def _end_with_the_sweep() -> None:
    """A sweep that is killed takes its workers along; what they were doing is begun again by the next one."""
    sys.stdin.read()
    os._exit(1)
