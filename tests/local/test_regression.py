import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import tsforge
from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local.base import Covariates
from tsforge.local.packing import packed, unpacked
from tsforge.local.ridge import Ridge


def autoregression(steps: int, weights=(1.2, -0.5), noise=0.1, seed=0, channels=1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y = rng.normal(size=(steps, channels))
    for t in range(2, steps):
        y[t] = weights[0] * y[t - 1] + weights[1] * y[t - 2] + noise * rng.normal(size=channels)
    return 5 + y


def standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean(0)) / values.std(0)


def test_a_recursive_forecast_is_the_regression_asked_again_with_its_own_answers():
    values = autoregression(80)
    model = Ridge(3, lags=[1, 3], alpha=0.1)
    state = model.fit(values)
    y = standard(values)[:, 0]
    for cutoff in (5, 40, 79):
        seen = list(y[: cutoff + 1])
        for _ in range(3):
            seen.append(np.array([seen[-1], seen[-3]]) @ state["0/1/weights"] + state["0/1/bias"])
        expected = np.array(seen[-3:]) * values.std() + values.mean()
        assert_allclose(model.forecast(values, np.array([cutoff]), state)[0, :, 0], expected, rtol=1e-12)


def test_a_direct_forecast_has_a_regression_for_each_step_on_lags_covariates_and_the_known_future():
    values, rng = autoregression(90), np.random.default_rng(1)
    covariates = Covariates(rng.normal(size=(90, 2)), rng.normal(size=(90, 1)))
    model = Ridge(2, lags=2, strategy="direct", alpha=1.0)
    state = model.fit(values, covariates)
    y, past, known = standard(values)[:, 0], standard(covariates.past), standard(covariates.known)
    for k in (1, 2):
        origins = np.arange(1, 90 - k)
        known_ahead = known[np.minimum(origins[:, None] + [1, 2], 89), 0]
        x = np.column_stack([y[origins], y[origins - 1], past[origins], known_ahead])
        centred, target = x - x.mean(0), y[origins + k] - y[origins + k].mean()
        weights = np.linalg.solve(centred.T @ centred + np.eye(6), centred.T @ target)
        assert_allclose(state[f"0/{k}/weights"], weights, rtol=1e-9)
    row = np.concatenate([y[[50, 49]], past[50], known[[51, 52], 0]])
    second = row @ state["0/2/weights"] + state["0/2/bias"]
    found = model.forecast(values, np.array([50]), state, covariates)[0, 1, 0]
    assert_allclose(found, second * values.std() + values.mean(), rtol=1e-12)


def test_lags_of_all_channels_find_a_driver_that_own_lags_cannot():
    rng = np.random.default_rng(0)
    driver = rng.normal(size=300)
    values = np.column_stack([driver, np.roll(driver, 1)])  # the second repeats the first a step later
    cutoffs = np.arange(200, 298)
    truth = values[cutoffs + 1, 1]

    def error(channels: str) -> float:
        model = Ridge(1, lags=2, channels=channels)
        return float(np.abs(model.forecast(values, cutoffs, model.fit(values[:200]))[:, 0, 1] - truth).mean())

    assert error("mixed") < 0.05 < 0.5 < error("independent")


def test_a_missing_step_is_carried_forward_and_never_a_target():
    values = autoregression(60)
    gap = values.copy()
    gap[30] = np.nan
    filled = gap.copy()
    filled[30] = gap[29]
    model = Ridge(1, lags=1, alpha=0.0)
    loc, scale = np.nanmean(gap), np.nanstd(gap)
    y = (filled[:, 0] - loc) / scale
    rows = np.delete(np.arange(59), 29)  # the origin of step 30
    slope = np.cov(y[rows], y[rows + 1], bias=True)[0, 1] / y[rows].var()
    assert_allclose(model.fit(gap)["0/1/weights"], [slope], rtol=1e-9)


def test_the_embedding_takes_delays_from_the_training_rows():
    t = np.arange(2000.0)[:, None]
    state = Ridge(1, lags="embedding").fit(np.sin(t / 5))
    lags = state["0/lags"]
    assert len(lags) == 2  # a circle lies in two dimensions
    assert lags[0] == 1
    assert lags[1] - 1 in (7, 8)  # a quarter of a period


@pytest.mark.parametrize("lags", [0, -1, True, [], [1, 1], [0, 1], "season"])
def test_lags_that_are_none_are_refused(lags):
    with pytest.raises(ArgumentError, match="lags="):
        Ridge(1, lags=lags)


def test_too_few_steps_are_an_error_that_names_the_series():
    table = pl.DataFrame({"unique_id": ["long"] * 60 + ["short"] * 4,
                          "ds": [*range(60), *range(4)], "y": np.random.default_rng(0).normal(size=64)})
    with pytest.raises(FrameError, match=r"'short'.*too few.*lags up to 3"):
        tsforge.Ridge(h=2, lags=3, val_size=0).fit(table, freq="1i")
    model = tsforge.Ridge(h=2, lags=3, val_size=0, errors="collect").fit(table, freq="1i")
    forecast = model.predict()
    assert forecast.filter(pl.col("unique_id") == "short")["Ridge"].is_nan().all()
    assert forecast.filter(pl.col("unique_id") == "long")["Ridge"].is_finite().all()


def test_processes_give_the_same_forecasts_as_one():
    ids = np.repeat([f"s{i}" for i in range(10)], 40)
    table = pl.DataFrame({"unique_id": ids, "ds": np.tile(np.arange(40), 10),
                          "y": np.random.default_rng(0).normal(size=400).cumsum()})
    forecasts = [tsforge.Ridge(h=2, lags=3, workers=n).fit(table, freq="1i").predict() for n in (1, 2)]
    assert forecasts[0].equals(forecasts[1])


def test_a_series_unseen_in_training_is_fitted_on_what_it_comes_with():
    values = autoregression(120, channels=1)[:, 0]
    table = pl.DataFrame({"unique_id": ["a"] * 60 + ["b"] * 60, "ds": [*range(60)] * 2, "y": values})
    a, b = (table.filter(pl.col("unique_id") == name) for name in "ab")
    other = tsforge.Ridge(h=2, lags=2, val_size=0).fit(a, freq="1i").predict(b)
    own = tsforge.Ridge(h=2, lags=2, val_size=0).fit(b, freq="1i").predict()
    assert_allclose(other["Ridge"], own["Ridge"])


def test_packed_states_come_back():
    states = ({"a": np.array([1.0, 2.0]), "b": np.array(3)}, None, {"a": np.zeros((0, 2)), "c": np.ones((2, 2))})
    back = unpacked(packed(states))
    assert back[1] is None
    for given, found in zip(states, back, strict=True):
        for name in given or ():
            assert_array_equal(found[name], given[name])
            assert found[name].shape == given[name].shape


@pytest.mark.parametrize("damage", ["shorter", "longer", "shape", "name", "failed"])
def test_packed_states_that_do_not_fit_are_refused(damage):
    arrays = packed([{"a": np.arange(3.0)}, {"a": np.arange(2.0)}])
    if damage == "shorter":
        arrays["a/values"] = arrays["a/values"][:-1]
    elif damage == "longer":
        arrays["a/values"] = np.append(arrays["a/values"], 1.0)
    elif damage == "shape":
        arrays["a/shapes"][0, 1] = 10**9
    elif damage == "name":
        arrays["b/values"] = np.zeros(1)
    else:
        arrays["failed"] = arrays["failed"].astype(float)
    with pytest.raises(ArtifactError):
        unpacked(arrays)


@pytest.mark.parametrize("change", [{"0/1/weights": np.zeros(9)}, {"0/1/bias": np.array(np.nan)},
                                    {"0/lags": np.array([0, 1])}, {"y/loc": np.zeros(2)}])
def test_a_state_that_fit_cannot_have_made_is_refused(change):
    model = Ridge(1, lags=2)
    state = dict(model.fit(autoregression(40)))
    model.check(state, 1)
    with pytest.raises(ArtifactError):
        model.check(state | change, 1)
