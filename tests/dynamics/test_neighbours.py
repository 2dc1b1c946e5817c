import numpy as np
import pytest

from tsforge.dynamics import false_neighbours
from tsforge.errors import ArgumentError


def test_the_shares_are_those_of_all_pairs(nearest_of_all):
    x = np.random.default_rng(0).poisson(6.0, 300).astype(float)
    got = false_neighbours(x, 2, 3, ratio=2.0, size=0.5, theiler=5)
    for d in (1, 2, 3):
        rows = len(x) - d * 2
        wide = np.stack([x[2 * j : 2 * j + rows] for j in range(d + 1)], axis=1)
        neighbour, distance = nearest_of_all(wide[:, :d], 5)
        own = np.flatnonzero(neighbour >= 0)
        apart = wide[own] - wide[neighbour[own]]
        first = np.abs(apart[:, d]) / distance[own] > 2.0
        second = np.linalg.norm(apart, axis=1) / x.std() > 0.5
        wanted = [first.mean(), second.mean(), (first | second).mean()]
        assert 0 < wanted[0] < wanted[2]
        np.testing.assert_allclose([got.by_ratio[d - 1], got.by_size[d - 1], got.either[d - 1]], wanted, atol=1e-12)


def test_lorenz_has_false_neighbours_below_three_dimensions_and_none_there(lorenz):
    either = false_neighbours(lorenz[:, 0], 8, 4).either
    assert either[0] > 0.9
    assert either[1] > 0.02
    assert either[2] < 0.005


def test_henon_has_none_from_two_dimensions_on(henon):
    either = false_neighbours(henon[:3000, 0], 1, 3).either
    assert either[0] > 0.5
    assert (either[1:] < 0.005).all()


def test_only_the_second_criterion_keeps_noise_out_of_many_dimensions(noise):
    shares = false_neighbours(noise, 1, 8)
    assert shares.by_ratio[-1] < 0.05
    assert shares.by_size[-1] > 0.2
    assert shares.either[-1] > 0.2


@pytest.mark.parametrize(("a", "b"), [(-4.0, 0.0), (3.7, 100.0)])
def test_the_shares_do_not_see_scale_and_place(henon, a, b):
    x = henon[:1000, 0]
    np.testing.assert_allclose(
        false_neighbours(a * x + b, 1, 3).either, false_neighbours(x, 1, 3).either, atol=2 / len(x),
    )


def test_higher_thresholds_find_fewer(lorenz):
    x = lorenz[:2000, 0]
    plain = false_neighbours(x, 8, 2)
    assert false_neighbours(x, 8, 2, ratio=60.0).by_ratio[1] < plain.by_ratio[1]
    assert false_neighbours(x, 8, 2, size=0.5).by_size[0] > plain.by_size[0]


def test_thresholds_below_zero_are_refused(noise):
    with pytest.raises(ArgumentError, match="ratio=-1"):
        false_neighbours(noise, 1, 2, ratio=-1.0)
