import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.svm import SVR as PlainSVR

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local import svr
from tsforge.local.svr import SVR


def wave(steps: int = 100) -> np.ndarray:
    rng = np.random.default_rng(0)
    return (20 + 3 * np.sin(np.arange(steps)) + rng.normal(size=steps))[:, None]


def learned_of(state) -> dict[str, np.ndarray]:
    return {name.removeprefix("0/1/"): array for name, array in state.items() if name.startswith("0/1/")}


SETTINGS = {
    "the defaults": ({}, {"kernel": "rbf", "C": 1.0, "epsilon": 0.1, "gamma": "scale"}),
    "rbf": ({"C": 3, "epsilon": 0.2, "gamma": 0.4}, {"kernel": "rbf", "C": 3.0, "epsilon": 0.2, "gamma": 0.4}),
    "linear": ({"kernel": "linear", "epsilon": 0.3}, {"kernel": "linear", "epsilon": 0.3}),
}


@pytest.mark.parametrize("at_once", [50, 1 << 20])
@pytest.mark.parametrize("name", SETTINGS)
def test_it_answers_as_scikit_learns_own_on_the_same_lag_matrix(name, at_once, monkeypatch):
    monkeypatch.setattr(svr, "AT_ONCE", at_once)
    ours, theirs = SETTINGS[name]
    values = wave()
    y = (values[:, 0] - values.mean()) / values.std()
    rows = np.lib.stride_tricks.sliding_window_view(y, 4)
    peer = PlainSVR(**theirs).fit(rows[:, 2::-1], rows[:, 3])
    model = SVR(2, lags=3, **ours)
    state = model.fit(values)
    other = np.random.default_rng(1).normal(size=(40, 3))
    assert_allclose(model.answer(other, learned_of(state)), peer.predict(other), rtol=1e-9, atol=1e-12)
    half = SVR(2, lags=3, **(ours | {"C": 0.1}))
    assert not np.allclose(half.answer(other, learned_of(half.fit(values))), peer.predict(other), rtol=1e-3)

    cutoffs = np.array([30, 99])
    first = peer.predict(np.stack([y[cutoffs - k] for k in range(3)], axis=1))
    second = peer.predict(np.stack([first, y[cutoffs], y[cutoffs - 1]], axis=1))
    expected = np.stack([first, second], axis=1) * values.std() + values.mean()
    assert_allclose(model.forecast(values, cutoffs, state)[..., 0], expected, rtol=1e-9)


@pytest.mark.parametrize("kernel", ["rbf", "linear"])
def test_where_all_errors_are_free_there_are_no_vectors_and_it_answers_a_constant(kernel):
    model, values = SVR(2, lags=2, epsilon=10.0, kernel=kernel), wave()
    state = model.fit(values)
    model.check(state, 1)
    forecast = model.forecast(values, np.array([50, 99]), state)
    assert np.isfinite(forecast).all()
    assert np.ptp(forecast) < 1e-12


@pytest.mark.parametrize("wrong", [{"kernel": "poly"}, {"C": 0}, {"C": np.inf}, {"epsilon": -0.1}, {"gamma": 0}])
def test_an_argument_that_cannot_work_is_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        SVR(1, **wrong)


@pytest.mark.parametrize("change", [
    {"support": np.zeros((4, 3))}, {"support": np.full((4, 2), np.nan)}, {"dual": np.zeros(3)},
    {"dual": np.zeros((4, 1))},
    {"gamma": np.array(0.0)}, {"gamma": np.array(np.inf)}, {"bias": np.zeros(1)}, {"support": np.zeros((4, 2), int)},
])
def test_a_state_that_fit_cannot_have_made_is_refused(change):
    model = SVR(1, lags=2)
    whole = {"support": np.zeros((4, 2)), "dual": np.zeros(4), "gamma": np.array(1.0), "bias": np.array(0.0)}
    model.check_learned(whole, 2)
    with pytest.raises(ArtifactError):
        model.check_learned(whole | change, 2)
    with pytest.raises(ArtifactError):
        model.check_learned({name: array for name, array in whole.items() if name not in change}, 2)


def test_weights_of_the_linear_kernel_are_checked():
    model = SVR(1, lags=2, kernel="linear")
    model.check_learned({"weights": np.zeros(2), "bias": np.array(0.0)}, 2)
    with pytest.raises(ArtifactError, match="weights"):
        model.check_learned({"weights": np.zeros(3), "bias": np.array(0.0)}, 2)
