"""Proposals: what to try next, and whether to go on, as optuna's samplers and pruners say.

Each trial of a sweep has an index. A sampler is made anew for each from (seed, index) and sees the other trials in the
order of their indices; those whose worker died are not shown to it, nor to the pruner. So a sweep that was killed and
goes on proposes what it would have without, where one worker does one trial after the other.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from tsforge.errors import ArgumentError, suggest
from tsforge.sweeps.settings import Params, Settings, Space
from tsforge.training.keys import key

SAMPLERS: dict[str, Any] = {
    "tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler, "gp": optuna.samplers.GPSampler,
    "qmc": optuna.samplers.QMCSampler, "brute_force": optuna.samplers.BruteForceSampler,
}
PRUNERS: dict[str, Any] = {
    "median": optuna.pruners.MedianPruner, "hyperband": optuna.pruners.HyperbandPruner,
    "successive_halving": optuna.pruners.SuccessiveHalvingPruner, "wilcoxon": optuna.pruners.WilcoxonPruner,
}
OURS = {"tpe": {"multivariate": True, "group": True, "constant_liar": True}}  # for branches, and for workers
INDEX = "index"  # of a trial, in its attributes; of those of earlier studies below 0


@contextmanager
def quiet() -> Iterator[None]:
    """Without optuna's lines about each trial, and its warnings that a class may change."""
    level = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        try:
            yield
        finally:
            optuna.logging.set_verbosity(level)


def make_sampler(spec: Any, seed: int) -> Any:
    """A sampler by its name, or its name and arguments.

    Raises:
        ArgumentError: there is no such sampler, or it has no such argument.
    """
    name, arguments = _read("sampler", spec, SAMPLERS)
    return _made("sampler", name, SAMPLERS[name], OURS.get(name, {}) | {"seed": seed} | arguments)


def make_pruner(spec: Any) -> Any:
    """A pruner by its name, or its name and arguments; None never stops a trial.

    Raises:
        ArgumentError: there is no such pruner, or it has no such argument.
    """
    if spec is None:
        return optuna.pruners.NopPruner()
    name, arguments = _read("pruner", spec, PRUNERS)
    return _made("pruner", name, PRUNERS[name], arguments)


def _read(kind: str, spec: Any, known: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    arguments = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = arguments.pop("name", None)
    if name not in known:
        hint = suggest(str(name), known) or f" There are: {', '.join(known)}."
        raise ArgumentError(f"There is no {kind} named {name!r}.{hint}")
    return name, arguments


def _made(kind: str, name: str, make: Any, arguments: dict[str, Any]) -> Any:
    with quiet():
        try:
            return make(**arguments)
        except (TypeError, ValueError) as error:
            raise ArgumentError(f"The {kind} {name} cannot be made of {arguments}: {error}.") from None


class Proposer:
    """Proposes settings, and says which trials to stop.

    Args:
        space: What may be set.
        minimise: Whether less is better.
        seed: Of the sweep.
        sampler: A name, or a name and arguments.
        pruner: The same, or None.
        start: Parameters of the first trials, by index.
    """

    def __init__(
        self, space: Space, *, minimise: bool, seed: int, sampler: Any, pruner: Any, start: Sequence[Params] = (),
    ) -> None:
        self.space, self.seed, self.sampler, self.pruner, self.start = space, seed, sampler, pruner, list(start)
        self.minimise = minimise
        make_sampler(sampler, 0)
        make_pruner(pruner)

    def propose(self, index: int, others: Sequence[FrozenTrial]) -> FrozenTrial:
        """A trial that nobody has begun, with its parameters.

        Args:
            index: Which one.
            others: The trials that it may learn from.
        """
        with quiet():
            study = self._study(others, make_sampler(self.sampler, key(self.seed, "proposal", index) % 2**32),
                                self.minimise)
            if index < len(self.start):
                study.enqueue_trial(self.start[index])
            trial = study.ask()
            self.space.drawn(trial)
            return study.get_trials(deepcopy=False)[trial.number]

    def settings(self, trial: FrozenTrial) -> Settings:
        """The settings of a trial that has its parameters."""
        return self.space.drawn(optuna.trial.FixedTrial(trial.params))

    def stops(self, trial: FrozenTrial, reports: Mapping[int, float], others: Sequence[FrozenTrial], *,
              minimise: bool) -> bool:
        """Whether a trial is not worth going on with.

        Args:
            trial: It.
            reports: What it has reported, by step.
            others: The trials that it is compared with.
            minimise: Whether less is better of what is reported.
        """
        if self.pruner is None:
            return False
        with quiet():
            study = self._study(others, None, minimise)
            frozen = create_trial(
                state=TrialState.RUNNING, params=trial.params, distributions=trial.distributions,
                intermediate_values=dict(reports),
            )
            frozen.number = sum(other.user_attrs[INDEX] < trial.user_attrs[INDEX] for other in others)
            return bool(study.pruner.prune(study, frozen))

    def _study(self, others: Sequence[FrozenTrial], sampler: Any, minimise: bool) -> Any:
        study = optuna.create_study(
            direction="minimize" if minimise else "maximize", sampler=sampler, pruner=make_pruner(self.pruner),
            study_name="sweep",
        )
        study.add_trials(sorted(others, key=lambda trial: trial.user_attrs[INDEX]))
        return study
