import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

import tsforge
from tsforge.frame.frame import Frame
from tsforge.local.mean import Mean


def history(seed: int, steps: int, missing: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(steps, 2))
    values[rng.random(values.shape) < missing] = np.nan
    return values


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 5), st.sampled_from([0.0, 0.4, 0.95]))
def test_it_repeats_the_mean_of_what_was_observed_up_to_the_cutoff(seed, steps, h, missing):
    values = history(seed, steps, missing)
    found = Mean(h).forecast(values, np.arange(steps))
    assert found.shape == (steps, h, 2)
    for cutoff in range(steps):
        for c in range(2):
            seen = [x for x in values[: cutoff + 1, c] if not np.isnan(x)]
            assert_allclose(found[cutoff, :, c], np.mean(seen) if seen else np.nan, atol=1e-14)


@given(st.integers(0, 10**6), st.integers(2, 30))
def test_values_after_the_cutoff_change_no_bit_and_every_one_before_it_counts(seed, steps):
    values, cutoff = history(seed, steps), np.array([steps // 2])
    later = values.copy()
    later[steps // 2 + 1 :] = 1e6
    assert_array_equal(Mean(3).forecast(later, cutoff), Mean(3).forecast(values, cutoff))
    full = history(seed, steps, missing=0)
    for t in range(steps // 2 + 1):
        changed = full.copy()
        changed[t] += 10
        assert (Mean(3).forecast(changed, cutoff) != Mean(3).forecast(full, cutoff)).all()


def test_a_constant_far_from_zero_is_its_own_mean_exactly():
    values = np.full((100_000, 1), 1e9 + 0.1)
    assert_array_equal(Mean(1).forecast(values, np.array([99_999])).ravel(), [1e9 + 0.1])
    noisy = values + np.random.default_rng(0).normal(size=values.shape)
    naive_sum = np.cumsum(noisy)[-1] / len(noisy)
    exact = np.longdouble(noisy).mean()
    ours = Mean(1).forecast(noisy, np.array([99_999])).item()
    assert abs(ours - exact) < 1e-6 < abs(naive_sum - exact) * 1e3


@pytest.mark.parametrize("gap", [0, 5])
def test_after_fitting_it_forecasts_from_the_whole_past(gap):
    y = np.random.default_rng(0).normal(size=40)
    y[:gap] = np.nan
    model = tsforge.Mean(h=2).fit(Frame(pl.DataFrame({"ds": np.arange(40), "y": y}), freq="1i"))
    assert_allclose(model.predict()["Mean"].to_numpy(), np.nanmean(y))
