import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter1d

from tsforge.dynamics import correlation_dimension, correlation_sum, delay_embed
from tsforge.errors import ArgumentError

points = st.tuples(st.integers(6, 30), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-4, 4).map(float)),
)


@given(points, st.integers(0, 4), st.lists(st.integers(0, 9), min_size=1, max_size=5))
def test_the_sum_is_the_share_of_all_pairs(x, theiler, radii):
    i, j = np.triu_indices(len(x), theiler + 1)
    distance = np.abs(x[i] - x[j]).max(axis=1)
    wanted = [(distance <= r).mean() for r in radii]
    np.testing.assert_allclose(correlation_sum(x, radii, theiler=theiler), wanted, atol=1e-14)


def test_lorenz_has_a_dimension_of_about_2_05(sparse_lorenz):
    assert correlation_dimension(sparse_lorenz).dimension == pytest.approx(2.05, abs=0.06)


def test_its_delay_vectors_have_the_same(lorenz):
    delays = delay_embed(lorenz[:, 0], 5, 8)
    assert correlation_dimension(delays, theiler=50).dimension == pytest.approx(2.05, abs=0.3)  # 100 units of time


def test_without_a_theiler_window_slow_noise_looks_like_a_curve():
    slow = gaussian_filter1d(np.random.default_rng(0).normal(size=(10_000, 3)), 50.0, axis=0)
    assert correlation_dimension(slow, shares=(1e-5, 1e-3)).dimension < 1.5
    assert correlation_dimension(slow, shares=(1e-5, 1e-3), theiler=300).dimension > 2.5


def test_henon_has_a_dimension_of_about_1_2(henon):
    assert correlation_dimension(henon).dimension == pytest.approx(1.21, abs=0.06)


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_cube_has_the_dimension_it_has_in_whatever_room(dimension):
    cube = np.random.default_rng(0).uniform(size=(4000, dimension))
    room = np.random.default_rng(1).normal(size=(dimension, 5))
    assert correlation_dimension(cube @ room).dimension == pytest.approx(dimension, rel=0.06)


def test_the_dimension_does_not_see_scale_and_place(henon):
    plain = correlation_dimension(henon[:2000])
    moved = correlation_dimension(-4 * henon[:2000])
    assert moved.dimension == pytest.approx(plain.dimension, rel=1e-12)
    assert moved.fit == pytest.approx([4 * r for r in plain.fit])
    assert correlation_dimension(3.7 * henon[:2000] + 9).dimension == pytest.approx(plain.dimension, abs=0.01)


def test_the_line_is_fitted_where_the_shares_say(henon):
    got = correlation_dimension(henon, shares=(1e-3, 1e-1))
    low, high = correlation_sum(henon, np.array(got.fit))
    assert 1e-3 <= low < high <= 1e-1
    inside = (got.radii >= got.fit[0]) & (got.radii <= got.fit[1])
    slope = np.polyfit(np.log(got.radii[inside]), np.log(got.sums[inside]), 1)[0]
    assert got.dimension == pytest.approx(slope, rel=1e-12)


def test_whole_numbers_too_coarse_for_a_dimension_are_refused():
    with pytest.raises(ArgumentError, match="coarse"):
        correlation_dimension(np.random.default_rng(0).poisson(1.0, 500))


def test_negative_radii_and_shares_out_of_order_are_refused(henon):
    with pytest.raises(ArgumentError, match="radii"):
        correlation_sum(henon[:50], [-1.0])
    with pytest.raises(ArgumentError, match="shares"):
        correlation_dimension(henon[:50], shares=(0.5, 0.1))
