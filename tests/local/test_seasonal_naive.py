import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from tsforge.data.store import build_store
from tsforge.errors import ArgumentError
from tsforge.frame.frame import Frame
from tsforge.local.naive import Naive
from tsforge.local.seasonal_naive import SeasonalNaive

SEEDS, STEPS, SEASONS = st.integers(0, 10**6), st.integers(1, 30), st.integers(1, 9)


def history(seed: int, steps: int, missing: float = 0.4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(steps, 2))
    values[rng.random(values.shape) < missing] = np.nan
    return values


def by_hand(values: np.ndarray, cutoff: int, h: int, season: int) -> np.ndarray:
    """One step of one channel at a time: the same phase one season back, or two, ...; else the last observed."""
    out = np.full((h, values.shape[1]), np.nan)
    for c in range(values.shape[1]):
        for k in range(1, h + 1):
            back = [t for t in range(cutoff + k - season, -1, -season) if t <= cutoff and not np.isnan(values[t, c])]
            plain = [t for t in range(cutoff, -1, -1) if not np.isnan(values[t, c])]
            chosen = next(iter(back or plain), None)
            out[k - 1, c] = np.nan if chosen is None else values[chosen, c]
    return out


@given(SEEDS, STEPS, SEASONS, st.integers(1, 20), st.sampled_from([0.0, 0.4, 0.9]))
def test_it_repeats_the_last_season_that_has_each_phase_also_for_many_cutoffs_at_once(seed, steps, season, h, missing):
    values, model = history(seed, steps, missing), SeasonalNaive(h, season=season)
    cutoffs = np.random.default_rng(seed).integers(0, steps, 5)
    together = model.forecast(values, cutoffs)
    for w, cutoff in enumerate(cutoffs):
        assert_array_equal(together[w], by_hand(values, cutoff, h, season))
        assert_array_equal(together[w], model.forecast(values[: cutoff + 1], np.array([cutoff]))[0])


@given(SEEDS, st.integers(2, 30), SEASONS)
def test_values_after_the_cutoff_change_nothing_and_values_before_it_do(seed, steps, season):
    values, cutoff = history(seed, steps), steps // 2
    later, before = values.copy(), values.copy()
    later[cutoff + 1 :] = 1e6
    before[: cutoff + 1] = 1e6
    model = SeasonalNaive(2 * season, season=season)
    assert_array_equal(model.forecast(later, np.array([cutoff])), model.forecast(values, np.array([cutoff])))
    assert (model.forecast(before, np.array([cutoff])) == 1e6).all()


@given(SEEDS, STEPS)
def test_with_a_season_of_one_step_it_is_naive(seed, steps):
    values, cutoffs = history(seed, steps), np.arange(steps)
    assert_array_equal(SeasonalNaive(4, season=1).forecast(values, cutoffs), Naive(4).forecast(values, cutoffs))


@pytest.mark.parametrize("season", [3, 4, 7])
def test_a_periodic_series_is_forecast_without_error_if_the_season_is_its_period(season):
    values = np.arange(60.0)[:, None] % 4
    found = SeasonalNaive(9, season=season).forecast(values, np.arange(10, 50))
    truth = np.stack([values[cutoff + 1 : cutoff + 10] for cutoff in range(10, 50)])
    assert np.array_equal(found, truth) == (season == 4)


@settings(max_examples=60, deadline=None)
@given(SEEDS, STEPS, st.integers(1, 6), st.sampled_from([0.0, 0.4, 0.8]))
def test_the_context_that_a_frame_keeps_for_it_gives_the_forecast_of_the_whole_history(seed, steps, season, missing):
    values = history(seed, steps, missing)
    values[0] = 1.0  # a frame without any observed value is refused
    table = pl.DataFrame({"ds": np.arange(steps), "y": values[:, 0], "z": values[:, 1]})
    frame, model = Frame(table, targets=["y", "z"], freq="1i"), SeasonalNaive(2 * season, season=season)
    kept = build_store(frame.since_observed(model.lookback)).values
    assert_array_equal(model.forecast(kept, np.array([len(kept) - 1])), model.forecast(values, np.array([steps - 1])))
    if not missing:
        assert len(kept) == min(steps, season)


def test_the_last_season_alone_would_be_too_short_a_context():
    values = np.array([[1.0], [2.0], [np.nan], [3.0]])  # the first phase was last observed two seasons ago
    model = SeasonalNaive(2, season=2)
    assert model.forecast(values, np.array([3])).ravel().tolist() == [1, 3]
    assert model.forecast(values[2:], np.array([1])).ravel().tolist() == [3, 3]


@pytest.mark.parametrize("season", [0, -1, 2.5])
def test_a_season_that_is_no_number_of_steps_is_refused(season):
    with pytest.raises((ArgumentError, TypeError), match="season"):
        SeasonalNaive(2, season=season)
