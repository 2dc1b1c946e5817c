from math import cos, pi, sin

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.layers.basis import BasisBlock, Expansion, forecasts, fourier, interpolation, polynomial


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_double")
def test_a_trend_writes_any_polynomial_of_its_degree_and_none_beyond():
    t = torch.arange(10) / 10
    basis = polynomial(10, 2)
    assert_close(basis @ torch.tensor([3.0, -1.0, 2.0]), 3 - t + 2 * t**2)
    cubic = t[:, None] ** 3
    assert (basis @ torch.linalg.lstsq(basis, cubic).solution - cubic).abs().max() > 1e-3


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 7, 12])
def test_a_season_is_made_of_the_whole_cycles_that_the_paper_lists(steps):
    cycles = range(max(steps // 2, 1))
    expected = [
        [cos(2 * pi * i * t / steps) for i in cycles] + [sin(2 * pi * i * t / steps) for i in cycles if i]
        for t in range(steps)
    ]
    assert_close(fourier(steps), torch.tensor(expected))


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("steps", [5, 12])
def test_the_functions_of_a_season_are_orthogonal_so_none_is_there_twice(steps):
    gram = fourier(steps).mT @ fourier(steps)
    assert_close(gram, torch.diag(gram.diagonal()), rtol=0, atol=1e-12)
    assert gram.diagonal().min() > 0


def between(values, step, steps, mode):
    """The value at one step, by the positions of the knots."""
    share = steps / len(values)
    if mode == "nearest":
        return values[int(step / share)]
    place = min(max((step + 0.5) / share - 0.5, 0), len(values) - 1)
    left = min(int(place), max(len(values) - 2, 0))
    right = min(left + 1, len(values) - 1)
    return values[left] + (values[right] - values[left]) * (place - left)


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("mode", ["linear", "nearest"])
@pytest.mark.parametrize(("steps", "knots"), [(12, 1), (12, 3), (12, 5), (7, 4), (6, 6), (1, 1)])
def test_interpolation_is_by_the_distance_to_the_knots(mode, steps, knots):
    values = torch.randn(knots)
    expected = torch.stack([between(values, step, steps, mode) for step in range(steps)])
    assert_close(interpolation(steps, knots, mode) @ values, expected)


def test_between_linear_and_nearest_there_is_a_difference():
    assert (interpolation(12, 3, "linear") - interpolation(12, 3, "nearest")).abs().max() > 0.1


def test_a_constant_stays_one_in_every_interpolation():
    for mode in ("linear", "nearest"):
        assert_close(interpolation(11, 4, mode).sum(1), torch.ones(11))


def test_a_learnt_basis_has_the_weights_of_a_linear_map_and_a_given_one_those_of_its_coefficients():
    assert sum(p.numel() for p in Expansion(6, 5, 3).parameters()) == 7 * 3 * 5
    assert sum(p.numel() for p in Expansion(6, polynomial(5, 1), 3).parameters()) == 6 * 3 * 2


def test_a_pooled_block_sees_the_maximum_of_each_group_of_steps():
    block, x = BasisBlock(7, 3, None, 1, width=5, n_layers=1, pool=3), torch.randn(4, 7)
    pooled = torch.stack([x[:, :3].amax(1), x[:, 3:6].amax(1), x[:, 6]], 1)
    assert_close(block(x)[1][:, 0], block.forecast.coefficients(F.relu(block.layers[0](pooled))))
    lower = x.clone()
    lower[:, 0] = x[:, :3].amin(1) - 1
    same = x[:, 0] < x[:, :3].amax(1)
    assert_close(block(lower)[1][same], block(x)[1][same])
    assert (block(x + 1)[1] - block(x)[1]).abs().max() > 1e-3  # the control


def test_each_block_is_fed_what_the_one_before_left_over():
    blocks = [BasisBlock(6, 2, 6, 1, width=4, n_layers=1) for _ in range(3)]
    x, parts = torch.randn(5, 6), []
    rest = x
    for block in blocks:
        hidden = block.layers(rest)
        parts.append(block.forecast(hidden))
        rest = rest - block.backcast(hidden)[:, 0]
    assert_close(forecasts(blocks, x), torch.stack(parts))
    assert (forecasts(blocks, x)[1] - blocks[1](x)[1]).abs().max() > 1e-4  # the control: not the input itself


def test_a_block_without_backcast_leaves_its_input_as_it_is():
    x = torch.randn(5, 6)
    assert BasisBlock(6, 2, None, 1, width=4, n_layers=1)(x)[0] is x
