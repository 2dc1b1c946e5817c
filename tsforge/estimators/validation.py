"""Validation: one number that settings are judged by, from windows that lie before the test part.

Rows      A model is fitted on the rows before a window and forecasts it; of the test part it is given nothing.
Units     those of the metric; standardised by all rows before the first window, so that settings share one scale
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import polars as pl
import torch
from sklearn.base import clone

from tsforge.errors import ArgumentError
from tsforge.estimators.base import Estimator
from tsforge.estimators.division import every_step
from tsforge.estimators.exponents import with_exponents
from tsforge.evaluation.asked import read_metrics
from tsforge.evaluation.backtest import cutoffs_of, groups_of, refit_every, seen
from tsforge.evaluation.evaluate import evaluate
from tsforge.frame.frame import Frame
from tsforge.training.recipe_parts import ValidationPart

IN_UNITS = ("mse", "mae", "rmse")  # of the series; without a scale the largest series would be all that counts


@runtime_checkable
class Listener(Protocol):
    """Who is told on the way. What it raises ends the validation."""

    def trained(self, row: dict[str, Any]) -> None:
        """A validation within the training, of a model that is fitted once."""
        ...

    def scored(self, fit: int, score: float) -> None:
        """The windows of one fit, of a model that is fitted again and again; fits are counted from 0."""
        ...


@dataclass(frozen=True)
class Validated:
    """What a validation came to.

    Args:
        value: The number.
        metric: Its name, with its arguments.
        windows: Validation windows.
    """

    value: float
    metric: str
    windows: int


class Validation:
    """The validation windows of a frame, which every setting is judged on.

    Args:
        frame: The rows before the test part.
        part: Which windows, and what number.
        h: Steps ahead.
        level: Percents of intervals, for a metric that reads them.

    Raises:
        ArgumentError: the metric is not one number.
        UnknownNameError: there is no such metric.
        FrameError: the series are too short for the windows.
    """

    def __init__(self, frame: Frame, part: ValidationPart, h: int, level: Sequence[float] = ()) -> None:
        self.frame, self.part, self.level = frame, part, list(level)
        self.metrics = with_exponents([part.metric], frame)
        cutoffs = cutoffs_of(frame, h, part.windows, h if part.step is None else part.step)
        self.groups = groups_of(cutoffs, refit_every(part.refit, True, len(cutoffs)))
        self.train = every_step(seen(frame, self.groups[0]))
        asked = read_metrics(part.metric)[0]
        self.label, self.direction = asked.label, asked.metric.direction
        scale = part.scale
        if scale == "auto":
            scale = "train" if asked.metric.name in IN_UNITS else None
        self.scale = scale

    def of(self, model: Estimator, listener: Listener | None = None) -> Validated:
        """The number of a model, which is cloned; its threads are used for forecasts, too.

        Raises:
            ArgumentError: the metric gives several numbers; says how to name one.
            TsforgeError: as fitting and forecasting raise it.
        """
        tables: list[pl.DataFrame] = []
        with threads_of(model):
            for number, group in enumerate(self.groups):
                tables.append(self._forecasts(model, group, listener))
                if listener is not None and self.refits:
                    listener.scored(number, self._score(tables[-1]))
            return Validated(self._score(pl.concat(tables)), self.label, self.part.windows)

    @property
    def refits(self) -> bool:
        """Whether a model is fitted several times; then each fit is scored by itself on the way."""
        return len(self.groups) > 1

    def _forecasts(self, model: Estimator, group: pl.DataFrame, listener: Listener | None) -> pl.DataFrame:
        copied: Any = clone(model)
        told = listener.trained if listener is not None and not self.refits else None
        copied.fit(seen(self.frame, group), on_validation=told)
        return copied.predict_at(self.frame, group.drop("window"), level=self.level)

    def _score(self, forecasts: pl.DataFrame) -> float:
        found = evaluate(forecasts, self.metrics, by=(), scale=self.scale, train=self.train, season=self.frame.season)
        if len(found) != 1:
            names = ", ".join(found["metric"].to_list())
            raise ArgumentError(
                f"validation: the metric {self.part.metric!r} gives {len(found)} numbers ({names}), and settings are "
                "judged by one. Give a single evaluate.level, or another metric."
            )
        return float(found["value"][0])


def minimised(validation: Validation, direction: str | None) -> bool:
    """Whether less is better.

    Raises:
        ArgumentError: neither less nor more is better of the metric, and no direction is stated.
    """
    if direction is not None:
        return direction == "minimize"
    if validation.direction == "level":
        raise ArgumentError(
            f"{validation.label} is best at its level, so it can neither be minimised nor maximised: choose "
            "interval_score or wql, or state a direction."
        )
    return validation.direction == "min"


@contextmanager
def threads_of(model: Estimator) -> Iterator[None]:
    """As many CPU threads as the model trains with: sums of other threads differ in their last bits."""
    before, wanted = torch.get_num_threads(), getattr(model, "threads", None)
    try:
        if wanted is not None:
            torch.set_num_threads(wanted)
        yield
    finally:
        torch.set_num_threads(before)


