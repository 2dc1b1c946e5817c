"""Adapting fitted runs: fine-tuned cheaply on new data, composed, or made small; the run itself stays as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

from sklearn.base import clone

from tsforge.encoders import ENCODERS
from tsforge.encoders.adapter.quantized import QuantizedAdapter
from tsforge.encoders.adapter.task_vectors import TaskVectorAdapter
from tsforge.errors import ArgumentError, CapabilityError, UnknownNameError, suggest
from tsforge.estimators.adapt_fit import Asked, learned, set_aside
from tsforge.estimators.adapt_series import PARTS, joined, seen_until
from tsforge.estimators.base import Estimator
from tsforge.estimators.deep import Deep
from tsforge.estimators.fitted import Fitted
from tsforge.estimators.parameters import unknown_argument
from tsforge.estimators.run import open_run

FULL = "full"  # every weight trains
STEPS = 200
TUNED = (
    "max_steps", "max_epochs", "optimizer", "learning_rate", "weight_decay", "schedule", "gradient_clip", "batch_size",
    "drop_last", "validate_every", "early_stop_patience", "val_size", "calibration_share", "short", "seed", "threads",
    "accelerator",
)  # the other arguments of training say what the outputs are


def adapt(
    run: Any, adapter: str = "flora", X: Any = None, *, others: Sequence[Any] = (), verbose: bool = False,
    **arguments: Any,
) -> Estimator:
    """A fitted neural forecaster, changed: a new fitted estimator with plain weights, saved and opened as any.

    With data it goes on from the weights of the run, on the training rows of `X`. Series that the run knew are scaled
    as there, others by their own training rows; intervals are calibrated on the rows held back of `X`. The new run
    knows the series of both, and has seen each of them until the later end.

    Args:
        run: A fitted neural forecaster, or its run folder.
        adapter: `"flora"`, `"random_subspace"`, `"task_vectors"` or `"quantized"`, see `tsforge list encoders`; or
            `"full"`, which trains every weight.
        X: A table with the columns of the fitted one, or a Frame. Without it `"task_vectors"` adds up `others`, each
            with 1 / n or with `init`, and `"quantized"` rounds; the others need it.
        others: For `"task_vectors"`: runs of the same model and sizes, best fine-tuned from this one.
        verbose: Shows progress on standard error.
        arguments: Of the adapter (`rank=4`), and of training: `max_steps` (200 unless told), `learning_rate` (that of
            the adapter unless told), `val_size`, `batch_size` and others; what is not given is as in the run. `seed` is
            of both.

    Raises:
        CapabilityError: the run is not of a neural forecaster, streams, or has no weight that the adapter changes.
        UnknownNameError: there is no such adapter.
        UnknownArgumentError: neither the adapter nor training has an argument.
        ArgumentError: data or other runs are missing, or are not read.
        ShapeError: another run has other weights.
        FrameError: the table is not like the fitted one, or no series is long enough.
    """
    model = _opened(run)
    asked = _asked(adapter, arguments, model)
    tasks = [_opened(other) for other in others]
    _check(asked, model, X, tasks)
    if asked.made is TaskVectorAdapter:
        asked.own["tasks"] = [task.fitted_.predictor for task in tasks]
        asked.own.setdefault("init", 1 / len(tasks) if X is None else 0.0)
    known = _with_tasks(model.fitted_, tasks)
    fitted = set_aside(model, known, asked) if X is None else learned(model, known, asked, X, verbose)
    adapted = clone(model)
    assert isinstance(adapted, Deep)
    adapted.fitted_ = replace(fitted, adapted=(*model.fitted_.adapted, _told(asked, fitted, model, tasks, X is None)))
    return adapted


def _opened(run: Any) -> Deep:
    model = open_run(run) if isinstance(run, str | Path) else run
    if not isinstance(model, Deep):
        raise CapabilityError(
            f"adapt changes the weights of a fitted neural forecaster, and this is {type(model).__name__}. Give one, "
            "or the folder of its run."
        )
    if model._fitted().stream is not None:
        raise CapabilityError(
            f"This {type(model).__name__} was made with streaming=True and keeps states that its weights have made: "
            "fit one with streaming=False to adapt it."
        )
    return model


def _asked(adapter: str, arguments: Mapping[str, Any], model: Deep) -> Asked:
    """The adapter and the arguments, sorted into its own and those of training."""
    names = [*ENCODERS.family("adapter"), FULL]
    if adapter not in names:
        raise UnknownNameError(f"There is no adapter named {adapter!r}."
                               f"{suggest(adapter, names) or f' There are: {chr(44).join(names)}.'}")
    made = None if adapter == FULL else ENCODERS[adapter]
    known = {} if made is None else {n: p for n, p in signature(made).parameters.items() if n not in made.given}
    for name in arguments:
        if name not in known and name not in TUNED:
            raise unknown_argument(f"adapt(adapter={adapter!r})", name, [*known, *TUNED])
    own = {name: value for name, value in arguments.items() if name in known}
    if "seed" in known:
        own = {"seed": model.seed} | own  # pyright: ignore[reportAttributeAccessIssue]  # every neural forecaster has it
    rate = {} if made is None else {"learning_rate": made.learning_rate}
    steps = {} if "max_epochs" in arguments else {"max_steps": STEPS}
    given = {name: value for name, value in arguments.items() if name in TUNED}
    return Asked(adapter, made, own, rate | steps | given)


def _check(asked: Asked, model: Deep, X: Any, tasks: Sequence[Deep]) -> None:
    """Raises where data or other runs are missing or not read."""
    composes, trains = asked.made is TaskVectorAdapter, asked.own.get("mode") == "qat"
    if X is None and not composes and (asked.made is not QuantizedAdapter or trains):
        raise ArgumentError(f"adapter={asked.name!r} learns from data: give X (--data).")
    if X is not None and asked.made is QuantizedAdapter and not trains:
        raise ArgumentError("adapter='quantized' rounds and learns nothing from X (--data): leave it out, or train "
                            "through the rounding with mode='qat'.")
    if composes and not tasks:
        raise ArgumentError("adapter='task_vectors' composes runs: give others=[...] (--other), best fine-tuned from "
                            "this one.")
    if tasks and not composes:
        raise ArgumentError(f"others= is read by adapter='task_vectors' alone, and this is {asked.name!r}.")
    for task in tasks:
        if type(task) is not type(model) or task.fitted_.sizes != model.fitted_.sizes:
            raise ArgumentError(f"others: a {type(task).__name__} with {task.fitted_.sizes} cannot be added to a "
                                f"{type(model).__name__} with {model.fitted_.sizes}: the runs need the same model and "
                                "sizes.")


def _with_tasks(fitted: Fitted, tasks: Sequence[Deep]) -> Fitted:
    """The run, with the series that other runs have looked at: no score may be taken on those either."""
    for task in tasks:
        other = task.fitted_
        ids, own = other.preparation.ids, {part: getattr(other.preparation, part) for part in PARTS}
        until = seen_until(fitted.preparation, fitted.trained_until, ids, other.trained_until)
        fitted = replace(fitted, preparation=joined(fitted.preparation, ids, own), trained_until=until)
    return fitted


def _told(asked: Asked, fitted: Fitted, model: Deep, tasks: Sequence[Deep], rounded: bool) -> dict[str, Any]:
    """What a run folder says of the change."""
    told: dict[str, Any] = {"adapter": asked.name, "data": model.fitted_.fingerprint}
    told["arguments"] = {name: value for name, value in asked.own.items() if name != "tasks"}
    if tasks:
        told["others"] = [task.fitted_.fingerprint for task in tasks]
    return told if rounded else told | {"steps": fitted.steps, "training": asked.training}
