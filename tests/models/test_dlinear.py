import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.dlinear import DLinear


def transcription(model, past):
    """Zeng et al. (2023), one window, channel, step and output at a time."""
    batch, steps, channels = past.shape
    reach = model.kernel_size // 2
    y = past.new_zeros(batch, model.h, channels, model.outputs)
    for b in range(batch):
        for c in range(channels):
            x = past[b, :, c]
            around = [[x[min(max(t + d, 0), steps - 1)] for d in range(-reach, reach + 1)] for t in range(steps)]
            trend = torch.stack([torch.stack(values).mean() for values in around])
            for maps, part in ((model.trend, trend), (model.remainder, x - trend)):
                own = c if len(maps.weight) > 1 else 0
                y[b, :, c] += (maps.weight[own] @ part + maps.bias[own]).view(model.h, model.outputs)
    return y


@pytest.mark.parametrize("individual", [False, True])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("kernel_size", [1, 5, 25])
def test_it_equals_its_equations(individual, outputs, kernel_size):
    model = DLinear(4, 11, 2, outputs, kernel_size=kernel_size, individual=individual).double()
    past = torch.randn(3, 11, 2, dtype=torch.float64)
    assert_close(model(batch_of(past)), transcription(model, past), rtol=1e-12, atol=1e-12)


def test_the_equations_see_another_moving_average():
    model, past = DLinear(4, 11, 2, kernel_size=5).double(), torch.randn(3, 11, 2, dtype=torch.float64)
    expected = transcription(model, past)
    model.kernel_size = 7
    assert (model(batch_of(past)) - expected).abs().max() > 1e-3


@pytest.mark.parametrize(("individual", "maps"), [(False, 1), (True, 7)])
def test_it_has_two_linear_maps_for_all_channels_or_for_each(individual, maps):
    count = sum(p.numel() for p in DLinear(24, 96, 7, 3, individual=individual).parameters())
    assert count == maps * 2 * (96 + 1) * 24 * 3


def test_its_maps_start_as_linear_layers_do():
    weight = DLinear(96, 400, 1).trend.weight
    assert weight.abs().max() <= 400**-0.5
    assert_close(weight.std().item(), (400 * 3) ** -0.5, rtol=0.02, atol=0)


def test_channels_with_one_map_are_forecast_alike_and_with_their_own_differently():
    past = torch.randn(2, 30, 1).expand(-1, -1, 3)
    shared, own = (DLinear(5, 30, 3, individual=individual)(batch_of(past)) for individual in (False, True))
    assert_close(shared[:, :, 0], shared[:, :, 2])
    assert (own[:, :, 0] - own[:, :, 2]).abs().max() > 1e-3


def test_covariates_and_statics_change_nothing():
    past = torch.randn(2, 12, 3)
    sizes = {"past_covariates": 2, "future_covariates": 1, "static_numeric": 2, "static_cardinalities": (4,)}
    model = DLinear(3, 12, 3, **sizes)
    more = batch_of(
        past, past_covariates=torch.randn(2, 12, 2), future_covariates=torch.randn(2, 15, 1),
        static_numeric=torch.randn(2, 2), static_categorical=torch.ones(2, 1, dtype=torch.long),
    )
    assert_close(model(more), model(batch_of(past)))


@pytest.mark.parametrize("kernel_size", [-1, 0, 24])
def test_a_kernel_without_a_centre_is_refused_with_what_to_give(kernel_size):
    with pytest.raises(ArgumentError, match=f"kernel_size={kernel_size} .* odd"):
        DLinear(4, 11, 2, kernel_size=kernel_size)
