import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial import KDTree

from tsforge.dynamics import nearest as module
from tsforge.dynamics.nearest import EUCLIDEAN, MAXIMUM, nearest
from tsforge.errors import ArgumentError

# few whole numbers: many states are equal, and many distances
points = st.tuples(st.integers(2, 40), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-2, 2).map(float)),
)


@settings(max_examples=300, deadline=None)
@given(points, st.integers(0, 6), st.sampled_from([EUCLIDEAN, MAXIMUM]))
def test_neighbours_are_those_found_by_trying_all_pairs(nearest_of_all, x, theiler, norm):
    step, distance = nearest_of_all(x, theiler, norm)
    if (step < 0).all():
        with pytest.raises(ArgumentError, match="neighbour"):
            nearest(x, theiler=theiler, norm=norm)
        return
    got_step, got_distance = nearest(x, theiler=theiler, norm=norm)
    np.testing.assert_array_equal(got_step, step)
    np.testing.assert_array_equal(got_distance, distance)


@pytest.mark.parametrize("theiler", [0, 25, 400])
def test_on_a_trajectory_too(nearest_of_all, dense_lorenz, theiler):
    x = dense_lorenz[::4][:900]
    step, distance = nearest_of_all(x, theiler)
    got_step, got_distance = nearest(x, theiler=theiler)
    np.testing.assert_array_equal(got_step, step)
    np.testing.assert_allclose(got_distance, distance, rtol=1e-12)


def test_a_search_without_a_window_finds_the_state_before_or_after(dense_lorenz):
    step = np.arange(len(dense_lorenz))
    _, found = KDTree(dense_lorenz).query(dense_lorenz, k=2)
    assert (np.abs(np.asarray(found)[:, 1] - step) <= 25).mean() > 0.5  # so the window has work to do
    assert (np.abs(nearest(dense_lorenz, theiler=25)[0] - step) > 25).all()


def test_the_answer_does_not_depend_on_how_much_is_held_at_a_time(monkeypatch):
    x = np.random.default_rng(0).poisson(2.0, size=(300, 2)).astype(float)
    whole = nearest(x, theiler=3)
    monkeypatch.setattr(module, "CELLS", 40)
    for got, wanted in zip(nearest(x, theiler=3), whole, strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_equal_states_have_no_neighbours():
    with pytest.raises(ArgumentError, match="constant"):
        nearest(np.ones((10, 2)))
