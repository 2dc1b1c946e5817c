import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tsforge
from tsforge.frame.frame import Frame
from tsforge.local.drift import Drift
from tsforge.local.naive import Naive


def history(seed: int, steps: int, missing: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(steps, 2))
    values[rng.random(values.shape) < missing] = np.nan
    return values


def by_hand(values: np.ndarray, cutoff: int, h: int) -> np.ndarray:
    """The line through the first and the last observed point of one channel, at the steps after the cutoff."""
    seen = [t for t in range(cutoff + 1) if not np.isnan(values[t])]
    if not seen:
        return np.full(h, np.nan)
    a, b = seen[0], seen[-1]
    slope = 0.0 if a == b else (values[b] - values[a]) / (b - a)
    return np.array([values[b] + (cutoff + k - b) * slope for k in range(1, h + 1)])


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 5), st.sampled_from([0.0, 0.4, 0.95]))
def test_it_continues_the_line_through_the_first_and_last_observed_point(seed, steps, h, missing):
    values = history(seed, steps, missing)
    found = Drift(h).forecast(values, np.arange(steps))
    assert found.shape == (steps, h, 2)
    for cutoff in range(steps):
        for c in range(2):
            assert_allclose(found[cutoff, :, c], by_hand(values[:, c], cutoff, h), atol=1e-13)


def test_a_line_with_gaps_is_continued_without_error_and_naive_is_not():
    line = (3 - 0.5 * np.arange(40.0))[:, None]
    seen = line.copy()
    seen[[0, 1, 7, 18, 19]] = np.nan  # at both ends
    truth = line[20:25][None]
    assert_allclose(Drift(5).forecast(seen[:20], np.array([19])), truth)
    assert np.abs(Naive(5).forecast(seen[:20], np.array([19])) - truth).min() > 1


@given(st.integers(0, 10**6), st.integers(2, 30))
def test_values_after_the_cutoff_change_no_bit_and_only_the_ends_before_it_count(seed, steps):
    values, at = history(seed, steps, missing=0), steps // 2
    cutoff = np.array([at])
    expected = Drift(3).forecast(values, cutoff)
    for t in range(steps):
        changed = values.copy()
        changed[t] += 10
        assert (Drift(3).forecast(changed, cutoff) != expected).all() == (t in (0, at))
        assert np.array_equal(Drift(3).forecast(changed, cutoff), expected) == (t not in (0, at))


def test_with_one_observation_it_is_naive():
    values = np.full((6, 1), np.nan)
    values[2] = 4.0
    cutoffs = np.arange(6)
    assert_array_equal(Drift(3).forecast(values, cutoffs), Naive(3).forecast(values, cutoffs))


@pytest.mark.parametrize("gap", [0, 5])
def test_after_fitting_it_forecasts_from_the_whole_past(gap):
    y = np.random.default_rng(0).normal(size=40)
    y[:gap] = np.nan
    model = tsforge.Drift(h=2).fit(Frame(pl.DataFrame({"ds": np.arange(40), "y": y}), freq="1i"))
    slope = (y[-1] - y[gap]) / (39 - gap)
    assert_allclose(model.predict()["Drift"].to_numpy(), y[-1] + slope * np.array([1, 2]))
