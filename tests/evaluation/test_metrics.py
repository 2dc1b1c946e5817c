import math
import subprocess
import sys
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
import utilsforecast.losses as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_squared_error, root_mean_squared_error

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.metrics import (
    METRICS,
    Metric,
    coverage,
    crps,
    interval_score,
    mae,
    mase,
    mse,
    msis,
    pinball,
    rmse,
    rmsse,
    scaled_crps,
    seasonal_scale,
    smape,
    wql,
)

QUANTILES = (0.025, 0.1, 0.5, 0.7, 0.975)
LEVEL = 80
SCALE = 0.7


def sample(n: int = 60, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    q_hats = np.sort(rng.normal(size=(n, len(QUANTILES))), axis=-1)
    return {"y": rng.normal(size=n), "y_hat": rng.normal(size=n), "q_hats": q_hats}


def score(name: str, y: np.ndarray, y_hat: np.ndarray, q_hats: np.ndarray) -> float:
    """Any metric of the table on one sample."""
    metric = METRICS[name]
    if metric.needs == "point":
        return metric.function(y, y_hat, *([SCALE] if metric.needs_scale else []))
    if metric.needs == "interval":
        more = {"coverage": [], "interval_score": [LEVEL], "msis": [LEVEL, SCALE]}[name]
        return metric.function(y, q_hats[..., 1], q_hats[..., 3], *more)
    if metric.weights is None:
        return metric.function(y, q_hats[..., 1], QUANTILES[1])
    return metric.function(y, q_hats, QUANTILES)


finite = st.floats(-1e6, 1e6, allow_subnormal=False)
every_metric = pytest.mark.parametrize("name", [name for name, row in METRICS.items() if isinstance(row, Metric)])


def frame(**columns: np.ndarray) -> pl.DataFrame:
    n = len(columns["y"])
    return pl.DataFrame({"unique_id": ["a"] * n, "ds": range(n), **columns})


def test_point_metrics_equal_scikit_learn():
    y, y_hat = sample()["y"], sample()["y_hat"]
    assert mse(y, y_hat) == pytest.approx(mean_squared_error(y, y_hat))
    assert mae(y, y_hat) == pytest.approx(mean_absolute_error(y, y_hat))
    assert rmse(y, y_hat) == pytest.approx(root_mean_squared_error(y, y_hat))
    assert pinball(y, y_hat, 0.1) == pytest.approx(mean_pinball_loss(y, y_hat, alpha=0.1))
    assert pinball(y, y_hat, 0.1) != pytest.approx(mean_pinball_loss(y, y_hat, alpha=0.9))


def test_point_metrics_equal_utilsforecast():
    y, y_hat = sample()["y"], sample()["y_hat"]
    table = frame(y=y, M=y_hat)
    past = np.random.default_rng(1).normal(size=40)
    train = frame(y=past)
    assert mse(y, y_hat) == pytest.approx(reference.mse(table, ["M"])["M"].item())
    assert smape(y, y_hat) == pytest.approx(200 * reference.smape(table, ["M"])["M"].item())  # theirs is 0..1
    theirs = reference.mase(table, ["M"], seasonality=7, train_df=train)["M"].item()
    assert mase(y, y_hat, seasonal_scale(past, 7)) == pytest.approx(theirs)
    assert mase(y, y_hat, seasonal_scale(past, 1)) != pytest.approx(theirs)
    theirs = reference.rmsse(table, ["M"], seasonality=7, train_df=train)["M"].item()
    assert rmsse(y, y_hat, seasonal_scale(past, 7, power=2)) == pytest.approx(theirs)


def test_probabilistic_metrics_equal_utilsforecast():
    y, q_hats = sample()["y"], sample()["q_hats"]
    names = [f"M-q-{q}" for q in QUANTILES]
    table = frame(y=y, **dict(zip(names, q_hats.T, strict=True)), **{"M-lo-80": q_hats[:, 1], "M-hi-80": q_hats[:, 3]})
    assert interval_score(y, q_hats[:, 1], q_hats[:, 3], 80) == pytest.approx(
        reference.winkler_score(table, ["M"], 80)["M"].item())
    assert coverage(y, q_hats[:, 1], q_hats[:, 3]) == pytest.approx(reference.coverage(table, ["M"], 80)["M"].item())
    theirs = reference.scaled_crps(table, {"M": names}, np.array(QUANTILES))["M"].item()
    assert wql(y, q_hats, QUANTILES) == pytest.approx(theirs)
    assert wql(y, q_hats, QUANTILES[::-1]) != pytest.approx(theirs)


def test_the_scaled_crps_equals_that_of_utilsforecast_at_the_levels_where_their_weights_are_right():
    y, n = sample()["y"], 8
    levels = (np.arange(n) + 0.5) / n
    q_hats = np.sort(np.random.default_rng(3).normal(size=(len(y), n)), axis=-1)
    names = [f"M-q-{q}" for q in levels]
    table = frame(y=y, **dict(zip(names, q_hats.T, strict=True)))
    theirs = reference.scaled_crps(table, {"M": names}, levels)["M"].item()
    assert scaled_crps(y, q_hats, levels) == pytest.approx(theirs) == pytest.approx(wql(y, q_hats, levels))
    assert scaled_crps(y, q_hats, levels**2) != pytest.approx(wql(y, q_hats, levels**2))
    assert scaled_crps(y, q_hats, levels) == pytest.approx(crps(y, q_hats, levels) / np.abs(y).mean())


def test_the_scaled_interval_score_is_the_formula_of_the_m4_competition():
    past, y, lo, hi = [3.0, 1.0, 4.0, 2.0, 6.0, 5.0], [1.0, 2.0, 9.0], [0.0, 3.0, 4.0], [2.0, 5.0, 7.0]
    a, season = 0.05, 2
    total = sum((high - low) + 2 / a * (low - value) * (value < low) + 2 / a * (value - high) * (value > high)
                for value, low, high in zip(y, lo, hi, strict=True))
    naive = sum(abs(past[k] - past[k - season]) for k in range(season, 6)) / (6 - season)
    assert msis(y, lo, hi, 95, seasonal_scale(past, season)) == pytest.approx(total / 3 / naive)
    assert msis(y, lo, hi, 95, seasonal_scale(past, 1)) != pytest.approx(total / 3 / naive)
    assert math.isnan(msis(y, lo, hi, 95, 0.0))


def test_smape_counts_zero_over_zero_as_zero_and_tops_at_200():
    assert smape([0.0, 1.0], [0.0, 1.0]) == 0
    assert smape([0.0, 1.0], [1.0, -1.0]) == 200
    assert smape([0.0, 1.0], [0.0, 3.0]) == 50


def test_the_seasonal_scale_skips_differences_with_a_missing_step():
    train = [1.0, 5.0, math.nan, 4.0, 10.0]
    assert seasonal_scale(train, 1) == (4 + 6) / 2
    assert seasonal_scale(train, 2, power=2) == 1.0
    assert seasonal_scale(train, 3, power=2) == (9 + 25) / 2
    assert math.isnan(seasonal_scale(train, 5))


def test_the_interval_score_is_the_sum_of_the_two_pinball_losses():
    # Gneiting & Raftery (2007): an interval is two quantiles, and its score 2/a times their losses.
    y, lo, hi = sample()["y"], sample()["q_hats"][:, 1], sample()["q_hats"][:, 3]
    losses = pinball(y, lo, 0.1) + pinball(y, hi, 0.9)
    assert interval_score(y, lo, hi, 80) == pytest.approx(losses * 2 / 0.2)
    assert interval_score(y, lo, hi, 90) != pytest.approx(losses * 2 / 0.2)


def normal_crps(y: float) -> float:
    """Of the standard normal law, in closed form: Gneiting & Raftery (2007), section 4.2."""
    law = NormalDist()
    return y * (2 * law.cdf(y) - 1) + 2 * law.pdf(y) - 1 / math.sqrt(math.pi)


@pytest.mark.parametrize("y", [-2.0, 0.3, 1.5])
def test_crps_tends_to_the_closed_form_as_uneven_levels_grow_dense(y):
    def error(n: int, rule=crps) -> float:
        levels = ((np.arange(n) + 0.5) / n) ** 2  # denser at the lower end
        q_hats = [NormalDist().inv_cdf(float(level)) for level in levels]
        return abs(rule([y], [q_hats], levels.tolist()) - normal_crps(y))

    def unweighted(y, q_hats, levels):
        return np.mean([2 * pinball(y, [q_hat], level) for q_hat, level in zip(q_hats[0], levels, strict=True)])

    assert error(1000) < 1e-4
    assert error(4) > 1e-2
    assert error(1000, unweighted) > 1e-2


def test_crps_of_the_median_alone_is_the_mean_absolute_error():
    y, y_hat = sample()["y"], sample()["y_hat"]
    assert crps(y, y_hat[:, None], [0.5]) == pytest.approx(mae(y, y_hat))


def test_crps_weighs_each_level_by_the_levels_nearest_to_it_in_any_order():
    y, q_hats = sample()["y"], sample()["q_hats"]
    edges = [0, 0.0625, 0.3, 0.6, 0.8375, 1]
    by_hand = sum(2 * (edges[k + 1] - edges[k]) * pinball(y, q_hats[:, k], q) for k, q in enumerate(QUANTILES))
    assert crps(y, q_hats, QUANTILES) == pytest.approx(by_hand)
    assert crps(y, q_hats[:, ::-1], QUANTILES[::-1]) == pytest.approx(by_hand)


@pytest.mark.parametrize("metric", [crps, wql, scaled_crps])
def test_the_true_law_scores_best(metric):
    y = np.random.default_rng(0).normal(loc=1, size=4000)
    true = 1 + np.array([NormalDist().inv_cdf(q) for q in QUANTILES])
    best = metric(y, np.tile(true, (len(y), 1)), QUANTILES)
    for wrong in (true + 0.3, true - 0.3, 1 + 1.5 * (true - 1), 1 + 0.6 * (true - 1)):
        assert metric(y, np.tile(wrong, (len(y), 1)), QUANTILES) > best


def test_swapping_truth_and_forecast_changes_pinball_but_not_smape():
    y, y_hat = sample()["y"], sample()["y_hat"]
    assert pinball(y, y_hat, 0.1) != pytest.approx(pinball(y_hat, y, 0.1))
    assert smape(y, y_hat) == pytest.approx(smape(y_hat, y))


@every_metric
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(12)))
def test_the_order_of_cells_does_not_matter(name, seed, order):
    cells = sample(12, seed)
    shuffled = {key: values[order] for key, values in cells.items()}
    assert score(name, **shuffled) == pytest.approx(score(name, **cells))


@every_metric
def test_which_truth_belongs_to_which_forecast_does_matter(name):
    cells = sample(40)
    assert score(name, cells["y"][::-1], cells["y_hat"], cells["q_hats"]) != pytest.approx(score(name, **cells)) \
        or name == "coverage"  # a share of few is often the same


@every_metric
@settings(max_examples=25, deadline=None)
@given(y=arrays(float, 5, elements=finite), y_hat=arrays(float, 5, elements=finite))
def test_values_lie_in_the_stated_range(name, y, y_hat):
    value = score(name, y, y_hat, np.sort(np.stack([y_hat + k for k in range(5)], axis=-1)))
    top = {"smape": 200 * (1 + 1e-12), "coverage": 1}.get(name, math.inf)
    assert 0 <= value <= top or (name in ("wql", "scaled_crps") and not y.any())


@every_metric
def test_a_perfect_forecast_scores_zero(name):
    y = sample()["y"]
    value = score(name, y, y, np.repeat(y[:, None], len(QUANTILES), axis=1))
    assert value == (1 if METRICS[name].direction == "level" else 0)


@every_metric
def test_cells_without_truth_are_left_out(name):
    cells = sample()
    missing = {key: values.copy() for key, values in cells.items()}
    missing["y"][::3] = np.nan
    missing["y_hat"][::6], missing["q_hats"][::6] = np.nan, np.nan  # a forecast may be missing there too
    kept = np.arange(60) % 3 != 0
    assert score(name, **missing) == pytest.approx(score(name, **{key: values[kept] for key, values in cells.items()}))


@every_metric
def test_with_no_truth_the_value_is_nan(name):
    cells = sample()
    assert math.isnan(score(name, np.full(60, np.nan), cells["y_hat"], cells["q_hats"]))


@every_metric
def test_a_missing_forecast_of_an_observed_cell_makes_the_value_nan(name):
    cells = sample()
    cells["y_hat"][7], cells["q_hats"][7, :] = np.nan, np.nan
    assert math.isnan(score(name, **cells))


def test_a_missing_end_of_an_interval_makes_the_coverage_nan():
    assert math.isnan(coverage([0.0, 0.0], [-1.0, math.nan], [1.0, 1.0]))
    assert math.isnan(coverage([0.0, 0.0], [-1.0, -1.0], [1.0, math.nan]))


@pytest.mark.parametrize("scale", [0.0, math.nan])
def test_without_a_scale_there_is_no_scaled_error(scale):
    assert math.isnan(mase([1.0], [2.0], scale))
    assert math.isnan(rmsse([1.0], [2.0], scale))


def test_truth_of_zeros_has_no_weighted_quantile_loss():
    assert math.isnan(wql([0.0, 0.0], [[1.0], [1.0]], [0.5]))


@every_metric
def test_a_column_is_not_broadcast_against_a_row(name):
    cells = sample(4)
    with pytest.raises(ShapeError, match="differ"):
        score(name, cells["y"][:, None], cells["y_hat"], cells["q_hats"])


@every_metric
def test_axes_do_not_matter(name):
    cells = sample()
    folded = {key: values.reshape(5, 12, *values.shape[1:]) for key, values in cells.items()}
    assert score(name, **folded) == pytest.approx(score(name, **cells))


def test_levels_and_quantiles_outside_their_range_are_refused():
    with pytest.raises(ArgumentError, match="level=100 is not between 0 and 100"):
        interval_score([0.0], [0.0], [1.0], 100)
    with pytest.raises(ArgumentError, match="quantile=10 is not between 0 and 1"):
        pinball([0.0], [0.0], 10)
    with pytest.raises(ArgumentError, match="quantile=0 "):
        crps([0.0], [[0.0]], [0])
    with pytest.raises(ShapeError, match="2 quantiles"):
        wql([0.0], [[0.0]], [0.1, 0.9])
    with pytest.raises(ArgumentError, match="season=0"):
        seasonal_scale([1.0, 2.0], 0)


def test_the_table_names_its_functions():
    assert all(row.name == name == row.function.__name__ for name, row in METRICS.items())


def test_the_table_is_read_with_numpy_alone():
    heavy = ("torch", "polars", "pandas", "narwhals", "scipy", "sklearn")
    code = f"import sys, tsforge.evaluation.metrics; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
