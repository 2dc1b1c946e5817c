import numpy as np
import pytest

from tsforge.dynamics import poincare_section
from tsforge.errors import ArgumentError, ShapeError


def circle(dt: float, n: int = 400) -> np.ndarray:
    angle = 0.3 + dt * np.arange(n)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def test_a_circle_returns_after_its_period():
    got = poincare_section(circle(0.1), [0, 1], dt=0.1)
    np.testing.assert_allclose(got.times, 2 * np.pi * np.arange(1, 7) - 0.3, atol=1e-5)
    np.testing.assert_allclose(got.points, np.tile([1.0, 0.0], (6, 1)), atol=1e-5)


def test_crossings_go_up_or_down_or_both():
    up, down, both = (poincare_section(circle(0.1), [0, 1], direction=d, dt=0.1) for d in ("up", "down", "both"))
    np.testing.assert_allclose(down.times, np.pi * np.arange(1, 13, 2) - 0.3, atol=1e-5)
    np.testing.assert_allclose(np.sort([*up.times, *down.times]), both.times, atol=1e-12)
    np.testing.assert_allclose(poincare_section(circle(0.1), [0, -1], direction="down").times, up.times / 0.1)


@pytest.mark.parametrize(("interpolation", "order"), [("linear", 2), ("cubic", 4)])
def test_the_error_falls_with_the_order_of_the_polynomial(interpolation, order):
    errors = []
    for dt in (0.2, 0.1, 0.05):
        got = poincare_section(circle(dt, int(40 / dt)), [0.0, 1.0], 0.5, interpolation=interpolation, dt=dt)
        errors.append(np.abs(np.linalg.norm(got.points, axis=1) - 1).mean())
    rates = np.log2(np.divide(errors[:-1], errors[1:]))
    assert rates == pytest.approx([order, order], abs=0.6)


@pytest.mark.parametrize("place", [0, 3, 6])
def test_a_cubic_is_met_exactly_also_at_either_end(place):
    time = np.arange(8.0)
    x = np.stack([(time - place - 0.37) ** 3 + (time - place - 0.37), time**2], axis=1)
    got = poincare_section(x, [1, 0])
    np.testing.assert_allclose(got.times, [place + 0.37], atol=1e-12)
    np.testing.assert_allclose(got.points, [[0.0, (place + 0.37) ** 2]], atol=1e-9)


def test_a_state_on_the_plane_counts_once_as_above_it():
    x = np.array([-1.0, 0.0, 1.0, 0.0, -1.0, 0.0, -1.0, -1.0])
    assert list(poincare_section(x, [1], interpolation="linear").times) == pytest.approx([1, 5])
    assert list(poincare_section(x, [1], direction="down", interpolation="linear").times) == pytest.approx([3, 5])


def test_the_crossings_of_lorenz_lie_on_the_plane(lorenz):
    got = poincare_section(lorenz, [0, 0, 1], 27.0, direction="down", dt=0.02)
    assert len(got.times) > 100
    np.testing.assert_allclose(got.points[:, 2], 27, atol=1e-9)
    assert (np.diff(got.times) > 0).all()


def test_a_trajectory_beside_the_plane_has_no_crossings():
    got = poincare_section(circle(0.1), [0, 1], 2.0)
    assert got.times.shape == (0,)
    assert got.points.shape == (0, 2)


def test_a_normal_that_is_none_is_refused():
    with pytest.raises(ShapeError, match="per coordinate"):
        poincare_section(circle(0.1), [0, 1, 0])
    with pytest.raises(ArgumentError, match="zeros"):
        poincare_section(circle(0.1), [0, 0])
