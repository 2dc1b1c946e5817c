from dataclasses import replace

import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

from tsforge.models.nlinear import NLinear


def transcription(model, past):
    """Zeng et al. (2023), one window, channel, step and output at a time."""
    batch, steps, channels = past.shape
    y = past.new_zeros(batch, model.h, channels, model.outputs)
    for b in range(batch):
        for c in range(channels):
            own = c if len(model.maps.weight) > 1 else 0
            for row in range(model.h * model.outputs):
                step, output = divmod(row, model.outputs)
                terms = [model.maps.weight[own, row, t] * (past[b, t, c] - past[b, -1, c]) for t in range(steps)]
                y[b, step, c, output] = sum(terms) + model.maps.bias[own, row] + past[b, -1, c]
    return y


@pytest.mark.parametrize("individual", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
def test_it_equals_its_equations(individual, outputs):
    model = NLinear(4, 11, 2, outputs, individual=individual).double()
    past = torch.randn(3, 11, 2, dtype=torch.float64)
    assert_close(model(batch_of(past)), transcription(model, past), rtol=1e-12, atol=1e-12)


def test_the_equations_see_one_changed_weight():
    model, past = NLinear(4, 11, 2).double(), torch.randn(3, 11, 2, dtype=torch.float64)
    expected = transcription(model, past)
    with torch.no_grad():
        model.maps.weight[0, 3, 5] += 1e-3
    assert (model(batch_of(past)) - expected).abs().max() > 1e-5


@pytest.mark.parametrize(("individual", "maps"), [(False, 1), (True, 7)])
def test_it_has_one_linear_map_for_all_channels_or_for_each(individual, maps):
    count = sum(p.numel() for p in NLinear(24, 96, 7, 3, individual=individual).parameters())
    assert count == maps * (96 + 1) * 24 * 3


def test_a_shift_of_a_channel_shifts_its_forecast_and_a_shift_of_the_past_alone_does_not():
    model, past, shift = NLinear(5, 12, 3).double(), torch.randn(2, 12, 3).double(), torch.tensor([3.0, -40.0, 500.0])
    assert_close(model(batch_of(past + shift)), model(batch_of(past)) + shift[:, None])
    earlier = torch.cat([past[:, :-1] + shift, past[:, -1:]], 1)
    assert (model(batch_of(earlier)) - model(batch_of(past))).abs().max() > 1  # control: what is relative shows


def test_with_zero_weights_it_repeats_the_last_value():
    model, past = NLinear(5, 12, 3, 2), torch.randn(2, 12, 3)
    for weight in model.parameters():
        torch.nn.init.zeros_(weight)
    assert torch.equal(model(batch_of(past)), past[:, -1:, :, None].expand(2, 5, 3, 2))


def test_channels_with_one_map_are_forecast_alike_and_with_their_own_differently():
    past = torch.randn(2, 30, 1).expand(-1, -1, 3)
    shared, own = (NLinear(5, 30, 3, individual=individual)(batch_of(past)) for individual in (False, True))
    assert_close(shared[:, :, 0], shared[:, :, 2])
    assert (own[:, :, 0] - own[:, :, 2]).abs().max() > 1e-3


def test_steps_before_the_first_observation_count_as_the_last_value():
    model, batch = NLinear(5, 12, 2), batch_of(torch.randn(2, 12, 2))
    batch.past_mask[:, :4] = False
    other, level = (batch.past.clone() for _ in range(2))
    other[:, :4] = 77.0
    level[:, :4] = batch.past[:, -1:]
    assert_close(model(replace(batch, past=other)), model(batch))
    assert_close(model(batch_of(level)), model(batch))
    assert (model(batch_of(other)) - model(batch)).abs().max() > 1  # control: observed, they matter


def test_covariates_and_statics_change_nothing():
    past = torch.randn(2, 12, 3)
    sizes = {"past_covariates": 2, "future_covariates": 1, "static_numeric": 2, "static_cardinalities": (4,)}
    model = NLinear(3, 12, 3, **sizes)
    more = batch_of(
        past, past_covariates=torch.randn(2, 12, 2), future_covariates=torch.randn(2, 15, 1),
        static_numeric=torch.randn(2, 2), static_categorical=torch.ones(2, 1, dtype=torch.long),
    )
    assert_close(model(more), model(batch_of(past)))
