import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.sparse import csr_array

from tsforge.dynamics import determinism, recurrence_matrix, recurrence_rate
from tsforge.errors import ArgumentError

points = st.tuples(st.integers(6, 30), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.integers(-4, 4).map(float)),
)
CYCLE = np.tile(np.random.default_rng(3).normal(size=12), 10)


@given(points, st.integers(0, 4), st.integers(0, 5))
def test_the_matrix_is_that_of_all_pairs(x, theiler, threshold):
    step = np.arange(len(x))
    wanted = np.abs(x[:, None] - x[None]).max(axis=2) <= threshold
    wanted &= np.abs(step[:, None] - step) > theiler
    got = recurrence_matrix(x, threshold=threshold, theiler=theiler)
    np.testing.assert_array_equal(got.toarray(), wanted)
    n = len(x) - theiler
    assert recurrence_rate(got, theiler=theiler) == pytest.approx(wanted.sum() / (n * (n - 1)))


def test_a_cycle_fills_the_diagonals_of_its_period_and_no_others():
    matrix = recurrence_matrix(CYCLE, threshold=1e-9).toarray()
    full = [k for k in range(1, len(CYCLE)) if matrix.diagonal(k).all()]
    assert full == list(range(12, len(CYCLE), 12))
    assert not any(matrix.diagonal(k).any() for k in range(1, len(CYCLE)) if k % 12)


def test_a_cycle_is_determined_and_shuffled_it_is_not():
    assert determinism(recurrence_matrix(CYCLE, threshold=1e-9), min_length=8) == 1
    shuffled = np.random.default_rng(0).permutation(CYCLE)
    assert determinism(recurrence_matrix(shuffled, threshold=1e-9), min_length=8) < 0.1


def test_lorenz_is_more_determined_than_noise_at_the_same_rate(lorenz, noise):
    of_lorenz = recurrence_matrix(lorenz[::5, 0], rate=0.05)
    of_noise = recurrence_matrix(noise[:1000], rate=0.05)
    assert recurrence_rate(of_noise) == pytest.approx(recurrence_rate(of_lorenz), rel=1e-2)
    assert determinism(of_lorenz, min_length=4) > 3 * determinism(of_noise, min_length=4)


@pytest.mark.parametrize("theiler", [0, 40])
def test_the_threshold_of_a_rate_is_the_smallest_that_reaches_it(lorenz, theiler):
    x = lorenz[:600]
    i, j = np.triu_indices(len(x), theiler + 1)
    distance = np.sort(np.abs(x[i] - x[j]).max(axis=1))
    got = recurrence_matrix(x, rate=0.1, theiler=theiler)
    wanted = int(np.ceil(0.1 * len(distance)))
    assert wanted <= got.nnz // 2 <= wanted + 2


def test_determinism_counts_the_points_on_long_diagonals():
    matrix = np.zeros((6, 6), dtype=bool)
    matrix[[0, 1, 2], [1, 2, 3]] = True  # a line of three
    matrix[4, 5] = True  # alone on the same diagonal
    matrix[0, 4] = True
    sparse = csr_array(matrix | matrix.T)
    assert determinism(sparse) == pytest.approx(3 / 5)
    assert determinism(sparse, min_length=4) == 0
    assert determinism(sparse, min_length=1) == 1


def test_a_line_does_not_go_on_in_the_next_diagonal():
    matrix = np.zeros((4, 4), dtype=bool)
    matrix[[0, 1], [1, 3]] = True
    assert determinism(csr_array(matrix)) == 0
    matrix[1, 2] = True
    assert determinism(csr_array(matrix)) == pytest.approx(2 / 3)


def test_no_recurrence_is_no_determinism():
    assert determinism(recurrence_matrix(np.arange(10.0), threshold=0.5)) == 0


def test_a_rate_does_not_see_scale_and_place(lorenz):
    x = lorenz[:500, 0]
    plain, moved = recurrence_matrix(x, rate=0.05), recurrence_matrix(-4 * x, rate=0.05)
    np.testing.assert_array_equal(plain.toarray(), moved.toarray())


@pytest.mark.parametrize(
    "arguments", [{}, {"threshold": 1.0, "rate": 0.1}, {"rate": 0.0}, {"rate": 1.5}, {"threshold": -1.0}],
)
def test_one_threshold_or_one_rate_is_wanted(noise, arguments):
    with pytest.raises(ArgumentError, match="wanted"):
        recurrence_matrix(noise[:50], **arguments)
