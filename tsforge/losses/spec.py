"""A loss from its spec: a name, or a name with arguments."""

from collections.abc import Mapping
from inspect import signature
from typing import Any

from tsforge.errors import ArgumentError, UnknownArgumentError
from tsforge.losses import LOSSES
from tsforge.losses.base import Loss


def make_loss(spec: str | Mapping[str, Any]) -> Loss:
    """`"mse"`, or `{"name": "quantile", "quantiles": [0.1, 0.5, 0.9]}`.

    Raises:
        UnknownNameError: there is no such loss.
        UnknownArgumentError: the loss has no such argument.
        ArgumentError: the spec is neither, or an argument has a value that cannot work.
    """
    if isinstance(spec, str):
        return LOSSES[spec]()
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        example = "{'name': 'quantile', 'quantiles': [0.1, 0.5, 0.9]}"
        raise ArgumentError(f"loss={spec!r}: wanted a name, or a name with arguments as in {example}.")
    arguments = {key: value for key, value in spec.items() if key != "name"}
    made = LOSSES[spec["name"]]
    known = signature(made).parameters
    for name in arguments:
        if name not in known:
            there = f"its arguments are {', '.join(known)}" if known else "it has none"
            raise UnknownArgumentError(f"The loss {spec['name']!r} has no argument {name!r}: {there}.")
    try:
        return made(**arguments)
    except ArgumentError:
        raise
    except (TypeError, ValueError) as error:
        raise ArgumentError(f"loss={dict(spec)!r}: {error}.") from None
