import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tsforge.errors import ArgumentError, UnknownArgumentError, UnknownNameError
from tsforge.losses import LOSSES
from tsforge.losses.base import Loss
from tsforge.losses.huber import HuberLoss
from tsforge.losses.quantile import QuantileLoss
from tsforge.losses.smape import SMAPELoss
from tsforge.losses.spec import make_loss


def huber(error, delta=1.0):
    return np.where(np.abs(error) <= delta, error**2 / 2, delta * (np.abs(error) - delta / 2))


def by_hand(name: str, output: np.ndarray, target: np.ndarray, quantiles: tuple[float, ...]) -> np.ndarray:
    if name == "quantile":
        total = np.zeros_like(target)
        for k, q in enumerate(quantiles):
            below = target >= output[..., k]
            total += np.where(below, q * (target - output[..., k]), (1 - q) * (output[..., k] - target))
        return total / len(quantiles)
    forecast = output[..., 0]
    return {"mse": (target - forecast) ** 2, "mae": np.abs(target - forecast), "huber": huber(target - forecast),
            "smape": 200 * np.abs(target - forecast) / (np.abs(target) + np.abs(forecast))}[name]


@given(st.integers(0, 10**6), st.sampled_from(list(LOSSES)))
def test_each_loss_is_its_formula_cell_by_cell(seed, name):
    rng, loss = np.random.default_rng(seed), LOSSES[name]()
    output, target = rng.normal(size=(2, 3, 2, loss.outputs)) * 3, rng.normal(size=(2, 3, 2)) * 3
    cells = loss.cells(torch.from_numpy(output), torch.from_numpy(target))
    assert_allclose(cells, by_hand(name, output, target, loss.quantiles), rtol=1e-9, atol=1e-12)


def best_constant(loss: Loss, sample: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """For each output the constant with the smallest mean loss, by trying all."""
    target = torch.from_numpy(sample)[:, None, None]
    best = []
    for k in range(loss.outputs):
        tried = []
        for value in grid:
            output = torch.zeros(len(sample), 1, 1, loss.outputs, dtype=torch.float64)
            output[..., k] = value
            tried.append(loss.cells(output, target).mean().item())
        best.append(grid[int(np.argmin(tried))])
    return np.array(best)


SAMPLE = np.random.default_rng(0).gamma(2.0, 2.0, size=801)
GRID = np.linspace(0, 15, 601)


@pytest.mark.parametrize("name", ["mse", "mae"])
def test_the_best_constant_is_the_point_that_the_loss_names(name):
    loss = make_loss(name)
    mean_and_median = {"mean": SAMPLE.mean(), "median": np.median(SAMPLE)}
    assert abs(mean_and_median["mean"] - mean_and_median["median"]) > 0.3  # the sample tells them apart
    assert_allclose(best_constant(loss, SAMPLE, GRID), mean_and_median[loss.point], atol=0.03)


def test_the_best_constants_of_the_pinball_losses_are_the_quantiles():
    loss = make_loss("quantile")
    assert_allclose(best_constant(loss, SAMPLE, GRID), np.quantile(SAMPLE, loss.quantiles), atol=0.06)


def test_the_huber_loss_moves_from_the_median_to_the_mean_as_delta_grows():
    narrow, wide = (best_constant(HuberLoss(delta=delta), SAMPLE, GRID) for delta in (0.01, 100.0))
    assert_allclose(narrow, np.median(SAMPLE), atol=0.06)
    assert_allclose(wide, SAMPLE.mean(), atol=0.03)


@pytest.mark.parametrize("name", list(LOSSES))
def test_gradients_flow_to_every_output_of_every_cell(name):
    loss = LOSSES[name]()
    output = torch.randn(2, 3, 2, loss.outputs, generator=torch.Generator().manual_seed(0)).requires_grad_()
    loss.cells(output, torch.full((2, 3, 2), 0.3)).sum().backward()
    assert output.grad is not None
    assert (output.grad != 0).all()
    assert output.grad.isfinite().all()


def test_smape_is_between_0_and_200_and_finite_where_both_are_0():
    loss = SMAPELoss()
    output = torch.tensor([0.0, 5.0, -5.0, 0.0]).view(1, 4, 1, 1).requires_grad_()
    cells = loss.cells(output, torch.tensor([0.0, 5.0, 5.0, 1.0]).view(1, 4, 1))
    assert cells.flatten().tolist() == [0, 0, 200, 200]
    cells.sum().backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()


def test_the_gradient_of_smape_takes_its_denominator_as_given():
    output = torch.tensor([3.0]).view(1, 1, 1, 1).requires_grad_()
    SMAPELoss().cells(output, torch.tensor([1.0]).view(1, 1, 1)).sum().backward()
    assert output.grad is not None
    assert output.grad.item() == 200 / 4


def test_quantiles_are_sorted_and_there_is_an_output_for_each():
    loss = QuantileLoss(quantiles=(0.9, 0.5, 0.1))
    assert loss.quantiles == (0.1, 0.5, 0.9)
    assert loss.outputs == 3


@pytest.mark.parametrize(("spec", "error", "words"), [
    ("mze", UnknownNameError, "no loss named 'mze'. Did you mean 'mse'"),
    ({"name": "mze"}, UnknownNameError, "Did you mean 'mse'"),
    ({"quantiles": [0.5]}, ArgumentError, "wanted a name, or a name with arguments as in"),
    ({"name": 5}, ArgumentError, "wanted a name"),
    ({"name": "huber", "beta": 1.0}, UnknownArgumentError, "'huber' has no argument 'beta': its arguments are delta"),
    ({"name": "mse", "beta": 1.0}, UnknownArgumentError, "has no argument 'beta': it has none"),
    ({"name": "huber", "delta": 0.0}, ArgumentError, "delta=0.0 of the Huber loss"),
    ({"name": "huber", "delta": float("nan")}, ArgumentError, "delta=nan"),
    ({"name": "quantile", "quantiles": [0.1, 0.9]}, ArgumentError, "0.5 has to be among them"),
    ({"name": "quantile", "quantiles": [0.5, 0.5]}, ArgumentError, "different levels"),
    ({"name": "quantile", "quantiles": [0.0, 0.5]}, ArgumentError, "between 0 and 1"),
    ({"name": "quantile", "quantiles": [50, 0.5]}, ArgumentError, "between 0 and 1"),
])
def test_a_spec_that_cannot_be_is_refused_with_a_way_out(spec, error, words):
    with pytest.raises(error, match=words):
        make_loss(spec)


def test_a_spec_is_a_name_or_a_name_with_arguments():
    assert isinstance(make_loss("huber"), HuberLoss)
    made = make_loss({"name": "huber", "delta": 2.0})
    assert isinstance(made, HuberLoss)
    assert made.delta == 2
