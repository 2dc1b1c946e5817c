import copy
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from tsforge.encoders.adapter.quantized import QuantizedAdapter, fit_grid, rounded
from tsforge.errors import ArgumentError


def gaussian(rows: int = 64, columns: int = 256, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def decibels(x: Tensor, **grid) -> float:
    """Signal to the noise of quantisation."""
    found = fit_grid(x, **grid)
    noise = (found.dequantise(found.quantise(x)) - x).square().mean()
    return float(10 * torch.log10(x.square().mean() / noise))


@pytest.mark.parametrize("granularity", ["channel", "tensor"])
@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
@pytest.mark.parametrize("range_", ["minmax", "mse", "percentile"])
def test_a_value_in_range_moves_by_half_a_step_at_most_zero_not_at_all_and_twice_is_once(range_, scheme, granularity):
    x = gaussian() + (2.0 if scheme == "affine" else 0.0)
    x[:, 0] = 0.0
    grid = fit_grid(x, 5, granularity=granularity, scheme=scheme, range_=range_)
    back = grid.dequantise(grid.quantise(x))
    inside = grid.inside(x)
    assert inside.double().mean() > 0.8
    assert ((back - x).abs() <= grid.step / 2 * (1 + 1e-9))[inside].all()
    assert not ((back - x).abs() <= grid.step / 4)[inside].all()  # the control
    assert torch.equal(back[:, 0], torch.zeros(64, dtype=torch.float64))
    assert torch.equal(grid.quantise(back), grid.quantise(x))
    assert torch.equal(grid.dequantise(grid.quantise(back)), back)
    assert len(grid.step) == (64 if granularity == "channel" else 1)


@pytest.mark.parametrize(("scheme", "low", "high"), [("symmetric", -7, 7), ("affine", -8, 7)])
def test_the_grid_is_that_of_the_equations(scheme, low, high):
    x = torch.tensor([[-0.5, 1.6, 3.0], [-2.0, -1.1, 0.0]], dtype=torch.float64)
    grid = fit_grid(x, 4, scheme=scheme)
    alpha, beta = torch.tensor([-0.5, -2.0]).double(), torch.tensor([3.0, 0.0]).double()
    if scheme == "symmetric":
        step, zero = torch.tensor([3.0, 2.0]).double() / 7, torch.zeros(2).double()
    else:
        step = (beta - alpha) / 15
        zero = low - torch.round(alpha / step)
    assert (grid.low, grid.high) == (low, high)
    assert_close(grid.step[:, 0], step)
    assert_close(grid.zero[:, 0], zero)
    numbers = torch.clamp(torch.round(x / step[:, None]) + zero[:, None], low, high)
    assert torch.equal(grid.quantise(x), numbers.to(torch.int8))
    assert_close(grid.dequantise(grid.quantise(x)), step[:, None] * (numbers - zero[:, None]))


def test_each_bit_is_worth_about_six_decibels():
    found = [decibels(gaussian(), bits=bits) for bits in range(3, 9)]
    slopes = [after - before for before, after in itertools.pairwise(found)]
    assert abs(sum(slopes) / len(slopes) - 6) <= 1.5
    assert 40 < found[-1] < 47
    assert 17 < found[1] < 21


def test_a_grid_for_each_channel_is_worth_five_decibels_where_their_scales_differ():
    spread = torch.exp(torch.randn(64, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    gain = [decibels(x, granularity="channel") - decibels(x, granularity="tensor")
            for x in (gaussian() * spread, gaussian())]
    assert gain[0] >= 5 > gain[1]  # the control: channels alike


def test_an_affine_grid_gains_a_bit_on_what_lies_to_one_side():
    one_sided, both = gaussian().relu(), gaussian()
    gain = [decibels(x, scheme="affine") - decibels(x, scheme="symmetric") for x in (one_sided, both)]
    assert abs(gain[0] - 6) <= 1
    assert abs(gain[1]) < 1.5


@pytest.mark.parametrize("scheme", ["symmetric", "affine"])
def test_the_searched_range_has_the_least_error_of_all_three(scheme):
    x = gaussian(seed=3)
    found = {r: decibels(x, bits=4, scheme=scheme, range_=r) for r in ("mse", "minmax", "percentile")}
    assert found["mse"] > found["minmax"] + 0.5
    assert found["mse"] >= found["percentile"]


def test_gradients_pass_inside_the_range_and_nowhere_else():
    grid = fit_grid(torch.tensor([[-1.0, 1.0]]), 4)
    x = torch.tensor([[-3.0, -1.0, -0.3, 0.0, 0.99, 1.01, 7.0]], requires_grad=True)
    weights = torch.arange(1.0, 8)
    (rounded(x, grid) * weights).sum().backward()
    inside = torch.tensor([[0.0, 1, 1, 1, 1, 0, 0]])
    assert torch.equal(x.grad, inside * weights)
    y = x.detach().clone().requires_grad_()
    assert torch.autograd.grad((torch.round(y) * weights).sum(), y)[0].abs().sum() == 0  # the control: rounding alone


def test_merged_weights_are_the_grid_values_of_the_old_ones_row_by_row():
    torch.manual_seed(0)
    layer = nn.Linear(6, 3).double()
    before = layer.weight.detach().clone()
    adapter = QuantizedAdapter(bits=3, range="minmax")
    adapter.attach(layer)
    assert adapter.trainable_parameters() == 0
    adapter.merge(layer)
    for row, old in zip(layer.weight, before, strict=True):
        step = old.abs().max() / 3
        assert_close(row, step * torch.round(old / step).clamp(-3, 3), atol=1e-6, rtol=1e-6)


def deep(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)).double()


def test_a_byte_for_each_weight_changes_outputs_by_three_percent_at_most_and_fewer_bits_by_more():
    x, errors = torch.randn(200, 16, generator=torch.Generator().manual_seed(4), dtype=torch.float64), {}
    for bits in (8, 6, 4):
        network = deep()
        plain = network(x).detach()
        QuantizedAdapter(bits=bits).attach(network)
        errors[bits] = float((network(x) - plain).norm() / plain.norm())
    assert errors[8] <= 0.03
    assert errors[8] < errors[6] < errors[4]
    assert errors[4] > 0.03  # the control


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_training_through_the_rounding_wins_back_half_of_what_four_bits_lose(seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(400, 16, generator=generator, dtype=torch.float64)
    y = torch.stack([(x[:, :4] * x[:, 4:8]).sum(1), x[:, 0].sin(), x[:, 1].abs(), x[:, 2]], 1)
    network = deep(seed)
    trained(network, network.parameters(), x, y, 600, 5e-3)
    base = float(F.mse_loss(network(x), y).detach())
    losses = {}
    for mode in ("ptq", "qat"):
        tried = copy.deepcopy(network)
        adapter = QuantizedAdapter(bits=4, mode=mode)
        adapter.attach(tried)
        if mode == "qat":
            assert adapter.trainable_parameters() == sum(w.numel() for w in network.parameters() if w.ndim > 1)
            trained(tried, adapter.parameters(), x, y, 200, 3e-4)  # 4 bits need a rate that ends small
        losses[mode] = float(F.mse_loss(tried(x), y).detach()) - base
    assert losses["qat"] <= 0.5 * losses["ptq"]


def trained(network: nn.Module, parameters, x: Tensor, y: Tensor, steps: int, rate: float) -> None:
    optimizer = torch.optim.Adam(parameters, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        optimizer.zero_grad()
        F.mse_loss(network(x), y).backward()
        optimizer.step()
        schedule.step()


def test_dynamics_of_state_spaces_are_left_unless_they_are_asked_for():
    class Space(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_A_real, self.A_imag, self.A_log = (nn.Parameter(torch.randn(3, 2)) for _ in range(3))
            self.map = nn.Linear(3, 3)

    for arguments, names in (({}, ["map.weight"]), ({"exclude": ""}, ["log_A_real", "A_imag", "A_log", "map.weight"])):
        adapter = QuantizedAdapter(**arguments)
        adapter.attach(Space())
        assert list(adapter.grids()) == names


def test_what_is_no_number_of_bits_and_no_word_is_refused():
    for bits in (1, 9):
        with pytest.raises(ArgumentError, match="from 2 to 8"):
            QuantizedAdapter(bits=bits)
    for argument in ("granularity", "scheme", "range", "mode"):
        with pytest.raises(ArgumentError, match="give one of '"):
            QuantizedAdapter(**{argument: "rowwise"})
