import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.significance import bootstrap_interval, diebold_mariano, holm, paired_t, wilcoxon

TESTS = (diebold_mariano, paired_t, wilcoxon)


def losses(seed: int = 0, n: int = 30, gap: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    one = rng.gamma(2.0, size=n)
    return one, one + gap + rng.normal(size=n)


def moving_sums(rng: np.random.Generator, draws: int, n: int, h: int) -> np.ndarray:
    """`[draw, time]`, loss differences of equally good forecasts h steps ahead: correlated up to lag h - 1."""
    noise = rng.normal(size=(draws, n + h - 1))
    return np.stack([noise[:, k : k + h].sum(axis=1) for k in range(n)], axis=1)


def rejected(d: np.ndarray, h: int) -> float:
    return float(np.mean([diebold_mariano(row, np.zeros_like(row), h).p <= 0.05 for row in d]))


def rejected_without_the_correction(d: np.ndarray) -> float:
    return float(np.mean(2 * stats.norm.sf(np.abs(d.mean(1) / d.std(1) * np.sqrt(d.shape[1]))) <= 0.05))


def test_the_paired_tests_equal_scipys():
    one, two = losses()
    assert paired_t(one, two).p == pytest.approx(stats.ttest_rel(one, two).pvalue, rel=1e-12)
    assert paired_t(one, two).statistic == pytest.approx(stats.ttest_rel(one, two).statistic, rel=1e-12)
    assert wilcoxon(one, two).p == pytest.approx(stats.wilcoxon(one, two).pvalue, rel=1e-12)


def test_the_signed_rank_sum_is_that_of_brute_force():
    one, two = losses(n=12)
    d = one - two
    ranks = [sum(abs(e) <= abs(x) for e in d) for x in d]
    assert wilcoxon(one, two).statistic == sum(rank if x > 0 else -rank for rank, x in zip(ranks, d, strict=True))


@pytest.mark.parametrize("h", [1, 2, 4])
def test_diebold_mariano_equals_its_formula_term_by_term(h):
    one, two = losses(n=25)
    d = one - two
    n, mean = len(d), sum(d) / len(d)
    g = [sum((d[t] - mean) * (d[t - k] - mean) for t in range(k, n)) / n for k in range(h)]
    plain = mean / ((g[0] + 2 * sum(g[1:])) / n) ** 0.5
    corrected = plain * ((n + 1 - 2 * h + h * (h - 1) / n) / n) ** 0.5
    found = diebold_mariano(one, two, h)
    assert found.statistic == pytest.approx(corrected, rel=1e-12)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(corrected), n - 1), rel=1e-12)


def test_one_step_ahead_diebold_mariano_is_the_paired_t_test():
    one, two = losses()
    found, known = diebold_mariano(one, two, h=1), paired_t(one, two)
    assert (found.statistic, found.p) == pytest.approx((known.statistic, known.p), rel=1e-12)
    assert diebold_mariano(one, two, h=2).p != pytest.approx(known.p)


@pytest.mark.parametrize("test", TESTS)
def test_who_comes_first_changes_the_sign_alone(test):
    one, two = losses()
    assert test(one, two).statistic == -test(two, one).statistic < 0
    assert test(one, two).p == test(two, one).p


@pytest.mark.parametrize("test", TESTS)
def test_equal_losses_are_no_difference_and_a_constant_one_is_certain(test):
    one, _ = losses()
    assert (test(one, one).statistic, test(one, one).p) == (0, 1)
    assert test(one, one + 0.1).p < 1e-5
    assert test(one, one + 0.1).statistic < 0


def test_where_the_variance_comes_out_negative_it_is_taken_without_autocovariances_and_said():
    d = np.array([1.0, -1.0] * 6) + 0.1
    found = diebold_mariano(d, np.zeros(12), h=2)
    assert "without" in found.note
    factor = (12 + 1 - 4 + 2 / 12) / 11  # HLN's for h=2, over that for h=1
    assert found.statistic == pytest.approx(diebold_mariano(d, np.zeros(12)).statistic * factor**0.5)
    assert diebold_mariano(d, np.zeros(12)).note == ""


def test_on_equal_accuracy_it_rejects_at_its_level_and_without_the_correction_more():
    rng = np.random.default_rng(1)
    assert 0.035 <= rejected(rng.normal(size=(2000, 200)), h=1) <= 0.065
    few = rng.normal(size=(2000, 8))
    assert 0.035 <= rejected(few, h=1) <= 0.065
    assert rejected_without_the_correction(few) > 0.08


def test_for_several_steps_the_autocovariances_keep_the_level_that_the_t_test_loses():
    d = moving_sums(np.random.default_rng(2), draws=1000, n=100, h=4)
    assert rejected(d, h=4) <= 0.09
    assert rejected(d, h=1) > 0.2


def test_few_windows_that_overlap_reject_more_than_they_should_as_documented():
    rng = np.random.default_rng(3)
    assert 0.07 <= rejected(moving_sums(rng, draws=1500, n=8, h=2), h=2) <= 0.13
    assert 0.15 <= rejected(moving_sums(rng, draws=1500, n=8, h=4), h=4) <= 0.24
    assert rejected(moving_sums(rng, draws=1500, n=64, h=4), h=4) <= 0.08


@pytest.mark.parametrize("test", TESTS)
def test_a_planted_difference_is_found(test):
    one, two = losses(gap=1.5)
    assert test(one, two).p < 1e-3
    assert test(one, two).statistic < 0


def test_holm_equals_statsmodels_whatever_the_order():
    rng = np.random.default_rng(0)
    for m in (1, 2, 7, 20):
        p = np.round(rng.random(m) ** 3, 2)
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
        order = rng.permutation(m)
        assert holm(p[order]) == pytest.approx(holm(p)[order])


def test_with_one_run_the_interval_is_scipys():
    one, two = losses()
    known = stats.bootstrap((one - two,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(0))
    assert bootstrap_interval(one, two) == pytest.approx(tuple(known.confidence_interval))
    assert bootstrap_interval(one[:, None], two[:, None]) == pytest.approx(tuple(known.confidence_interval))


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(4)
    ends = [bootstrap_interval(rng.normal(size=40), alpha=0.2, n_resamples=400, seed=k) for k in range(400)]
    assert 0.74 <= np.mean([lo <= 0 <= hi for lo, hi in ends]) <= 0.86


def test_seeds_that_disagree_widen_the_interval_and_seeds_that_agree_do_not():
    one, two = losses(n=50)
    shifts = np.array([-0.5, -0.2, 0.0, 0.2, 0.5])
    width = np.ptp(bootstrap_interval(one, two))
    assert np.ptp(bootstrap_interval(one[:, None] + shifts, two)) > 1.2 * width
    assert np.ptp(bootstrap_interval(one[:, None] + 0 * shifts, two)) == pytest.approx(width, rel=0.1)


def test_blocks_and_runs_are_drawn_apart():
    rng = np.random.default_rng(5)
    one, other = rng.normal(size=(30, 4)), rng.normal(size=(30, 3))
    draws = []
    for _ in range(4000):
        blocks = rng.integers(30, size=30)
        means = [x[blocks][:, rng.integers(x.shape[1], size=x.shape[1])].mean() for x in (one, other)]
        draws.append(means[0] - means[1])
    known = np.quantile(draws, [0.025, 0.975])
    assert bootstrap_interval(one, other) == pytest.approx(known, abs=0.15 * np.ptp(known))


def test_the_pairing_of_blocks_narrows_the_interval():
    one, _ = losses()
    two = one + 0.01 * np.arange(30)
    assert np.ptp(bootstrap_interval(one, two)) < 0.5 * np.ptp(bootstrap_interval(one, two[::-1]))


def test_equal_losses_have_an_interval_without_width():
    one, _ = losses()
    assert bootstrap_interval(one, one) == (0, 0)
    assert bootstrap_interval(one + 1, one) == pytest.approx((1, 1))


@pytest.mark.parametrize("test", [*TESTS, bootstrap_interval])
def test_what_cannot_be_tested_is_refused_with_a_way_out(test):
    one, two = losses()
    for pair, error, words in (
        ((one[:1], two[:1]), ArgumentError, "1 paired losses are too few: give 2 or more|give 2 or more"),
        ((one, two[:-1]), ShapeError, "losses are paired"),
        ((np.append(one, np.nan), np.append(two, 1.0)), ArgumentError, "1 of 31 paired losses are not finite"),
    ):
        with pytest.raises(error, match=words):
            test(*pair)


def test_too_few_times_for_the_steps_ahead_are_refused():
    one, two = losses(n=5)
    with pytest.raises(ArgumentError, match="5 paired losses are too few for h=5: give 6 or more"):
        diebold_mariano(one, two, h=5)
    with pytest.raises(ArgumentError, match="h=0"):
        diebold_mariano(one, two, h=0)
    for alpha in (0.0, 1.0, 5.0):
        with pytest.raises(ArgumentError, match=f"alpha={alpha}"):
            bootstrap_interval(one, two, alpha=alpha)
