"""The parts of a recipe that tsforge reads itself; the others are arguments of what they name."""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, field_validator, model_validator

Count = Annotated[StrictInt, Field(ge=1)]


class Part(BaseModel):
    """A part of a recipe that knows its keys."""

    model_config = ConfigDict(extra="forbid")


class SplitPart(Part):
    """What is trained on, held back and tested.

    Args:
        protocol: "published" takes the split that the dataset states.
        val: Last steps (int) or share (float) of the training part held back; None follows the training arguments.
        test: Last steps of each series kept for the test; excludes `protocol` and `cutoff`.
        cutoff: The last time that may be trained on; what follows is the test part.
        windows: Test windows: "all", or this many.
        step: Steps between the cutoffs of test windows; None is 1 for all windows, else h.
    """

    protocol: Literal["published"] | None = None
    val: StrictInt | StrictFloat | None = None
    test: Count | None = None
    cutoff: StrictInt | str | None = None
    windows: Literal["all"] | Count = "all"
    step: Count | None = None

    @field_validator("cutoff", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, date) else value  # YAML reads 2020-01-01 as a date

    @model_validator(mode="after")
    def _says_one_thing(self) -> "SplitPart":
        tests = [name for name in ("protocol", "test", "cutoff") if getattr(self, name) is not None]
        if len(tests) > 1:
            raise ValueError(f"{' and '.join(tests)} each state the test part: keep one of them")
        if self.protocol is not None and self.val is not None:
            raise ValueError("the published split states val already: leave val out")
        return self

    @property
    def tests(self) -> bool:
        """Whether there is a test part."""
        return self.protocol is not None or self.test is not None or self.cutoff is not None


class EvaluatePart(Part):
    """How the test part is scored.

    Args:
        metrics: Names of metrics, or with arguments `{name: dtw, band: 5}`.
        scale: "train" standardises by the training rows, as published tables do.
        level: Percents of the intervals to score.
        pool: Averages rows instead of series.
    """

    metrics: list[str | dict[str, Any]] = ["mse", "mae"]
    scale: Literal["train"] | None = None
    level: list[float] = []
    pool: bool = False


class ValidationPart(Part):
    """How settings are judged: by forecasts of windows before the test part, of a model fitted on the rows before them.

    Args:
        metric: The one number: a name, or with arguments `{name: dtw, band: 5}`.
        windows: Validation windows; the last one ends where the test part begins.
        step: Steps between their cutoffs; None is h.
        refit: False fits once, before the first window; true at each; k at every k-th.
        scale: "train" standardises by the training rows; "auto" does so for errors in y that the unit of a series would
            weight (mse, mae, rmse).
    """

    metric: str | dict[str, Any] = "mse"
    windows: Count = 3
    step: Count | None = None
    refit: StrictBool | Count = False
    scale: Literal["train", "auto"] | None = "auto"


class SweepPart(ValidationPart):
    """A search for settings.

    Args:
        trials: Settings to try.
        timeout: Seconds after which no trial is begun.
        direction: "minimize" or "maximize"; None follows the metric.
        sampler: What proposes: tpe, random, gp, qmc or brute_force, or a name and arguments of optuna's sampler.
        pruner: What stops trials early: median, hyperband, successive_halving or wilcoxon, or a name and arguments;
            None lets all go on to their end.
        seed: Proposals are drawn from (seed, number of the trial).
        space: Dotted keys with what they may be; None takes what the model declares.
        start: Settings to try first, by dotted key; the recipe's own are tried before them.
    """

    trials: Count = 20
    timeout: StrictInt | StrictFloat | None = None
    direction: Literal["minimize", "maximize"] | None = None
    sampler: str | dict[str, Any] = "tpe"
    pruner: str | dict[str, Any] | None = None
    seed: StrictInt = 0
    space: dict[str, Any] | None = None
    start: list[dict[str, Any]] = []
