"""The ledger: which trials of a sweep are done, running, dead or open; several workers share it, none of them leads.

Trial     A sweep has trials with the indices 0, 1, ...; each may take several records of the storage, for a worker may
          die. A record is written in one operation with its index, parameters and worker, so none is ever half known.
Claim     Of two records with one index the earlier one holds it; the storage puts them in order. The other is given up.
Dead      A running record whose worker is gone is marked by whoever sees it, and its index is open again.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tsforge.sweeps.identity import Watch, myself
from tsforge.sweeps.proposal import INDEX, Proposer, quiet
from tsforge.sweeps.storage import rest

WORKER, BEAT, DEAD, CRASHED, REASON, SECONDS = "worker", "beat", "dead", "crashed", "reason", "seconds"
PULSE = 15.0  # seconds between heartbeats
GRACE = 120.0  # seconds without one
CRASHES = 3  # of a trial whose process ends by itself, as it does where memory does not suffice


@dataclass(frozen=True)
class Claim:
    """A trial that this worker holds."""

    id: int
    index: int
    trial: FrozenTrial


@dataclass
class Standing:
    """How a sweep stands, by index; `hidden` are the records of workers that died."""

    done: dict[int, FrozenTrial] = field(default_factory=dict)
    running: dict[int, FrozenTrial] = field(default_factory=dict)
    hidden: dict[int, list[FrozenTrial]] = field(default_factory=dict)

    @property
    def visible(self) -> list[FrozenTrial]:
        """What samplers and pruners see."""
        return [*self.done.values(), *self.running.values()]

    def open(self, count: int) -> int | None:
        """The first index that nobody has taken."""
        return next((index for index in range(count) if index not in self.done and index not in self.running), None)

    def complete(self) -> list[FrozenTrial]:
        """Trials of this sweep that came to a number, by index."""
        ours = [trial for index, trial in sorted(self.done.items()) if index >= 0]
        return [trial for trial in ours if trial.state == TrialState.COMPLETE]


class Ledger:
    """The records of one sweep.

    Args:
        storage: Where they are.
        study: Their study.
        grace: Seconds without a heartbeat after which a worker of another machine counts as dead.
    """

    def __init__(self, storage: BaseStorage, study: Any, grace: float = GRACE) -> None:
        self.storage, self.study, self.watch = storage, study, Watch(grace)
        self.study_id = storage.get_study_id_from_name(study.study_name)

    def standing(self) -> Standing:
        """How it stands now."""
        standing = Standing()
        with quiet():
            trials = self.storage.get_all_trials(self.study_id, deepcopy=False)
        for trial in sorted(trials, key=lambda trial: trial.number):
            index = trial.user_attrs.get(INDEX)
            if index is None:  # put there by someone else
                continue
            if trial.user_attrs.get(DEAD):
                standing.hidden.setdefault(index, []).append(trial)
            elif trial.state.is_finished():
                standing.done.setdefault(index, trial)
            elif trial.state == TrialState.RUNNING:
                standing.running.setdefault(index, trial)
        standing.running = {i: trial for i, trial in standing.running.items() if i not in standing.done}
        return standing

    def reap(self, crashed: Sequence[int] = ()) -> None:
        """Marks the running records whose workers are dead.

        Args:
            crashed: Pids of processes of this machine that ended by themselves.
        """
        for trial in self.standing().running.values():
            worker = trial.user_attrs.get(WORKER)
            if self.watch.dead(trial.number, worker, trial.user_attrs.get(BEAT)):
                self.give_up(trial._trial_id, crashed=worker is not None and worker["pid"] in crashed)

    def give_up(self, trial_id: int, *, crashed: bool = False) -> None:
        """Marks a running record as dead, so that its index is open again."""
        with suppress(UpdateFinishedTrialError):  # somebody else did, or it has ended meanwhile
            if crashed:
                self.storage.set_trial_user_attr(trial_id, CRASHED, True)
            self.storage.set_trial_user_attr(trial_id, DEAD, True)
            self.storage.set_trial_state_values(trial_id, TrialState.FAIL)

    def claim(self, proposer: Proposer, count: int) -> Claim | None:
        """Takes the first open trial; None where all are taken.

        A trial whose worker died keeps its parameters.
        """
        while (index := (standing := self.standing()).open(count)) is not None:
            before = standing.hidden.get(index, [])
            proposed = before[-1] if before else proposer.propose(index, standing.visible)
            crashes = sum(bool(trial.user_attrs.get(CRASHED)) for trial in before)
            if crashes >= CRASHES:
                self._record(index, proposed, len(before), TrialState.FAIL, {REASON: _crashed(crashes)})
                continue
            made = self._record(index, proposed, len(before), TrialState.RUNNING, {WORKER: myself(), BEAT: 0})
            holder = self.standing().running.get(index)
            if holder is not None and holder._trial_id == made:
                return Claim(made, index, holder)
            self.give_up(made)
        return None

    def _record(
        self, index: int, proposed: FrozenTrial, attempt: int, state: TrialState, attrs: Mapping[str, Any]
    ) -> int:
        template = create_trial(
            state=state, params=proposed.params, distributions=proposed.distributions,
            user_attrs={INDEX: index, "attempt": attempt, **attrs},
        )
        return self.storage.create_new_trial(self.study_id, template)

    def report(self, claim: Claim, step: int, value: float) -> None:
        """Keeps a value on the way."""
        self.storage.set_trial_intermediate_value(claim.id, step, value)

    def finish(
        self, claim: Claim, state: TrialState, value: float | None = None, attrs: Mapping[str, Any] | None = None
    ) -> bool:
        """Ends a trial; False where it was given up meanwhile, and what it came to does not count."""
        try:
            for name, known in (attrs or {}).items():
                self.storage.set_trial_user_attr(claim.id, name, known)
            self.storage.set_trial_state_values(claim.id, state, None if value is None else [value])
        except UpdateFinishedTrialError:
            return False
        return True

    @contextmanager
    def beating(self, claim: Claim, pulse: float = PULSE) -> Iterator[None]:
        """Tells other machines meanwhile that this trial is being done."""
        over = threading.Event()
        thread = threading.Thread(target=self._beat, args=(claim, pulse, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _beat(self, claim: Claim, pulse: float, over: threading.Event) -> None:
        beat = 0
        while not over.wait(pulse):
            beat += 1
            with suppress(Exception):  # a storage that does not answer now may do so the next time
                self.storage.set_trial_user_attr(claim.id, BEAT, beat)
        if beat:
            rest(self.storage)


def study_of(storage: BaseStorage, name: str, minimise: bool) -> Any:
    """The study of a name, made where there is none."""
    with quiet():
        return optuna.create_study(
            storage=storage, study_name=name, direction="minimize" if minimise else "maximize", load_if_exists=True
        )


def in_memory(study: Any) -> Any:
    """A copy of a study whose storage will go."""
    with quiet():
        copied = optuna.create_study(study_name=study.study_name, direction=study.direction)
        copied.add_trials(study.get_trials(deepcopy=False))
    return copied


def _crashed(times: int) -> str:
    return f"its process ended {times} times before it was done, as it does where memory does not suffice"
