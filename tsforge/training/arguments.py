"""The training arguments, the same for every neural model, stated once."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import inf
from typing import Any

from tsforge.errors import ArgumentError
from tsforge.scaling import check_scaler
from tsforge.space import Choice, Declared, Real

DEFAULT_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class TrainArguments:
    """How a network is trained.

    Args:
        max_steps: Optimiser steps; 1000 where `max_epochs` is not given either.
        max_epochs: Passes over the training windows; excludes `max_steps`.
        optimizer: "adam", "adamw" or "sgd".
        learning_rate: At the first step.
        weight_decay: As the optimiser reads it.
        schedule: "constant", "cosine" (to 0 at the last step) or "halve" (after each epoch but the first).
        gradient_clip: Largest norm of the gradient; None does not clip.
        batch_size: Windows in a step, over all devices together.
        drop_last: Leaves out the last, smaller batch of an epoch in training; evaluation never does.
        validate_every: Steps between validations; None is each epoch, short ones taken together to 50 steps or more.
        early_stop_patience: Validations without improvement before training stops; None never stops early.
        val_size: Last steps of each series held back (int), or a share of its length (then at least h); 0 for none.
        calibration_share: Share of the held-back steps, the later ones, that calibrate intervals and stop nothing.
        loss: A name, or a name with arguments: `{"name": "quantile", "quantiles": [0.1, 0.5, 0.9]}`.
        scaler: "standard", "minmax", "robust" or None, fitted on observed training rows.
        scaler_scope: One scaling per "series" and target, or "global".
        short: What becomes of series shorter than a window: "drop", "pad" (masked) or "raise".
        seed: Every draw is keyed by it; the global random state stays as it was.
        threads: CPU threads while training; None leaves torch's number.
        checkpoint_every: Steps between checkpoints, besides the one at each validation.
        accelerator: "auto", "cpu", "gpu" ... as lightning takes it.
        devices: Number of devices, or a list.
        strategy: "auto", "ddp", "ddp_spawn" ... as lightning takes it.
        precision: 32, 64, "bf16-mixed" or "16-mixed".
        trainer_kwargs: Further arguments of lightning's Trainer.
        alias: Name of the forecast column; None is the class name.
    """

    max_steps: int | None = None
    max_epochs: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    gradient_clip: float | None = None
    batch_size: int = 32
    drop_last: bool = False
    validate_every: int | None = None
    early_stop_patience: int | None = None
    val_size: float | int | None = 0.1
    calibration_share: float = 0.5
    loss: str | Mapping[str, Any] = "mse"
    scaler: str | None = "standard"
    scaler_scope: str = "series"
    short: str = "drop"
    seed: int = 0
    threads: int | None = None
    checkpoint_every: int | None = None
    accelerator: str = "auto"
    devices: int | list[int] = 1
    strategy: str = "auto"
    precision: int | str = 32
    trainer_kwargs: Mapping[str, Any] | None = None
    alias: str | None = None

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_epochs is not None:
            raise ArgumentError(
                f"max_steps={self.max_steps} and max_epochs={self.max_epochs} exclude each other: give one."
            )
        for name in (
            "max_steps",
            "max_epochs",
            "batch_size",
            "validate_every",
            "early_stop_patience",
            "threads",
            "checkpoint_every",
        ):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ArgumentError(f"{name}={value!r}: wanted a whole number, 1 or more.")
        for name in ("learning_rate", "gradient_clip"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, float | int) and 0 < value < inf):
                raise ArgumentError(f"{name}={value!r}: wanted a positive number.")
        if not (isinstance(self.weight_decay, float | int) and 0 <= self.weight_decay < inf):
            raise ArgumentError(f"weight_decay={self.weight_decay!r}: wanted 0 or a positive number.")
        _one_of("optimizer", self.optimizer, ("adam", "adamw", "sgd"))
        _one_of("schedule", self.schedule, ("constant", "cosine", "halve"))
        _one_of("short", self.short, ("drop", "pad", "raise"))
        _one_of("precision", self.precision, (32, 64, "32", "64", "bf16-mixed", "16-mixed"))
        check_scaler(self.scaler, self.scaler_scope)

    def total_steps(self, steps_per_epoch: int) -> int:
        """Optimiser steps of the whole training."""
        if self.max_epochs is not None:
            return self.max_epochs * steps_per_epoch
        return self.max_steps or DEFAULT_STEPS


TRAINING_SPACE: Declared = {"learning_rate": Real(1e-4, 1e-2, log=True), "batch_size": Choice(16, 32, 64, 128)}
TRAINING = {field.name: field.default for field in fields(TrainArguments)}


def _one_of(name: str, value: Any, known: tuple[Any, ...]) -> None:
    if value not in known:
        raise ArgumentError(f"{name}={value!r}: wanted one of {', '.join(map(repr, known))}.")
