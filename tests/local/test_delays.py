"""What every model on delay vectors promises; a new one is tested by its row in MODELS."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.gaussian_process.kernels import Matern

from tsforge.errors import ArgumentError, ArtifactError
from tsforge.local.analogs import Analogs
from tsforge.local.delay_ensemble import DelayEnsemble
from tsforge.local.kernel_ar import KernelAR, _solved
from tsforge.local.nvar import NVAR
from tsforge.local.ridge import Ridge

MODELS = {
    "kernel_ar": lambda h, **k: KernelAR(h, **({"delays": 1, "width": (1.0, 4.0), "penalty": (1e-10, 1e-2)} | k)),
    "nvar": lambda h, **k: NVAR(h, **({"delays": 2, "stride": 1, "penalty": (1e-9, 1e-2)} | k)),
    "smap": lambda h, **k: Analogs(h, **({"delays": 1, "stride": 1, "neighbours": 12, "theta": 2.0} | k)),
    "simplex": lambda h, **k: Analogs(
        h, **({"delays": 1, "stride": 1, "neighbours": (2, 4), "method": "simplex"} | k)
    ),
    "delay_ensemble": lambda h, **k: DelayEnsemble(h, **({"delays": (1, 2), "stride": 1, "members": 5} | k)),
    "matern": lambda h, **k: KernelAR(h, **({"delays": 2, "width": 4.0, "penalty": 1e-8, "kernel": "matern"} | k)),
}


def lorenz(steps: int, dt: float = 0.02) -> np.ndarray:
    """x, y, z by the classical Runge-Kutta rule, after a transient."""
    def slope(v: np.ndarray) -> np.ndarray:
        x, y, z = v
        return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    path = np.empty((steps + 300, 3))
    path[0] = 1.0, 2.0, 20.0
    for t in range(1, len(path)):
        v = path[t - 1]
        a = slope(v)
        b = slope(v + dt / 2 * a)
        c = slope(v + dt / 2 * b)
        path[t] = v + dt / 6 * (a + 2 * b + 2 * c + slope(v + dt * c))
    return path[300:]


LORENZ = lorenz(1560)
STARTS = np.arange(1199, 1360, 20)


def valid_steps(model, steps: int = 200) -> float:
    """Steps until the error exceeds 0.4 sd, the median over starts."""
    train = LORENZ[:1200]
    found = model.forecast(LORENZ, STARTS, model.fit(train))
    truth = LORENZ[STARTS[:, None] + np.arange(1, steps + 1)]
    error = np.sqrt((((found - truth) / train.std(0)) ** 2).mean(-1)) > 0.4
    return float(np.median(np.where(error.any(1), error.argmax(1), steps)))


@pytest.mark.parametrize("name", MODELS)
def test_on_noiseless_lorenz_it_is_right_for_lyapunov_times_and_a_linear_model_is_not(name):
    steps_of_a_lyapunov_time = 1 / 0.906 / 0.02
    linear = valid_steps(Ridge(200, lags=8, channels="mixed"))
    assert linear < 0.5 * steps_of_a_lyapunov_time
    assert valid_steps(MODELS[name](200)) > (1.5 if name == "simplex" else 2) * steps_of_a_lyapunov_time


@pytest.mark.parametrize("name", MODELS)
def test_a_forecast_of_two_steps_is_one_step_taken_twice(name):
    train = LORENZ[:400]
    one, two = MODELS[name](1), MODELS[name](2)
    state = one.fit(train)
    if name == "delay_ensemble":  # the median of two steps is not the median taken twice: one member alone
        one, two = (MODELS[name](h, members=1) for h in (1, 2))
        state = one.fit(train)
    first = one.forecast(train, np.array([399]), state)[0]
    second = one.forecast(np.concatenate([train, first]), np.array([400]), state)[0]
    assert_allclose(two.forecast(train, np.array([399]), state)[0], np.concatenate([first, second]), rtol=1e-9)


@pytest.mark.parametrize("name", ["kernel_ar", "nvar", "smap"])
def test_what_fits_worst_in_free_runs_is_not_chosen(name):
    if name == "smap":
        good, bad = 12, 400
        chosen = int(MODELS[name](20, neighbours=(bad, good)).fit(LORENZ[:500])["f/k"])
    else:
        good, bad = 1e-10, 10.0
        chosen = float(MODELS[name](20, penalty=(bad, good)).fit(LORENZ[:500])["f/penalty"])
    assert chosen == good


@pytest.mark.parametrize("name", MODELS)
def test_free_runs_stay_near_the_range_of_training(name):
    rng = np.random.default_rng(0)
    growing = np.cumsum(np.cumsum(rng.normal(size=(60, 1)), axis=0), axis=0)
    model = MODELS[name](500)
    found = model.forecast(growing, np.array([59]), model.fit(growing))
    width = np.ptp(growing)
    assert found.max() <= growing.max() + width * (1 + 1e-9)
    assert found.min() >= growing.min() - width * (1 + 1e-9)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("damage", ["lags", "scale", "part"])
def test_a_state_that_fit_cannot_have_made_is_refused(name, damage):
    model = MODELS[name](2)
    state = dict(model.fit(LORENZ[:100]))
    model.check(state, 3)
    if damage == "lags":
        state[next(key for key in state if key.endswith("lags"))] = np.array([1, 7])
    elif damage == "scale":
        state["scale"] = np.full(3, np.nan)
    else:
        part = next(key for key in state if key.endswith(("f/x", "f/weights")))
        state[part] = state[part][:, :-1]
    with pytest.raises(ArtifactError):
        model.check(state, 3)


def test_kernel_regression_with_every_penalty_is_the_direct_solution():
    train = LORENZ[:80]
    model = KernelAR(1, delays=2, width=1.5, penalty=1e-3)
    state = model.fit(train)
    y = (train - train.mean(0)) / train.std(0)
    x, change = np.concatenate([y[1:-1], y[:-2]], axis=1), y[2:] - y[1:-1]
    apart = np.sqrt(((x[:, None] - x) ** 2).sum(-1))
    kernel = np.exp(-((apart / (1.5 * np.median(apart))) ** 2) / 2)
    weights = np.linalg.solve(kernel + len(x) * 1e-3 * np.eye(len(x)), change)
    assert_allclose(state["f/weights"], weights, rtol=1e-6, atol=1e-9)
    now = np.concatenate([y[-1], y[-2]])
    row = np.exp(-(((x - now) ** 2).sum(-1)) / (2 * (1.5 * np.median(apart)) ** 2))
    expected = (y[-1] + row @ weights) * train.std(0) + train.mean(0)
    assert_allclose(model.forecast(train, np.array([79]), state)[0, 0], expected, rtol=1e-8)


def test_the_matern_kernel_is_that_of_five_halves():
    train, penalty = LORENZ[:80], 1e-3
    model = KernelAR(1, delays=1, width=2.0, penalty=penalty, kernel="matern")
    state = model.fit(train)
    y = (train - train.mean(0)) / train.std(0)
    x, change = y[:-1], y[1:] - y[:-1]
    apart = np.sqrt(((x[:, None] - x) ** 2).sum(-1))
    u = np.sqrt(5) * apart / (2.0 * np.median(apart))
    kernel = (1 + u + u**2 / 3) * np.exp(-u)
    weights = np.linalg.solve(kernel + len(x) * penalty * np.eye(len(x)), change)
    assert_allclose(state["f/weights"], weights, rtol=1e-7, atol=1e-9)
    assert_allclose(kernel, Matern(2.0 * np.median(apart), nu=2.5)(x), rtol=1e-10)
    gaussian = KernelAR(1, delays=1, width=2.0, penalty=penalty).fit(train)["f/weights"]
    assert np.abs(gaussian - weights).max() > 0.1 * np.abs(weights).max()  # the control


@pytest.mark.parametrize("ridge", [1e-12, 1e-4, 1.0])
def test_a_cholesky_factor_and_eigenvectors_give_one_fit(ridge):
    x = LORENZ[:150] / LORENZ.std(0)
    kernel = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 8)
    change = LORENZ[1:151] - LORENZ[:150]
    few, *_ = _solved(kernel, change, [ridge])
    many, *_ = _solved(kernel, change, [ridge] * 20)
    scale = np.abs(change).max()
    assert_allclose(kernel @ few, kernel @ many, atol=1e-5 * scale)
    singular = np.ones((3, 3))
    singular[0, 0] = 1 - 1e-9  # no Cholesky factor
    found, *_ = _solved(singular, np.ones((3, 1)), [1e-12])
    assert np.isfinite(found).all()


def test_only_the_last_rows_are_learned_from_where_there_are_more():
    found = KernelAR(1, delays=1, width=1.0, penalty=1e-6, max_rows=50).fit(LORENZ[:200])
    assert found["f/support"].shape == (50, 3)
    y = (LORENZ[:200] - LORENZ[:200].mean(0)) / LORENZ[:200].std(0)
    assert_allclose(found["f/support"], y[149:199])


def test_a_quadratic_map_is_found_by_products_and_missed_without_them():
    x = np.empty((120, 1))
    x[0] = 0.3
    for t in range(1, 120):
        x[t] = 3.9 * x[t - 1] * (1 - x[t - 1])

    def error(degree: int) -> float:
        model = NVAR(1, delays=1, stride=1, degree=degree, penalty=1e-14)
        cutoffs = np.arange(100, 119)
        return float(np.abs(model.forecast(x, cutoffs, model.fit(x[:100]))[:, 0, 0] - x[cutoffs + 1, 0]).max())

    assert error(2) < 1e-6 < 0.1 < error(1)


def test_more_products_than_can_be_are_refused():
    with pytest.raises(ArgumentError, match="fewer delays"):
        NVAR(1, delays=40, stride=1, degree=3).fit(np.random.default_rng(0).normal(size=(200, 2)))


def test_simplex_is_the_weighted_mean_of_what_followed():
    train = LORENZ[:300, :1]
    model = Analogs(1, delays=3, stride=2, method="simplex", neighbours=4)
    state = model.fit(train)
    y = (train[:, 0] - train.mean()) / train.std()
    origins = np.arange(4, 299)
    vectors = np.column_stack([y[origins], y[origins - 2], y[origins - 4]])
    now = np.array([y[299], y[297], y[295]])
    apart = np.sqrt(((vectors - now) ** 2).sum(1))
    near = np.argsort(apart)[:4]
    weight = np.exp(-apart[near] / apart[near[0]])
    change = (weight * (y[origins[near] + 1] - y[origins[near]])).sum() / weight.sum()
    expected = (y[299] + change) * train.std() + train.mean()
    assert_allclose(model.forecast(train, np.array([299]), state)[0, 0, 0], expected, rtol=1e-10)


def test_an_s_map_with_theta_0_and_all_neighbours_is_a_linear_regression_and_a_local_one_is_not():
    rng = np.random.default_rng(0)
    y = np.zeros((150, 1))
    for t in range(1, 150):
        y[t] = 0.7 * y[t - 1] + rng.normal()
    found = {}
    for theta in (0.0, 8.0):
        model = Analogs(1, delays=1, stride=1, neighbours=149, theta=theta)
        found[theta] = model.forecast(y, np.array([149]), model.fit(y))[0, 0, 0]
    slope, level = np.polyfit(y[:-1, 0], y[1:, 0], 1)
    assert_allclose(found[0.0], slope * y[149, 0] + level, rtol=1e-8)
    assert abs(found[8.0] - found[0.0]) > 1e-3


def test_a_moment_that_happened_before_is_answered_by_what_followed_it():
    y = np.tile(np.array([0.0, 1.0, 3.0, 2.0, 5.0]), 10)[:, None]
    model = Analogs(5, delays=2, stride=1, method="simplex", neighbours=3)
    assert_allclose(model.forecast(y, np.array([49]), model.fit(y))[0, :, 0], y[:5, 0], atol=1e-9)


@pytest.mark.parametrize("arguments", [{"delays": 0}, {"delays": ()}, {"stride": True}])
def test_numbers_that_are_none_are_refused(arguments):
    for model in MODELS.values():
        with pytest.raises(ArgumentError):
            model(1, **arguments)


def test_a_missing_step_is_never_what_changed():
    y = np.random.default_rng(0).normal(size=(60, 2))
    gap = y.copy()
    gap[30, 0] = np.nan
    model = NVAR(1, delays=1, stride=1, degree=1, penalty=1e-12)
    filled = gap.copy()
    filled[30, 0] = gap[29, 0]
    loc, scale = np.nanmean(gap, 0), np.nanstd(gap, 0)
    z = (filled - loc) / scale
    keep = np.delete(np.arange(59), 29)
    design = np.column_stack([z[keep], np.ones(58)])
    expected = np.linalg.lstsq(design, z[keep + 1] - z[keep], rcond=None)[0]
    assert_allclose(np.sort(model.fit(gap)["f/weights"], axis=0), np.sort(expected, axis=0), rtol=1e-6, atol=1e-9)


def test_the_same_rows_give_the_same_bits():
    for make in MODELS.values():
        first, second = (make(3).fit(LORENZ[:150]) for _ in range(2))
        for name, array in first.items():
            assert_array_equal(array, second[name])
