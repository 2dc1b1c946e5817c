from dataclasses import replace

import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.nbeats import NBEATS

SIZES = {"h": 5, "input_size": 8, "in_channels": 2, "width": 7, "n_layers": 2, "n_blocks": 2}


def network(**arguments):
    return NBEATS(**{**SIZES, **arguments}).double()


def functions(kind, steps, degree):
    """The basis of a stack as the paper writes it, in the precision in which the network keeps it."""
    t = torch.arange(steps, dtype=torch.float64) / steps
    if kind == "trend":
        columns = [t**power for power in range(degree + 1)]
    else:
        cycles = range(max(steps // 2, 1))
        columns = [(2 * torch.pi * i * t).cos() for i in cycles] + [(2 * torch.pi * i * t).sin() for i in cycles if i]
    return torch.stack(columns, 1).float().double()


def expand(kind, part, hidden, steps, degree):
    theta = part.coefficients.weight @ hidden
    if kind == "generic":
        return (theta + part.coefficients.bias).view(-1, steps)
    basis = functions(kind, steps, degree)
    return torch.stack([basis @ own for own in theta.view(-1, basis.shape[1])])


def transcription(model, past, stacks, n_blocks, shared, degree=2):
    """Oreshkin et al. (2020), one window and channel at a time."""
    batch, steps, channels = past.shape
    y = past.new_zeros(batch, model.h, channels, model.outputs)
    for b in range(batch):
        for c in range(channels):
            mean, deviation = past[b, :, c].mean(), (past[b, :, c].var(correction=0) + 1e-5).sqrt()
            if not model.instance_norm:
                mean, deviation = 0.0, 1.0
            x, total, kinds = (past[b, :, c] - mean) / deviation, 0, stacks.split("+")
            for number in range(len(kinds) * n_blocks):
                kind = kinds[number // n_blocks]
                block = model.blocks[number // n_blocks if shared else number]
                hidden = x
                for layer in block.layers[::2]:
                    hidden = (layer.weight @ hidden + layer.bias).clamp(min=0)
                total = total + expand(kind, block.forecast, hidden, model.h, degree)
                if block.backcast is not None:
                    x = x - expand(kind, block.backcast, hidden, steps, degree)[0]
            y[b, :, c] = total.T * deviation + mean
    return y


CASES = [("trend+seasonality", True), ("trend+seasonality", False), ("generic", False), ("generic", True),
         ("seasonality+trend+generic", True)]


@pytest.mark.parametrize(("stacks", "shared"), CASES)
@pytest.mark.parametrize(("outputs", "norm"), [(1, True), (3, True), (1, False)])
def test_it_equals_its_equations(stacks, shared, outputs, norm):
    model = network(stacks=stacks, shared=shared, outputs=outputs, instance_norm=norm)
    past = torch.randn(3, 8, 2, dtype=torch.float64)
    assert_close(model(batch_of(past)), transcription(model, past, stacks, 2, shared), rtol=1e-10, atol=1e-10)


def test_the_equations_see_another_order_of_the_stacks_and_another_degree():
    model, past = network(), torch.randn(3, 8, 2, dtype=torch.float64)
    expected = transcription(model, past, "trend+seasonality", 2, True)
    model.blocks = model.blocks[::-1]
    assert (model(batch_of(past)) - expected).abs().max() > 1e-4
    cubic = network(degree=3)
    assert_close(cubic(batch_of(past)), transcription(cubic, past, "trend+seasonality", 2, True, 3))


def test_the_interpretable_network_forecasts_a_parabola_and_whole_cycles():
    model, past = network(h=12), torch.randn(3, 8, 2, dtype=torch.float64)
    trend, season = model.components(batch_of(past)).squeeze(-1)
    assert torch.diff(trend, n=3, dim=1).abs().max() < 1e-6  # the third difference of a parabola is 0
    assert torch.diff(trend, n=2, dim=1).abs().max() > 1e-6
    assert torch.fft.rfft(season, dim=1)[:, 6].abs().max() < 1e-5  # 6 cycles in 12 steps are not in its basis
    assert torch.fft.rfft(season, dim=1)[:, 1:6].abs().amin(1).max() > 1e-4


def test_the_components_and_the_mean_of_the_window_add_up_to_the_forecast():
    model, past = network(stacks="trend+generic+seasonality"), torch.randn(3, 8, 2, dtype=torch.float64) + 5
    parts = model.components(batch_of(past))
    assert parts.shape == (3, 3, 5, 2, 1)
    assert_close(parts.sum(0) + past.mean(1)[:, None, :, None], model(batch_of(past)))
    raw = network(instance_norm=False)
    assert_close(raw.components(batch_of(past)).sum(0), raw(batch_of(past)))


def count(stacks, shared, outputs, h=5, lookback=8, width=7, layers=2, blocks=2, degree=2):
    """The formula of the docstring."""
    total, kinds = 0, stacks.split("+")
    for place, kind in enumerate(kinds):
        sizes = {"trend": lambda _: degree + 1, "seasonality": lambda steps: 2 * max(1, steps // 2) - 1}
        if kind == "generic":
            back, ahead = (width + 1) * lookback, (width + 1) * outputs * h
        else:
            back, ahead = width * sizes[kind](lookback), width * outputs * sizes[kind](h)
        times = 1 if shared else blocks
        total += times * ((lookback + 1) * width + (layers - 1) * (width + 1) * width + back + ahead)
        if place == len(kinds) - 1 and (blocks == 1 or not shared):
            total -= back
    return total


@pytest.mark.parametrize(("stacks", "shared"), CASES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_it_has_the_parameters_of_its_formula_and_all_of_them_are_used(stacks, shared, outputs):
    model = network(stacks=stacks, shared=shared, outputs=outputs)
    assert sum(p.numel() for p in model.parameters()) == count(stacks, shared, outputs)
    model(batch_of(torch.randn(3, 8, 2, dtype=torch.float64))).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_channels_are_forecast_apart_by_one_network():
    model, past = network(), torch.randn(3, 8, 2, dtype=torch.float64)
    assert_close(model(batch_of(past.flip(2))), model(batch_of(past)).flip(2))
    changed = past.clone()
    changed[..., 1] = torch.randn(3, 8, dtype=torch.float64)
    moved = (model(batch_of(changed)) - model(batch_of(past))).abs().amax((0, 1, 3))
    assert moved[0] < 1e-12 < moved[1]


def test_what_is_under_a_false_mask_before_the_first_observation_changes_nothing():
    model, past = network(), torch.randn(3, 8, 2, dtype=torch.float64)
    batch = batch_of(past)
    batch.past_mask[:, :3] = False
    other = past.clone()
    other[:, :3] += 100
    assert_close(model(replace(batch, past=other)), model(batch))
    assert (model(batch_of(other)) - model(batch_of(past))).abs().max() > 1  # the control


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"stacks": "trend+sesonality"}, "'sesonality' is no stack.*seasonality"), ({"stacks": ""}, "no stack"),
     ({"n_blocks": 0}, "n_blocks=0"), ({"n_layers": 0}, "n_layers=0"), ({"width": 0}, "width=0"),
     ({"degree": -1}, "degree=-1")],
)
def test_what_cannot_work_is_refused_with_what_to_give(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        network(**arguments)


@pytest.mark.parametrize(("h", "input_size"), [(1, 1), (1, 8), (2, 3), (16, 1)])
def test_any_size_works(h, input_size):
    model = network(h=h, input_size=input_size, stacks="trend+seasonality+generic")
    assert model(batch_of(torch.randn(2, input_size, 2, dtype=torch.float64))).isfinite().all()
