"""The plan of a sweep: all that its trials depend on, kept in the storage so that any worker can join by a name."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tsforge._version import __version__
from tsforge.data.workers import cores
from tsforge.errors import ArgumentError, ArtifactError, DataNotFoundError
from tsforge.estimators.division import divide
from tsforge.estimators.run import load_frame, unfitted
from tsforge.estimators.shards.frames import StoredFrame, digest_of
from tsforge.estimators.study_checks import check_recipe_arguments
from tsforge.estimators.validation import Validation, minimised
from tsforge.frame.frame import Frame
from tsforge.models import MODELS
from tsforge.sweeps.proposal import Proposer
from tsforge.sweeps.settings import Space, own_params, read_space, stated_params
from tsforge.training.recipe import Recipe, check_recipe, read_recipe
from tsforge.training.recipe_parts import SweepPart, ValidationPart

PLAN, TRIALS = "plan", "trials"  # attributes of the study
LOSS = ("train.loss", "train.scaler", "train.scaler_scope", "train.val_size", "train.calibration_share")


@dataclass(frozen=True)
class Plan:
    """What a sweep is. Two plans that are equal have the same trials.

    Args:
        recipe: What the trials share, with its `validation` part, as plain values.
        space: What is set, as it was stated; None is what the model declares.
        start: Settings that are tried first.
        seed: Of the proposals.
        sampler: What proposes.
        pruner: What stops trials early.
        minimise: Whether less is better.
        metric: What is minimised or maximised, with its arguments.
        val: Steps or share that the split holds back; None leaves it to the training arguments.
        data: Digest of the rows before the test part.
        stored: The folder in which the frame lies, where no recipe can name it.
        tsforge: The version that began it.
    """

    recipe: dict[str, Any]
    space: dict[str, Any] | None
    start: list[dict[str, Any]]
    seed: int
    sampler: Any
    pruner: Any
    minimise: bool
    metric: str
    val: int | float | None
    data: str
    stored: str | None
    tsforge: str

    @cached_property
    def settings(self) -> Space:
        """The space, read."""
        return read_space(self.space, self.recipe)

    def proposer(self) -> Proposer:
        """What proposes the trials of this plan: the recipe's own values first, then those of `start`."""
        own = own_params(self.settings, self.recipe)
        stated = [stated_params(self.settings, settings, self.recipe["model"]) for settings in self.start]
        return Proposer(self.settings, minimise=self.minimise, seed=self.seed, sampler=self.sampler,
                        pruner=self.pruner, start=[*([own] if own else []), *stated])

    def validation(self, frame: Frame) -> Validation:
        """The validation windows of the rows before the test part."""
        recipe = self._shared()
        assert recipe.validation is not None
        return Validation(frame, recipe.validation, recipe.model["h"], recipe.evaluate.level)

    def frame(self) -> Frame:
        """The rows before the test part.

        Raises:
            DataNotFoundError: they are not on this machine.
            ArtifactError: they are others than those that the sweep began with.
        """
        if self.stored is not None:
            stored = StoredFrame(Path(self.stored))
            if not stored.exists:
                raise DataNotFoundError(f"The frame of this sweep lies in {self.stored}, which is not on this machine. "
                                        "Begin a sweep with a dataset or a file that all machines have.")
            frame = stored.whole()
        else:
            recipe = self._shared()
            frame = divide(load_frame(recipe.frame), recipe.split, recipe.model["h"]).fitted
        if data_digest(frame) != self.data:
            raise ArtifactError("The data are others than those that this sweep began with, and errors on other data "
                                "are not compared. Begin another sweep.")
        return frame

    def _shared(self) -> Recipe:
        """What all trials have alike, read as a recipe; which model it is makes no difference here."""
        return check_recipe({**self.recipe, "model": {"name": "naive", **self.recipe["model"]}})

    def text(self) -> str:
        """The plan as JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def make_plan(
    recipe: Recipe, frame: Frame, *, workers: int = 1, stored: Path | None = None
) -> tuple[Plan, Frame]:
    """The plan of a recipe that has a `sweep` part, and the rows before its test part; nothing is written.

    Args:
        recipe: With its sweep.
        frame: Its frame.
        workers: Processes of one machine, which share its cores.
        stored: Where the frame is kept, if the recipe does not name it.

    Raises:
        TsforgeError: a trial could not be run as it is stated, as far as can be seen before one is.
    """
    sweep = recipe.sweep or SweepPart()
    plain = recipe.plain()
    if "h" not in plain["model"]:
        raise ArgumentError("model.h is missing: the number of steps to forecast, as in model: {name: dlinear, h: 24}.")
    names = ValidationPart.model_fields
    plain["validation"] = {name: value for name, value in sweep.model_dump(mode="json").items() if name in names}
    if plain["model"].get("name") in (None, *MODELS):  # so that the best one is fitted again to the same bits
        train = plain["train"]
        plain["train"] = train | {"threads": train.get("threads") or max(1, cores() // workers)}
    published = frame.split if recipe.split.protocol == "published" else None
    divided = divide(frame, recipe.split, plain["model"]["h"])
    validation = Validation(divided.fitted, ValidationPart(**plain["validation"]), plain["model"]["h"],
                            recipe.evaluate.level)
    plan = Plan(
        recipe=plain, space=sweep.space, start=sweep.start, seed=sweep.seed, sampler=sweep.sampler, pruner=sweep.pruner,
        minimise=minimised(validation, sweep.direction), metric=validation.label,
        val=recipe.split.val if published is None else published.val, data=data_digest(divided.fitted),
        stored=None if stored is None else str(stored.resolve()), tsforge=__version__,
    )
    _check(plan, validation)
    return plan, divided.fitted


def _check(plan: Plan, validation: Validation) -> None:
    keys = plan.settings.keys(chosen=True)
    for key in ("model.h", "train.seed", "train.alias", "train.threads"):
        if key in keys:
            raise ArgumentError(f"space: {key} is no setting to choose by its error. Leave it out.")
    wrong = next((key for key in keys if key.startswith(("frame.", "split.", "evaluate.", "validation."))), None)
    if wrong is not None:
        raise ArgumentError(f"space: {wrong}: errors on other rows or by other metrics are not compared. Leave it out.")
    plan.proposer()
    _check_pruner(plan, validation, keys)
    if isinstance(plan.recipe["model"].get("name"), str):
        check_recipe_arguments(read_recipe(plan.recipe), plan.val)


def _check_pruner(plan: Plan, validation: Validation, keys: set[str]) -> None:
    name = plan.pruner.get("name") if isinstance(plan.pruner, Mapping) else plan.pruner
    if name is None:
        return
    if name == "wilcoxon" and not validation.refits:
        raise ArgumentError("pruner: wilcoxon compares fits at several cutoffs: set refit: true and more windows.")
    changed = next((key for key in LOSS if key in keys), None)
    if changed is not None and not validation.refits:
        raise ArgumentError(
            f"pruner: {name} compares the losses of trials while they train, and {changed}, which is in the space, "
            "changes what they mean. Leave one of them out, or set refit: true, which compares errors."
        )


def begin(study: Any, plan: Plan, trials: int, *, resume: bool) -> Plan:
    """Writes the plan into a new study; of one that is there, the plan that it has.

    Args:
        study: A study of optuna.
        plan: What the sweep is to be; another number of threads than that of the study is no other sweep.
        trials: How many, now.
        resume: Whether it may be there.

    Raises:
        ArgumentError: the study is of another plan, is no sweep, or is there and `resume` was not asked for.
    """
    name, known = repr(study.study_name), study.user_attrs.get(PLAN)
    if known is None and study.get_trials(deepcopy=False):
        raise ArgumentError(f"The study {name} is none of tsforge's: it has trials and no plan. Choose another "
                            "study_name (--study).")
    if known is None:
        study.set_user_attr(PLAN, plan.text())
    elif not resume:
        raise ArgumentError(f"The study {name} is there already: go on with it with resume=True (--resume), or choose "
                            "another study_name (--study).")
    elif other := _differences(Plan(**json.loads(known)), Plan(**json.loads(plan.text()))):
        raise ArgumentError(f"The study {name} is of another sweep: {', '.join(other)} differ. Restore them, or choose "
                            "another study_name (--study).")
    if study.user_attrs.get(TRIALS) != trials:
        study.set_user_attr(TRIALS, trials)
    if known is None:
        return plan
    kept = replace(Plan(**json.loads(known)), stored=plan.stored)
    if kept.text() != known:  # the frame lies elsewhere now
        study.set_user_attr(PLAN, kept.text())
    return kept


def _differences(one: Plan, other: Plan) -> list[str]:
    def told(plan: Plan) -> dict[str, Any]:
        train = {name: value for name, value in plan.recipe["train"].items() if name != "threads"}
        return {**asdict(plan), "recipe": plan.recipe | {"train": train}, "stored": None, "tsforge": None}

    mine, others = told(one), told(other)
    return [name for name in mine if mine[name] != others[name]]


def plan_of(study: Any) -> tuple[Plan, int]:
    """The plan of a study, and its number of trials.

    Raises:
        ArgumentError: it has none.
    """
    text = study.user_attrs.get(PLAN)
    if text is None:
        raise ArgumentError(f"The study {study.study_name!r} has no plan, so there is nothing to do: `tsforge sweep` "
                            "begins one.")
    return Plan(**json.loads(text)), int(study.user_attrs[TRIALS])


def data_digest(frame: Frame) -> str:
    """A digest of the rows and the static columns of a frame."""
    return f"{digest_of(frame.table)} {digest_of(frame.static)}"


def trial_model(plan: Plan, recipe: dict[str, Any]) -> Any:
    """The estimator of a trial's recipe."""
    return unfitted(read_recipe(recipe), plan.val)
