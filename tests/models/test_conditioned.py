from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tsforge.batch import Batch
from tsforge.errors import CapabilityError
from tsforge.layers.instance_norm import normalise
from tsforge.models import MODELS
from tsforge.models.conditioned import Conditioned
from tsforge.models.dlinear import DLinear
from tsforge.models.echo_state import EchoState
from tsforge.models.s4d import S4D

H, LOOKBACK, CHANNELS = 3, 16, 2
SIZES = {"h": H, "input_size": LOOKBACK, "in_channels": CHANNELS}


class Levels(nn.Module):
    """An encoder of the window: a linear map of the means of its observed steps."""

    reads, d_model = "window", 5

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(CHANNELS, self.d_model)

    def of_batch(self, batch):
        seen = batch.past_mask.to(batch.past.dtype)
        return self.map((batch.past * seen).sum(1) / seen.sum(1))


class Names(nn.Module):
    """An encoder of the series: one of eight vectors."""

    reads, d_model = "static", 3

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, self.d_model)

    def of_batch(self, batch):
        return self.table(batch.static_ids[:, 0] % 8)


def batch_of(size=6, dtype=torch.float32):
    draw = torch.Generator().manual_seed(3)
    past = 4 + 2 * torch.randn(size, LOOKBACK, CHANNELS, generator=draw, dtype=dtype)
    mask = torch.rand(past.shape, generator=draw) < 0.8
    future = torch.randn(size, H, CHANNELS, generator=draw, dtype=dtype)
    return Batch(past=past, past_mask=mask, series=torch.arange(size), static_ids=torch.arange(size)[:, None],
                 future=future, future_mask=torch.ones_like(future, dtype=torch.bool))


def conditioned(make, seed=0, **arguments):
    """The bare model, and the same one with its context, both from one random state."""
    torch.manual_seed(seed)
    bare = make(**SIZES, **arguments)
    torch.manual_seed(seed)
    return bare.eval(), Conditioned(make(**SIZES, **arguments), [Levels(), Names()]).eval()


ONE_OR_MORE = [(name, n) for name in MODELS for n in (1, 3) if (name, n) != ("analog_forecaster", 3)]  # it has one


@pytest.mark.parametrize(("name", "outputs"), ONE_OR_MORE)
def test_before_training_its_forecasts_are_those_of_the_bare_model_to_the_bit(name, outputs):
    free = {"ridge": None} if name == "echo_state" else {}
    bare, network = conditioned(MODELS[name], outputs=outputs, **free)
    batch = batch_of()
    assert torch.equal(network(batch), bare(batch))
    nn.init.constant_(network.residual.bias, 0.1)  # the control
    assert not torch.equal(network(batch), bare(batch))


def randomised(network):
    for part in (network.film, network.residual):
        nn.init.normal_(part.weight, std=0.3)
        nn.init.normal_(part.bias, std=0.3)
    return network


def test_it_is_what_its_equations_say():
    bare, network = conditioned(DLinear, outputs=2)
    randomised(network.double())
    bare, batch = bare.double(), batch_of(dtype=torch.float64)
    context = torch.cat([encoder.of_batch(batch) for encoder in network.context], 1)
    normalised, _, deviation = normalise(batch.past, batch.past_mask)
    expected = torch.zeros(6, H, CHANNELS, 2, dtype=torch.float64)
    past = batch.past.clone()
    film = context @ network.film.weight.T + network.film.bias
    residual = (context @ network.residual.weight.T + network.residual.bias).view(6, H, CHANNELS, 2)
    for b in range(6):
        for c in range(CHANNELS):
            s = deviation[b, 0, c]
            past[b, :, c] += s * (film[b, c] * normalised[b, :, c] + film[b, CHANNELS + c])
            expected[b, :, c] = s * residual[b, :, c]
    assert_close(network(batch), bare(replace(batch, past=past)) + expected, atol=1e-10, rtol=1e-10)


def test_of_a_model_that_normalises_each_window_it_stretches_and_shifts_the_forecast():
    bare, network = conditioned(MODELS["patchtst"])
    nn.init.constant_(network.film.bias[:CHANNELS], 0.5)
    nn.init.constant_(network.film.bias[CHANNELS:], 0.25)
    batch = batch_of()
    _, mean, deviation = (part[..., None] for part in normalise(batch.past, batch.past_mask))
    expected = mean + 1.5 * (bare(batch) - mean) + 0.25 * deviation
    assert_close(network(batch), expected, atol=1e-4, rtol=1e-4)


SMOOTH = [name for name in MODELS if name != "analog_forecaster"]  # which takes no gradient through its choice


@pytest.mark.parametrize("name", SMOOTH)
def test_the_gradient_of_a_stretch_and_of_a_shift_is_that_of_what_they_do(name):
    free = {"ridge": None} if name == "echo_state" else {}
    _, network = conditioned(MODELS[name], **free)
    randomised(network.double())
    batch, bias, step = batch_of(dtype=torch.float64), network.film.bias, 1e-6
    draw = torch.randn(6, H, CHANNELS, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (network(batch) * draw).sum().backward()
    with torch.no_grad():
        for at in range(len(bias)):
            ends = []
            for sign in (1, -1):
                bias[at] += sign * step
                ends.append((network(batch) * draw).sum())
                bias[at] -= sign * step
            assert_close(bias.grad[at], (ends[0] - ends[1]) / (2 * step), atol=1e-4, rtol=1e-4)


def test_gradients_reach_the_maps_at_the_first_step_and_the_encoders_at_the_second():
    _, network = conditioned(DLinear)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

    def moved():
        optimizer.zero_grad()
        (network(batch_of())[..., 0] - batch_of().future).square().mean().backward()
        optimizer.step()
        return {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}

    own = {name for name in before if name.startswith(("film", "residual"))}
    encoders = {name for name in before if name.startswith("context")}
    first = moved()
    assert own <= first
    assert not encoders & first
    assert set(before) == moved()


def test_the_parameters_are_counted_in_the_docstring():
    bare, network = conditioned(DLinear, outputs=3)
    sizes = [sum(p.numel() for p in module.parameters()) for module in (network, bare, network.context)]
    assert sizes[0] - sizes[1] - sizes[2] == (8 + 1) * CHANNELS * (2 + H * 3)


def test_the_groups_of_the_model_stay_and_every_parameter_is_in_one():
    bare, network = conditioned(S4D)
    theirs, ours = bare.parameter_groups(0.1, 0.01), network.parameter_groups(0.1, 0.01)
    assert [(g["lr"], g["weight_decay"], len(g["params"])) for g in theirs] == [
        (g["lr"], g["weight_decay"], len(g["params"])) for g in ours[:-1]]
    assert sorted(id(p) for g in ours for p in g["params"]) == sorted(map(id, network.parameters()))


def test_the_card_is_that_of_the_model():
    class Mixing(DLinear):
        mixes_windows = True
        covariates = ("past",)

    network = Conditioned(Mixing(**SIZES), [Levels()])
    assert (network.mixes_windows, network.covariates, network.h, network.reads_ids) == (True, ("past",), H, False)
    assert Conditioned(Mixing(**SIZES), [Names()]).reads_ids


def test_what_a_model_does_after_the_fit_it_does_on_what_it_will_see():
    _, network = conditioned(EchoState, reservoir_size=20)
    randomised(network)
    batches = [batch_of(30), batch_of(20)]
    with torch.no_grad():
        network.after_fit(batches)
        told = [network.told(batch) for batch in batches]
        alone = EchoState(**SIZES, reservoir_size=20)
        alone.load_state_dict(network.model.state_dict())
        alone.after_fit([replace(t, future=t.future - residual[..., 0]) for t, residual in told])
        assert torch.equal(network.model.readout.weight, alone.readout.weight)
        alone.after_fit(batches)  # the control: on what it will not see
        assert not torch.allclose(network.model.readout.weight, alone.readout.weight, atol=1e-3)


def test_who_else_is_in_the_batch_changes_nothing():
    _, network = conditioned(MODELS["nlinear"])
    randomised(network)
    batch = batch_of()
    one = Batch(**{name: part[2:3] for name, part in vars(batch).items() if part is not None})
    assert_close(network(batch)[2:3], network(one))


def test_a_model_that_streams_takes_no_context_and_no_encoder():
    with pytest.raises(CapabilityError, match=r"S4D\(streaming=True\) reads a series step by step, and context="):
        Conditioned(S4D(**SIZES, streaming=True), [Levels()])
    with pytest.raises(CapabilityError, match="an encoder reads whole windows"):
        S4D(**SIZES, streaming=True).plug(lambda c, d: nn.Identity())
