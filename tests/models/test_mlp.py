from dataclasses import replace

import pytest
import torch
from batches import random_batch
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.mlp import MLP

SIZES = {"h": 4, "input_size": 8, "in_channels": 3, "d_model": 6}
COVARIATES = {"past_covariates": 2, "future_covariates": 5}


def network(**arguments):
    return MLP(**{**SIZES, **arguments}).double().eval()


def transcription(model, batch):
    """One window, and one channel or all, at a time: the weights of one matrix over one flat input."""
    windows, _, width = batch.past.shape
    y = batch.past.new_zeros(windows, model.h, width, model.outputs)
    for b in range(windows):
        past, mean, sd = batch.past[b], torch.zeros(width), torch.ones(width)
        if model.instance_norm:
            mean, sd = past.mean(0), (past.var(0, correction=0) + 1e-5).sqrt()
        parts = [(past - mean) / sd]
        flat, weight = [], model.first.weight
        for known in (batch.past_covariates, batch.future_covariates):
            flat += [] if known is None else [number for step in known[b] for number in step]
        weight = weight if model.known is None else torch.cat([weight, model.known.weight], 1)
        groups = [list(range(width))] if model.channels == "mixed" else [[c] for c in range(width)]
        for group in groups:
            x = torch.stack([*(step for c in group for step in parts[0][:, c]), *flat])
            z = (weight @ x + model.first.bias).clamp(min=0)
            for layer in model.hidden:
                z = (layer.weight @ z + layer.bias).clamp(min=0)
            numbers = (model.head.weight @ z + model.head.bias).view(len(group), model.h, model.outputs)
            for place, c in enumerate(group):
                y[b, :, c] = numbers[place] * sd[c] + mean[c]
    return y


@pytest.mark.parametrize("channels", ["independent", "mixed"])
@pytest.mark.parametrize("sizes", [{}, COVARIATES, {"past_covariates": 2}], ids=str)
@pytest.mark.parametrize("more", [{}, {"n_layers": 1, "outputs": 2}, {"instance_norm": False}], ids=str)
def test_it_equals_its_equations(channels, sizes, more):
    model, batch = network(channels=channels, **sizes, **more), random_batch(**sizes)
    assert_close(model(batch), transcription(model, batch), rtol=1e-10, atol=1e-10)


def test_the_equations_see_one_changed_weight():
    model, batch = network(), random_batch()
    expected = transcription(model, batch)
    with torch.no_grad():
        model.head.weight += 1e-3
    assert (model(batch) - expected).abs().max() > 1e-6


@pytest.mark.parametrize(("channels", "c"), [("independent", 1), ("mixed", 3)])
@pytest.mark.parametrize("n_layers", [1, 3])
def test_it_has_the_parameters_it_says(channels, c, n_layers):
    model = network(channels=channels, n_layers=n_layers, outputs=2, **COVARIATES)
    features = 8 * 2 + (8 + 4) * 5
    count = (c * 8 + features + 1) * 6 + (n_layers - 1) * (6 + 1) * 6 + (6 + 1) * c * 4 * 2
    assert sum(p.numel() for p in model.parameters()) == count


def test_one_channel_changes_the_forecast_of_another_only_where_they_are_mixed():
    batch = random_batch()
    changed = batch.past.clone()
    changed[:, :4, 2] += 1
    for channels in ("independent", "mixed"):
        model = network(channels=channels)
        moved = (model(replace(batch, past=changed)) - model(batch)).abs().amax((0, 1, 3))
        assert (moved[:2] == 0).all() if channels == "independent" else (moved[:2] > 1e-6).all()
        assert moved[2] > 1e-6


def test_what_is_known_of_the_horizon_is_read():
    model, batch = network(**COVARIATES), random_batch(**COVARIATES)
    assert batch.future_covariates is not None
    later = batch.future_covariates.clone()
    later[:, 8:] += 1
    assert (model(replace(batch, future_covariates=later)) - model(batch)).abs().max() > 1e-4


def test_the_forecast_follows_the_scale_and_shift_of_each_channel_if_windows_are_normalised():
    batch = random_batch()
    scale, shift = torch.tensor([0.5, 2.0, 7.0]).double(), torch.tensor([-80.0, 3.0, 400.0]).double()
    moved = replace(batch, past=batch.past * scale + shift)
    for instance_norm in (True, False):
        model = network(instance_norm=instance_norm)
        error = (model(moved) - model(batch) * scale[:, None] - shift[:, None]).abs().max()
        assert error < 1e-4 if instance_norm else error > 1


def test_statistics_of_a_window_with_gaps_come_from_its_observed_steps():
    model, batch = network(), random_batch()
    batch.past_mask[:, :3] = False
    other = batch.past.clone()
    other[:, :3] = 77.0
    assert_close(model(replace(batch, past=other)), model(batch))
    complete = torch.ones_like(batch.past_mask)
    assert (model(replace(batch, past=other, past_mask=complete)) - model(batch)).abs().max() > 1  # control


@pytest.mark.parametrize("channels", ["independent", "mixed"])
def test_batch_mates_change_nothing(channels):
    model, batch = network(channels=channels, **COVARIATES), random_batch(**COVARIATES)
    alone = replace(batch, **{name: part[:1] for name, part in vars(batch).items() if part is not None})
    assert_close(model(alone), model(batch)[:1])


def test_dropout_acts_in_training_only():
    model, batch = network(dropout=0.5), random_batch()
    assert_close(model(batch), transcription(model, batch))
    assert (model.train()(batch) - transcription(model, batch)).abs().max() > 1e-3


@pytest.mark.parametrize("argument", [{"d_model": 0}, {"n_layers": 0}, {"dropout": 1.0}, {"dropout": -0.5},
                                      {"channels": "all"}], ids=str)
def test_a_value_that_cannot_work_is_named(argument):
    (name, value), = argument.items()
    with pytest.raises(ArgumentError, match=f"{name}={value!r} .*give "):
        network(**argument)
