import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from statsmodels.nonparametric.kernel_regression import KernelReg

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local import grnn
from tsforge.local.grnn import GRNN, bandwidths, leave_one_out


def rows(count: int = 60, features: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, features))
    return x, np.sin(x[:, 0]) + 0.1 * rng.normal(size=count)


def nadaraya_watson(q: np.ndarray, x: np.ndarray, y: np.ndarray, s: float) -> float:
    weights = [np.exp(-((q - row) ** 2).sum() / (2 * s**2)) for row in x]
    return float(sum(w * v for w, v in zip(weights, y, strict=True)) / sum(weights))


@pytest.mark.filterwarnings("ignore:After 0.17:FutureWarning")  # statsmodels' own, about draws it makes none of here
@pytest.mark.parametrize("at_once", [100, 1 << 20])
def test_it_is_nadaraya_watson_with_the_same_bandwidth(at_once, monkeypatch):
    monkeypatch.setattr(grnn, "AT_ONCE", at_once)
    x, y = rows()
    other = np.random.default_rng(1).normal(size=(20, 3))
    model = GRNN(1, bandwidth=0.6)
    found = model.answer(other, model.learn(x, y))
    assert_allclose(found, [nadaraya_watson(q, x, y, 0.6) for q in other], rtol=1e-10)
    peer = KernelReg(y, x, "ccc", reg_type="lc", bw=[0.6] * 3)
    assert_allclose(found, peer.fit(other)[0], rtol=1e-10)
    assert not np.allclose(found, KernelReg(y, x, "ccc", reg_type="lc", bw=[0.7] * 3).fit(other)[0], rtol=1e-4)


@pytest.mark.parametrize("at_once", [100, 1 << 20])
def test_leave_one_out_in_closed_form_is_that_of_fits_without_each_row(at_once, monkeypatch):
    monkeypatch.setattr(grnn, "AT_ONCE", at_once)
    x, y = rows()
    choices = np.array([0.3, 0.8, 5.0])
    brute = [np.mean([(y[i] - nadaraya_watson(x[i], np.delete(x, i, 0), np.delete(y, i), s)) ** 2 for i in range(60)])
             for s in choices]
    assert_allclose(leave_one_out(x, y, choices), brute, rtol=1e-10)
    with_itself = [np.mean([(y[i] - nadaraya_watson(x[i], x, y, s)) ** 2 for i in range(60)]) for s in choices]
    assert not np.allclose(with_itself, brute, rtol=0.01)  # the control


def test_the_error_without_a_row_is_the_error_with_it_over_one_minus_its_share():
    x, y = rows()
    weights = np.exp(-((x[:, None] - x) ** 2).sum(-1) / (2 * 0.8**2))
    share = 1 / weights.sum(1)
    errors = (y - weights @ y * share) / (1 - share)
    assert_allclose(leave_one_out(x, y, np.array([0.8])), [(errors**2).mean()], rtol=1e-10)


@pytest.mark.parametrize("tiny", [1e-6, 1e-200])
def test_a_tiny_bandwidth_gives_the_nearest_row_and_a_huge_one_the_mean(tiny):
    x, y = rows()
    other = np.random.default_rng(1).normal(size=(20, 3))
    nearest = y[((other[:, None] - x) ** 2).sum(-1).argmin(1)]
    small, large = GRNN(1, bandwidth=tiny), GRNN(1, bandwidth=1e6)
    assert_array_equal(small.answer(other, small.learn(x, y)), nearest)
    assert_allclose(large.answer(other, large.learn(x, y)), y.mean(), rtol=1e-9)


def test_answers_stay_within_the_training_targets():
    x, y = rows()
    model = GRNN(1)
    found = model.answer(1e3 * np.random.default_rng(1).normal(size=(200, 3)), model.learn(x, y))
    assert y.min() <= found.min()
    assert found.max() <= y.max()


def test_the_chosen_bandwidth_is_small_for_a_smooth_function_and_large_for_noise():
    x, _ = rows(200, 1)
    smooth, noise = GRNN(1).learn(x, np.sin(3 * x[:, 0])), GRNN(1).learn(x, np.random.default_rng(5).normal(size=200))
    assert smooth["bandwidth"] < 0.1
    assert noise["bandwidth"] > 0.5
    choices = bandwidths(x)
    errors = leave_one_out(x, np.sin(3 * x[:, 0]), choices)
    assert smooth["bandwidth"] == choices[errors.argmin()]
    assert errors.argmin() not in (0, len(choices) - 1)


def test_of_many_rows_some_are_left_out_evenly(monkeypatch):
    x, y = rows()
    monkeypatch.setattr(grnn, "LEFT_OUT", 3)
    errors = [(y[i] - nadaraya_watson(x[i], np.delete(x, i, 0), np.delete(y, i), 0.8)) ** 2 for i in (0, 29, 59)]
    assert_allclose(leave_one_out(x, y, np.array([0.8])), [np.mean(errors)], rtol=1e-10)


def test_equal_rows_give_their_mean():
    model, y = GRNN(1), np.arange(6.0)
    learned = model.learn(np.ones((6, 2)), y)
    model.check_learned(learned, 2)
    assert_allclose(model.answer(np.zeros((2, 2)), learned), y.mean())


@pytest.mark.parametrize("wrong", [0, -1.0, np.inf])
def test_a_bandwidth_that_cannot_work_is_refused(wrong):
    with pytest.raises(ArgumentError, match="bandwidth"):
        GRNN(1, bandwidth=wrong)


@pytest.mark.parametrize("change", [
    {"rows": np.zeros((4, 3))}, {"rows": np.full((4, 2), np.inf)}, {"targets": np.zeros(5)},
    {"bandwidth": np.array(0.0)}, {"bandwidth": np.ones(1)}, {"rows": np.zeros((0, 2)), "targets": np.zeros(0)},
])
def test_a_state_that_fit_cannot_have_made_is_refused(change):
    model = GRNN(1, lags=2)
    whole = {"rows": np.zeros((4, 2)), "targets": np.zeros(4), "bandwidth": np.array(1.0)}
    model.check_learned(whole, 2)
    with pytest.raises(ArtifactError):
        model.check_learned(whole | change, 2)
    with pytest.raises(ArtifactError):
        model.check_learned({name: array for name, array in whole.items() if name not in change}, 2)
