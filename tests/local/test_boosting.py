import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_info, threadpool_limits

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local import boosting
from tsforge.local.boosting import Boosting


def wave(steps: int = 150) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (20 + 3 * np.sin(np.arange(steps)) + rng.normal(size=steps))[:, None]


def learned_of(state) -> dict[str, np.ndarray]:
    return {name.removeprefix("0/1/"): array for name, array in state.items() if name.startswith("0/1/")}


@pytest.mark.parametrize("missing", [False, True])
def test_a_booster_answers_as_scikit_learns_own_on_the_same_lag_matrix(missing):
    values = wave()
    if missing:
        values[40:44] = np.nan
    y = (values[:, 0] - np.nanmean(values)) / np.nanstd(values)
    filled = y.copy()
    filled[40:44] = np.where(np.isnan(y[40:44]), y[39], y[40:44])
    rows = np.lib.stride_tricks.sliding_window_view(filled, 5)[~np.isnan(y[4:])]
    peer = HistGradientBoostingRegressor(max_iter=30, learning_rate=0.3, max_depth=3, max_leaf_nodes=None,
                                         min_samples_leaf=4, early_stopping=False)
    with threadpool_limits(1, user_api="openmp"):
        peer.fit(rows[:, 3::-1], rows[:, 4])
    model = Boosting(1, lags=4, n_trees=30, shrinkage=0.3, max_depth=3, min_samples_leaf=4)
    state = model.fit(values)
    other = np.random.default_rng(1).normal(size=(500, 4))
    assert_allclose(model.answer(other, learned_of(state)), peer.predict(other), rtol=1e-11, atol=1e-12)
    fewer = Boosting(1, lags=4, n_trees=29, shrinkage=0.3, max_depth=3, min_samples_leaf=4)
    assert not np.allclose(fewer.answer(other, learned_of(fewer.fit(values))), peer.predict(other))  # the control

    cutoffs = np.array([20, 149])
    expected = peer.predict(np.stack([filled[cutoffs - k] for k in range(4)], axis=1))
    found = model.forecast(values, cutoffs, state)[:, 0, 0]
    assert_allclose(found, expected * np.nanstd(values) + np.nanmean(values), rtol=1e-11)


def test_without_trees_worth_growing_it_answers_the_mean():
    model = Boosting(1, n_trees=5)
    y = np.arange(8.0)  # too few for two leaves of 5
    assert_allclose(model.answer(np.ones((3, 2)), model.learn(np.arange(16.0).reshape(8, 2), y)), y.mean())


def test_it_grows_on_one_thread_and_leaves_others_theirs(monkeypatch):
    seen = []

    class Spy(HistGradientBoostingRegressor):
        def fit(self, *given):
            seen.append({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"})
            return super().fit(*given)

    monkeypatch.setattr(boosting, "HistGradientBoostingRegressor", Spy)
    with threadpool_limits(2, user_api="openmp"):
        Boosting(1, lags=2, n_trees=2).fit(wave())
        after = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"}
    assert seen == [{1}]
    assert after == {2}


@pytest.mark.parametrize("wrong", [{"n_trees": 0}, {"max_depth": 0}, {"min_samples_leaf": 0}, {"shrinkage": 0},
                                   {"shrinkage": 2}])
def test_a_number_out_of_range_is_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        Boosting(1, **wrong)


@pytest.mark.parametrize("base", [None, np.array(np.nan), np.zeros(2)])
def test_a_base_that_fit_cannot_have_made_is_refused(base):
    model = Boosting(1, lags=2, n_trees=2)
    state = dict(model.fit(wave()))
    model.check(state, 1)
    changed = {name: array for name, array in state.items() if name != "0/1/base"}
    with pytest.raises(ArtifactError, match="base"):
        model.check(changed if base is None else changed | {"0/1/base": base}, 1)
