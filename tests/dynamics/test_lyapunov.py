import numpy as np
import pytest

from tsforge.dynamics import DivergenceCurve, delay_embed, divergence_curve, largest_lyapunov
from tsforge.errors import ArgumentError

WAVE = np.sin(np.arange(2000) / 5)


def test_the_exponent_of_lorenz_is_found_from_one_coordinate(lorenz):
    got = largest_lyapunov(lorenz[:, 0], dimension=3, lag=8, fit=(25, 120), dt=0.02)
    assert got == pytest.approx(0.906, rel=0.15)


def test_and_from_its_states(lorenz):
    assert largest_lyapunov(lorenz, dimension=1, fit=(25, 120), dt=0.02) == pytest.approx(0.906, rel=0.25)


def test_without_a_theiler_window_neighbours_in_time_hide_it(dense_lorenz):
    hidden = largest_lyapunov(dense_lorenz, dimension=1, fit=(250, 1000), theiler=0, dt=0.002)
    assert hidden < largest_lyapunov(dense_lorenz, dimension=1, fit=(250, 1000), dt=0.002) - 0.25


def test_the_exponent_of_the_logistic_map_is_log_two(logistic):
    assert largest_lyapunov(logistic(4.0), dimension=1, fit=(0, 6)) == pytest.approx(np.log(2), rel=0.03)


def test_the_exponent_of_henon_is_found_from_one_coordinate(henon):
    assert largest_lyapunov(henon[:, 0], dimension=2, fit=(2, 9)) == pytest.approx(0.419, rel=0.1)


def test_neighbours_on_a_wave_do_not_part():
    assert abs(largest_lyapunov(WAVE, dimension=2, lag=8, fit=(0, 100))) < 1e-3


def test_the_curve_is_that_of_all_pairs(nearest_of_all, henon):
    x = henon[:250, 0]
    vectors = delay_embed(x, 2, 1)
    neighbour, _ = nearest_of_all(vectors[: len(vectors) - 5], 3)
    wanted = [
        np.mean([np.log(np.linalg.norm(vectors[i + k] - vectors[j + k])) for i, j in enumerate(neighbour)])
        for k in range(6)
    ]
    got = divergence_curve(x, dimension=2, steps=5, theiler=3, dt=0.5)
    np.testing.assert_allclose(got.log_distance, wanted, rtol=1e-12)
    np.testing.assert_array_equal(got.time, np.arange(6) / 2)


def test_the_exponent_does_not_see_scale_and_place_and_is_a_rate(henon):
    x = henon[:1500, 0]
    plain = largest_lyapunov(x, dimension=2, fit=(2, 8))
    assert largest_lyapunov(-3.7 * x + 50, dimension=2, fit=(2, 8)) == pytest.approx(plain, rel=1e-3)
    assert largest_lyapunov(x, dimension=2, fit=(2, 8), dt=0.1) == pytest.approx(10 * plain, rel=1e-9)


def test_the_window_is_the_mean_period_unless_told():
    curve = divergence_curve(np.sin(2 * np.pi * np.arange(2000) / 50.0) + 1e-9 * WAVE, dimension=2, lag=12, steps=5)
    assert curve.theiler == pytest.approx(50, abs=1)
    assert divergence_curve(WAVE, dimension=2, lag=8, steps=5, theiler=9).theiler == 9


@pytest.mark.parametrize("fit", [(3, 3), (-1, 4), (5, 2)])
def test_a_fit_that_is_no_stretch_is_refused(henon, fit):
    with pytest.raises(ArgumentError, match=f"from {fit[0]} to {fit[1]}"):
        largest_lyapunov(henon[:500, 0], dimension=2, fit=fit)


def test_a_line_is_fitted_to_both_ends_of_its_stretch():
    curve = DivergenceCurve(np.arange(5) / 2, np.array([9.0, 0.0, 1.0, 5.0, 9.0]), 0)
    assert curve.slope(1, 2) == pytest.approx(2)
    assert curve.slope(1, 3) == pytest.approx(5)


def test_a_cycle_has_no_pairs_to_follow():
    with pytest.raises(ArgumentError, match="neighbour"):
        divergence_curve(np.tile([1.0, 1.0, 1.0, 1.0, 1.0], 20), dimension=2, steps=3)


def test_neighbours_that_meet_are_said():
    x = np.concatenate([np.random.default_rng(0).normal(size=30), np.zeros(200)])
    with pytest.raises(ArgumentError, match="meet"):
        largest_lyapunov(x, dimension=1, fit=(60, 70), theiler=0)
