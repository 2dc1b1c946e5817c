"""What is asked for: a metric and its arguments, as a name, a text or a mapping.

    "mse"    "dtw(band=5)"    {"name": "valid_prediction_time", "threshold": 0.4, "exponent": 0.9, "source": "..."}
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Any

from tsforge.errors import ArgumentError, UnknownArgumentError, UnknownNameError, suggest
from tsforge.evaluation.metrics import METRICS, AnyMetric, WindowMetric

Spec = str | Mapping[str, Any]
CALL = re.compile(r"\s*(?P<name>[^()]*?)\s*(\((?P<arguments>.*)\)\s*)?", re.DOTALL)
OURS = {"winkler": "interval_score", "winkler_score": "interval_score", "vpt": "valid_prediction_time",
        "mda": "directional_accuracy"}


@dataclass(frozen=True)
class Asked:
    """A metric with its arguments.

    Args:
        metric: Its row.
        label: What its results are called: the name, and the arguments that stand in it.
        arguments: Keywords of its function.
        together: Whether all targets of a series are one window.
    """

    metric: AnyMetric
    label: str
    arguments: Mapping[str, Any]
    together: bool

    @property
    def needs_scale(self) -> int | None:
        """The power of the seasonal scale that it divides by."""
        return None if isinstance(self.metric, WindowMetric) else self.metric.needs_scale

    @property
    def needs_sd(self) -> bool:
        """Whether it reads the sd of the training rows."""
        needs = self.metric.needs_sd if isinstance(self.metric, WindowMetric) else None
        return needs is not None and needs(self.arguments)


def read_metrics(given: Spec | Sequence[Spec]) -> list[Asked]:
    """What is asked for, each once, in order.

    Raises:
        UnknownNameError: no such metric; names the nearest.
        UnknownArgumentError: a metric has no such argument.
        ArgumentError: nothing is asked for, a metric needs an argument, or a text cannot be read.
    """
    several = [given] if isinstance(given, str | Mapping) else list(given)
    if not several:
        raise ArgumentError(f"metrics is empty: name some of {', '.join(METRICS)}.")
    asked = {}
    for spec in several:
        one = _read(*name_and_arguments(spec))
        if asked.setdefault(one.label, one) != one:
            raise ArgumentError(f"Two metrics are both called {one.label!r} and differ in what that does not tell: "
                                "give each its source=.")
    return list(asked.values())


def name_and_arguments(spec: Spec) -> tuple[str, dict[str, Any]]:
    """The name of a metric and what is given with it.

    Raises:
        ArgumentError: it is neither a text as `dtw(band=5)` nor a mapping with a name.
    """
    if isinstance(spec, Mapping):
        given = dict(spec)
        name = given.pop("name", None)
        if isinstance(name, str):
            return name, given
    elif isinstance(spec, str) and (call := CALL.fullmatch(spec)):
        parts = _parts(call["arguments"] or "")
        if all("=" in part for part in parts):
            pairs = (part.split("=", 1) for part in parts)
            return call["name"], {key.strip(): _value(value.strip()) for key, value in pairs}
    raise ArgumentError(f"The metric {spec!r} cannot be read: wanted a name, a text as 'dtw(band=5)', or a mapping as "
                        "{'name': 'dtw', 'band': 5}.")


def _read(name: str, given: dict[str, Any]) -> Asked:
    if name not in METRICS:
        ours = f" It is called {OURS[name.lower()]!r}." if name.lower() in OURS else ""
        hint = ours or suggest(name, METRICS) or f" There are: {', '.join(METRICS)}."
        raise UnknownNameError(f"There is no metric named {name!r}.{hint}")
    metric = METRICS[name]
    if not isinstance(metric, WindowMetric):
        _refuse_unknown(name, given, ())
        return Asked(metric, name, {}, together=False)
    own = metric.arguments()
    _refuse_unknown(name, given, [*own, "together", *(["source"] if "exponent" in own else [])])
    missing = [key for key, one in own.items() if one.default is Parameter.empty and key not in given]
    if missing:
        raise ArgumentError(f"{name} needs {', '.join(f'{key}=' for key in missing)}: give "
                            f"{{'name': {name!r}, {', '.join(f'{key!r}: ...' for key in missing)}}}.")
    arguments = {key: given[key] for key in own if key in given}
    about = {key: given[key] for key in ("together", "source") if key in given}
    stated = dict(metric.stated(arguments) if metric.stated else arguments) | about
    told = ", ".join(f"{key}={_text(value)}" for key, value in stated.items())
    label = f"{name}({told})" if told else name
    return Asked(metric, label, arguments, bool(given.get("together", metric.together)))


def _refuse_unknown(name: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in given:
        if key not in known:
            takes = f"It takes {', '.join(known)}." if known else "It takes none."
            raise UnknownArgumentError(f"The metric {name} has no argument {key!r}.{suggest(key, known)} {takes}")


def _parts(text: str) -> list[str]:
    """A text cut at the commas outside brackets and quotation marks."""
    parts, depth, quoted = [""], 0, False
    for sign in text:
        quoted ^= sign == '"'
        depth += 0 if quoted else (sign in "[{(") - (sign in "]})")
        if sign == "," and not depth and not quoted:
            parts.append("")
        else:
            parts[-1] += sign
    return [part for part in parts if part.strip()]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _text(value: Any) -> str:
    """A value as `_value` reads it; a number of each series is not written out."""
    if isinstance(value, Mapping):
        return "by series"
    if isinstance(value, float):
        return f"{value:.6g}"
    plain = isinstance(value, str) and not re.search(r'[,="(\[{)\]}]', value) and _value(value) == value
    return value if plain else json.dumps(value, default=str, ensure_ascii=False)
