import pytest
import torch
from scipy.optimize import brentq
from torch.testing import assert_close

from tsforge.errors import ArgumentError
from tsforge.layers.entmax import entmax


def scores(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_root(s, alpha):
    """The definition, its threshold found by another method."""
    def weights(tau):
        return ((alpha - 1) * s - tau).clamp(min=0) ** (1 / (alpha - 1))

    top = (alpha - 1) * float(s.max())
    return weights(brentq(lambda tau: float(weights(tau).sum()) - 1, top - 1, top, xtol=1e-15))


def sparsemax(s):
    """The nearest point of the simplex, by sorting: exact."""
    ordered = s.sort(descending=True).values
    k = torch.arange(1, len(s) + 1)
    size = int((1 + k * ordered > ordered.cumsum(0)).sum())
    return (s - (ordered[:size].sum() - 1) / size).clamp(min=0)


@pytest.mark.parametrize("alpha", [1.01, 1.3, 1.5, 1.7, 2])
def test_weights_are_those_of_the_definition_not_negative_and_sum_to_one(alpha):
    s = scores(20, 10)
    p = entmax(s, alpha)
    assert (p >= 0).all()
    assert_close(p.sum(-1), torch.ones(20).double(), atol=1e-12, rtol=0)
    for row, own in zip(s, p, strict=True):
        assert_close(own, by_root(row, alpha), atol=1e-9, rtol=0)


def test_near_one_it_is_softmax_and_at_two_it_is_the_nearest_point_of_the_simplex():
    s = 3 * scores(20, 7)
    assert_close(entmax(s, 1), s.softmax(-1), atol=0, rtol=0)
    assert_close(entmax(s, 1 + 1e-6), s.softmax(-1), atol=1e-5, rtol=0)
    assert_close(entmax(s, 2), torch.stack([sparsemax(row) for row in s]), atol=1e-12, rtol=0)
    assert not torch.allclose(entmax(s, 1.5), s.softmax(-1), atol=1e-2)  # the control


def test_at_least_forty_percent_of_the_weights_of_ten_normal_scores_are_exactly_zero_and_of_softmax_none():
    s = scores(500, 10)
    assert (entmax(s, 1.7) == 0).double().mean() >= 0.4
    assert (entmax(s.float(), 1.7) == 0).double().mean() >= 0.4
    assert (entmax(s, 1) == 0).sum() == 0


@pytest.mark.parametrize("alpha", [1.2, 1.7, 2.0])
def test_its_gradient_is_that_of_differences(alpha):
    s = scores(2, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: entmax(s, alpha), s, atol=1e-5)
    assert not torch.autograd.gradcheck(_straight, (s, alpha), atol=1e-5, raise_exception=False)  # the control


def _straight(s, alpha):
    """The weights of entmax with the gradient of softmax."""
    return entmax(s, alpha).detach() + s.softmax(-1) - s.softmax(-1).detach()


def test_scores_far_apart_or_equal_give_all_to_one_or_the_same_to_each():
    assert torch.equal(entmax(torch.tensor([1e4, 0.0, -1e4]), 1.5), torch.tensor([1.0, 0.0, 0.0]))
    assert_close(entmax(torch.full((4,), 1e4), 1.5), torch.full((4,), 0.25))
    assert_close(entmax(torch.zeros(3, 1), 1.7), torch.ones(3, 1))


@pytest.mark.parametrize("alpha", [0.9, 2.1, float("nan")])
def test_what_lies_beyond_softmax_and_sparsemax_is_refused(alpha):
    with pytest.raises(ArgumentError, match="from 1"):
        entmax(torch.zeros(2), alpha)
