import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsforge.dynamics import delay_embed, delay_unembed
from tsforge.errors import ArgumentError, ShapeError

sizes = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 30))


@given(sizes)
def test_each_column_is_the_series_a_lag_later(size):
    dimension, lag, rows = size
    x = np.random.default_rng(rows).normal(size=rows + (dimension - 1) * lag)
    vectors = delay_embed(x, dimension, lag)
    assert vectors.shape == (rows, dimension)
    for j in range(dimension):
        np.testing.assert_array_equal(vectors[:, j], x[j * lag : j * lag + rows])


def test_twenty_steps_at_dimension_3_and_lag_4_end_in_11_15_19():
    vectors = delay_embed(np.arange(20), 3, 4)
    assert len(vectors) == 12
    assert list(vectors[-1]) == [11, 15, 19]


def test_a_row_knows_nothing_of_what_comes_after_its_last_column():
    x = np.arange(30.0)
    changed = x.copy()
    changed[20:] = -1
    before, after = delay_embed(x, 3, 4), delay_embed(changed, 3, 4)
    np.testing.assert_array_equal(before[:12], after[:12])  # row 11 ends at step 19
    assert (before[12] != after[12]).any()


def test_the_vectors_of_one_series_are_a_view_that_cannot_be_written():
    x = np.arange(1000, dtype=np.float32)
    vectors = delay_embed(x, 10, 7)
    assert np.shares_memory(x, vectors)
    assert vectors.dtype == np.float32
    with pytest.raises(ValueError, match="read-only"):
        vectors[0, 0] = 1.0


def test_coordinates_stand_inside_delays():
    x = np.random.default_rng(0).normal(size=(40, 2))
    vectors = delay_embed(x, 3, 5)
    for c in range(2):
        np.testing.assert_array_equal(vectors[:, c::2], delay_embed(x[:, c], 3, 5))


@given(sizes.filter(lambda size: size[2] >= size[1]))
def test_unembedding_is_the_inverse(size):
    dimension, lag, rows = size
    x = np.random.default_rng(rows).normal(size=rows + (dimension - 1) * lag)
    np.testing.assert_allclose(delay_unembed(delay_embed(x, dimension, lag), lag), x, rtol=1e-14)


def test_vectors_that_disagree_give_the_nearest_series_in_least_squares():
    vectors = np.random.default_rng(0).normal(size=(6, 3))
    cells = delay_embed(np.arange(10), 3, 2).astype(int)  # which step each cell speaks of
    design = np.eye(10)[cells.ravel()]
    wanted = np.linalg.lstsq(design, vectors.ravel(), rcond=None)[0]
    np.testing.assert_allclose(delay_unembed(vectors, 2), wanted, atol=1e-12)


def test_vectors_that_leave_steps_untold_are_refused():
    with pytest.raises(ArgumentError, match="2 delay vectors of lag 3"):
        delay_unembed(np.zeros((2, 2)), 3)


@pytest.mark.parametrize(("dimension", "lag", "told"), [(0, 1, "dimension=0"), (2, 0, "lag=0"), (4, 4, "at least 13")])
def test_a_dimension_or_lag_that_cannot_be_is_refused(dimension, lag, told):
    with pytest.raises(ArgumentError, match=told):
        delay_embed(np.arange(12.0), dimension, lag)


def test_three_axes_are_refused():
    with pytest.raises(ShapeError, match="wanted"):
        delay_embed(np.zeros((4, 4, 4)), 2, 1)
