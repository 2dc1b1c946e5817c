import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tsforge.local.naive import Naive


def history(seed: int, steps: int, missing: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(steps, 2))
    values[rng.random(values.shape) < missing] = np.nan
    return values


@given(st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 5))
def test_it_repeats_the_last_value_observed_up_to_the_cutoff(seed, steps, h):
    values = history(seed, steps)
    found = Naive(h).forecast(values, np.arange(steps))
    assert found.shape == (steps, h, 2)
    for cutoff in range(steps):
        for c in range(2):
            seen = [x for x in values[: cutoff + 1, c] if not np.isnan(x)]
            assert_array_equal(found[cutoff, :, c], seen[-1] if seen else np.nan)


@given(st.integers(0, 10**6), st.integers(2, 30))
def test_values_after_the_cutoff_change_nothing_and_the_one_at_it_does(seed, steps):
    values, cutoff = history(seed, steps, missing=0), steps // 2
    later, at = values.copy(), values.copy()
    later[cutoff + 1 :] += 10
    at[cutoff] += 10
    expected = Naive(3).forecast(values, np.array([cutoff]))
    assert_array_equal(Naive(3).forecast(later, np.array([cutoff])), expected)
    assert (Naive(3).forecast(at, np.array([cutoff])) != expected).all()


def test_it_reads_one_step_and_leaves_its_input_alone():
    values = history(0, 20)
    before = values.copy()
    Naive(4).forecast(values, np.array([3, 19, 3]))
    assert_array_equal(values, before)
    assert Naive(4).lookback == 1
