import logging
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import tsforge.evaluation.conformal as module
from tsforge.errors import CalibrationError
from tsforge.evaluation.conformal import Ranked, Scores, windows_for

LEVELS = st.sampled_from([0.01, 0.2, 0.5, 0.8, 0.9, 0.95, 0.975, 0.99])


def cells(rng: np.random.Generator, windows: int, missing: float = 0.0) -> np.ndarray:
    """Scores [window, 2, 1], all different."""
    scores = rng.permutation(np.arange(2.0 * windows)).reshape(windows, 2, 1)
    scores[rng.random(scores.shape) < missing] = np.nan
    return scores


def rank_of(level: float, n: int) -> int:
    """`ceil((n + 1) level)` in whole numbers."""
    return -(-(n + 1) * round(level * 1000) // 1000)


@given(st.integers(0, 10**6), st.integers(1, 60), LEVELS, st.sampled_from([0.0, 0.4]))
def test_with_all_ranks_kept_the_quantile_is_the_order_statistic_of_conformal_prediction(seed, windows, level, missing):
    scores = cells(np.random.default_rng(seed), windows, missing)
    found = Ranked.of(scores, most=windows).quantile(level)
    for k in range(2):
        seen = np.sort(scores[:, k, 0][~np.isnan(scores[:, k, 0])])
        rank = rank_of(level, len(seen))
        assert_array_equal(found[k, 0], seen[rank - 1] if rank <= len(seen) else np.nan)


@given(st.integers(0, 10**6), st.integers(1, 300), st.integers(1, 40), LEVELS, st.sampled_from([0.0, 0.4]))
def test_a_thinned_quantile_is_the_next_score_kept_and_never_a_smaller_one(seed, windows, most, level, missing):
    scores = cells(np.random.default_rng(seed), windows, missing)
    full, thin = Ranked.of(scores, windows), Ranked.of(scores, most)
    exact, found = full.quantile(level), thin.quantile(level)
    assert len(thin.values) <= most
    assert_array_equal(np.isnan(found), np.isnan(exact))
    there = ~np.isnan(exact)
    assert (found >= exact)[there].all()
    for k in np.flatnonzero(there[:, 0]):
        kept = thin.values[:, k, 0]
        assert found[k, 0] == kept[kept >= exact[k, 0]].min()
        assert np.nanmax(kept) == np.nanmax(scores[:, k, 0])  # so there is always one


def test_the_bound_on_thinning_sees_a_rank_too_low():
    ranked = Ranked.of(cells(np.random.default_rng(0), 100), most=10)
    lower = Ranked(np.roll(ranked.values, 1, axis=0), ranked.counts)
    exact = Ranked.of(cells(np.random.default_rng(0), 100), most=100).quantile(0.8)
    assert (lower.quantile(0.8) < exact).all()


@pytest.mark.parametrize(("level", "windows"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99)])
def test_an_interval_needs_the_windows_that_its_level_says(level, windows):
    assert windows_for(level) == windows
    rng = np.random.default_rng(0)
    assert not np.isnan(Ranked.of(cells(rng, windows), 1000).quantile(level)).any()
    assert np.isnan(Ranked.of(cells(rng, windows - 1), 1000).quantile(level)).all()


OWN = {0: [3.0, 1.0, 4.0, 2.0], 1: [100.0, 300.0, 200.0]}  # four windows are enough for 80 %, three are not


def small() -> Scores:
    series = np.array([0, 1, 0, 1, 0, 1, 0])
    left = {s: iter(values) for s, values in OWN.items()}
    scores = np.array([next(left[s]) for s in series])[:, None, None]
    return Scores.fit(scores, series, n_series=3)


def test_a_series_with_enough_windows_is_judged_by_its_own_and_all_others_by_all_together():
    widths = small().quantile(0.8, np.array([0, 1, 2, -1, 0]))[:, 0, 0]
    assert widths.tolist() == [4, 300, 300, 300, 4]  # series 2 had no window, -1 was not there
    assert small().quantile(0.75, np.array([1]))[:, 0, 0].tolist() == [300]  # three windows are enough for 75 %


@given(st.integers(1, 300))
def test_the_error_names_the_highest_level_that_is_possible(windows):
    scores = Scores.fit(cells(np.random.default_rng(0), windows), np.zeros(windows, dtype=int), 1)
    with pytest.raises(CalibrationError, match=rf"there are {windows}\.") as caught:
        scores.quantile(0.9999, np.array([0]))
    named = float(re.findall(r"highest level possible is ([\d.]+)\. ", str(caught.value))[0])
    scores.quantile(named / 100, np.array([0]))
    with pytest.raises(CalibrationError):
        scores.quantile(named / 100 + 0.0002, np.array([0]))


def test_without_any_score_the_error_names_no_level():
    scores = Scores.fit(np.full((5, 1, 1), np.nan), np.zeros(5, dtype=int), 1)
    with pytest.raises(CalibrationError, match=r"needs 4 calibration windows, and there are 0. Hold more back"):
        scores.quantile(0.8, np.array([0]))


@given(st.integers(0, 10**6))
def test_the_order_of_windows_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    scores, series = cells(rng, 40, 0.2), rng.integers(0, 3, 40)
    order = rng.permutation(40)
    asked = np.array([-1, 0, 1, 2])
    for level in (0.5, 0.8):
        expected = Scores.fit(scores, series, 3).quantile(level, asked)
        assert_array_equal(Scores.fit(scores[order], series[order], 3).quantile(level, asked), expected)


def test_what_is_kept_stays_within_the_budget_and_is_wider_not_narrower(monkeypatch, caplog):
    rng = np.random.default_rng(0)
    series = np.repeat(np.arange(3), 300)
    scores = cells(rng, 900) + 2000 * series[:, None, None]
    asked = np.array([0, 1, 2, -1])
    exact = Scores.fit(scores, series, 3)
    monkeypatch.setattr(module, "BUDGET", 120)
    thin = Scores.fit(scores, series, 3)
    assert thin.own.values.size <= 120
    assert thin.pooled.values.size <= 120
    assert (thin.quantile(0.9, asked) >= exact.quantile(0.9, asked)).all()
    assert (np.diff(thin.quantile(0.9, asked)[:3], axis=0) > 1000).all()  # still each by its own
    monkeypatch.setattr(module, "BUDGET", 30)
    with caplog.at_level(logging.INFO, "tsforge"):
        pooled = Scores.fit(scores, series, 3)
    assert "3 series are too many to keep the calibration residuals of each" in caplog.text
    assert pooled.own.values.size == 0
    assert len(np.unique(pooled.quantile(0.9, asked)[:, 0, 0])) == 1
