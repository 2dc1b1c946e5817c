"""Specs of encoders: what `encoder=` and `context=` may hold, read and checked, and written down again.

A spec is a name (`"phnn"`), a name with arguments (`{"name": "phnn", "n": 4}`), or a class with arguments
(`(MyEncoder, {"width": 3})`), which a file records as `{"class": "MyEncoder", "width": 3}`. It is never a built module:
sizes come from the data and from the model. A wrapper has a spec among its arguments, of the encoder inside.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from tsforge.encoders import ENCODERS
from tsforge.encoders.base import Encoder
from tsforge.encoders.wrapper.base import INSIDE, WrapperEncoder, check_inside
from tsforge.errors import ArgumentError, CapabilityError, UnknownArgumentError, suggest
from tsforge.models.base import Model

Spec = str | Mapping[str, Any] | tuple[type, Mapping[str, Any]]
WANTED = 'wanted a name as "phnn", {"name": "phnn", "n": 4}, or (MyEncoder, {"width": 3})'


@dataclass(frozen=True)
class EncoderSpec:
    """An encoder to be built.

    Args:
        made: Its class.
        name: Its row; None where the class was given.
        arguments: What the user said of it.
        inside: The encoder that a wrapper is made around.
    """

    made: type[Encoder]
    name: str | None
    arguments: dict[str, Any]
    inside: "EncoderSpec | None" = None

    @property
    def output(self) -> str:
        """Tokens or a vector; a wrapper gives what the encoder inside does."""
        return self.made.output if self.inside is None else self.inside.output

    def plain(self) -> dict[str, Any]:
        """As a file records it."""
        key = {"class": self.made.__name__} if self.name is None else {"name": self.name}
        written = {} if self.inside is None or INSIDE not in self.arguments else {INSIDE: self.inside.plain()}
        return key | self.arguments | written

    def parameters(self) -> dict[str, Any]:
        """Every argument that a user may write, with its value."""
        return {name: p.default for name, p in own_parameters(self.made).items()} | self.arguments


@dataclass(frozen=True)
class Plugs:
    """The encoders of a network, as the two ways in hold them."""

    encoder: EncoderSpec | None = None
    context: tuple[EncoderSpec, ...] = ()

    @property
    def reads_static(self) -> bool:
        """Whether ids and static columns of the series are read."""
        return any(spec.made.reads == "static" for spec in self.context)

    def plain(self) -> dict[str, Any]:
        """As a file records them."""
        return {"encoder": self.encoder and self.encoder.plain(), "context": [spec.plain() for spec in self.context]}


def own_parameters(made: type[Encoder]) -> dict[str, Parameter]:
    """The arguments of an encoder that the data do not give."""
    skip = {"self", *made.given}
    return {name: p for name, p in signature(made.__init__).parameters.items() if name not in skip}


def read_spec(spec: Any, way: str = "encoder", classes: Iterable[type] = ()) -> EncoderSpec:
    """A spec with its class, its arguments known to be such.

    Raises:
        ArgumentError: it is no spec, or names a class that is in no catalog and not among `classes`.
        UnknownNameError: there is no such encoder; names the nearest.
        UnknownArgumentError: the encoder has no such argument; names the nearest.
    """
    name, made, arguments = None, None, {}
    if isinstance(spec, str):
        name = spec
    elif isinstance(spec, Mapping):
        arguments = dict(spec)
        name, made = arguments.pop("name", None), _recorded(arguments.pop("class", None), way, classes)
    elif is_class_spec(spec):
        made, arguments = spec[0], dict(spec[1])
    if (name is None) == (made is None) or not isinstance(name, str | None):
        raise ArgumentError(f"{way}={spec!r}: {WANTED}.")
    made = ENCODERS[name] if name is not None else made
    if not (isinstance(made, type) and issubclass(made, Encoder)):
        raise ArgumentError(
            f"{way}: {getattr(made, '__name__', made)} is no encoder: derive it from the contract of a family, as "
            "tsforge.encoders.sequence.base.SequenceEncoder; docs/encoders.md shows one."
        )
    known = own_parameters(made)
    for argument in arguments:
        if argument not in known:
            hint = suggest(argument, known) or f" There are: {', '.join(known)}."
            raise UnknownArgumentError(f"{way}: {made.__name__} has no argument {argument!r}.{hint}")
    return EncoderSpec(made, name, arguments, _inside(made, arguments, way, tuple(classes)))


def _inside(
    made: type[Encoder], arguments: Mapping[str, Any], way: str, classes: tuple[type, ...]
) -> EncoderSpec | None:
    """The encoder that a wrapper is made around, None of other encoders."""
    if not issubclass(made, WrapperEncoder):
        return None
    given = arguments.get(INSIDE)
    inside = read_spec(made.inside_default if given is None else given, f"{way}.{INSIDE}", classes)
    check_inside(made, inside.made)
    if "d_model" in inside.arguments:
        raise ArgumentError(f"{way}.{INSIDE}: d_model is that of {made.__name__}: leave it out of the encoder inside.")
    return inside


def is_class_spec(spec: Any) -> bool:
    """Whether this is (MyEncoder, {...})."""
    return isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], type) and isinstance(spec[1], Mapping)


def _recorded(name: Any, way: str, classes: Iterable[type]) -> type | None:
    """The class that a file names, found among those that Python was given: no name in a file is imported."""
    if name is None:
        return None
    found = {made.__name__: made for made in classes}
    if name not in found:
        raise ArgumentError(
            f"{way}: {name!r} is a class of your own, and no file can bring it. Hand it over: "
            f"tsforge.open(path, classes=[{name}]), or name it by the entry point tsforge.encoders."
        )
    return found[name]


def read_plugs(network: type[Model], encoder: Any, context: Any, classes: Iterable[type] = ()) -> Plugs:
    """The encoders of a network of this class.

    Raises:
        CapabilityError: the network does not take an encoder, or not one of this kind.
        ArgumentError: a spec is none, or says what the model decides; or the network needs an encoder.
        UnknownNameError, UnknownArgumentError: see `read_spec`.
    """
    classes = tuple(classes)
    plugs = Plugs(
        None if encoder is None else read_spec(encoder, "encoder", classes),
        tuple(read_spec(spec, "context", classes) for spec in listed(context)),
    )
    if plugs.encoder is not None:
        _check_taken(network, plugs.encoder)
    elif network.encoder_default is not None:
        raise ArgumentError(
            f"{network.__name__}(encoder=None): it is nothing without one. Name it, as in encoder="
            f"{network.encoder_default!r}; see `tsforge list encoders`."
        )
    return plugs


def listed(context: Any) -> list[Any]:
    """The specs of `context=`, which may be one or a list."""
    if context is None:
        return []
    one = isinstance(context, str | Mapping) or is_class_spec(context)
    if not one and not isinstance(context, Sequence):
        raise ArgumentError(f"context={context!r}: {WANTED}, or a list of such.")
    return [context] if one else list(context)


def _check_taken(network: type[Model], spec: EncoderSpec) -> None:
    takes, made = network.encoder_takes, spec.made
    fits = takes is not None and made.reads == "window" and (takes in ("channel", "window") or spec.output == "tokens")
    if not fits:
        wants = {
            None: "takes no encoder",
            "steps": "takes an encoder of windows that gives a token for each step",
            "channel": "takes an encoder of windows",
            "window": "takes an encoder of windows",
        }[takes]
        gives = {"window": "a window", "static": "what is known of a series"}[made.reads]
        out = {"tokens": "a token for each step", "vector": "one vector"}[spec.output]
        raise CapabilityError(
            f"{network.__name__} {wants}; {made.__name__} reads {gives} and gives {out}. Every neural model takes "
            "it as context=."
        )
    if "d_model" in spec.arguments:
        raise ArgumentError(
            f"encoder: d_model is that of the model: write {network.__name__}(d_model={spec.arguments['d_model']!r}), "
            "and leave it out of the encoder."
        )


def resolved(value: Any, classes: Iterable[type]) -> Any:
    """What a file recorded of `encoder` or `context`, with the classes in it again classes."""
    if isinstance(value, list):
        return [resolved(spec, classes) for spec in value]
    if isinstance(value, Mapping) and "class" in value:
        spec = read_spec(value, "encoder", classes)
        return spec.made, {name: resolved(part, classes) if name == INSIDE else part
                           for name, part in spec.arguments.items()}
    if isinstance(value, Mapping) and isinstance(value.get(INSIDE), Mapping):
        return {**value, INSIDE: resolved(value[INSIDE], classes)}
    return value


def recorded(value: Any) -> Any:
    """The inverse of `resolved`: as a file holds it."""
    if is_class_spec(value):
        return {"class": value[0].__name__, **recorded(value[1])}
    if isinstance(value, list | tuple):
        return [recorded(spec) for spec in value]
    if isinstance(value, Mapping):
        return {name: recorded(part) if name == INSIDE else part for name, part in value.items()}
    return value
