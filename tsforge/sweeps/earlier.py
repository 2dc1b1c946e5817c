"""Earlier sweeps: their trials are shown to the sampler of a new one, where they say something about its space."""

import logging
from collections.abc import Sequence
from pathlib import Path

from optuna.distributions import check_distribution_compatibility
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tsforge.errors import ArgumentError
from tsforge.sweeps.ledger import Ledger
from tsforge.sweeps.plan import Plan, plan_of
from tsforge.sweeps.proposal import INDEX
from tsforge.sweeps.storage import hidden, open_storage

log = logging.getLogger("tsforge")
JOURNAL = "sweep.journal"


def add_earlier(ledger: Ledger, plan: Plan, sources: Sequence[str | Path]) -> int:
    """Adds the complete trials of earlier sweeps, once, below index 0; how many.

    Errors are compared as they stand, so a sweep on other data or by another metric is refused.

    Args:
        ledger: Of the new sweep.
        plan: Its plan.
        sources: Sweep folders, journals, or addresses; those of a storage with several studies are all taken.

    Raises:
        ArgumentError: an earlier sweep has another metric, other data, or is none.
    """
    if any(index < 0 for index in ledger.standing().done):  # a sweep that is gone on with has them
        return 0
    found: list[FrozenTrial] = []
    for source in sources:
        path = Path(source) / JOURNAL if Path(source).is_dir() else source
        found += _trials(open_storage(path, exists=True), plan, hidden(source))
    proposer = plan.proposer()
    known = proposer.propose(0, []).distributions
    usable = [trial for trial in found if _fits(trial, known)]
    for number, trial in enumerate(usable):
        ledger.storage.create_new_trial(ledger.study_id, create_trial(
            state=TrialState.COMPLETE, value=trial.value, params=trial.params, distributions=trial.distributions,
            user_attrs={INDEX: number - len(usable), "attempt": 0},
        ))
    log.info(f"{len(usable)} of {len(found)} trials of earlier sweeps lie in this space and are shown to the sampler.")
    return len(usable)


def _trials(storage: BaseStorage, plan: Plan, name: str) -> list[FrozenTrial]:
    trials: list[FrozenTrial] = []
    for frozen in storage.get_all_studies():
        known, _ = plan_of(frozen)
        for what, mine, other in (
            ("metric", plan.metric, known.metric), ("frame", plan.data, known.data),
            ("way of validation", plan.recipe["validation"], known.recipe["validation"]),
        ):
            if mine != other:
                raise ArgumentError(f"{name}: the study {frozen.study_name!r} has another {what} than this sweep, so "
                                    "its errors say nothing here. Leave it out.")
        trials += [trial for trial in storage.get_all_trials(frozen._study_id, deepcopy=False)
                   if trial.state == TrialState.COMPLETE]
    return trials


def _fits(trial: FrozenTrial, known: dict) -> bool:
    """Whether all that it has in common with a trial of the new sweep may be what it is."""
    for name, distribution in trial.distributions.items():
        if name not in known:
            continue
        try:
            check_distribution_compatibility(known[name], distribution)
        except ValueError:
            return False
        if not known[name]._contains(known[name].to_internal_repr(trial.params[name])):
            return False
    return bool(set(trial.distributions) & set(known))
