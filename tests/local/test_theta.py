import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from statsmodels.tsa.forecasting.theta import ThetaModel
from statsmodels.tsa.seasonal import seasonal_decompose

from tsforge.errors import ArtifactError, FrameError
from tsforge.local.theta import ADDED, MULTIPLIED, Theta, is_seasonal, seasonal_indices


def seasonal(steps: int = 90, m: int = 6, level: float = 20, seed: int = 0) -> np.ndarray:
    t, noise = np.arange(steps), np.random.default_rng(seed).normal(size=steps)
    return level + 0.05 * t + 3 * np.sin(2 * np.pi * t / m) + 0.4 * noise + 0.2 * noise.cumsum()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("m", [4, 7])
@pytest.mark.parametrize("level", [20, 0])
def test_it_is_the_theta_model_of_statsmodels(m, level):
    y, model = seasonal(83, m, level), Theta(9, season=m)
    state = model.fit(y[:, None])
    their = ThetaModel(y, period=m).fit()
    assert state["kind"][0] == (MULTIPLIED if level else ADDED)
    assert_allclose(state["alpha"][0], their.params["alpha"], atol=2e-3)
    assert_allclose(state["slope"][0], their.params["b0"], rtol=1e-9)
    found = model.forecast(y[:, None], np.array([82]), state | {"alpha": np.array([their.params["alpha"]])})
    assert_allclose(found[0, :, 0], their.forecast(9), rtol=1e-9)


def test_every_cutoff_is_the_formula_of_the_steps_before_it():
    y, model = seasonal(60), Theta(5)
    state = model.fit(y[:50, None])
    alpha, slope = state["alpha"][0], state["slope"][0]
    for cutoff in (3, 49, 59):
        level = y[0]
        for value in y[1 : cutoff + 1]:
            level += alpha * (value - level)
        age = sum((1 - alpha) ** i for i in range(cutoff + 1))
        expected = level + slope / 2 * (np.arange(5) + age)
        assert_allclose(model.forecast(y[:, None], np.array([cutoff]), state)[0, :, 0], expected, rtol=1e-9)


@pytest.mark.parametrize(("kind", "word"), [(ADDED, "additive"), (MULTIPLIED, "multiplicative")])
@pytest.mark.parametrize("m", [4, 7])
def test_the_indices_at_every_cutoff_are_a_classical_decomposition_of_the_steps_before_it(kind, word, m):
    y = seasonal(70, m)
    cutoffs = np.array([2 * m - 1, 2 * m, 40, 69])
    for found, cutoff in zip(seasonal_indices(y, m, kind, cutoffs), cutoffs, strict=True):
        assert_allclose(found, seasonal_decompose(y[: cutoff + 1], word, period=m).seasonal[:m], rtol=1e-9)


def test_the_autocorrelation_tells_a_season_from_noise():
    noise = np.random.default_rng(0).normal(size=200)
    assert is_seasonal(noise + 2 * np.sin(np.arange(200) * 2 * np.pi / 12), 12)
    assert not is_seasonal(noise, 12)


def test_a_history_at_another_phase_is_forecast_at_that_phase():
    y, model = 10 + np.tile([0.0, 5, 1, 8], 30), Theta(4, season=4)
    state = model.fit(y[:80, None])
    found = model.forecast(y[3:, None], np.array([100, 116]), state)[..., 0]
    assert_allclose(found, [y[104:108], y[:4]], atol=0.2)  # step 120 begins a season


def test_missing_steps_are_carried_forward_and_leading_ones_are_unknown():
    y = seasonal(60)[:, None]
    gaps, filled = y.copy(), y.copy()
    gaps[[0, 1, 30]], filled[30] = np.nan, y[29]
    model = Theta(3, season=6)
    found = model.forecast(gaps, np.array([1, 59]), model.fit(gaps))
    assert np.isnan(found[0]).all()
    assert_array_equal(found[1:], model.forecast(filled[2:], np.array([57]), model.fit(filled[2:])))


@pytest.mark.parametrize("y", [np.full(30, 7.0), np.zeros(30), 1e9 + np.arange(30.0) % 5, -np.arange(30.0)])
def test_series_without_noise_are_finite_and_a_constant_stays(y):
    model = Theta(4, season=5)
    found = model.forecast(y[:, None], np.array([0, 3, 29]), model.fit(y[:, None]))
    assert np.isfinite(found).all()
    if np.ptp(y) == 0:
        assert_array_equal(found, y[0])


@pytest.mark.parametrize("unit", [1e150, 1e-150])
def test_the_unit_of_a_series_does_not_matter(unit):
    y, model, end = seasonal(60), Theta(4, season=6), np.array([59])
    plain, scaled = (model.forecast(each, end, model.fit(each)) for each in (y[:, None], unit * y[:, None]))
    assert_allclose(scaled / unit, plain, rtol=1e-6)
    assert np.ptp(plain) > 3  # the control: with a season, which the test of autocorrelation must find
    assert model.fit(unit * y[:, None])["kind"][0] == MULTIPLIED


def test_too_few_steps_are_an_error():
    with pytest.raises(FrameError, match="3 observed training steps are too few for Theta"):
        Theta(1).fit(np.array([[1.0], [np.nan], [2], [4]]))


@pytest.mark.parametrize("change", [{"alpha": np.zeros(1)}, {"alpha": np.ones(2)}, {"slope": np.array([np.inf])},
                                    {"kind": np.array([3])}, {"kind": np.array([0.0])}])
def test_a_state_that_fit_cannot_have_made_is_refused(change):
    model = Theta(1)
    state = dict(model.fit(seasonal()[:, None]))
    model.check(state, 1)
    with pytest.raises(ArtifactError):
        model.check(state | change, 1)
