from dataclasses import replace

import pytest
import torch
from batches import random_batch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.itransformer import iTransformer

SIZES = {"h": 4, "input_size": 8, "in_channels": 3, "d_model": 6, "n_heads": 2, "n_layers": 2, "d_ff": 5}
COVARIATES = {"past_covariates": 2, "future_covariates": 5}


def network(**arguments):
    model = iTransformer(**{**SIZES, **arguments}).double().eval()
    with torch.no_grad():
        model.norm.weight.uniform_(0.5, 2)
        model.norm.bias.normal_()
    return model


def transcription(model, batch):
    """Liu et al. (2024), one window and token at a time; the encoder has a test of its own."""
    y = torch.zeros(len(batch), model.h, model.in_channels, model.outputs, dtype=torch.float64)
    for b in range(len(batch)):
        mean, sd = torch.zeros(model.in_channels), torch.ones(model.in_channels)
        if model.instance_norm:
            mean, sd = batch.past[b].mean(0), (batch.past[b].var(0, correction=0) + 1e-5).sqrt()
        looks = [(batch.past[b, :, c] - mean[c]) / sd[c] for c in range(model.in_channels)]
        looks += [] if batch.past_covariates is None else list(batch.past_covariates[b].unbind(-1))
        tokens = [model.embedding.weight @ look + model.embedding.bias for look in looks]
        if batch.future_covariates is not None:
            ahead = batch.future_covariates[b].unbind(-1)
            tokens += [model.known.weight @ window + model.known.bias for window in ahead]
        z = model.encoder(torch.stack(tokens)[None])[0]
        for c in range(model.in_channels):
            normed = F.layer_norm(z[c], (len(z[c]),), model.norm.weight, model.norm.bias)
            numbers = (model.head.weight @ normed + model.head.bias).view(model.h, model.outputs)
            y[b, :, c] = numbers * sd[c] + mean[c]
    return y


@pytest.mark.parametrize("sizes", [{}, COVARIATES, {"past_covariates": 2}, {"future_covariates": 5}], ids=str)
@pytest.mark.parametrize("more", [{}, {"outputs": 3}, {"instance_norm": False}], ids=str)
def test_it_equals_its_equations(sizes, more):
    model, batch = network(**sizes, **more), random_batch(**sizes)
    assert_close(model(batch), transcription(model, batch), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("part", ["embedding", "known", "head"])
def test_the_equations_see_one_changed_weight(part):
    model, batch = network(**COVARIATES), random_batch(**COVARIATES)
    expected = transcription(model, batch)
    with torch.no_grad():
        getattr(model, part).weight[0, 1] += 1e-3
    assert (model(batch) - expected).abs().max() > 1e-7


@pytest.mark.parametrize("future", [0, 5])
def test_it_has_the_parameters_it_says(future):
    layer = 3 * 6 * (6 + 1) + (6 + 1) * 6 + (2 * 6 * 5 + 5 + 6) + 4 * 6
    count = (8 + 1) * 6 + 2 * layer + 2 * 6 + (6 + 1) * 4 * 3 + ((8 + 4 + 1) * 6 if future else 0)
    for in_channels in (1, 7):
        model = network(outputs=3, in_channels=in_channels, past_covariates=2, future_covariates=future)
        assert sum(p.numel() for p in model.parameters()) == count


def test_channels_can_be_reordered_and_each_reads_the_others():
    model, batch, order = network(), random_batch(), torch.tensor([2, 0, 1])
    assert_close(model(replace(batch, past=batch.past[:, :, order])), model(batch)[:, :, order])
    changed = batch.past.clone()
    changed[:, :4, 2] += 1
    assert ((model(replace(batch, past=changed)) - model(batch)).abs().amax((0, 1, 3)) > 1e-6).all()
    for layer in model.encoder:
        torch.nn.init.zeros_(layer.attention.out.weight)
    moved = (model(replace(batch, past=changed)) - model(batch)).abs().amax((0, 1, 3))
    assert (moved > 1e-6).tolist() == [False, False, True]  # control: without attention it does not


def test_what_is_known_of_the_horizon_is_read():
    model, batch = network(**COVARIATES), random_batch(**COVARIATES)
    assert batch.future_covariates is not None
    later = batch.future_covariates.clone()
    later[:, 8:] += 1
    assert (model(replace(batch, future_covariates=later)) - model(batch)).abs().max() > 1e-4


def test_batch_mates_change_nothing():
    model, batch = network(**COVARIATES), random_batch(**COVARIATES)
    alone = replace(batch, **{name: part[:1] for name, part in vars(batch).items() if part is not None})
    assert_close(model(alone), model(batch)[:1])


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


def test_dropout_acts_in_training_only():
    model, batch = network(dropout=0.5), random_batch()
    assert_close(model(batch), transcription(model, batch))
    assert (model.train()(batch) - transcription(model, batch)).abs().max() > 1e-3


@pytest.mark.parametrize("argument", [
    {"n_heads": 7}, {"d_model": 0}, {"n_layers": 0}, {"d_ff": 0}, {"dropout": 1.0},
], ids=str)
def test_a_value_that_cannot_work_is_named(argument):
    (name, value), = argument.items()
    with pytest.raises(ArgumentError, match=f"{name}={value!r} .*give "):
        network(**argument)
