import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import lfilter
from scipy.stats import rankdata
from sklearn.metrics import mutual_info_score
from statsmodels.tsa.stattools import acf

from tsforge.dynamics import autocorrelation, lag_by_acf, lag_by_mutual_information, mutual_information
from tsforge.errors import ArgumentError

varied = st.lists(st.integers(-5, 5), min_size=2, max_size=60).filter(lambda values: len(set(values)) > 1)


def autoregression(phi: float) -> np.ndarray:
    return np.asarray(lfilter([1.0], [1.0, -phi], np.random.default_rng(0).normal(size=200_000)))


@given(varied)
def test_the_autocorrelation_is_that_of_statsmodels(values):
    x = np.array(values, dtype=float)
    np.testing.assert_allclose(autocorrelation(x), np.asarray(acf(x, nlags=len(x) - 1, fft=False)), atol=1e-12)


@given(varied, st.sampled_from([-3.0, 1e-9, 2e5]), st.sampled_from([0.0, -7.0]))
def test_the_autocorrelation_does_not_see_scale_and_place(values, a, b):
    x = np.array(values, dtype=float)
    np.testing.assert_allclose(autocorrelation(a * x + a * b), autocorrelation(x), atol=1e-10)


@given(varied)
def test_there_is_always_a_lag_without_correlation_and_it_is_the_first(values):
    x = np.array(values, dtype=float)
    lag, rho = lag_by_acf(x), autocorrelation(x)
    assert rho[lag] <= 0
    assert (rho[1:lag] > 0).all()
    assert lag_by_acf(x, "1/e") <= lag


def test_a_wave_has_no_correlation_a_quarter_of_its_period_on():
    x = np.cos(2 * np.pi * np.arange(4000) / 40)
    assert lag_by_acf(x) == pytest.approx(10, abs=1)


def test_an_autoregression_forgets_as_its_coefficient_says():
    assert lag_by_acf(autoregression(0.95), "1/e") == pytest.approx(-1 / np.log(0.95), abs=1)


def test_a_correlation_that_stays_is_an_error_that_says_where_it_ends():
    with pytest.raises(ArgumentError, match="max_lag=5"):
        lag_by_acf(np.arange(100.0), max_lag=5)
    assert lag_by_acf(np.arange(100.0)) > 5


def test_mutual_information_is_that_of_scikit_learn_on_the_same_cells(noise):
    x = np.repeat(noise[:500], 2) + 0.1 * noise[:1000]
    cells = (5 * (rankdata(x) - 0.5) / len(x)).astype(int)
    got = mutual_information(x, 10, bins=5)
    for k in range(11):
        assert got[k] == pytest.approx(mutual_info_score(cells[: 1000 - k], cells[k:]), abs=1e-12)


def test_mutual_information_does_not_see_a_rising_function(lorenz):
    x = lorenz[:, 0]
    np.testing.assert_array_equal(mutual_information(x, 20), mutual_information(np.exp(x / 4) - 3, 20))
    assert np.abs(mutual_information(x, 20) - mutual_information(np.abs(x), 20)).max() > 0.1  # not a rising function


@pytest.mark.parametrize("sign", [1, -1])
def test_a_rare_value_has_a_cell_of_its_own(sign):
    x = sign * np.tile([0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 50)
    information = mutual_information(x, 10, bins=4)
    assert information[0] == pytest.approx(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)))
    assert information[10] == pytest.approx(information[0], rel=0.01)
    assert (information[1:10] < 0.1 * information[0]).all()


def test_noise_tells_nothing_of_its_next_value_but_the_bias(noise):
    got = mutual_information(noise, 5, bins=10)
    assert got[0] == pytest.approx(np.log(10), abs=1e-3)  # ten equal cells
    assert (got[1:] < 2 * 81 / (2 * len(noise))).all()


def test_what_the_autocorrelation_does_not_see_the_information_does(logistic):
    x = logistic(4.0)
    assert abs(autocorrelation(x, 1)[1]) < 0.05
    assert mutual_information(x, 1)[1] > 1


def test_the_lag_of_lorenz_is_near_a_sixth_of_a_time_unit(lorenz):
    lag = lag_by_mutual_information(lorenz[:, 0])
    assert lag * 0.02 == pytest.approx(0.17, abs=0.03)
    information = mutual_information(lorenz[:, 0], lag + 1)
    assert (np.diff(information)[:-1] < 0).all()  # it falls up to the lag
    assert information[lag + 1] >= information[lag]


def test_a_lag_is_never_zero():
    x = np.arange(9) % 2  # fewer pairs make the information of lag 1 larger than the entropy of all nine
    assert np.argmin(mutual_information(x, 1)) == 0
    assert lag_by_mutual_information(x) == 2


def test_information_without_a_minimum_is_an_error_that_says_what_to_do(lorenz):
    with pytest.raises(ArgumentError, match=r"max_lag=5.*lag_by_acf"):
        lag_by_mutual_information(lorenz[:, 0], max_lag=5)


@pytest.mark.parametrize("max_lag", [-1, 20])
def test_a_longest_lag_outside_the_series_is_refused(max_lag):
    with pytest.raises(ArgumentError, match="max_lag"):
        autocorrelation(np.arange(20.0), max_lag)


def test_one_cell_is_refused(noise):
    with pytest.raises(ArgumentError, match="bins=1"):
        mutual_information(noise, 3, bins=1)
