from dataclasses import replace

import pytest
import torch
from batches import random_batch
from torch import nn
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.attention import TokenBatchNorm
from tsforge.models.patchtst import PatchTST

SIZES = {"h": 4, "input_size": 13, "in_channels": 3, "d_model": 6, "n_heads": 2, "n_layers": 2, "d_ff": 5,
         "patch_len": 5, "stride": 3}


def network(**arguments):
    """A network in eval mode whose norms have statistics and weights that show."""
    model = PatchTST(**{**SIZES, **arguments}).double().eval()
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.LayerNorm | TokenBatchNorm):
                part.weight.uniform_(0.5, 2)
            if isinstance(part, TokenBatchNorm):
                part.mean.normal_()
                part.variance.uniform_(0.5, 2)
        model.position.normal_()
    return model


def transcription(model, batch):
    """Nie et al. (2023), one window, channel and patch at a time; the encoder has a test of its own."""
    y = torch.zeros(len(batch), model.h, model.in_channels, model.outputs, dtype=torch.float64)
    for b in range(len(batch)):
        for c in range(model.in_channels):
            x, mean, sd = batch.past[b, :, c], torch.tensor(0.0), torch.tensor(1.0)
            if model.instance_norm:
                mean, sd = x.mean(), (x.var(correction=0) + 1e-5).sqrt()
            values = [(step - mean) / sd for step in x]
            values = [torch.tensor(0.0).double()] * (model.patch_len - len(values)) + values
            values += [values[-1]] * model.stride
            starts = range(0, len(values) - model.patch_len + 1, model.stride)
            patches = [torch.stack(values[start : start + model.patch_len]) for start in starts]
            embedded = [model.embedding.weight @ patch + model.embedding.bias for patch in patches]
            tokens = torch.stack([token + place for token, place in zip(embedded, model.position, strict=True)])
            flat = torch.cat(list(model.encoder(tokens[None])[0]))
            y[b, :, c] = (model.head.weight @ flat + model.head.bias).view(model.h, model.outputs) * sd + mean
    return y


CASES = [
    {}, {"outputs": 3}, {"norm": "layer"}, {"instance_norm": False}, {"stride": 5}, {"stride": 1}, {"patch_len": 13},
    {"patch_len": 16, "stride": 8}, {"n_heads": 4},
]


@pytest.mark.parametrize("arguments", CASES, ids=str)
def test_it_equals_its_equations(arguments):
    model, batch = network(**arguments), random_batch(lookback=13)
    assert_close(model(batch), transcription(model, batch), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("part", ["embedding", "head"])
def test_the_equations_see_one_changed_weight(part):
    model, batch = network(), random_batch(lookback=13)
    expected = transcription(model, batch)
    with torch.no_grad():
        getattr(model, part).weight[0, 1] += 1e-3
    assert (model(batch) - expected).abs().max() > 1e-7


@pytest.mark.parametrize(("input_size", "patches"), [(336, 42), (512, 64), (96, 12), (16, 2), (12, 2), (1, 2)])
def test_it_has_the_published_number_of_patches(input_size, patches):
    model = PatchTST(96, input_size, 1)
    assert model.position.shape == (patches, 16)
    batch = random_batch(2, 1, input_size)
    assert model.double()(batch).isfinite().all()


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_it_has_the_parameters_it_says(norm):
    patches, inner = (13 - 5) // 3 + 2, 6
    layer = 3 * inner * (6 + 1) + (inner + 1) * 6 + (2 * 6 * 5 + 5 + 6) + 4 * 6
    count = (5 + 1) * 6 + patches * 6 + 2 * layer + (patches * 6 + 1) * 4 * 3
    for in_channels in (1, 7):
        model = network(norm=norm, outputs=3, in_channels=in_channels)
        assert sum(p.numel() for p in model.parameters()) == count


def test_channels_are_forecast_alike_and_each_by_itself():
    model, batch = network(), random_batch(lookback=13)
    order = torch.tensor([2, 0, 1])
    assert_close(model(replace(batch, past=batch.past[:, :, order])), model(batch)[:, :, order])
    changed = batch.past.clone()
    changed[:, :4, 2] += 1
    moved = (model(replace(batch, past=changed)) - model(batch)).abs().amax((0, 1, 3))
    assert (moved > 1e-6).tolist() == [False, False, True]


def test_the_place_of_a_patch_matters():
    model, batch = network(stride=5, input_size=15, instance_norm=False), random_batch(lookback=15)
    with torch.no_grad():
        model.head.weight.copy_(model.head.weight[:, :6].repeat(1, 4))  # reads the sum of the tokens
    swapped = torch.cat([batch.past[:, 5:10], batch.past[:, :5], batch.past[:, 10:]], 1)
    assert (model(replace(batch, past=swapped)) - model(batch)).abs().max() > 1e-3
    with torch.no_grad():
        model.position.zero_()
    assert_close(model(replace(batch, past=swapped)), model(batch))  # control: without places it does not


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_batch_mates_change_no_forecast(norm):
    model, batch = network(norm=norm, dropout=0.0), random_batch(lookback=13)
    alone = replace(batch, **{name: part[:1] for name, part in vars(batch).items() if part is not None})
    assert_close(model(alone), model(batch)[:1])
    model.train()  # control: with batch norm they do in training
    assert ((model(alone) - model(batch)[:1]).abs().max() > 1e-3) == (norm == "batch")


def test_the_forecast_follows_the_scale_and_shift_of_each_channel_if_windows_are_normalised():
    batch = random_batch(lookback=13)
    scale, shift = torch.tensor([0.5, 2.0, 7.0]).double(), torch.tensor([-80.0, 3.0, 400.0]).double()
    moved = replace(batch, past=batch.past * scale + shift)
    for instance_norm in (True, False):
        model = network(instance_norm=instance_norm)
        error = (model(moved) - model(batch) * scale[:, None] - shift[:, None]).abs().max()
        assert error < 1e-4 if instance_norm else error > 1


def test_statistics_of_a_window_with_gaps_come_from_its_observed_steps():
    model, batch = network(), random_batch(lookback=13)
    batch.past_mask[:, :3] = False
    other = batch.past.clone()
    other[:, :3] = 77.0
    assert_close(model(replace(batch, past=other)), model(batch))
    complete = torch.ones_like(batch.past_mask)
    assert (model(replace(batch, past=other, past_mask=complete)) - model(batch)).abs().max() > 1  # control


def test_dropout_acts_in_training_only():
    model, batch = network(dropout=0.5, norm="layer"), random_batch(lookback=13)
    assert_close(model(batch), transcription(model, batch))
    assert (model.train()(batch) - transcription(model, batch)).abs().max() > 1e-3


@pytest.mark.parametrize("argument", [
    {"patch_len": 0}, {"stride": 0}, {"stride": 6}, {"n_heads": 7}, {"d_model": 0}, {"n_layers": 0}, {"dropout": 1.0},
    {"norm": "none"},
], ids=str)
def test_a_value_that_cannot_work_is_named(argument):
    (name, value), = argument.items()
    with pytest.raises(ArgumentError, match=f"{name}={value!r} .*give "):
        network(**argument)
