"""The building of networks: a model, the encoder in it, and the encoders that tell it of its context."""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tsforge.data.windows import Windows
from tsforge.encoders.adapter.base import attached
from tsforge.encoders.base import Encoder
from tsforge.encoders.wrapper.base import INSIDE
from tsforge.errors import ArgumentError
from tsforge.layers.embedding import ChannelWindows
from tsforge.models.base import Model
from tsforge.models.conditioned import Conditioned
from tsforge.training.specs import EncoderSpec, Plugs, own_parameters

BARE = Plugs()
FITTED_ON = 10_000  # windows
AT_ONCE = 256


def build_network(make: type[Model], sizes: Mapping[str, Any], own: Mapping[str, Any], plugs: Plugs = BARE) -> Model:
    """A network with its encoders, on the device and from the random state that are set.

    The model draws its weights first: with a context it starts with those that it has without.

    Args:
        make: The class of the model.
        sizes: Its data-given arguments, `outputs` among them.
        own: Its hyper-parameters.
        plugs: Its encoders, checked by `read_plugs`.

    Raises:
        ArgumentError: the model or an encoder cannot be made of its arguments.
    """
    bare = dict(sizes) if "static" in make.covariates else {**sizes, "static_numeric": 0, "static_cardinalities": ()}
    network = _made(make, bare | dict(own))
    if plugs.encoder is not None:
        _plug(network, plugs.encoder)
    if plugs.context:
        network = Conditioned(network, [build_encoder(spec, sizes) for spec in plugs.context])
    return network


def _plug(network: Model, spec: EncoderSpec) -> None:
    def make(in_channels: int, d_model: int) -> nn.Module:
        encoder = build_encoder(spec, {"in_channels": in_channels, "input_size": network.input_size}, d_model)
        return ChannelWindows(encoder) if network.encoder_takes == "channel" else encoder

    network.plug(make)


def build_encoder(spec: EncoderSpec, sizes: Mapping[str, Any], d_model: int | None = None) -> Encoder:
    """An encoder of the sizes that the data give; a wrapper is handed what makes the encoder inside, of its width.

    Raises:
        ArgumentError: it cannot be made of its arguments.
    """
    width = {} if d_model is None else {"d_model": d_model}
    arguments = spec.made.given_by(sizes) | width | spec.arguments
    if spec.inside is not None:
        inner = arguments.get("d_model", own_parameters(spec.made)["d_model"].default)
        arguments[INSIDE] = partial(build_encoder, spec.inside, sizes, inner)
    return _made(spec.made, arguments)


def _made(make: type, arguments: Mapping[str, Any]) -> Any:
    try:
        return make(**arguments)
    except TypeError as error:
        raise ArgumentError(f"{make.__name__} cannot be made of these arguments: {error}.") from None


def state_shapes(network: Model, rows: Mapping[str, Tensor]) -> dict[str, Any]:
    """The shapes of a network's state; of buffers that grow, with the rows that those of a file have."""
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    for prefix, module in network.named_modules():
        if isinstance(module, Model) and not isinstance(module, Conditioned):
            names = [f"{prefix}{'.' if prefix else ''}{name}" for name in module.grown]
            count = next((rows[name].shape[:1] for name in names if name in rows), None)
            shapes |= {} if count is None else {name: torch.Size((*count, *shapes[name][1:])) for name in names}
    return shapes


def encoders_of(network: Model, stating: str) -> list[Encoder]:
    """The encoders of a network whose class states a method that the contract leaves empty; contexts come first."""
    found = [module for module in network.modules() if isinstance(module, Encoder)]
    return [encoder for encoder in found if getattr(type(encoder), stating) is not getattr(Encoder, stating)]


@torch.no_grad()
def fit_encoders(network: Model, windows: Windows) -> None:
    """Fits those encoders that are fitted before training, each on what it is given of training windows.

    Of more than `FITTED_ON` windows, so many are taken, spread evenly.
    """
    training = network.training
    for encoder in encoders_of(network, "fit"):
        encoder.fit(*_given(network.eval(), encoder, windows))
    network.train(training)


def _given(network: Model, encoder: Encoder, windows: Windows) -> list[Tensor | None]:
    """The arguments that the network calls an encoder with, of many windows at once."""
    seen: list[tuple[Tensor | None, ...]] = []

    def keep(module: nn.Module, inputs: tuple[Tensor | None, ...]) -> None:
        seen.append(inputs)
        raise _Kept

    numbers = np.unique(np.linspace(0, len(windows) - 1, min(len(windows), FITTED_ON)).round().astype(np.int64))
    handle = encoder.register_forward_pre_hook(keep)
    try:
        for batch in windows.batches([numbers[at : at + AT_ONCE] for at in range(0, len(numbers), AT_ONCE)]):
            with suppress(_Kept):
                network(batch)
    finally:
        handle.remove()
    return [None if parts[0] is None else torch.cat(parts) for parts in zip(*seen, strict=True)]


class _Kept(Exception):
    """Ends a pass through the network where an encoder was called."""


def parameter_groups(network: Model, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    """The groups of a network, with those that its encoders ask for, wherever they sit in it.

    Of an adapted network its adapter trains alone, and without decay: that would pull towards where it started.
    """
    adapter = attached(network)
    if adapter is not None:
        return [{"params": list(adapter.parameters()), "lr": learning_rate, "weight_decay": 0.0}]
    groups = network.parameter_groups(learning_rate, weight_decay)
    encoders = _outermost(network)
    if not encoders:
        return groups
    asked = [group for encoder in encoders for group in encoder.parameter_groups(learning_rate, weight_decay)]
    known = {id(weight) for group in asked for weight in group["params"]}
    rest = [{**group, "params": [w for w in group["params"] if id(w) not in known]} for group in groups]
    return [group for group in (*rest, *asked) if group["params"]]


def _outermost(module: nn.Module) -> list[Encoder]:
    """The encoders of a network that lie in no other encoder: they speak for those inside them."""
    found: list[Encoder] = []
    for child in module.children():
        found += [child] if isinstance(child, Encoder) else _outermost(child)
    return found


def weight_of_second(network: Model) -> float | None:
    """The weight in the loss of windows that are read again in company, None where windows are read once."""
    weights = [module.twice for module in network.modules() if isinstance(module, Encoder)]
    return max((weight for weight in weights if weight is not None), default=None)
