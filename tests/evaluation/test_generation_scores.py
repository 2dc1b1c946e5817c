import numpy as np
import pytest

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.generation_scores import (
    discriminative_score,
    generation_report,
    predictive_score,
    signature_mmd,
)
from tsforge.evaluation.metrics.generation import (
    dependence,
    independence,
    marginal_distance,
    marginal_overlap,
    steps_of,
)


def walks(n: int = 512, length: int = 11, channels: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, length, channels)).cumsum(1)


def test_copies_have_no_independence_and_shuffled_copies_have():
    x = walks(8192)
    assert independence(x, x) == pytest.approx(1)
    assert independence(x, np.random.default_rng(1).permutation(x)) < 0.05


def test_it_looks_at_later_times_than_the_start():
    x, y = walks(2000), walks(2000, seed=1)
    y[:, 1:] = x[:, 1:]
    assert independence(x, y) == pytest.approx(1)
    assert np.corrcoef(x[:, 0, 0], y[:, 0, 0])[0, 1] < 0.1  # where the published one looks
    assert steps_of((0.1, 0.5, 1.0), 101) == [10, 50, 100]
    assert steps_of((0.1,), 3) == [1]
    with pytest.raises(ArgumentError, match="wanted times after 0"):
        independence(x, y, (0.0, 0.5))


def test_marginals_are_near_for_one_law_and_as_far_as_a_shift_else():
    x, y = walks(4000), walks(4000, seed=1)
    assert marginal_distance(x, y) < 0.06
    assert marginal_overlap(x, y) < 0.12
    shifted = y + 3 * x.std(0)
    assert marginal_distance(x, shifted) == pytest.approx(3, abs=0.1)
    assert marginal_overlap(x, shifted) > 0.8
    assert marginal_distance(x, y[:1500]) < 0.12


def test_a_unimodal_law_of_the_same_mean_and_spread_has_not_the_marginals_of_a_bimodal_one():
    draw = np.random.default_rng(0)
    two = np.sign(draw.normal(size=(2000, 11, 1))) + 0.1 * draw.normal(size=(2000, 11, 1))
    one = draw.normal(size=(2000, 11, 1)) * two.std()
    assert marginal_overlap(two, one) > 0.5
    assert marginal_distance(two, one) > 0.3


def test_dependence_is_the_gap_of_correlations_between_channels():
    x = walks(4000, channels=2)
    tied = np.concatenate([x[..., :1], x[..., :1]], axis=2)
    assert dependence(x, walks(4000, channels=2, seed=1)) < 0.05
    assert dependence(x, tied) == pytest.approx(1, abs=0.05)
    assert dependence(x[..., :1], tied[..., :1]) == 0


def test_halves_of_one_sample_cannot_be_told_apart_and_shifted_ones_can():
    x = walks(1200)
    assert discriminative_score(x[:600], x[600:], steps=300) < 0.1
    assert discriminative_score(x[:600], x[600:] + 3 * x.std(), hidden=4, steps=300) > 0.45


def test_what_is_learned_on_shuffled_paths_predicts_worse_than_what_is_learned_on_real_ones():
    x = walks(1200, channels=1)
    noise = np.random.default_rng(0).permutation(x.reshape(-1)).reshape(x.shape)
    good, bad = (predictive_score(x[:600], fake, hidden=4, steps=400) for fake in (x[600:], noise))
    assert good < 0.7 * bad


def test_signatures_of_one_sample_are_at_distance_zero_and_a_drift_takes_them_apart():
    x = walks(500)
    drift = np.linspace(0, 1, 11)[None, :, None]
    gaps = [signature_mmd(x, x + size * drift) for size in (0, 1, 2, 4)]
    assert gaps[0] == 0
    assert gaps == sorted(gaps)


def test_a_report_always_tells_of_independence_and_of_equal_arguments_the_same():
    x, y = walks(64), walks(64, seed=1)
    report = generation_report(x, y, steps=2)
    assert set(report) == {"marginal_distance", "marginal_overlap", "independence", "dependence", "sig_mmd",
                           "discriminative", "predictive"}
    assert report == generation_report(x, y, steps=2)


def test_paths_that_do_not_belong_together_are_refused():
    with pytest.raises(ShapeError, match="same times and channels"):
        marginal_distance(walks(10), walks(10, length=9))
    with pytest.raises(ShapeError, match="the one it came from"):
        independence(walks(10), walks(9))
