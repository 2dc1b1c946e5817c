import warnings
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import approx_fprime
from scipy.signal import lfilter
from statsmodels.tsa.arima.model import ARIMA as Theirs
from statsmodels.tsa.statespace.sarimax import SARIMAX
from statsmodels.tsa.stattools import kpss as their_kpss

from tsforge.errors import ArgumentError, ArtifactError, FrameError
from tsforge.estimators.estimator import estimator, from_recipe
from tsforge.local.arima import ARIMA
from tsforge.local.arima_differences import differences, kpss
from tsforge.local.arima_exact import AR, exact, stationary
from tsforge.local.arima_search import Candidate, Order, Search, _errors, is_far
from tsforge.local.base import Covariates

pytestmark = pytest.mark.filterwarnings("ignore")  # statsmodels' own, of starts and of frequencies


def simulated(steps: int, ar=(), ma=(), seed=0, m=1, seasonal_ma=()) -> np.ndarray:
    e = np.random.default_rng(seed).normal(size=steps + 200)
    below = np.zeros(1 + m * len(seasonal_ma))
    below[0], below[m::m] = 1, seasonal_ma
    return lfilter(np.convolve([1, *ma], below), [1, *(-a for a in ar)], e)[200:]


def theirs(y, order, seasonal=(0, 0, 0, 0), exog=None):
    return SARIMAX(y, exog=exog, order=order, seasonal_order=seasonal)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize(
    ("order", "seasonal"), [((2, 1, 1), (1, 0, 1)), ((1, 0, 2), (0, 1, 1)), ((0, 2, 1), (0, 0, 0))])
def test_all_cutoffs_by_one_pass_are_what_statsmodels_says_of_each_history(order, seasonal, missing):
    y = simulated(90, ar=(0.6,), seed=1).cumsum() + 3 * np.sin(np.arange(90) * 2 * np.pi / 6)
    if missing:
        y[[20, 41, 42]] = np.nan
    model = ARIMA(5, season=6, order=order, seasonal_order=seasonal)
    state = model.fit(y[:70, None])
    cutoffs = np.array([40, 42, 69, 89])
    found = model.forecast(y[:, None], cutoffs, state)[..., 0]
    for forecast, cutoff in zip(found, cutoffs, strict=True):
        known = theirs(y[: cutoff + 1], order, (*seasonal, 6)).filter(np.append(state["0/coefficients"], 1.0))
        assert_allclose(forecast, known.forecast(5), atol=1e-4 * np.nanstd(y))


def test_a_given_order_is_fitted_as_statsmodels_fits_it():
    y = 50 + simulated(150, ar=(0.5, 0.2), ma=(0.4,), seed=2)
    model = ARIMA(8, order=(2, 0, 1))
    result = Theirs(y, order=(2, 0, 1)).fit()
    found = model.forecast(y[:, None], np.array([149]), model.fit(y[:, None]))[0, :, 0]
    assert_allclose(found, result.forecast(8), atol=0.01)
    assert np.abs(found - Theirs(y, order=(1, 0, 0)).fit().forecast(8)).max() > 0.05  # the control


def test_covariates_known_ahead_are_regressors():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(130, 2))
    y = 30 * x[:, 0] - 20 * x[:, 1] + simulated(130, ar=(0.7,), seed=3)
    model, until = ARIMA(6, order=(1, 0, 0)), np.array([119])
    found = model.forecast(y[:120, None], until, model.fit(y[:120, None], Covariates(known=x)), Covariates(known=x))
    exog = np.column_stack([np.ones(130), x])
    known = theirs(y[:120], (1, 0, 0), exog=exog[:120]).fit(disp=False).forecast(6, exog=exog[120:126])
    assert_allclose(found[0, :, 0], known, atol=0.01)
    blind = ARIMA(6).forecast(y[:120, None], until, ARIMA(6).fit(y[:120, None]))
    assert np.abs(found[0, :, 0] - y[120:126]).mean() < np.abs(blind[0, :, 0] - y[120:126]).mean() / 2


def test_covariates_that_a_step_lacks_or_that_never_change_do_no_harm():
    x = np.ones((130, 2))
    x[7, 1] = np.nan
    y = simulated(120, ar=(0.7,))[:, None]
    model = ARIMA(6)
    state = model.fit(y, Covariates(known=x))
    assert np.isfinite(model.forecast(y, np.array([119]), state, Covariates(known=x))).all()


def test_it_finds_a_planted_autoregression_and_a_planted_seasonal_order():
    # AICc takes a parameter too many in one series of six or so, however long: three of four must be exact
    states = [ARIMA(1).fit(simulated(1000, ar=(1.2, -0.6), seed=s)[:, None]) for s in range(4)]
    exact = [state for state in states if tuple(state["0/order"]) == (2, 0, 0, 0, 0, 0, 0)]
    assert len(exact) >= 3
    assert_allclose([state["0/coefficients"] for state in exact], [(1.2, -0.6)] * len(exact), atol=0.06)
    apart = np.convolve([1, -1], [1, *[0] * 11, -1])
    series = [lfilter([1], apart, simulated(480, ma=(-0.5,), m=12, seasonal_ma=(-0.6,), seed=s)) for s in range(4)]
    orders = [tuple(ARIMA(1, season=12).fit(y[:, None])["0/order"]) for y in series]
    assert orders.count((0, 1, 1, 0, 1, 1, 0)) >= 3


@pytest.mark.parametrize("seed", [1, 4, 8])
def test_its_aicc_is_no_worse_than_that_of_a_grid_fitted_by_statsmodels(seed):
    y = simulated(120, ar=[(1.2, -0.5), (0.5,), (0.6,)][seed % 3], ma=[(0.4,), (), (0.7,)][seed % 3], seed=seed)
    model = ARIMA(1, seasonal_order=(0, 0, 0))
    state = model.fit(y[:, None])
    order = Order(*state["0/order"].tolist())
    y = (y - y.mean()) / y.std()

    def aicc(p: int, q: int, constant: int, given=None) -> float:
        their = SARIMAX(y, exog=np.ones(120) if constant else None, order=(p, order.d, q), concentrate_scale=True,
                        simple_differencing=True)
        k, n = p + q + constant + 1, 120 - order.d
        given = given if given is not None else their.fit(disp=False, return_params=True) if k > 1 else np.zeros(0)
        return -2 * their.loglike(given) + 2 * k + 2 * k * (k + 1) / (n - k - 1)

    ours = aicc(order.p, order.q, order.constant, state["0/coefficients"])
    grid = [aicc(*each) for each in product(range(3), range(3), range(2 - order.d))]
    assert ours <= min(grid) + 0.01
    assert sorted(grid)[1] > ours - 2  # the grid has others near, so that the comparison says something


def test_no_order_one_step_away_is_better_where_the_search_ends():
    y = simulated(200, ar=(0.4, 0.3), ma=(0.5,), seed=7)
    search, free = Search(y / y.std(), np.zeros((200, 0)), 6), (True, True)
    best = search.best(Order(0, 0, 0), free)[0]
    scores = [search.candidate(order).score for order in search.around(best.order, free)]
    low = product((0, 1, 2), (0, 1, 2), (0, 1), (0, 1))
    grid = [search.candidate(Order(p, 0, q, P, 0, Q, 1)).score for p, q, P, Q in low]
    assert len(scores) > 8
    assert best.score <= min(scores + grid)
    assert best.score < max(grid) - 10


def test_the_derivatives_of_the_errors_are_their_slopes():
    y, order = simulated(60, seed=8), Order(2, 0, 1, 1, 0, 2)
    at = np.array([0.3, -0.2, 0.4, 0.2, -0.3, 0.1])
    slopes = _errors(y, at, order, 4)[1]
    assert_allclose(slopes, approx_fprime(at, lambda c: _errors(y, c, order, 4)[0], 1e-7), atol=1e-5)


def test_differences_follow_the_unit_root_test_and_the_strength_of_the_season():
    noise = simulated(300, seed=9)
    assert_allclose(kpss(noise.cumsum()), their_kpss(noise.cumsum(), "c", nlags=int(3 * 300**0.5 / 13))[0], rtol=1e-9)
    wave = 5 * np.sin(2 * np.pi * np.arange(300) / 12)
    found = [differences(y, 12) for y in (noise, noise.cumsum(), noise.cumsum().cumsum(), noise + wave)]
    assert found == [(0, 0), (1, 0), (2, 0), (0, 1)]


def test_seasonal_differences_that_are_given_are_no_question():
    steps = 5 * np.random.default_rng(0).normal(size=(40, 12))
    season, wave = steps.cumsum(axis=0).ravel(), 5 * np.sin(2 * np.pi * np.arange(480) / 12)
    wave += simulated(480, seed=9)
    assert [differences(season, 12, given)[1] for given in (0, 1)] == [0, 1]
    assert differences(wave, 12) == (0, 1)  # the control: asked, the test gives one
    assert differences(wave, 12, 0) == (0, 0)
    model = ARIMA(1, season=12, seasonal_order=(1, 0, 0))
    assert model.fit(wave[:, None])["0/order"][[1, 4]].tolist() == [0, 0]


def test_leading_missing_steps_say_nothing():
    y = simulated(120, ar=(0.7,), seed=4)[:, None] + 5
    model = ARIMA(4, season=6)
    known, late = model.fit(y), model.fit(np.concatenate([np.full((50, 1), np.nan), y]))
    assert {*known} == {*late}
    for name in known:
        assert_array_equal(known[name], late[name])
    level = model.fit(np.concatenate([np.full((50, 1), y.mean()), y]))  # the control: steps at the mean say something
    assert not np.array_equal(known["0/coefficients"], level["0/coefficients"])


WILD = {
    "growth": np.exp(0.5 * np.arange(60)), "line": 1e-3 * np.arange(40), "bang": np.cumprod(np.full(60, -1.3)),
    "turns": np.tile([1.0, -1], 30), "jump": np.r_[np.zeros(39), 1.0], "spike": np.r_[np.zeros(30), 1e9, np.ones(30)],
}


@pytest.mark.parametrize("order", [(3, 0, 0), (5, 0, 5), (2, 1, 2), None])
@pytest.mark.parametrize("name", WILD)
def test_what_it_learns_of_a_wild_series_can_be_opened_and_stays_near_it(name, order):
    y, model = WILD[name][:, None], ARIMA(4, order=order)
    state = model.fit(y)
    model.check(state, 1)
    found = model.forecast(y, np.arange(len(y)), state)
    assert np.isfinite(found).all()
    assert np.abs(found[-1]).max() < 20 * np.abs(y).max()


def test_roots_on_the_unit_circle_are_drawn_off_it():
    y = WILD["growth"]
    y = (y - y.mean()) / y.std()
    order, none = Order(3, 0, 0, constant=1), np.zeros((60, 0))
    best = exact(y, none, 1, Search(y, none, 1).candidate(order), 50)
    assert not is_far(best.coefficients, order, 1.0, AR)  # the control: the maximum itself lies there
    assert is_far(stationary(best).coefficients, order, 1.0, AR)
    seasonal = Candidate(0.0, Order(4, 0, 1, 2, 0, 1), np.array([4.0, -6, 4, -1, 0.9, 2, -1, 0.9]), np.zeros(0))
    drawn = stationary(seasonal)
    assert is_far(drawn.coefficients, drawn.order, 1.0, AR)  # though a root of four is found roughly
    assert_array_equal(drawn.coefficients[[4, 7]], [0.9, 0.9])  # moving averages are left
    calm = seasonal._replace(coefficients=np.array([0.3, 0, 0, 0, 0.9, 0.5, 0, 0.9]))
    assert stationary(calm) is calm


def test_a_lag_stands_in_one_part_alone():
    with pytest.raises(ValueError, match="both the seasonal and non-seasonal"):
        theirs(np.arange(40.0), (0, 0, 4), (0, 0, 1, 4))  # the control: statsmodels takes no such order
    for order, seasonal in (((0, 0, 4), (0, 0, 1)), ((5, 0, 0), (1, 0, 0))):
        with pytest.raises(ArgumentError, match="reaches the season of 4 steps"):
            ARIMA(1, season=4, order=order, seasonal_order=seasonal)
        ARIMA(1, season=6, order=order, seasonal_order=seasonal)
    y = np.arange(40.0)[:, None] ** 2
    assert np.isfinite(ARIMA(4, season=4).fit(y)["0/coefficients"]).all()
    search = Search(simulated(80, ar=(0.5,)), np.zeros((80, 0)), 4)
    scores = [search.candidate(Order(p, 0, q, P, 0, Q)).score for p, q, P, Q in [(4, 0, 1, 0), (0, 4, 0, 1)]]
    assert np.isinf(scores).all()
    assert np.isfinite(search.candidate(Order(4, 0, 0, 0, 0, 1)).score)


def test_a_given_seasonal_order_needs_few_seasons():
    y = simulated(45, ar=(0.5,), seed=2)[:, None]
    model = ARIMA(4, season=30, seasonal_order=(0, 1, 1))
    assert np.isfinite(model.forecast(y, np.array([44]), model.fit(y))).all()


def test_orders_are_lists_after_a_recipe_and_mean_the_same():
    made = estimator("arima")(h=2, order=(1, 0, 1))
    again = from_recipe(made.to_recipe())
    y, end = simulated(60, ar=(0.5,))[:, None], np.array([59])
    ours, known = (ARIMA(2, order=one.order) for one in (again, made))
    assert_array_equal(ours.forecast(y, end, ours.fit(y)), known.forecast(y, end, known.fit(y)))
    assert ours.order == (1, 0, 1)


def test_a_long_series_keeps_the_estimates_of_conditional_least_squares():
    y = simulated(2500, ar=(0.8,), seed=10)[:, None]
    model = ARIMA(3, order=(1, 0, 0))
    exactly = theirs(y[:, 0] - y.mean(), (1, 0, 0)).fit(disp=False).params[0]
    assert_allclose(model.fit(y)["0/coefficients"][-1], exactly, atol=1e-3)


def test_a_history_that_begins_elsewhere_at_another_level_is_forecast_by_the_same_recursion():
    y = simulated(200, ar=(0.5,), seed=11).cumsum()[:, None]
    model = ARIMA(4, order=(1, 1, 0))
    state, end = model.fit(y), np.array([199])
    late = model.forecast(y[50:] + 1e7, end - 50, state)
    assert_allclose(late - 1e7, model.forecast(y, end, state), atol=1e-4)


@pytest.mark.parametrize(
    "y", [np.full(40, 7.0), np.arange(40.0), np.tile([1.0, 5, 2], 14)[:40], 1e9 + np.arange(40.0) % 7])
def test_series_without_noise_are_continued(y):
    model = ARIMA(6, season=3)
    found = model.forecast(y[:, None], np.array([39]), model.fit(y[:, None]))[0, :, 0]
    assert np.isfinite(found).all()
    if np.ptp(np.diff(y)) < 1e-9:
        assert_allclose(found, y[-1] + np.arange(1, 7) * (y[1] - y[0]), atol=1e-3)


@pytest.mark.parametrize(("steps", "order"), [(4, None), (6, (0, 2, 0)), (0, (1, 0, 0))])
def test_too_few_steps_are_an_error(steps, order):
    values = np.concatenate([np.full((5, 1), np.nan), np.random.default_rng(0).normal(size=(steps, 1))])
    with pytest.raises(FrameError, match=f"^{steps} observed training steps are too few for ARIMA"):
        ARIMA(1, order=order).fit(values)


@pytest.mark.parametrize("wrong", [{"order": (1, 0)}, {"order": (1, 3, 0)}, {"order": (1, -1, 0)},
                                   {"seasonal_order": (1, 0, 0)}, {"order": (True, 0, 0)}])
def test_orders_that_cannot_work_are_refused(wrong):
    with pytest.raises(ArgumentError, match=next(iter(wrong))):
        ARIMA(1, **wrong)


@pytest.mark.parametrize("change", [{"0/order": np.array([1, 0, 0, 0, 0, 0])},
                                    {"0/order": np.array([1, 9, 0, 0, 0, 0, 0])},
                                    {"0/coefficients": np.array([0.1])}, {"0/coefficients": np.array([0.1, 1.2])},
                                    {"0/coefficients": np.array([0.1, np.nan])}, {"y/scale": np.zeros(2)},
                                    {"known/loc": np.zeros(1)}])
def test_a_state_that_fit_cannot_have_made_is_refused(change):
    model = ARIMA(1, order=(1, 0, 0))
    state = dict(model.fit(simulated(60, ar=(0.5,))[:, None]))
    model.check(state, 1)
    with pytest.raises(ArtifactError):
        model.check(state | change, 1)


def test_channels_are_forecast_by_themselves():
    y = np.column_stack([simulated(80, ar=(0.6,), seed=s) for s in (1, 2)])
    model, cutoffs = ARIMA(3, season=4), np.array([60, 79])
    both = model.forecast(y, cutoffs, model.fit(y))
    assert_array_equal(both[..., 1:], model.forecast(y[:, 1:], cutoffs, model.fit(y[:, 1:])))


def test_warnings_of_statsmodels_do_not_reach_the_user():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = 1e9 + np.random.default_rng(0).normal(size=(30, 1)).cumsum(axis=0)
        model = ARIMA(2, season=5)
        model.forecast(y, np.array([3, 29]), model.fit(y))
