import pytest
import torch
from batches import batch_of
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.models.nhits import NHiTS

SIZES = {"h": 6, "input_size": 11, "in_channels": 2, "width": 7, "n_stacks": 3}


def network(**arguments):
    return NHiTS(**{**SIZES, **arguments}).double()


def weights(steps, knots, mode):
    """What each knot gives to each step, by its place in the middle of its share; kept in single precision."""
    share, table = steps / knots, torch.zeros(steps, knots, dtype=torch.float64)
    for step in range(steps):
        if mode == "nearest":
            table[step, int(step / share)] = 1
            continue
        place = min(max((step + 0.5) / share - 0.5, 0), knots - 1)
        table[step, int(place)] += 1 - place % 1
        table[step, min(int(place) + 1, knots - 1)] += place % 1
    return table.float().double()


def transcription(model, past, pooling, downsampling, mode):
    """Challu et al. (2023), one window and channel at a time."""
    batch, steps, channels = past.shape
    y = past.new_zeros(batch, model.h, channels, model.outputs)
    for b in range(batch):
        for c in range(channels):
            mean, deviation = past[b, :, c].mean(), (past[b, :, c].var(correction=0) + 1e-5).sqrt()
            if not model.instance_norm:
                mean, deviation = 0.0, 1.0
            x = (past[b, :, c] - mean) / deviation
            for block, pool, spacing in zip(model.blocks, pooling, downsampling, strict=True):
                hidden = torch.stack([x[start : start + pool].max() for start in range(0, steps, pool)])
                for layer in block.layers[::2]:
                    hidden = (layer.weight @ hidden + layer.bias).clamp(min=0)
                theta = (block.forecast.coefficients.weight @ hidden).view(model.outputs, -(-model.h // spacing))
                y[b, :, c] += weights(model.h, theta.shape[1], mode) @ theta.T * deviation
                if block.backcast is not None:
                    theta = block.backcast.coefficients.weight @ hidden
                    x = x - weights(steps, -(-steps // spacing), mode) @ theta
            y[b, :, c] += mean
    return y


CASES = [({}, [4, 2, 1], [16, 4, 1]), ({"pooling": 3, "downsampling": 2}, [9, 3, 1], [4, 2, 1]),
         ({"pooling": [2, 5, 1], "downsampling": [3, 3, 2]}, [2, 5, 1], [3, 3, 2]),
         ({"pooling": 9, "downsampling": 100}, [81, 9, 1], [10_000, 100, 1])]


@pytest.mark.parametrize(("arguments", "pooling", "downsampling"), CASES)
@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize(("outputs", "norm"), [(1, True), (3, True), (1, False)])
def test_it_equals_its_equations(arguments, pooling, downsampling, mode, outputs, norm):
    model = network(interpolation=mode, outputs=outputs, instance_norm=norm, **arguments)
    past = torch.randn(3, 11, 2, dtype=torch.float64)
    expected = transcription(model, past, pooling, downsampling, mode)
    assert_close(model(batch_of(past)), expected, rtol=1e-10, atol=1e-10)


def test_the_equations_see_the_other_interpolation_and_another_pooling():
    past = torch.randn(3, 11, 2, dtype=torch.float64)
    model = network()
    ours = model(batch_of(past))
    assert (ours - transcription(model, past, [4, 2, 1], [16, 4, 1], "nearest")).abs().max() > 1e-4
    model.blocks[1].pool = 1
    model.blocks[1].layers[0] = torch.nn.Linear(11, 7).double()
    assert (ours - transcription(model, past, [4, 1, 1], [16, 4, 1], "linear")).abs().max() > 1e-4


@pytest.mark.parametrize(("arguments", "pooling", "downsampling"), CASES)
@pytest.mark.parametrize("outputs", [1, 3])
def test_it_has_the_parameters_of_its_formula_and_all_of_them_are_used(arguments, pooling, downsampling, outputs):
    model = network(outputs=outputs, n_layers=3, **arguments)
    expected = 0
    for place, (k, d) in enumerate(zip(pooling, downsampling, strict=True), start=1):
        expected += (-(-11 // k) + 1) * 7 + 2 * 8 * 7 + 7 * outputs * -(-6 // d) + (7 * -(-11 // d) if place < 3 else 0)
    assert sum(p.numel() for p in model.parameters()) == expected
    model(batch_of(torch.randn(3, 11, 2, dtype=torch.float64))).square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_a_coarse_stack_writes_smoother_forecasts_than_a_fine_one():
    past = torch.randn(3, 11, 2, dtype=torch.float64)
    for spacing, straight in ((6, True), (1, False)):
        y = network(n_stacks=1, downsampling=[spacing])(batch_of(past))
        assert (torch.diff(y, dim=1).abs().max() < 1e-9) == straight


def test_a_maximum_hides_what_lies_below_it():
    model, past = network(n_stacks=1, pooling=[11]), torch.rand(1, 11, 1, dtype=torch.float64)
    swapped = past.flip(1)  # the same mean, deviation and maximum
    assert_close(model(batch_of(swapped)), model(batch_of(past)))
    fine = network(n_stacks=1, pooling=[1])
    assert (fine(batch_of(swapped)) - fine(batch_of(past))).abs().max() > 1e-4


def test_channels_are_forecast_apart_by_one_network():
    model, past = network(), torch.randn(3, 11, 2, dtype=torch.float64)
    assert_close(model(batch_of(past.flip(2))), model(batch_of(past)).flip(2))
    changed = past.clone()
    changed[..., 1] = torch.randn(3, 11, dtype=torch.float64)
    moved = (model(batch_of(changed)) - model(batch_of(past))).abs().amax((0, 1, 3))
    assert moved[0] < 1e-12 < moved[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"pooling": [2, 1]}, r"pooling=\[2, 1\] .* 3 stacks"), ({"downsampling": 0}, "downsampling=0"),
     ({"pooling": [1, 0, 1]}, "pooling"), ({"n_stacks": 0}, "n_stacks=0"), ({"n_layers": 0}, "n_layers=0"),
     ({"width": 0}, "width=0"), ({"interpolation": "cubic"}, "'cubic' .* 'linear' or 'nearest'")],
)
def test_what_cannot_work_is_refused_with_what_to_give(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        network(**arguments)


@pytest.mark.parametrize(("h", "input_size"), [(1, 1), (1, 8), (2, 3), (16, 1)])
def test_any_size_works(h, input_size):
    model = network(h=h, input_size=input_size)
    assert model(batch_of(torch.randn(2, input_size, 2, dtype=torch.float64))).isfinite().all()
