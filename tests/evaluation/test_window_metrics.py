import math
from functools import cache

import numpy as np
import pytest

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.metrics import (
    METRICS,
    WindowMetric,
    directional_accuracy,
    dtw,
    smape,
    valid_prediction_time,
)

ARGUMENTS = {
    "valid_prediction_time": {"sd": 1.0}, "lyapunov_error": {"dimension": 2, "fit": (0, 3)},
    "correlation_dimension_error": {"dimension": 2, "shares": (1e-3, 0.2)}, "attractor_kl": {"dimension": 2},
}
WINDOW = [name for name, row in METRICS.items() if isinstance(row, WindowMetric) and row.needs == "window"]
every_metric = pytest.mark.parametrize("name", WINDOW)


def score(name: str, y: np.ndarray, y_hat: np.ndarray) -> float:
    return METRICS[name].function(y, y_hat, **ARGUMENTS.get(name, {}))


def chaos(n: int = 160, start: float = 0.3) -> np.ndarray:
    """Of the logistic map."""
    x = [start]
    while len(x) < n:
        x.append(3.99 * x[-1] * (1 - x[-1]))
    return np.array(x)


def walks(h: int, channels: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(h, channels)).cumsum(axis=0), rng.normal(size=(h, channels)).cumsum(axis=0)


# --- what all of them promise


@every_metric
def test_truth_as_its_own_forecast_is_best(name):
    y = chaos()
    best = {"directional_accuracy": 1, "valid_prediction_time": len(y)}.get(name, 0)
    assert score(name, y, y) == pytest.approx(best, abs=1e-7)
    # the control: half a window of another trajectory is worse
    other = np.concatenate([y[:40], chaos(start=0.7777)[:120] ** 2])
    sign = -1 if METRICS[name].direction == "max" else 1
    assert sign * score(name, y, other) > sign * score(name, y, y) + 1e-6


@every_metric
def test_one_channel_is_the_same_with_and_without_its_axis(name):
    y, y_hat = chaos(), chaos(start=0.41)
    assert score(name, y[:, None], y_hat[:, None]) == pytest.approx(score(name, y, y_hat))


@every_metric
def test_steps_without_truth_after_the_last_one_change_nothing(name):
    y, y_hat = chaos(), chaos(start=0.41)
    longer = np.concatenate([y, [np.nan] * 5]), np.concatenate([y_hat, [9.0] * 5])
    assert score(name, *longer) == pytest.approx(score(name, y, y_hat))
    if name != "valid_prediction_time":  # the control; this one has ended before
        assert score(name, np.nan_to_num(longer[0], nan=1.0), longer[1]) != pytest.approx(score(name, y, y_hat))


@every_metric
def test_without_any_truth_the_value_is_nan(name):
    assert math.isnan(score(name, np.full(160, np.nan), chaos()))


@every_metric
def test_a_forecast_that_is_missing_from_the_start_makes_the_value_nan(name):
    y_hat = chaos()
    y_hat[:3] = np.nan
    assert math.isnan(score(name, chaos(), y_hat))


@every_metric
def test_a_forecast_that_leaves_for_infinity_does_not_look_good(name):
    y, y_hat = chaos(), chaos()
    y_hat[80:] = np.inf
    value = score(name, y, y_hat)
    assert {"dtw": value == math.inf, "valid_prediction_time": value == 80}.get(name, math.isnan(value))


@every_metric
def test_shapes_that_differ_are_refused(name):
    with pytest.raises(ShapeError, match="differ"):
        score(name, chaos(40), chaos(41))
    with pytest.raises(ShapeError, match=r"wanted one window, \[h\] or \[h, channel\]"):
        score(name, np.zeros((2, 40, 1)), np.zeros((2, 40, 1)))


@every_metric
def test_the_values_of_many_windows_are_those_of_each(name):
    rng = np.random.default_rng(1)
    y = np.stack([chaos(80, start)[:, None] for start in rng.uniform(0.2, 0.4, 6)])
    y_hat = np.stack([chaos(80, start)[:, None] for start in rng.uniform(0.2, 0.4, 6)])
    y[1, 70:] = np.nan
    y[2, 10:13] = np.nan
    y_hat[3, :4] = np.nan
    y[4] = np.nan
    given = ARGUMENTS.get(name, {}) | ({"sd": np.ones((6, 1))} if name == "valid_prediction_time" else {})
    together = METRICS[name].values(y, y_hat, **given)
    assert together == pytest.approx([score(name, *pair) for pair in zip(y, y_hat, strict=True)], nan_ok=True)
    assert np.isfinite(together[[0, 1, 5]]).all()


# --- dynamic time warping


def warped(y: np.ndarray, y_hat: np.ndarray, band: int | None = None) -> float:
    """The recursion of the definition."""

    @cache
    def best(i: int, j: int) -> float:
        if i < 0 or j < 0 or (band is not None and abs(i - j) > band):
            return math.inf
        cost = float(((y[i] - y_hat[j]) ** 2).sum())
        return cost if i == j == 0 else cost + min(best(i - 1, j), best(i, j - 1), best(i - 1, j - 1))

    return math.sqrt(best(len(y) - 1, len(y_hat) - 1))


@pytest.mark.parametrize("band", [None, 0, 1, 4, 50])
@pytest.mark.parametrize("h", [1, 2, 7, 24])
def test_dtw_equals_the_recursion(h, band):
    y, y_hat = walks(h)
    assert dtw(y, y_hat, band=band) == pytest.approx(warped(y, y_hat, band))


def test_dtw_forgives_a_shift_and_its_band_bounds_how_far():
    y = np.sin(np.arange(60) / 4)
    late = np.sin((np.arange(60) - 3) / 4)
    euclid = math.sqrt(((y - late) ** 2).sum())
    assert dtw(y, late, band=0) == pytest.approx(euclid)
    assert dtw(y, late) < dtw(y, late, band=1) < euclid
    assert dtw(y, late, band=3) < 0.5 * euclid
    with pytest.raises(ArgumentError, match="band=-1"):
        dtw(y, late, band=-1)


def test_dtw_leaves_a_step_without_truth_out_of_both():
    y, y_hat = walks(20)
    holed = y.copy()
    holed[[4, 11], [0, 1]] = np.nan
    kept = np.delete(np.arange(20), [4, 11])
    assert dtw(holed, y_hat) == pytest.approx(dtw(y[kept], y_hat[kept]))
    assert dtw(holed, y_hat) != pytest.approx(dtw(y, y_hat))


# --- directions


def test_directional_accuracy_equals_a_loop_over_the_moves():
    y, y_hat = walks(30)
    y[5:8], y_hat[12] = np.nan, y_hat[11]

    def sign(x: float) -> int:
        return int(x > 0) - int(x < 0)

    for reference, before in (("forecast", y_hat), ("truth", y)):
        right = [sign(y[t, c] - y[t - 1, c]) == sign(y_hat[t, c] - before[t - 1, c])
                 for t in range(1, 30) for c in range(2) if not math.isnan(y[t, c] - y[t - 1, c])]
        assert len(right) == 50
        assert directional_accuracy(y, y_hat, reference=reference) == pytest.approx(np.mean(right))


def test_a_flat_forecast_has_the_direction_of_a_flat_truth_alone():
    assert directional_accuracy([1.0, 2.0, 2.0, 1.0], [5.0] * 4) == pytest.approx(1 / 3)
    assert math.isnan(directional_accuracy([1.0], [1.0]))
    with pytest.raises(ArgumentError, match="reference='last'"):
        METRICS["directional_accuracy"].values(np.zeros((1, 2, 1)), np.zeros((1, 2, 1)), reference="last")


# --- valid prediction time


def first_crossing(y: np.ndarray, y_hat: np.ndarray, sd: np.ndarray, threshold: float) -> int:
    for k in range(len(y)):
        if math.sqrt(sum((a - b) ** 2 for a, b in zip(y[k], y_hat[k], strict=True)) / sum(sd**2)) > threshold:
            return k
    return len(y)


@pytest.mark.parametrize("threshold", [0.1, 0.4, 3.0, 50.0])
def test_it_is_the_first_crossing_of_the_joint_normalised_error(threshold):
    y, y_hat = walks(60, channels=3)
    y_hat = y + 0.05 * y_hat
    sd = np.array([1.0, 0.2, 2.0])
    steps = first_crossing(y, y_hat, sd, threshold)
    assert valid_prediction_time(y, y_hat, sd=sd, threshold=threshold) == steps
    assert valid_prediction_time(y, y_hat, sd=sd, threshold=threshold, exponent=0.02) == pytest.approx(0.02 * steps)
    assert {0.1: steps < 60, 50.0: steps == 60}.get(threshold, True)
    if 0 < steps < 60:  # joint: the channels by themselves cross at other steps
        alone = {valid_prediction_time(y[:, c], y_hat[:, c], sd=sd[c], threshold=threshold) for c in range(3)}
        assert alone != {float(steps)}


@pytest.mark.parametrize("threshold", [None, 10, 60])
def test_by_the_smape_rule_it_is_the_first_step_at_which_the_smape_so_far_is_above(threshold):
    y, y_hat = chaos(60), chaos(60)
    y_hat = y * (1 + np.linspace(0, 3, 60))
    far = [smape(y[:k], y_hat[:k]) for k in range(1, 61)]
    steps = next(k for k, value in enumerate(far) if value > (threshold or 30))
    assert valid_prediction_time(y, y_hat, threshold=threshold, rule="smape") == steps
    assert 0 < steps < 59


def test_an_error_that_comes_back_counts_from_its_first_crossing():
    y, y_hat = np.zeros(10), np.zeros(10)
    y_hat[4] = 1
    assert valid_prediction_time(y, y_hat, sd=1) == 4
    assert valid_prediction_time(y, np.full(10, 0.4), sd=1) == 10  # at the threshold is not above it


def test_steps_without_truth_pass_time_and_cannot_be_the_first():
    y, y_hat = np.zeros((10, 2)), np.zeros((10, 2))
    y_hat[3:, 0] = 9.0
    y[3:5] = np.nan
    assert valid_prediction_time(y, y_hat, sd=1) == 5
    y[:, 0] = np.nan  # of the other channel alone, by its own sd
    y_hat[6:, 1] = 0.5
    assert valid_prediction_time(y, y_hat, sd=[1.0, 1.0]) == 6
    assert valid_prediction_time(y, y_hat, sd=[1.0, 2.0]) == 10


def test_a_forecast_missing_before_the_crossing_is_nan_and_after_it_does_not_matter():
    y, y_hat = np.ones(10), np.where(np.arange(10) >= 5, 99.0, 1.0)
    for given in ({"sd": 1.0}, {"rule": "smape"}):
        for hole, wanted in ((7, 5.0), (2, math.nan), (None, 5.0)):
            holed = y_hat.copy()
            holed[[] if hole is None else hole] = np.nan
            assert valid_prediction_time(y, holed, **given) == pytest.approx(wanted, nan_ok=True)


@pytest.mark.parametrize(("given", "words"), [
    ({}, "needs sd="), ({"sd": 1.0, "threshold": 0}, "threshold=0"), ({"sd": 1.0, "exponent": -0.1}, "not chaotic"),
])
def test_what_has_no_valid_time_is_refused(given, words):
    with pytest.raises(ArgumentError, match=words):
        valid_prediction_time([1.0, 2.0], [1.0, 2.0], **given)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ArgumentError, match="rule='mse': wanted 'error' or 'smape'"):
        METRICS["valid_prediction_time"].values(np.zeros((1, 2, 1)), np.zeros((1, 2, 1)), rule="mse")


def test_the_doubling_of_an_error_reaches_the_threshold_when_the_exponent_says():
    # An error that grows as exp(lambda k) from 1e-6 crosses 0.4 after log(0.4 / 1e-6) Lyapunov times.
    rate, k = 0.03, np.arange(2000)
    y_hat = 1e-6 * np.exp(rate * np.minimum(k, 1000))
    time = valid_prediction_time(np.zeros(2000), y_hat, sd=1, exponent=rate)
    assert time == pytest.approx(math.log(0.4 / 1e-6), abs=rate)
    assert valid_prediction_time(np.zeros(2000), y_hat, sd=1, exponent=2 * rate) == pytest.approx(2 * time)
