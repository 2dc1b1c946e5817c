import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import RandomForestRegressor

from tsforge.errors import ArgumentError
from tsforge.local.random_forest import RandomForest


def wave(steps: int = 120) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (20 + 3 * np.sin(np.arange(steps)) + rng.normal(size=steps))[:, None]


def lag_matrix(y: np.ndarray, lags: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.lib.stride_tricks.sliding_window_view(y, lags + 1)
    return rows[:, -2::-1], rows[:, -1]


def test_a_forest_answers_as_scikit_learns_own_on_the_same_lag_matrix():
    values = wave()
    y = (values[:, 0] - values.mean()) / values.std()
    x, target = lag_matrix(y, 5)
    settings = {"max_features": 0.5, "min_samples_leaf": 2, "random_state": 3}
    peer = RandomForestRegressor(20, **settings).fit(x, target)
    model = RandomForest(2, lags=5, n_trees=20, max_features=0.5, min_samples_leaf=2, seed=3)
    state = model.fit(values)
    learned = {name.removeprefix("0/1/"): array for name, array in state.items() if name.startswith("0/1/")}
    other = np.random.default_rng(1).normal(size=(500, 5))
    assert_allclose(model.answer(other, learned), peer.predict(other), rtol=1e-12)
    assert not np.allclose(RandomForest(1, n_trees=20, seed=4).learn(x, target)["number"][:9], learned["number"][:9])

    cutoffs = np.array([10, 60, 119])
    first = peer.predict(np.stack([y[cutoffs - k] for k in range(5)], axis=1))
    second = peer.predict(np.stack([first, *(y[cutoffs - k] for k in range(4))], axis=1))
    expected = np.stack([first, second], axis=1) * values.std() + values.mean()
    assert_allclose(model.forecast(values, cutoffs, state)[..., 0], expected, rtol=1e-12)


def test_rows_are_compared_as_float32_as_they_were_when_the_trees_were_grown():
    x = np.array([[0.1], [0.1 + 2e-9], [0.5], [0.7]])  # the first two are one number as float32
    y = np.array([0.0, 1.0, 5.0, 6.0])
    model = RandomForest(1, n_trees=30, min_samples_leaf=1, max_features=1.0)
    peer = RandomForestRegressor(30, random_state=0).fit(x, y)
    learned = model.learn(x, y)
    assert_allclose(model.answer(x, learned), peer.predict(x), rtol=1e-12)
    answers = model.answer(x, learned)
    assert answers[0] == answers[1]


def test_answers_stay_within_the_training_rows():
    trend = np.arange(60.0)[:, None]
    model = RandomForest(20, lags=3, n_trees=10)
    assert model.forecast(trend, np.array([59]), model.fit(trend)).max() <= 59


def test_the_same_seed_grows_the_same_trees_whatever_was_drawn_before():
    first = RandomForest(1, lags=3, n_trees=3).fit(wave())
    np.random.default_rng().normal(size=3)
    RandomForest(1, lags=3, n_trees=3, seed=1).fit(wave())
    again, other = (RandomForest(1, lags=3, n_trees=3, seed=seed).fit(wave()) for seed in (0, 1))
    for name, array in first.items():
        assert_array_equal(again[name], array)
    assert not np.array_equal(first["0/1/number"], other["0/1/number"])


@pytest.mark.parametrize("wrong", [{"n_trees": 0}, {"min_samples_leaf": 0}, {"seed": -1}, {"max_features": 0},
                                   {"max_features": 1.5}])
def test_a_number_out_of_range_is_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        RandomForest(1, **wrong)
