import numpy as np
import pytest

from tsforge.dynamics import flow_spectrum, kaplan_yorke_dimension, map_spectrum
from tsforge.errors import ArgumentError, ShapeError

TRACE = -(10 + 1 + 8 / 3)


def lorenz_field(u: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(u, -1, 0)
    return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=-1)


def lorenz_jacobian(u: np.ndarray) -> np.ndarray:
    x, y, z = np.moveaxis(u, -1, 0)
    one, none = np.ones_like(x), np.zeros_like(x)
    rows = [[-10 * one, 10 * one, none], [28 - z, -one, -x], [y, x, -8 / 3 * one]]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def henon_step(u: np.ndarray) -> np.ndarray:
    x, y = np.moveaxis(u, -1, 0)
    return np.stack([1 - 1.4 * x * x + y, 0.3 * x], axis=-1)


def henon_jacobian(u: np.ndarray) -> np.ndarray:
    x = u[..., 0]
    one = np.ones_like(x)
    return np.stack([np.stack([-2.8 * x, one], axis=-1), np.stack([0.3 * one, 0 * one], axis=-1)], axis=-2)


def logistic_step(u: np.ndarray) -> np.ndarray:
    return 4 * u * (1 - u)


def logistic_jacobian(u: np.ndarray) -> np.ndarray:
    return (4 - 8 * u)[..., None]


@pytest.fixture(scope="module")
def of_lorenz(lorenz) -> np.ndarray:
    """Over 1200 units of time: 40 orbits of 30."""
    return flow_spectrum(lorenz_field, lorenz_jacobian, lorenz[::125], dt=0.01, n_steps=3000, transient=500)


def test_the_spectrum_of_lorenz_is_the_known_one(of_lorenz):
    assert of_lorenz == pytest.approx([0.906, 0.0, -14.57], abs=0.03)


def test_its_sum_is_the_divergence_of_the_field(of_lorenz):
    assert of_lorenz.sum() == pytest.approx(TRACE, abs=1e-3)


def test_a_wrong_jacobian_would_show_in_the_sum(lorenz):
    got = flow_spectrum(
        lorenz_field, lambda u: lorenz_jacobian(u) + np.diag([0.0, 0.1, 0.0]), lorenz[::500], dt=0.01, n_steps=200,
    )
    assert abs(got.sum() - TRACE) > 0.05


def test_the_kaplan_yorke_dimension_of_lorenz_is_the_known_one(of_lorenz):
    assert kaplan_yorke_dimension(of_lorenz) == pytest.approx(2.06, abs=0.03)


def test_the_spectrum_of_henon_is_the_known_one_and_sums_to_its_determinant(henon):
    got = map_spectrum(henon_step, henon_jacobian, henon[::300], n_steps=1000, transient=50)
    assert got == pytest.approx([0.419, -1.623], abs=0.01)
    assert got.sum() == pytest.approx(np.log(0.3), abs=1e-9)


def test_the_exponent_of_the_logistic_map_is_log_two():
    got = map_spectrum(logistic_step, logistic_jacobian, np.array([[0.3], [0.37], [0.61]]), n_steps=5000)
    assert got == pytest.approx([np.log(2)], abs=0.01)


def test_a_linear_flow_has_the_real_parts_of_its_eigenvalues():
    a = np.array([[-0.1, 1.0, 0.3], [-1.0, -0.1, 0.0], [0.0, 0.0, -0.8]])  # a turn that shrinks, and a decay
    got = flow_spectrum(
        lambda u: u @ a.T, lambda u: np.broadcast_to(a, (*u.shape, 3)), [1.0, 0.0, 0.0], dt=0.01, n_steps=5000,
    )
    assert got == pytest.approx([-0.1, -0.1, -0.8], abs=5e-3)


def test_several_orbits_give_the_mean_of_each():
    starts = np.array([[0.1, 0.1], [0.3, 0.2]])
    alone = [map_spectrum(henon_step, henon_jacobian, start, n_steps=20, transient=5) for start in starts]
    together = map_spectrum(henon_step, henon_jacobian, starts, n_steps=20, transient=5)
    np.testing.assert_allclose(together, np.mean(alone, axis=0), rtol=1e-9)


def test_a_direction_that_collapses_has_minus_infinity():
    half = map_spectrum(lambda u: 0 * u + 0.5, lambda u: (2 - 4 * u)[..., None], [0.5], n_steps=3, transient=0)
    assert half == -np.inf


def test_the_kaplan_yorke_dimension_of_henon_and_of_the_bounds():
    assert kaplan_yorke_dimension([0.419, -1.623]) == pytest.approx(1 + 0.419 / 1.623)
    assert kaplan_yorke_dimension([-0.1, -0.5]) == 0
    assert kaplan_yorke_dimension([0.2, 0.1]) == 2
    assert kaplan_yorke_dimension([-1.0, 0.5, 0.5]) == 3  # the sum of all is 0: in whatever order they come


def test_a_jacobian_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"\(2, 2\)"):
        map_spectrum(henon_step, lambda u: np.eye(3), [0.1, 0.1], n_steps=5)


def test_an_orbit_that_leaves_is_said():
    with pytest.raises(ArgumentError, match="basin"), np.errstate(all="ignore"):
        map_spectrum(henon_step, henon_jacobian, [10.0, 10.0], n_steps=50)
