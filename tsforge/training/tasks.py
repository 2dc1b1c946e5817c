"""Tasks: what is asked of a network, as a spec: a name, or a name with arguments."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from inspect import signature
from typing import Any, ClassVar

from tsforge.errors import ArgumentError, UnknownArgumentError, suggest

TaskSpec = str | Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """What all tasks are."""

    name: ClassVar[str]
    asked_by: ClassVar[str]  # the method of an estimator that answers it

    def plain(self) -> dict[str, Any]:
        """As a file records it."""
        return {"name": self.name, **asdict(self)}


@dataclass(frozen=True)
class Forecast(Task):
    """The `h` steps after a window."""

    name: ClassVar[str] = "forecast"
    asked_by: ClassVar[str] = "predict(...)"


@dataclass(frozen=True)
class Imputation(Task):
    """What is missing in a window, learned from observed cells that are hidden from the network.

    Args:
        hidden: Share of the observed cells that is hidden, drawn anew at each step of training.
    """

    name: ClassVar[str] = "imputation"
    asked_by: ClassVar[str] = "impute(frame)"
    hidden: float | int = 0.25

    def __post_init__(self) -> None:
        if not _share(self.hidden):
            raise ArgumentError(f"task: hidden={self.hidden!r}: wanted a share of the cells, above 0 and below 1.")


@dataclass(frozen=True)
class Anomaly(Task):
    """How badly the network reconstructs a step.

    Args:
        quantile: A step is anomalous where its score is above this quantile of the scores of the rows it was fitted on.
    """

    name: ClassVar[str] = "anomaly"
    asked_by: ClassVar[str] = "score_anomalies(frame)"
    quantile: float | int = 0.99

    def __post_init__(self) -> None:
        if not _share(self.quantile):
            raise ArgumentError(f"task: quantile={self.quantile!r}: wanted a level above 0 and below 1.")


@dataclass(frozen=True)
class Classification(Task):
    """The class of a whole series, the last `input_size` steps of it.

    Args:
        label: The column of the frame's labels; None where there is one.
        balanced: Whether rare classes weigh as much as frequent ones.
    """

    name: ClassVar[str] = "classification"
    asked_by: ClassVar[str] = "predict_class(frame)"
    label: str | None = None
    balanced: bool = False

    def __post_init__(self) -> None:
        if not (isinstance(self.label, str | None) and isinstance(self.balanced, bool)):
            raise ArgumentError(f"task: label={self.label!r}, balanced={self.balanced!r}: wanted the name of a column, "
                                "and true or false.")


TASKS: dict[str, type[Task]] = {made.name: made for made in (Forecast, Imputation, Anomaly, Classification)}


def read_task(spec: Any) -> Task:
    """`"imputation"`, or `{"name": "imputation", "hidden": 0.5}`.

    Raises:
        ArgumentError: it is no spec, there is no such task, or an argument has a value that cannot work.
        UnknownArgumentError: the task has no such argument.
    """
    arguments = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = arguments.pop("name", None)
    if not isinstance(name, str):
        raise ArgumentError(f"task={spec!r}: wanted a name, or {{'name': 'imputation', 'hidden': 0.5}}.")
    if name not in TASKS:
        hint = suggest(name, TASKS) or f" There are: {', '.join(TASKS)}."
        raise ArgumentError(f"There is no task {name!r}.{hint}")
    known = signature(TASKS[name]).parameters
    for argument in arguments:
        if argument not in known:
            there = f"its arguments are {', '.join(known)}" if known else "it has none"
            raise UnknownArgumentError(f"The task {name!r} has no argument {argument!r}: {there}.")
    return TASKS[name](**arguments)


def _share(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1
