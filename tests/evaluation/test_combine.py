"""Weights out of validation forecasts, against numpy and a plain transcription of the paper's loop."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsforge.errors import ArgumentError, ShapeError, UnknownNameError
from tsforge.evaluation.combine import Judge, best_models, greedy_weights, median, point_metric, weighted_mean
from tsforge.evaluation.metrics import METRICS, rmse
from tsforge.evaluation.metrics.point import absolute, squared

NAN = np.nan


def cells(seed: int, models: int = 4, n: int = 60, groups: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Forecasts [model, cell], truth [cell], group [cell]: models of different noise and bias around one truth."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    width, shift = rng.uniform(0.2, 1.5, (models, 1)), rng.normal(0, 0.5, (models, 1))
    return truth + shift + width * rng.normal(size=(models, n)), truth, rng.integers(0, groups, n)


def test_a_mean_of_equal_weights_is_that_of_numpy():
    forecasts = np.random.default_rng(0).normal(size=(5, 3, 4))
    np.testing.assert_array_equal(weighted_mean(forecasts, np.ones(5)), forecasts.mean(axis=0))


def test_weights_may_differ_from_window_to_window():
    forecasts = np.arange(12.0).reshape(2, 3, 2)
    weights = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]])
    np.testing.assert_array_equal(weighted_mean(forecasts, weights), [[0, 1], [8, 9], [7, 8]])


def test_a_missing_forecast_leaves_its_weight_to_the_others():
    forecasts = np.array([[1.0, NAN, NAN], [3.0, 3.0, NAN], [9.0, NAN, 9.0]])
    np.testing.assert_array_equal(weighted_mean(forecasts, np.array([0.75, 0.25, 0.0])), [1.5, 3.0, NAN])


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="wanted one for each model"):
        weighted_mean(np.zeros((3, 2)), np.ones(2))


@pytest.mark.parametrize("models", [1, 2, 3, 4, 5])
def test_a_median_is_that_of_numpy_also_where_some_are_missing(models):
    rng = np.random.default_rng(models)
    forecasts = rng.normal(size=(models, 50))
    np.testing.assert_array_equal(median(forecasts), np.median(forecasts, axis=0))
    forecasts[rng.random(forecasts.shape) < 0.3] = NAN
    forecasts[0] = np.where(np.isnan(forecasts).all(axis=0), 0.0, forecasts[0])
    np.testing.assert_array_equal(median(forecasts), np.nanmedian(forecasts, axis=0))


def test_a_median_of_nothing_is_missing():
    np.testing.assert_array_equal(median(np.array([[NAN, 1.0], [NAN, NAN]])), [NAN, 1.0])


def grouped_error(loss: Callable, root: bool, truth: np.ndarray, forecast: np.ndarray, group: np.ndarray) -> float:
    means = [np.mean(loss(truth[group == g], forecast[group == g])) for g in np.unique(group)]
    return float(np.mean(np.sqrt(means) if root else means))


def caruana(library: np.ndarray, error: Callable[[np.ndarray], float], rounds: int) -> list[int]:
    """The paper's steps 1 to 4, on lists: the bag of the nested sequence with the least error."""
    bag: list[int] = []
    sequence = []
    for _ in range(rounds):
        tried = [error(np.mean(library[[*bag, m]], axis=0)) for m in range(len(library))]
        bag = [*bag, int(np.argmin(tried))]
        sequence.append((min(tried), bag))
    return min(sequence, key=lambda one: one[0])[1]


@pytest.mark.parametrize(("loss", "root"), [(absolute, False), (squared, False), (squared, True)])
@pytest.mark.parametrize("seed", range(8))
def test_greedy_weights_are_the_shares_of_the_papers_bag(seed, loss, root):
    library, truth, group = cells(seed)
    bag = caruana(library, lambda mean: grouped_error(loss, root, truth, mean, group), 25)
    shares = np.bincount(bag, minlength=len(library)) / len(bag)
    np.testing.assert_allclose(greedy_weights(library, Judge(truth, group, loss, root), 25), shares, rtol=1e-12)


def test_selection_is_with_replacement():
    library = np.array([[1.0, 1.0, 1.0], [-2.0, -2.0, -2.0]])  # twice the first and once the second is the truth
    weights = greedy_weights(library, Judge(np.zeros(3), np.zeros(3, dtype=int), absolute), 10)
    np.testing.assert_allclose(weights, [2 / 3, 1 / 3])
    few = greedy_weights(library, Judge(np.zeros(3), np.zeros(3, dtype=int), absolute), 2)  # control
    assert few.tolist() == [0.5, 0.5]


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), models=st.integers(1, 6), share=st.sampled_from([0.0, 0.2]))
def test_the_kept_bag_is_never_worse_than_the_best_single_model(seed, models, share):
    library, truth, group = cells(seed, models)
    rng = np.random.default_rng(seed)
    library[rng.random(library.shape) < share] = NAN
    judge = Judge(truth, group, absolute)
    weights = greedy_weights(library, judge, 20)
    missing, error = judge(weighted_mean(library, weights))
    best = min(judge(forecast) for forecast in library)
    assert weights.sum() == pytest.approx(1)
    assert missing < best[0] or (missing == best[0] and error <= best[1] + 1e-12)


def test_a_useless_model_gets_no_weight_and_a_useful_one_does():
    truth = np.sin(np.arange(40.0))
    good = truth + 0.1 * np.cos(3 * np.arange(40.0))
    judge = Judge(truth, np.zeros(40, dtype=int), absolute)
    assert greedy_weights(np.stack([truth + 100, good, truth - 0.3]), judge, 50)[0] == 0
    assert greedy_weights(np.stack([2 * truth - good, good]), judge, 50).tolist() == [0.5, 0.5]  # control


def test_a_model_that_forecasts_only_what_is_easy_does_not_win():
    truth, group = np.array([0.0, 0.0, 10.0, 10.0]), np.zeros(4, dtype=int)
    easy, whole = np.array([0.0, 0.0, NAN, NAN]), np.array([1.0, 1.0, 9.0, 9.0])
    judge = Judge(truth, group, absolute)
    assert judge(easy) == (2, 0.0)
    assert best_models(np.stack([easy, whole]), judge, np.array([0]), 1).tolist() == [1]
    assert judge(weighted_mean(np.stack([easy, whole]), greedy_weights(np.stack([easy, whole]), judge, 9)))[0] == 0


def test_each_series_gets_the_model_that_was_planted_as_its_best():
    rng = np.random.default_rng(3)
    series = np.repeat(np.arange(6), 20)
    planted, truth = np.array([0, 1, 2, 2, 1, 0]), rng.normal(size=120)
    noise = np.where(np.arange(3)[:, None] == planted[series], 0.1, 1.0)
    forecasts = truth + noise * rng.normal(size=(3, 120))
    chosen = best_models(forecasts, Judge(truth, series, absolute), np.arange(6), 6)
    assert chosen.tolist() == planted.tolist()
    truth[series == 4] = NAN
    assert best_models(forecasts, Judge(truth, series, absolute), np.arange(6), 6)[4] == -1


def test_a_series_of_two_targets_is_judged_by_the_mean_of_both():
    truth, pair = np.zeros(4), np.array([0, 0, 1, 1])
    forecasts = np.array([[0.0, 0.0, 5.0, 5.0], [2.0, 2.0, 2.0, 2.0]])
    judge = Judge(truth, pair, absolute)
    assert best_models(forecasts, judge, np.array([0, 0]), 1).tolist() == [1]
    assert best_models(forecasts, judge, np.array([0, 1]), 2).tolist() == [0, 1]  # control: each target by itself


def test_a_judge_says_what_the_metric_says():
    library, truth, group = cells(5, groups=1)
    metric = point_metric("rmse")
    judge = Judge(truth, group, metric.loss, metric.reduce == "root")
    assert judge(library[0])[1] == pytest.approx(rmse(truth, library[0]))


@pytest.mark.parametrize("name", ["mase", "coverage", "dtw", "crps"])
def test_a_metric_that_is_none_of_single_cells_is_refused_and_those_that_are_pass(name):
    with pytest.raises(ArgumentError, match=r"take one of \['mse', 'mae', 'rmse', 'smape'\]"):
        point_metric(name)
    assert point_metric("smape") is METRICS["smape"]


def test_an_unknown_metric_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'mae'"):
        point_metric("maee")
