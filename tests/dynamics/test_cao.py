import numpy as np
import pytest

from tsforge.dynamics import cao, embedding_dimension, lag_by_mutual_information
from tsforge.errors import ArgumentError

WAVE = np.sin(2 * np.pi * np.arange(3000) / (10 * np.pi))  # a period that is no whole number of steps


def all_pairs(nearest_of_all, x: np.ndarray, lag: int, dimensions: int, theiler: int) -> tuple[np.ndarray, np.ndarray]:
    """E1 and E2 as the paper writes them."""
    e, star = [], []
    for d in range(1, dimensions + 2):
        rows = len(x) - d * lag
        wide = np.stack([x[j * lag : j * lag + rows] for j in range(d + 1)], axis=1)
        neighbour, distance = nearest_of_all(wide[:, :d], theiler, np.inf)
        own = np.flatnonzero(neighbour >= 0)
        apart = np.abs(wide[own] - wide[neighbour[own]])
        e.append(np.mean(apart.max(axis=1) / distance[own]))
        star.append(apart[:, d].mean())
    return np.divide(e[1:], e[:-1]), np.divide(star[1:], star[:-1])


@pytest.mark.parametrize("theiler", [0, 7])
def test_the_curves_are_those_of_all_pairs_with_many_equal_distances(nearest_of_all, theiler):
    x = np.random.default_rng(0).poisson(4.0, 300).astype(float)
    e1, e2 = all_pairs(nearest_of_all, x, 2, 4, theiler)
    got = cao(x, 2, 4, theiler=theiler)
    np.testing.assert_allclose(got.e1, e1, rtol=1e-12)
    np.testing.assert_allclose(got.e2, e2, rtol=1e-12)


def test_without_the_rule_of_the_earliest_the_curves_would_differ(nearest_of_all):
    x = np.random.default_rng(0).poisson(4.0, 300).astype(float)
    backwards, _ = all_pairs(lambda *a: last_of_all(nearest_of_all, *a), x, 2, 4, 0)
    assert np.abs(cao(x, 2, 4).e1 - backwards).max() > 1e-3


def last_of_all(nearest_of_all, points, theiler, norm):
    neighbour, distance = nearest_of_all(points[::-1], theiler, norm)
    return np.where(neighbour >= 0, len(points) - 1 - neighbour, -1)[::-1], distance[::-1]


def test_lorenz_needs_three_dimensions_at_the_lag_of_its_information(lorenz):
    x = lorenz[:, 0]
    lag = lag_by_mutual_information(x)
    curves = cao(x, lag, 6)
    assert embedding_dimension(x, lag) == 3
    assert curves.e1[1] < 0.5
    assert (curves.e1[2:] > 0.8).all()
    assert np.ptp(curves.e1[2:]) < 0.15


def test_lorenz_needs_hardly_more_at_twice_that_lag(lorenz):
    assert embedding_dimension(lorenz[:, 0], 15) in (3, 4)  # E1(3) is 0.8, the level itself


@pytest.mark.parametrize(("name", "dimension"), [("henon", 2), ("wave", 2), ("logistic", 1)])
def test_maps_and_a_wave_need_as_many_as_they_have(request, name, dimension):
    made = {
        "henon": lambda: (request.getfixturevalue("henon")[:3000, 0], 1),
        "wave": lambda: (WAVE, 7),
        "logistic": lambda: (request.getfixturevalue("logistic")(3.99, 3000), 1),
    }
    x, lag = made[name]()
    assert embedding_dimension(x, lag) == dimension
    assert np.abs(cao(x, lag, 6).e2 - 1).max() > 0.2  # the future depends on the past


def test_e2_of_noise_is_one_at_every_dimension(noise):
    assert np.abs(cao(noise, 1, 8).e2 - 1).max() < 0.05


def test_e2_of_lorenz_is_not(lorenz):
    assert np.abs(cao(lorenz[:, 0], 8, 8).e2 - 1).max() > 0.2


def test_noise_does_not_level_off_and_the_error_shows_its_curve(noise):
    with pytest.raises(ArgumentError, match=r"max_dimension=4.*0\.\d\d, 0\.\d\d.*noise"):
        embedding_dimension(noise, 1, 4)


def test_a_lower_level_and_a_wider_tolerance_give_smaller_dimensions(noise):
    assert embedding_dimension(noise, 1, 4, level=0.6, tolerance=0.2) == 4
    assert embedding_dimension(noise, 1, 4, level=0.4, tolerance=0.2) == 3


@pytest.mark.parametrize(("a", "b"), [(-4.0, 0.0), (3.7, 100.0)])
def test_the_curves_do_not_see_scale_and_place(henon, a, b):
    x = henon[:1000, 0]
    plain, moved = cao(x, 1, 4), cao(a * x + b, 1, 4)
    np.testing.assert_allclose(moved.e1, plain.e1, rtol=1e-6)
    np.testing.assert_allclose(moved.e2, plain.e2, rtol=1e-6)


def test_the_curves_see_a_bend_of_the_scale(henon):
    x = henon[:1000, 0]
    assert np.abs(cao(np.exp(x), 1, 4).e1 - cao(x, 1, 4).e1).max() > 1e-3


def test_a_series_too_short_for_the_dimensions_is_refused(noise):
    with pytest.raises(ArgumentError, match="at least 46"):
        cao(noise[:45], 4, 10)
    assert len(cao(noise[:46], 4, 10).e1) == 10
