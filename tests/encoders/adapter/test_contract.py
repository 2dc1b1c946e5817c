"""What the family promises; a new row is tested with no new line."""

import copy
from inspect import Parameter, signature

import pytest
import torch
from adapted_networks import mixed, moved, windows
from torch import nn
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.encoders import ENCODERS
from tsforge.encoders.adapter.base import Adapter, attached
from tsforge.encoders.sequence.phnn import PHCEncoder
from tsforge.errors import ArgumentError, CapabilityError
from tsforge.models import MODELS

NAMES = ENCODERS.family("adapter")
SMALL = {"dim": 7}
OTHERS = {"projection": ["sparse", "fastfood"], "norms": [True], "init": [0.5, [0.1, 0.2]], "partitions": [3],
          "mode": {"task_vectors": ["isotropic", "partition"], "quantized": ["qat"]}, "exclude": ["lift"], "bits": [4],
          "granularity": ["tensor"], "scheme": ["affine"], "range": ["minmax", "percentile"], "include": ["lift"]}
NEUTRAL = [name for name in NAMES if name != "quantized"]  # whose sheet says that nothing changes at the start


def make(name: str, network: nn.Module, **arguments) -> Adapter:
    made = ENCODERS[name]
    tasks = [moved(copy.deepcopy(network), seed) for seed in (3, 4)]
    small = {k: v for k, v in SMALL.items() if k in signature(made).parameters}
    return made(**{"tasks": tasks} if "tasks" in made.given else {}, **small | arguments)


def put(name: str, network: nn.Module, **arguments) -> Adapter:
    """An adapter that is attached."""
    adapter = make(name, network, **arguments)
    adapter.attach(network)
    return adapter


def trained(adapter: Adapter, seed: int = 5) -> Adapter:
    moved(adapter, seed)
    return adapter


def plain(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in network.state_dict().items()}


@pytest.mark.parametrize("name", NEUTRAL)
def test_attached_it_changes_nothing_and_trained_it_does(name):
    network, x = mixed(), windows()
    before = network(x)
    adapter = make(name, network)
    assert adapter.attach(network) is network
    assert torch.equal(network(x), before)
    trained(adapter)
    assert not torch.allclose(network(x), before, atol=1e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_merged_it_is_the_plain_network_with_the_outputs_of_the_attached_one(name, dtype):
    network, x = mixed(dtype=dtype), windows(dtype=dtype)
    kind, before = [type(module) for module in network.modules()], plain(network)
    adapter = trained(put(name, network))
    output = network(x)
    assert adapter.merge(network) is network
    assert_close(network(x), output, atol=1e-6, rtol=1e-6)
    assert [type(module) for module in network.modules()] == kind
    assert not list(network._forward_pre_hooks) + list(network._forward_hooks)
    fresh = mixed(seed=9, dtype=dtype)
    fresh.load_state_dict(network.state_dict(), strict=True)
    assert_close(fresh(x), network(x), atol=1e-7, rtol=1e-7)
    assert all(torch.equal(weight, network.state_dict()[key]) for key, weight in fresh.state_dict().items())
    assert attached(network) is None
    after = plain(network)
    assert any(not torch.equal(after[key], before[key]) for key in before)


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_numbers_of_the_adapter_and_no_others(name):
    network, x = mixed(), windows()
    adapter = trained(put(name, network))
    output = network(x)
    if not list(adapter.parameters()):
        assert not output.requires_grad
        return
    (output * torch.randn_like(output)).sum().backward()
    own = {id(weight) for weight in adapter.parameters()}
    assert adapter.trainable_parameters() == sum(weight.numel() for weight in adapter.parameters())
    for key, weight in network.named_parameters():
        assert weight.requires_grad is (id(weight) in own), key
        assert (weight.grad is not None and bool(weight.grad.abs().sum() > 0)) is (id(weight) in own), key


@pytest.mark.parametrize("name", NAMES)
def test_its_state_is_plain_tensors_that_change_another_copy_of_the_network_alike(name):
    network, x = mixed(), windows()
    adapter = trained(put(name, network))
    state = adapter.state_dict()
    assert all(type(tensor) is torch.Tensor for tensor in state.values())
    assert sum(tensor.numel() for tensor in state.values()) == adapter.trainable_parameters()
    other = mixed()
    make(name, other).attach(other)
    attached(other).load_state_dict(state)
    assert torch.equal(other(x), network(x))
    if state:
        moved(attached(other))
        assert not torch.equal(other(x), network(x))  # the control


@torch.no_grad()
@pytest.mark.parametrize("name", NAMES)
def test_a_copy_of_an_adapted_network_has_an_adapter_of_its_own(name):
    network, x = mixed(), windows()
    adapter = trained(put(name, network))
    before, twin = network(x), copy.deepcopy(network)
    assert torch.equal(twin(x), before)
    if list(adapter.parameters()):
        moved(attached(twin))
        assert not torch.equal(twin(x), before)
    assert torch.equal(network(x), before)
    attached(twin).merge(twin)
    assert attached(network) is adapter


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_in_two_places_is_changed_once_and_a_complex_one_is_left(name):
    network = mixed()
    adapter = trained(put(name, network))
    assert torch.equal(network.first.weight, network.second.weight)
    assert network.turn.is_complex()
    adapter.merge(network)
    assert network.first.weight is network.second.weight
    assert torch.equal(network.turn, mixed().turn)


@pytest.mark.parametrize("name", NAMES)
def test_it_serves_encoders_and_every_forecaster_that_has_such_weights(name):
    encoder, x = PHCEncoder(3, 8).eval(), windows()
    adapter = trained(put(name, encoder))
    output, pooled = encoder(x), encoder.pooled(x)
    adapter.merge(encoder)
    assert_close(encoder(x), output, atol=1e-6, rtol=1e-6)
    assert_close(encoder.pooled(x), pooled, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("model", ["dlinear", "timesnet", "s4d", "lstm"])
@pytest.mark.parametrize("name", NAMES)
def test_a_forecaster_is_merged_to_what_it_was_attached(name, model):
    torch.manual_seed(0)
    small = {"timesnet": {"d_model": 4, "d_ff": 4, "num_kernels": 2}}.get(model, {})
    network = MODELS[model](3, 12, 2, **small).eval()
    batch = Batch(past=torch.randn(4, 12, 2), past_mask=torch.ones(4, 12, 2, dtype=torch.bool),
                  series=torch.zeros(4, dtype=torch.long))
    before = network(batch).detach()
    adapter = put(name, network)
    if name in NEUTRAL:
        assert torch.equal(network(batch), before)
        moved(adapter, by=0.05)
    output = network(batch)
    assert not torch.equal(output, before)
    adapter.merge(network)
    assert_close(network(batch), output, atol=1e-6, rtol=1e-5)


def cases() -> list:
    found = []
    for name in NAMES:
        made = ENCODERS[name]
        for argument, parameter in signature(made).parameters.items():
            if argument not in made.given:
                found += [pytest.param(name, argument, other, id=f"{name}-{argument}-{other}")
                          for other in others(name, argument, parameter)]
    return found


def others(name: str, argument: str, parameter: Parameter) -> list:
    if argument in OTHERS:
        found = OTHERS[argument]
        return found[name] if isinstance(found, dict) else found
    return [parameter.default + 2]


def outcome(name: str, **arguments) -> tuple:
    network = mixed()
    adapter = put(name, network, **arguments)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in adapter.parameters():
            if name != "quantized":
                weight += torch.randn(weight.shape, generator=generator)
    return adapter.trainable_parameters(), network(windows()).detach()


@pytest.mark.parametrize(("name", "argument", "other"), cases())
def test_every_argument_changes_something(name, argument, other):
    basis = {"mode": "partition"} if name == "task_vectors" and argument in ("seed", "partitions") else {}
    basis |= {"bits": 3} if argument == "range" else {}
    (count, output), (others_count, others_output) = outcome(name, **basis), outcome(name, **basis | {argument: other})
    assert count != others_count or not torch.equal(output, others_output)


@pytest.mark.parametrize("name", NAMES)
def test_what_cannot_be_is_refused_with_what_to_do(name):
    network = mixed()
    with pytest.raises(ArgumentError, match="no pattern of names"):
        make(name, network, include="(")
    with pytest.raises(CapabilityError, match="finds no weight in Mixed"):
        make(name, network, include="nowhere").attach(network)
    assert attached(network) is None
    adapter = put(name, network)
    with pytest.raises(CapabilityError, match="merge it first"):
        make(name, mixed()).attach(network)
    with pytest.raises(CapabilityError, match="not attached"):
        make(name, mixed()).merge(network)
    adapter.merge(network)
    with pytest.raises(CapabilityError, match="make another one"):
        adapter.attach(network)
