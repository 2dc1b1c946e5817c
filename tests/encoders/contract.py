"""What the tests of all families share."""

import copy
from functools import partial
from inspect import Parameter, signature
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

# Arguments that are words or lists, and their other values.
CHOICES = {"algebra": ["hamilton"], "method": ["eigsearch", "frank_wolfe", "pca"], "patch_norm": ["patch"],
           "code_dim": [256], "arrays": ["set"], "records": [{"s0": {"other": 1}}],
           "kernel": ["exponential", "spherical"], "nugget": [0, 0.3], "max_places": [5],
           "nesting": [(4, 128)], "heads": ["tied"], "mlp_hidden": [(8,)], "alpha": [1.0, 2.0], "numeric": ["log"],
           "att_hidden": [(8,)], "activation": ["relu"], "segment_len": [3]}


def own_arguments(made: type) -> dict[str, Parameter]:
    """What a paper adds to the contract of its family."""
    return {name: p for name, p in signature(made).parameters.items() if name not in (*made.given, "d_model")}


def alternatives(parameter: Parameter) -> list[Any]:
    """Other values of an argument, by its type."""
    default = parameter.default
    if parameter.name in CHOICES:
        return [other for other in CHOICES[parameter.name] if other != default]
    if isinstance(default, bool):
        return [not default]
    return [default + 2] if isinstance(default, int) else [default / 2 + 0.1]


def seeded(make: Any, seed: int = 0) -> Any:
    """What is made from this random state."""
    torch.manual_seed(seed)
    return make()


def arguments_of(names: Any, catalog: Any) -> list[Any]:
    """A case for each argument of each row."""
    return [pytest.param(name, argument, id=f"{name}-{argument}")
            for name in names for argument in own_arguments(catalog[name])]


def check_argument(make: Any, made: type, argument: str, *inputs: Tensor) -> None:
    """With another value of an argument the same random state gives other outputs in training."""
    before = seeded(partial(make().train(), *inputs))
    others = alternatives(own_arguments(made)[argument])
    assert others
    for other in others:
        assert not torch.equal(seeded(partial(make(**{argument: other}).train(), *inputs)), before), other


def check_gradients(encoder: Any, output: Tensor) -> None:
    """Every parameter has a part in the output."""
    (output * torch.randn_like(output)).sum().backward()
    idle = [name for name, p in encoder.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert idle == []


def check_copies(encoder: Any, other: Any, read: Any) -> None:
    """A copy, and one that loads the state, encode alike; one with other weights does not."""
    assert not torch.equal(read(other), read(encoder))
    other.load_state_dict(encoder.state_dict())
    assert_close(read(other), read(encoder), atol=0, rtol=0)
    assert_close(read(copy.deepcopy(encoder)), read(encoder), atol=0, rtol=0)


def check_outline(make: Any, encoder: Any) -> None:
    """Built without memory it has the same shapes, by which the weights in a file are checked."""
    with torch.device("meta"):
        outline = make()
    shapes = [{name: tensor.shape for name, tensor in e.state_dict().items()} for e in (outline, encoder)]
    assert shapes[0] == shapes[1]
