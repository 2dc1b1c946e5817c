"""Search spaces: what values an argument may take. Stated once beside each model and encoder; a sweep draws from them.

In a recipe    [16, 32, 64]                               one of these
               {low: 1.0e-4, high: 1.0e-2, log: true}     a number between; whole where both ends are written so
               {low: 16, high: 128, step: 16}             a whole number out of 16, 32, ..., 128
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from tsforge.errors import ArgumentError, suggest


@dataclass(frozen=True)
class Integer:
    """A whole number.

    Args:
        low: The least.
        high: The greatest; it is one of the values where `step` reaches it.
        log: Even on a logarithmic scale; excludes `step`.
        step: Distance between values.

    Raises:
        ArgumentError: there is nothing between the ends, or they do not fit a logarithm.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, self.log)
        if self.step < 1 or (self.log and self.step != 1):
            raise ArgumentError(f"step={self.step!r}: wanted 1 or more, and none beside log.")

    def __contains__(self, value: Any) -> bool:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return whole and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def plain(self) -> dict[str, Any]:
        """As a recipe states it."""
        return {"low": self.low, "high": self.high} | _marks(self.log) | ({"step": self.step} if self.step > 1 else {})


@dataclass(frozen=True)
class Real:
    """A number.

    Args:
        low: The least.
        high: The greatest.
        log: Even on a logarithmic scale.

    Raises:
        ArgumentError: there is nothing between the ends, or they do not fit a logarithm.
    """

    low: float | int
    high: float | int
    log: bool = False

    def __post_init__(self) -> None:
        _check_ends(self.low, self.high, self.log)

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def plain(self) -> dict[str, Any]:
        """As a recipe states it: the ends are written with a point."""
        return {"low": float(self.low), "high": float(self.high)} | _marks(self.log)


class Choice:
    """One of some values, in no order.

    Args:
        values: What there is to choose: numbers, words, None, or lists and mappings of them.

    Raises:
        ArgumentError: there is no value, or one stands twice.
    """

    def __init__(self, *values: Any) -> None:
        if not values:
            raise ArgumentError("A choice needs a value, as in [16, 32].")
        if len({repr(value) for value in values}) < len(values):
            raise ArgumentError(f"{list(values)!r}: a value stands twice. Leave one of them out.")
        self.values = values

    def __contains__(self, value: Any) -> bool:
        return any(value == known and type(value) is type(known) for known in self.values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Choice) and repr(other.values) == repr(self.values)

    def __hash__(self) -> int:
        return hash(repr(self.values))

    def __repr__(self) -> str:
        return f"Choice{self.values!r}"

    def plain(self) -> list[Any]:
        """As a recipe states it."""
        return list(self.values)


Dimension = Integer | Real | Choice
Declared = Mapping[str, Dimension]  # by argument, as a model states it


def read_dimension(key: str, given: Any) -> Dimension:
    """The dimension that a recipe states for a key.

    Raises:
        ArgumentError: it is none; names the key and what is wanted.
    """
    if isinstance(given, Dimension):
        return given
    try:
        if isinstance(given, Mapping):
            return _between(given)
        if isinstance(given, Sequence) and not isinstance(given, str):
            return Choice(*given)
    except ArgumentError as error:
        raise ArgumentError(f"space: {key}: {error}") from None
    raise ArgumentError(
        f"space: {key} = {given!r}: wanted a list of values, as in [16, 32], or the ends of a range, as in "
        "{low: 0.001, high: 0.1, log: true}."
    )


def _between(given: Mapping[Any, Any]) -> Dimension:
    known = ("low", "high", "log", "step")
    for name in given:
        if name not in known:
            hint = suggest(str(name), known) or " It has low, high, log, step."
            raise ArgumentError(f"a range has no {name!r}.{hint}")
    missing = [name for name in ("low", "high") if name not in given]
    if missing:
        raise ArgumentError(f"{' and '.join(missing)} is missing.")
    low, high, log = given["low"], given["high"], given.get("log", False)
    if not isinstance(log, bool):
        raise ArgumentError(f"log={log!r}: wanted true or false.")
    _check_ends(low, high, log)
    if isinstance(low, int) and isinstance(high, int):
        return Integer(low, high, log, given.get("step", 1))
    if "step" in given:
        raise ArgumentError("step belongs to whole numbers; of others give a list.")
    return Real(float(low), float(high), log)


def _check_ends(low: Any, high: Any, log: bool) -> None:
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
            raise ArgumentError(f"{name}={value!r}: wanted a number.")
    if not low < high:
        raise ArgumentError(f"low={low} and high={high}: there is nothing between them.")
    if log and low <= 0:
        raise ArgumentError(f"low={low} has no logarithm: leave log out, or begin above 0.")


def _marks(log: bool) -> dict[str, Any]:
    return {"log": True} if log else {}
