import pytest
import torch
from torch.testing import assert_close

from tsforge.layers import ridge
from tsforge.layers.ridge import solve_ridge


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def problem(rows=40, features=6, columns=5, missing=0.0):
    z, y = (torch.randn(rows, size, dtype=torch.float64) for size in (features, columns))
    return z, y, torch.rand(rows, columns) >= missing


def in_batches(z, y, mask, size=7):
    return lambda: zip(z.split(size), y.split(size), mask.split(size), strict=True)


def by_column(z, y, mask, penalty):
    """Each column from its observed rows alone, as a least-squares problem with the penalty as further rows."""
    found = []
    for c in range(y.shape[1]):
        seen = mask[:, c]
        extra = (penalty * max(int(seen.sum()), 1)) ** 0.5 * torch.eye(z.shape[1], dtype=z.dtype)
        wide = torch.cat([z[seen], extra])
        found.append(torch.linalg.lstsq(wide, torch.cat([y[seen, c], y.new_zeros(z.shape[1])])[:, None]).solution[:, 0])
    return torch.stack(found, 1)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("at_once", [2**24, 80, 1])
def test_it_is_the_ridge_solution_of_the_observed_rows_of_each_column(missing, at_once, monkeypatch):
    monkeypatch.setattr(ridge, "AT_ONCE", at_once)
    z, y, mask = problem(missing=missing)
    mask[:, 2] = True
    assert_close(solve_ridge(in_batches(z, y, mask), 0.01), by_column(z, y, mask, 0.01), rtol=1e-9, atol=1e-10)


def test_values_under_a_false_mask_change_nothing_and_observed_ones_do():
    z, y, mask = problem(missing=0.3)
    before = solve_ridge(in_batches(z, y, mask), 0.01)
    assert_close(solve_ridge(in_batches(z, y.where(mask, 1e6), mask), 0.01), before)
    assert (solve_ridge(in_batches(z, y.where(~mask, 0.0), mask), 0.01) - before).abs().max() > 1e-2


def test_the_size_of_the_batches_and_the_number_of_copies_change_nothing():
    z, y, mask = problem(missing=0.2)
    one = solve_ridge(in_batches(z, y, mask), 0.1)
    assert_close(solve_ridge(in_batches(z, y, mask, size=40), 0.1), one)
    twice = [part.repeat(2, 1) for part in (z, y, mask)]
    assert_close(solve_ridge(in_batches(*twice), 0.1), one)


def test_its_solution_has_no_gradient_left():
    z, y, mask = problem()
    weight = solve_ridge(in_batches(z, y, mask), 0.1).requires_grad_()
    objective = (z @ weight - y).square().mean(0).sum() + 0.1 * weight.square().sum()
    (gradient,) = torch.autograd.grad(objective, weight)
    assert gradient.abs().max() < 1e-12
    other = (weight.detach() + 1e-3).requires_grad_()  # the control
    objective = (z @ other - y).square().mean(0).sum() + 0.1 * other.square().sum()
    assert torch.autograd.grad(objective, other)[0].abs().max() > 1e-4


def test_a_column_never_observed_gets_zeros():
    z, y, mask = problem()
    mask[:, 1] = False
    assert solve_ridge(in_batches(z, y, mask), 0.1)[:, 1].abs().max() < 1e-10
