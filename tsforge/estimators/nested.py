"""Arguments inside arguments: `encoder__n` is the argument `n` of the encoder that `encoder` holds the spec of."""

from collections.abc import Mapping
from inspect import Parameter
from typing import Any

from tsforge.errors import ArgumentError, TsforgeError
from tsforge.training.specs import EncoderSpec, is_class_spec, read_spec

WAYS = ("encoder", "context")


def nested(way: str, spec: Any) -> dict[str, Any]:
    """`encoder__name` and `encoder__...`, defaults included; nothing where there is no encoder, or several."""
    try:
        found = read_spec(spec, way)
    except TsforgeError:  # None, a list, or what `fit` will refuse
        return {}
    name = {} if found.name is None else {f"{way}__name": found.name}
    return name | {f"{way}__{argument}": value for argument, value in _free(way, found).items()}


def changed(way: str, spec: Any, changes: Mapping[str, Any]) -> Any:
    """The spec with other arguments; with another `name` the arguments of the one before are gone.

    Raises:
        ArgumentError: there is no one encoder whose arguments these could be.
        UnknownNameError, UnknownArgumentError: see `read_spec`.
    """
    changes = dict(changes)
    if "name" in changes:
        spec = changes.pop("name")
    if not (isinstance(spec, str | Mapping) or is_class_spec(spec)):
        raise ArgumentError(
            f"{way}__{next(iter(changes), 'name')}: {way} is {spec!r}, so there is no one encoder to change. Set {way} "
            "itself, as in {'name': 'phnn', 'n': 2}."
        )
    if not changes:
        return spec
    found = read_spec(spec, way)
    arguments = found.arguments | changes
    made = (found.made, arguments) if found.name is None else {"name": found.name, **arguments}
    read_spec(made, way)
    return made


def _free(way: str, spec: EncoderSpec) -> dict[str, Any]:
    """What a user may set here: the width of what is inside a model is the model's."""
    return {
        name: value for name, value in spec.parameters().items()
        if value is not Parameter.empty and not (way == "encoder" and name == "d_model")
    }
