import numpy as np
import pytest

from tsforge.dynamics import zero_one, zero_one_test
from tsforge.errors import ArgumentError


def test_the_logistic_map_is_orderly_at_3_55_and_chaotic_at_4(logistic):
    assert zero_one_test(logistic(3.55, 2000)) < 0.1
    assert zero_one_test(logistic(4.0, 2000)) > 0.9


def test_two_waves_of_unrelated_periods_are_orderly():
    t = np.arange(3000)
    assert abs(zero_one_test(np.sin(t) + np.sin(np.sqrt(2) * t))) < 0.1


def test_a_flow_sampled_densely_looks_orderly_and_every_eighth_state_does_not(lorenz):
    assert zero_one_test(lorenz[:, 0]) < 0.1
    assert zero_one_test(lorenz[::8, 0]) > 0.9


def test_the_test_does_not_see_scale_and_place(logistic):
    x = logistic(3.7, 1000)
    assert zero_one_test(-3e4 * x + 7e5) == pytest.approx(zero_one_test(x), abs=1e-6)


def test_the_same_seed_gives_the_same_and_another_seed_another(logistic):
    x = logistic(3.7, 500)
    assert zero_one_test(x, seed=1) == zero_one_test(x, seed=1) != zero_one_test(x, seed=2)
    assert zero_one_test(x, n_frequencies=5) != zero_one_test(x)


def test_it_is_the_median_of_the_correlations_as_the_paper_writes_them(logistic):
    x = logistic(3.7, 120)
    c = np.random.default_rng(4).uniform(np.pi / 5, 4 * np.pi / 5, 7)
    wanted = np.median([written_out(x, a) for a in c])
    assert zero_one_test(x, n_frequencies=7, seed=4) == pytest.approx(wanted, abs=1e-9)


def written_out(x: np.ndarray, c: float) -> float:
    x = x - x.mean()
    j = np.arange(1, len(x) + 1)
    p, q = np.cumsum(x * np.cos(j * c)), np.cumsum(x * np.sin(j * c))
    cut = len(x) // 10
    n = np.arange(1, cut + 1)
    moved = [np.mean([(p[t + k] - p[t]) ** 2 + (q[t + k] - q[t]) ** 2 for t in range(len(x) - cut)]) for k in n]
    return np.corrcoef(n, moved)[0, 1]


def test_the_answer_does_not_depend_on_how_much_is_held_at_a_time(logistic, monkeypatch):
    x = logistic(3.7, 200)
    whole = zero_one_test(x)
    monkeypatch.setattr(zero_one, "CELLS", 2000)
    assert zero_one_test(x) == pytest.approx(whole, abs=1e-12)


def test_a_series_too_short_is_refused():
    with pytest.raises(ArgumentError, match="at least 50"):
        zero_one_test(np.arange(49.0))
