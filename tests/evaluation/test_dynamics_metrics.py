import math
from collections import Counter

import numpy as np
import pytest
from scipy.signal import periodogram
from sklearn.metrics.pairwise import rbf_kernel

from tsforge.dynamics import correlation_dimension, delay_embed, largest_lyapunov
from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics import (
    METRICS,
    attractor_kl,
    attractor_mmd,
    correlation_dimension_error,
    lyapunov_error,
    spectrum_hellinger,
)


def logistic(n: int, start: float = 0.3, r: float = 4.0) -> np.ndarray:
    x = [start]
    while len(x) < n:
        x.append(r * x[-1] * (1 - x[-1]))
    return np.array(x)


def henon(n: int, start: float = 0.1) -> np.ndarray:
    points = [(start, 0.1)]
    while len(points) < n + 100:
        x, y = points[-1]
        points.append((1 - 1.4 * x * x + y, 0.3 * x))
    return np.array(points[100:])


# --- histograms of delay vectors


def kl_by_hand(y: np.ndarray, y_hat: np.ndarray, bins: int, smoothing: float, dimension: int, lag: int) -> float:
    """Over a whole array of cells, and one for all outside."""
    u, v = (np.array([[x[t + j * lag] for j in range(dimension)] for t in range(len(x) - (dimension - 1) * lag)])
            for x in (y, y_hat))
    edges = [np.linspace(y_.min(), y_.max(), bins + 1) for y_ in u.T]
    p, q = (np.append(np.histogramdd(x, edges)[0].ravel(), len(x) - np.histogramdd(x, edges)[0].sum()) for x in (u, v))
    p, q = ((n + smoothing) / (n.sum() + smoothing * len(n)) for n in (p, q))
    return float((p * np.log(p / q)).sum())


@pytest.mark.parametrize(("bins", "smoothing", "dimension", "lag"), [(10, 1e-5, 3, 1), (4, 0.5, 2, 3), (7, 1.0, 1, 1)])
def test_the_divergence_equals_that_of_whole_histograms(bins, smoothing, dimension, lag):
    y, y_hat = logistic(300), 1.1 * logistic(300, 0.41) - 0.02  # some of it outside
    given = {"bins": bins, "smoothing": smoothing, "dimension": dimension, "lag": lag}
    assert attractor_kl(y, y_hat, **given) == pytest.approx(kl_by_hand(y, y_hat, bins, smoothing, dimension, lag))
    assert attractor_kl(y_hat, y, **given) != pytest.approx(attractor_kl(y, y_hat, **given))


@pytest.mark.parametrize("metric", [attractor_kl, attractor_mmd])
def test_another_stretch_of_one_attractor_is_near_and_another_attractor_is_far(metric):
    y, again = henon(3000), henon(3000, start=-0.2)
    assert np.abs(y - again).mean() > 0.5  # step by step they have nothing in common
    near = metric(y, again, dimension=1)
    shuffled = np.random.default_rng(0).permuted(again, axis=0)  # of the same values, each coordinate by itself
    assert metric(y, shuffled, dimension=1) > 5 * near
    assert metric(y, np.zeros_like(y), dimension=1) > 5 * near


@pytest.mark.parametrize("metric", [attractor_kl, attractor_mmd])
def test_an_attractor_has_no_units(metric):
    y, y_hat = henon(400), henon(400, start=-0.2)
    scale, shift = np.array([1e3, 1e-3]), np.array([5.0, -7.0])
    assert metric(y * scale + shift, y_hat * scale + shift) == pytest.approx(metric(y, y_hat), rel=1e-6)
    assert metric(y, y_hat * 1.3) != pytest.approx(metric(y, y_hat), rel=1e-2)


def test_time_reversal_shows_in_delay_vectors_alone():
    y = logistic(2000)
    assert attractor_mmd(y, y[::-1], dimension=1) == pytest.approx(0, abs=1e-6)
    assert attractor_mmd(y, y[::-1], dimension=2) > 3 * attractor_mmd(y, logistic(2000, 0.41), dimension=2)


def test_the_discrepancy_equals_that_of_scikit_learns_kernel():
    y, y_hat = henon(150), henon(150, start=-0.2) * 1.2
    u, v = (delay_embed((x - y.mean(axis=0)) / y.std(axis=0), 2, 3) for x in (y, y_hat))
    far = [np.linalg.norm(a - b) for i, a in enumerate(u) for b in u[:i]]
    for bandwidth in (None, 0.3):
        width = np.median(far) if bandwidth is None else bandwidth
        gamma = 1 / (2 * width**2)
        same, other = (rbf_kernel(x, gamma=gamma).mean() for x in (u, v))
        wanted = math.sqrt(same - 2 * rbf_kernel(u, v, gamma).mean() + other)
        assert attractor_mmd(y, y_hat, dimension=2, lag=3, bandwidth=bandwidth) == pytest.approx(wanted)
    assert attractor_mmd(y, y_hat + 1e3) <= math.sqrt(2)


def test_large_windows_are_compared_in_blocks(monkeypatch):
    y, y_hat = henon(150), henon(150, start=-0.2)
    whole = attractor_mmd(y, y_hat)
    monkeypatch.setattr("tsforge.evaluation.metrics.attractor.BLOCK", 1000)
    assert attractor_mmd(y, y_hat) == pytest.approx(whole)


def test_a_box_that_the_forecast_never_visits_costs_what_smoothing_says():
    y, y_hat = np.array([0.0, 1.0] * 50), np.zeros(100)
    p, q = (np.array([Counter(x)[0.0], Counter(x)[1.0], 0]) + 1.0 for x in (y, y_hat))
    wanted = (p / 103 * np.log(p / q)).sum()
    assert attractor_kl(y, y_hat, dimension=1, bins=2, smoothing=1.0) == pytest.approx(wanted)
    assert attractor_kl(y, y_hat, dimension=1, bins=2, smoothing=1e-9) > 4 * wanted


@pytest.mark.parametrize(("metric", "given", "words"), [
    (attractor_kl, {"bins": 1}, "bins=1"), (attractor_kl, {"smoothing": 0}, "smoothing=0"),
    (attractor_mmd, {"bandwidth": 0}, "bandwidth=0"), (attractor_kl, {"dimension": 9, "lag": 9}, "at least 73"),
    (spectrum_hellinger, {"smoothing": -1}, "smoothing=-1"),
    (lyapunov_error, {"dimension": 1, "fit": (0, 90)}, "at least 92"),
])
def test_arguments_that_cannot_be_are_refused(metric, given, words):
    with pytest.raises(ArgumentError, match=words):
        metric(logistic(50), logistic(50, 0.41), **given)


# --- spectra


def test_the_spectrum_distance_equals_that_of_scipys_periodograms():
    y, y_hat = henon(300), henon(300, start=-0.2)
    by_channel = []
    for a, b in zip(y.T, y_hat.T, strict=True):
        # one-sided densities double all but the last of an even length; the shares are those of the FFT itself
        p, q = (periodogram(x, detrend="constant", scaling="spectrum")[1][1:] for x in (a, b))
        p[-1], q[-1] = 2 * p[-1], 2 * q[-1]
        p, q = p / p.sum(), q / q.sum()
        by_channel.append(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2))
    assert spectrum_hellinger(y, y_hat) == pytest.approx(np.mean(by_channel))


def test_a_sine_of_another_phase_and_size_has_the_same_spectrum_and_one_of_another_frequency_none_of_it():
    t = np.arange(200)
    y = np.sin(2 * np.pi * t / 20)
    assert spectrum_hellinger(y, 3 + 5 * np.cos(2 * np.pi * t / 20)) == pytest.approx(0, abs=1e-6)
    assert spectrum_hellinger(y, np.sin(2 * np.pi * t / 10)) == pytest.approx(1)


def test_two_noises_are_as_far_apart_as_stated_and_smoothing_brings_them_together():
    rng = np.random.default_rng(0)
    y, y_hat = rng.normal(size=(2, 4000))
    assert spectrum_hellinger(y, y_hat) == pytest.approx(math.sqrt(1 - math.pi / 4), abs=0.02)
    smooth = spectrum_hellinger(y, y_hat, smoothing=20)
    assert smooth < 0.1
    assert spectrum_hellinger(y, y_hat.cumsum(), smoothing=20) > 0.5


def test_a_forecast_that_stands_still_is_farthest_and_a_truth_that_does_has_no_spectrum():
    y, still = logistic(50), np.full(50, 0.1)
    assert spectrum_hellinger(y, still) == 1
    assert math.isnan(spectrum_hellinger(still, y))
    assert math.isnan(spectrum_hellinger([1.0], [1.0]))


# --- exponents and dimensions


def test_the_lyapunov_error_is_the_difference_of_the_two_exponents():
    y, y_hat = logistic(600), logistic(600, 0.41, r=3.7)
    given = {"dimension": 1, "fit": (0, 4)}
    ours, theirs = (largest_lyapunov(x, **given) for x in (y, y_hat))
    assert lyapunov_error(y, y_hat, **given) == pytest.approx(abs(ours - theirs))
    assert lyapunov_error(y, y_hat, **given, exponent=math.log(2)) == pytest.approx(abs(math.log(2) - theirs))
    assert abs(ours - math.log(2)) < 0.1 < abs(ours - theirs)  # of r = 4 it is log 2


def test_the_dimension_error_is_the_difference_of_the_two_dimensions():
    rng = np.random.default_rng(0)
    y, y_hat = henon(800), rng.uniform(size=(800, 2))
    given = {"theiler": 2, "shares": (1e-3, 1e-1)}
    ours, theirs = (correlation_dimension(x, **given).dimension for x in (y, y_hat))
    assert correlation_dimension_error(y, y_hat, dimension=1, **given) == pytest.approx(abs(ours - theirs))
    assert correlation_dimension_error(y, henon(800, -0.2), dimension=1, **given) < 0.2 < abs(ours - theirs)
    assert correlation_dimension_error(y, np.ones((800, 2)), dimension=1, **given) == pytest.approx(ours)


def test_a_forecast_that_stands_still_has_no_exponent():
    assert math.isnan(lyapunov_error(logistic(200), np.full(200, 0.5), dimension=2, fit=(0, 3)))


@pytest.mark.parametrize("name", ["attractor_kl", "attractor_mmd", "spectrum_hellinger", "lyapunov_error",
                                  "correlation_dimension_error"])
def test_a_gap_inside_the_truth_leaves_no_value(name):
    given = {"lyapunov_error": {"dimension": 2, "fit": (0, 3)},
             "correlation_dimension_error": {"dimension": 2, "shares": (1e-3, 0.2)}}.get(name, {})
    y = logistic(160)
    assert np.isfinite(METRICS[name].function(y, logistic(160, 0.41), **given))
    y[70] = np.nan
    assert math.isnan(METRICS[name].function(y, logistic(160, 0.41), **given))
