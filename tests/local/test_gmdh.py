from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local import gmdh
from tsforge.local.gmdh import GMDH, grown, pruned


def quadratic(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return 1 + 2 * u - v + 0.5 * u * v


def inputs(rows: int = 200, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, size=(rows, 8))


def test_a_planted_quadratic_of_two_inputs_among_eight_is_recovered_exactly_in_one_layer():
    x, other = inputs(), inputs(seed=1)
    model = GMDH(1)
    learned = model.learn(x, quadratic(x[:, 2], x[:, 5]))
    assert_array_equal(learned["inputs"], [[2, 5]])
    assert_allclose(learned["weights"][0], [1, 2, -1, 0, 0, 0.5], atol=1e-6)
    assert_allclose(model.answer(other, learned), quadratic(other[:, 2], other[:, 5]), atol=1e-6)


def test_a_product_of_two_pairs_takes_a_second_layer_that_reads_both():
    x, other = inputs(), inputs(seed=1)

    def product(x: np.ndarray) -> np.ndarray:
        return (1 + x[:, 0] * x[:, 1]) * (2 - x[:, 2] * x[:, 3])

    def r2(answers: np.ndarray) -> float:
        return 1 - np.mean((answers - product(other)) ** 2) / product(other).var()

    model = GMDH(1)
    learned = model.learn(x, product(x))
    assert len(learned["sizes"]) == 2
    assert {*learned["inputs"][:2].ravel()} == {0, 1, 2, 3}
    assert r2(model.answer(other, learned)) > 0.95
    first = learned | {"sizes": np.array([1]), "inputs": learned["inputs"][:1], "weights": learned["weights"][:1]}
    assert r2(model.answer(other, first)) < 0.8  # the control: no layer of one neuron does


def test_on_noise_it_does_not_grow_and_the_plain_rule_does():
    rng = np.random.default_rng(0)
    sure, plain = GMDH(1), GMDH(1, standard_errors=0.0)
    layers: dict[str, list[int]] = {"sure": [], "plain": [], "planted": []}
    for _ in range(20):
        x, noise = rng.uniform(-1, 1, size=(200, 8)), rng.normal(size=200)
        layers["sure"].append(len(sure.learn(x, noise)["sizes"]))
        layers["plain"].append(len(plain.learn(x, noise)["sizes"]))
        layers["planted"].append(len(sure.learn(x, quadratic(x[:, 2], x[:, 5]) + 0.3 * noise)["sizes"]))
    assert np.mean(np.array(layers["sure"]) == 0) >= 0.85
    assert np.mean(np.array(layers["planted"]) == 1) >= 0.75
    assert np.mean(layers["plain"]) > 1


@pytest.mark.parametrize("at_once", [1, 1 << 20])
def test_a_layer_keeps_the_pairs_with_the_least_errors_on_rows_that_did_not_fit_them(at_once, monkeypatch):
    monkeypatch.setattr(gmdh, "AT_ONCE", at_once)
    x = inputs(80)
    y = quadratic(x[:, 2], x[:, 5]) + 0.3 * np.random.default_rng(1).normal(size=80)
    by_hand = []
    for i, j in combinations(range(8), 2):
        u, v = x[:, i], x[:, j]
        terms = np.column_stack([np.ones(80), u, v, u * u, v * v, u * v])
        weights = np.linalg.lstsq(terms[::2], y[::2])[0]
        by_hand.append((np.mean((terms[1::2] @ weights - y[1::2]) ** 2), (i, j), weights))
    by_hand.sort(key=lambda neuron: neuron[0])
    kept, weights = grown(x, y, 5, 2.0, np.array([-1e3, 1e3]))[0]
    assert [tuple(pair) for pair in kept] == [pair for _, pair, _ in by_hand[:5]]
    assert_allclose(weights, [weights for _, _, weights in by_hand[:5]], atol=1e-5)
    fit_on_all = np.linalg.lstsq(np.column_stack([x[:, 2] ** k for k in range(3)]), y)[0]
    assert not np.allclose(fit_on_all[:2], weights[0, :2], atol=1e-5)  # the control


def test_without_the_neurons_that_it_does_not_read_the_answer_is_the_same():
    x = inputs()
    y = np.exp(x[:, :5].sum(1))
    layers = grown(x, y, 10, 0.0, np.array([-1e3, 1e3]))
    assert len(layers) > 2
    fewer = pruned(layers)
    assert sum(len(weights) for _, weights in fewer) < sum(len(weights) for _, weights in layers)

    def outputs(layers) -> np.ndarray:
        z = x
        for pairs, weights in layers:
            u, v = z[:, pairs[:, 0]], z[:, pairs[:, 1]]
            z = np.stack([np.ones_like(u), u, v, u * u, v * v, u * v], -1)
            z = np.clip((z * weights).sum(-1), -1e3, 1e3)
        return z[:, 0]

    assert_allclose(outputs(fewer), outputs(layers), rtol=1e-12)


def test_a_polynomial_that_is_fed_its_own_answers_does_not_run_away():
    growth = (np.exp(np.arange(60) / 6) + 0.1 * np.random.default_rng(0).normal(size=60))[:, None]
    model = GMDH(300, lags=2)
    state = model.fit(growth)
    reach = growth.max() + gmdh.MARGIN * np.ptp(growth)
    forecast = model.forecast(growth, np.array([59]), state)
    assert growth.max() < forecast.max() <= reach * (1 + 1e-12)
    free = dict(state) | {"0/1/bounds": np.array([-1e300, 1e300]), "0/1/high": np.full(2, 1e300)}
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.abs(model.forecast(growth, np.array([59]), free)).max() < 10 * reach  # the control


def test_one_feature_is_paired_with_itself():
    x = inputs()[:, :1]
    model = GMDH(1)
    assert_allclose(model.answer(x, model.learn(x, 1 + x[:, 0] ** 2)), 1 + x[:, 0] ** 2, atol=1e-6)


def test_too_few_rows_are_refused():
    with pytest.raises(FrameError, match=r"11 observed training steps .* too few"):
        GMDH(1).learn(inputs(11), np.arange(11.0))
    GMDH(1).learn(inputs(12), np.arange(12.0))


@pytest.mark.parametrize("wrong", [{"neurons": 0}, {"standard_errors": -1.0}, {"standard_errors": np.inf}])
def test_a_number_out_of_range_is_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        GMDH(1, **wrong)


def whole() -> dict[str, np.ndarray]:
    return {"sizes": np.array([2, 1]), "inputs": np.array([[0, 2], [1, 1], [0, 1]]), "weights": np.zeros((3, 6)),
            "low": np.zeros(3), "high": np.ones(3), "bounds": np.zeros(2), "mean": np.array(0.0)}


@pytest.mark.parametrize("change", [
    {"inputs": np.array([[0, 3], [1, 1], [0, 1]])}, {"inputs": np.array([[0, 2], [1, 1], [0, 2]])},
    {"inputs": np.array([[0, 2], [1, 1], [0, -1]])}, {"inputs": np.zeros((3, 2))}, {"inputs": np.zeros((2, 2), int)},
    {"sizes": np.array([1, 2])}, {"sizes": np.array([2, 1, 0])}, {"sizes": np.array([2])},
    {"sizes": np.array([[2, 1]])},
    {"sizes": np.array([], dtype=int)}, {"sizes": np.array([2**62, 2**62, 2**62, 2**62, 3])},
    {"weights": np.full((3, 6), np.nan)}, {"weights": np.zeros((3, 5))}, {"low": np.zeros(2)}, {"high": np.zeros(4)},
    {"bounds": np.zeros(1)}, {"mean": np.array(np.inf)},
])
def test_a_state_that_fit_cannot_have_made_is_refused(change):
    model = GMDH(1)
    model.check_learned(whole(), 3)
    with pytest.raises(ArtifactError):
        model.check_learned(whole() | change, 3)
    with pytest.raises(ArtifactError):
        model.check_learned({name: array for name, array in whole().items() if name not in change}, 3)
