"""Records as JSON has them, taken apart: what stands at which path, the ranges of numbers, how much values differ."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from json import dumps
from math import isfinite
from typing import Any

import numpy as np

from tsforge.errors import ArgumentError

Path = tuple[str, ...]
ITEM = "[]"  # the step of a path from a list to what is in it
DEEPEST, HUGE = 50, 10**300
LEAST_WEIGHT = 0.1  # of a name whose value is the same in all records


def leaves_of(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Values by path; of a list all at once."""
    check_value(value, path)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from leaves_of(inner, (*path, key))
        if path:
            yield path, value
    elif isinstance(value, list | tuple):
        inner = [leaf for item in value for leaf in leaves_of(item, (*path, ITEM))]
        for at in {at for at, _ in inner}:
            yield at, [leaf for where, leaf in inner if where == at]
        yield path, value
    elif not missing(value):
        yield path, value


def ranges_of(records: Sequence[Mapping[Path, Any]]) -> dict[Path, tuple[float, float, bool]]:
    """Low, high and whether of the logarithm, by path of a number."""
    found: dict[Path, list[float]] = {}
    for leaves in records:
        for path, value in leaves.items():
            found.setdefault(path, []).extend(float(number) for number in _numbers(value))
    return {path: _range(np.array(numbers)) for path, numbers in found.items() if numbers}


def _range(numbers: np.ndarray) -> tuple[float, float, bool]:
    low, middle, high = np.quantile(numbers, [0.05, 0.5, 0.95])
    logarithmic = bool(numbers.min() > 0 and middle - low < 0.25 * (high - low))
    if logarithmic:
        low, high = np.log(low), np.log(high)
    if not high > low:
        low, high = low - 0.5, low + 0.5
    return float(low), float(high), logarithmic


def _numbers(value: Any) -> Iterator[float | int]:
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool) and not missing(value):
        yield value


def weights_of(records: Sequence[Mapping[Path, Any]]) -> dict[Path, float]:
    """The chance that two records differ at a path, and a little more."""
    counts: dict[Path, Counter[str]] = {}
    for leaves in records:
        for path, value in leaves.items():
            counts.setdefault(path, Counter())[dumps(value, sort_keys=True)] += 1
    alike = {path: sum((n / len(records)) ** 2 for n in count.values()) for path, count in counts.items()}
    return {path: LEAST_WEIGHT + 1 - chance for path, chance in alike.items()}


def missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not isfinite(value))


def check_value(value: Any, path: Path) -> None:
    known = isinstance(value, Mapping | list | tuple | str | int | float) or value is None
    words = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
    beyond = isinstance(value, int) and abs(value) > HUGE
    if not known or (isinstance(value, Mapping) and not words) or len(path) > DEEPEST or beyond:
        kind = "a mapping with names that are no words" if isinstance(value, Mapping) else f"a {type(value).__name__}"
        what = f"more than {DEEPEST} levels" if len(path) > DEEPEST else "a number beyond 1e300" if beyond else kind
        raise ArgumentError(f"records: at {'.'.join(path) or 'the top'} stands what cannot be read, {what}. Give "
                            "mappings with names, lists, words, numbers, True, False and None.")
