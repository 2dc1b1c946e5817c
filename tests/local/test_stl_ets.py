import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.forecasting.stl import STLForecast

from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.local.ets import ETS, channel
from tsforge.local.exponential import has_weight, smoother_of
from tsforge.local.stl_ets import STLETS


def seasonal(steps: int = 90, m: int = 7, seed: int = 0) -> np.ndarray:
    t, noise = np.arange(steps), np.random.default_rng(seed).normal(size=steps)
    return 20 + 0.05 * t + 3 * np.sin(2 * np.pi * t / m) + 0.4 * noise + 0.2 * noise.cumsum()


@pytest.mark.parametrize(("word", "arguments"), [("ANN", {}), ("AAdN", {"trend": "add", "damped_trend": True})])
@pytest.mark.parametrize("options", [{}, {"robust": True, "window": 11}])
def test_it_is_the_stl_forecast_of_statsmodels(word, arguments, options):
    y, model = seasonal(), STLETS(10, season=7, model=word, **options)
    state = model.fit(y[:, None])
    found = model.forecast(y[:, None], np.array([89]), state)[0, :, 0]
    smoother = smoother_of(channel(state, 0), 1)  # their optimiser goes on from our maximum and finds no other
    start = [*smoother.weights[has_weight(smoother.form)], *smoother.initial[: 1 + bool(arguments)]]
    their = STLForecast(y, ETSModel, model_kwargs=arguments, period=7, seasonal=options.get("window", 7),
                        robust=options.get("robust", False)).fit(fit_kwargs={"disp": False, "start_params": start})
    assert_allclose(found, their.forecast(10), atol=0.02)
    assert np.ptp(found) > 3  # the season is there


def test_every_cutoff_is_a_decomposition_of_the_steps_before_it():
    y, model = seasonal(), STLETS(5, season=7)
    state, cutoffs = model.fit(y[:70, None]), np.array([2, 13, 14, 50, 89])
    together = model.forecast(y[:, None], cutoffs, state)
    for forecast, cutoff in zip(together, cutoffs, strict=True):
        assert_array_equal(forecast, model.forecast(y[: cutoff + 1, None], np.array([cutoff]), state)[0])


def test_a_season_of_one_step_leaves_ets_alone():
    y, end = seasonal(60)[:, None], np.array([59])
    ours, ets = STLETS(4), ETS(4, model="ZZN")
    assert_array_equal(ours.forecast(y, end, ours.fit(y)), ets.forecast(y, end, ets.fit(y)))


def test_a_history_longer_than_a_decomposition_takes_is_forecast_from_its_end():
    y, model = seasonal(1300), STLETS(7, season=7, model="ANN")
    state = model.fit(y[:400, None])
    found = model.forecast(y[:, None], np.array([1299]), state)
    assert_array_equal(found, model.forecast(y[300:, None], np.array([999]), state))
    assert_allclose(found[0, :, 0], y[1293:], atol=3)


@pytest.mark.parametrize("y", [np.full(40, 7.0), np.zeros(40), 1e9 + np.arange(40.0) % 7, np.arange(-20.0, 20)])
def test_series_without_noise_are_continued(y):
    model = STLETS(7, season=7)
    found = model.forecast(y[:, None], np.array([0, 9, 39]), model.fit(y[:, None]))[..., 0]
    assert np.isfinite(found).all()
    if np.ptp(y) != 39:  # not the line
        assert_allclose(found[-1], y[5:12], atol=1e-2)


def test_rounding_that_is_left_of_a_series_is_not_multiplied():
    line, model = 1e-3 * np.arange(40.0), STLETS(4, season=4, model="MMN")
    with pytest.raises(FrameError, match="multiplies"):
        model.fit(line[:, None])
    assert smoother_of(channel(model.fit(line[:, None] + 1), 0), 1).form.multiplies  # the control
    plain = STLETS(4, season=4)
    assert_allclose(plain.forecast(line[:, None], np.array([39]), plain.fit(line[:, None]))[0, :, 0],
                    1e-3 * np.arange(40, 44), atol=1e-5)


def test_missing_steps_are_carried_forward_and_leading_ones_are_unknown():
    y = seasonal(60)[:, None]
    gaps, filled = y.copy(), y.copy()
    gaps[[0, 1, 30]], filled[30] = np.nan, y[29]
    model = STLETS(3, season=7, model="AAN")
    found = model.forecast(gaps, np.array([1, 59]), model.fit(gaps))
    assert np.isnan(found[0]).all()
    assert_array_equal(found[1:], model.forecast(filled[2:], np.array([57]), model.fit(filled[2:])))


@pytest.mark.parametrize("steps", [0, 3, 14])
def test_too_few_steps_are_an_error(steps):
    with pytest.raises(FrameError, match=f"^{steps} observed training steps are too few for STLETS"):
        STLETS(1, season=7).fit(seasonal(40)[:steps, None])


@pytest.mark.parametrize("wrong", [{"model": "ZZZ"}, {"model": "ZN"}, {"window": 8}, {"window": 5}])
def test_arguments_that_cannot_work_are_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        STLETS(1, season=7, **wrong)


def test_a_state_that_fit_cannot_have_made_is_refused():
    model = STLETS(1, season=7)
    state = dict(model.fit(seasonal()[:, None]))
    model.check(state, 1)
    for change in ({"0/form": np.array([0, 0, 1])}, {"0/weights": np.zeros(2)}):
        with pytest.raises(ArtifactError):
            model.check(state | change, 1)
