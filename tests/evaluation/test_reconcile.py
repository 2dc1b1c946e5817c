"""Reconciled forecasts add up, and are those of the papers."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import polars as pl
import pytest

import tsforge
from tsforge.errors import ArgumentError
from tsforge.evaluation.backtest import backtest
from tsforge.evaluation.reconcile import mint, reconcile, shrunk_covariance

TOTALS = {"all": ["a", "b", "c"], "north": ["a", "b"]}
SUMS = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]])
IDS = ["all", "north", "a", "b", "c"]

# MinTrace("mint_shrink") of hierarchicalforecast 1.5.3 for ERRORS and BASE, and the covariance that it takes.
# Its ridge of 2e-8 on each variance is not added here.
T = np.arange(12.0)
BOTTOM = np.stack([np.sin(T), np.cos(2 * T), 0.5 * np.sin(3 * T + 1)])
ERRORS = np.vstack([SUMS @ BOTTOM + np.stack([0.7 * np.cos(5 * T), 0.3 * np.sin(7 * T)]), BOTTOM]).T
BASE = np.array([[100.0, 65.0, 30.0, 28.0, 45.0], [110.0, 80.0, 41.0, 35.0, 37.0]])
THEIRS = np.array([
    [104.08797969640995, 59.23778992700762, 29.769294473608923, 29.468495453398695, 44.85018976940233],
    [113.12070026940302, 76.23604074032465, 40.47968007451394, 35.756360665810725, 36.884659529078355],
])
THEIR_COVARIANCE = np.array([
    [1.140416509765131, 0.611789041155115, 0.193516889749916, 0.439275079066209, 0.031949515229056],
    [0.611789041155115, 1.122304870874136, 0.347737299457411, 0.37345130629917, -0.012708015804788],
    [0.193516889749916, 0.347737299457411, 0.544301883557336, 0.003684957698378, -0.016511062822415],
    [0.439275079066209, 0.37345130629917, 0.003684957698378, 0.590721346230898, 0.003605513342087],
    [0.031949515229056, -0.012708015804788, -0.016511062822415, 0.003605513342087, 0.06317057999959],
])


def test_the_covariance_is_shrunk_as_the_library_shrinks_it():
    np.testing.assert_allclose(shrunk_covariance(ERRORS), THEIR_COVARIANCE, rtol=1e-6, atol=1e-8)
    plain = np.cov(ERRORS.T)  # control: without shrinkage it is another
    assert np.abs(plain - THEIR_COVARIANCE).max() > 0.1
    np.testing.assert_allclose(np.diag(plain), np.diag(THEIR_COVARIANCE))


def test_mint_is_that_of_the_library():
    np.testing.assert_allclose(mint(BASE, SUMS, shrunk_covariance(ERRORS)), THEIRS, rtol=1e-6)


def transcribed(errors: np.ndarray) -> np.ndarray:
    """Schafer & Strimmer's shrinkage with target D, pair by pair."""
    n, many = errors.shape
    x = (errors - errors.mean(axis=0)) / errors.std(axis=0, ddof=1)
    above = below = 0.0
    for i in range(many):
        for j in range(many):
            if i != j:
                w = x[:, i] * x[:, j]
                r = n / (n - 1) * w.mean()
                above += n / (n - 1) ** 3 * ((w - w.mean()) ** 2).sum()
                below += r**2
    share = min(max(above / below, 0), 1)
    covariance = np.cov(errors.T)
    return share * np.diag(np.diag(covariance)) + (1 - share) * covariance


@pytest.mark.parametrize("seed", range(5))
def test_mint_and_its_covariance_are_the_formulas_of_the_papers(seed):
    rng = np.random.default_rng(seed)
    errors = rng.normal(size=(20, 5)) @ rng.normal(size=(5, 5)) * [100, 10, 1, 1, 50]
    w = transcribed(errors)
    np.testing.assert_allclose(shrunk_covariance(errors), w, rtol=1e-10)
    s = np.vstack([SUMS, np.eye(3)])
    inverse = np.linalg.inv(w)
    p = np.linalg.inv(s.T @ inverse @ s) @ s.T @ inverse
    base = rng.normal(size=(4, 5)) * 100
    np.testing.assert_allclose(mint(base, SUMS, w), base @ (s @ p).T, rtol=1e-8)


def test_a_series_that_never_errs_is_not_corrected():
    errors = ERRORS.copy()
    errors[:, 2:4] = 0
    found = mint(BASE, SUMS, shrunk_covariance(errors))
    np.testing.assert_array_equal(found[:, 2:4], BASE[:, 2:4])
    errors[:] = 0
    np.testing.assert_array_equal(mint(BASE, SUMS, shrunk_covariance(errors))[:, 2:], BASE[:, 2:])


# frames


def rows(n: int = 60) -> pl.DataFrame:
    """Three series and their totals, of whole numbers, so that the truth adds up exactly."""
    rng = np.random.default_rng(0)
    days = [date(2024, 1, 1) + timedelta(days=k) for k in range(n)]
    own = {k: rng.poisson(50 + 20 * i + 10 * np.sin(np.arange(n) / 4)).astype(float) for i, k in enumerate("abc")}
    own |= {name: sum((own[k] for k in parts), np.zeros(n)) for name, parts in TOTALS.items()}
    return pl.concat([pl.DataFrame({"unique_id": name, "ds": days, "y": own[name]}) for name in own])


@pytest.fixture(scope="module")
def forecasts() -> pl.DataFrame:
    return backtest([tsforge.Theta(h=4), tsforge.SeasonalNaive(h=4)], rows(), n_windows=1)


@pytest.fixture(scope="module")
def residuals() -> pl.DataFrame:
    return backtest([tsforge.Theta(h=4), tsforge.SeasonalNaive(h=4)], rows(56), n_windows=4)


def wide(table: pl.DataFrame, column: str) -> np.ndarray:
    """[step, id]"""
    return np.stack([table.filter(unique_id=name).sort("ds")[column].to_numpy() for name in IDS], axis=1)


@pytest.mark.parametrize("method", ["bottom_up", "mint_shrink"])
def test_totals_add_up(forecasts, residuals, method):
    found = reconcile(forecasts, TOTALS, method=method, residuals=residuals if method == "mint_shrink" else None)
    assert found.columns == forecasts.columns
    assert found["unique_id"].unique(maintain_order=True).to_list() == IDS
    for column in ("Theta", "y"):
        values = wide(found, column)
        np.testing.assert_allclose(values[:, :2], values[:, 2:] @ SUMS.T, rtol=0, atol=1e-9)
    before = wide(forecasts, "Theta")  # control: they did not before
    assert np.abs(before[:, :2] - before[:, 2:] @ SUMS.T).max() > 1e-3


def test_bottom_up_leaves_the_series_and_makes_the_totals_also_where_there_are_none(forecasts):
    found = reconcile(forecasts, TOTALS)
    np.testing.assert_array_equal(wide(found, "Theta")[:, 2:], wide(forecasts, "Theta")[:, 2:])
    series = forecasts.filter(~pl.col("unique_id").is_in(list(TOTALS)))
    assert reconcile(series, TOTALS).equals(found)


def test_mint_of_a_frame_is_mint_of_its_arrays(forecasts, residuals):
    found = reconcile(forecasts, TOTALS, method="mint_shrink", residuals=residuals)
    errors = np.concatenate([wide(part, "y") - wide(part, "Theta") for part in residuals.partition_by("cutoff")])
    expected = mint(wide(forecasts, "Theta"), SUMS, shrunk_covariance(errors))
    np.testing.assert_allclose(wide(found, "Theta"), expected, rtol=1e-10)


def test_forecasts_that_add_up_already_are_not_changed_by_mint(forecasts, residuals):
    coherent = reconcile(forecasts, TOTALS)
    again = reconcile(coherent, TOTALS, method="mint_shrink", residuals=residuals)
    np.testing.assert_allclose(wide(again, "Theta"), wide(coherent, "Theta"), rtol=1e-12)
    changed = reconcile(forecasts, TOTALS, method="mint_shrink", residuals=residuals)  # control
    assert np.abs(wide(changed, "Theta") - wide(forecasts, "Theta")).max() > 1e-3


def test_residuals_from_the_first_forecast_step_on_are_not_read(forecasts, residuals):
    later = backtest([tsforge.Theta(h=4), tsforge.SeasonalNaive(h=4)], rows(), n_windows=5)  # forecasts is the fifth
    spoilt = later.with_columns(
        pl.when(pl.col("ds") >= forecasts["ds"].min()).then(pl.col("y") * 1000).otherwise("y").alias("y")
    )
    one, other = (reconcile(forecasts, TOTALS, method="mint_shrink", residuals=given) for given in (later, spoilt))
    assert one.equals(other)
    early = later.with_columns(pl.when(pl.col("ds") < forecasts["ds"].min()).then(pl.col("y") * 2).alias("y"))
    assert not reconcile(forecasts, TOTALS, method="mint_shrink", residuals=early).equals(one)  # control: these are
    with pytest.raises(ArgumentError, match=r"holds 0 steps of Theta before"):
        reconcile(residuals, TOTALS, method="mint_shrink", residuals=residuals)


def test_targets_and_cutoffs_are_reconciled_each_by_itself(residuals):
    two = rows().with_columns(z=pl.col("y") * 3)
    models = [tsforge.Theta(h=4)]
    both = backtest(models, two, n_windows=2, targets=["y", "z"])
    held = backtest(models, two.filter(pl.col("ds") < both["ds"].min()), n_windows=4, targets=["y", "z"])
    found = reconcile(both, TOTALS, method="mint_shrink", residuals=held)
    for (target, cutoff), part in both.group_by("target", "cutoff"):
        own = reconcile(part, TOTALS, method="mint_shrink", residuals=held.filter(target=target))
        mine = found.filter(target=target, cutoff=cutoff)
        np.testing.assert_allclose(wide(mine, "Theta"), wide(own, "Theta"), rtol=1e-10)


def test_a_missing_forecast_is_missing_in_the_totals_over_it_alone(forecasts):
    first = forecasts["ds"].min()
    holed = forecasts.with_columns(
        pl.when((pl.col("unique_id") != "c") | (pl.col("ds") != first)).then("Theta").alias("Theta")
    )
    found = wide(reconcile(holed, TOTALS), "Theta")
    assert np.isnan(found[0]).tolist() == [True, False, False, False, True]
    assert not np.isnan(found[1:]).any()


def test_pandas_comes_back_as_pandas_and_intervals_are_left_out():
    table = backtest([tsforge.Naive(h=4, val_size=20)], rows().to_pandas(), level=50)
    found = reconcile(table, TOTALS)
    assert isinstance(found, pd.DataFrame)
    assert found.columns.to_list() == ["unique_id", "ds", "cutoff", "Naive", "y"]
    assert found["ds"].dtype == table["ds"].dtype


def test_forecasts_without_a_truth_are_reconciled_too():
    ahead = tsforge.Naive(h=2).fit(rows()).predict()
    assert reconcile(ahead, TOTALS).columns == ["unique_id", "ds", "Naive"]


REFUSED = [
    ({"method": "mint"}, "wanted one of bottom_up, mint_shrink"),
    ({"method": "mint_shrink"}, "needs residuals="),
    ({"residuals": pl.DataFrame()}, "does nothing by bottom_up"),
    ({"totals": {}}, "totals is empty"),
    ({"totals": {"all": ["a", "b", "c", "d"], "north": ["a"]}}, "names 'd', of which there is no forecast"),
    ({"totals": {"all": ["a", "b"], "north": ["a"]}}, "'c' is in no total"),
    ({"totals": {"all": ["north", "c"], "north": ["a", "b"]}}, "names 'north', which is a total itself"),
    ({"totals": {"all": "abc", "north": ["a", "b"]}}, "wanted a list of series"),
    ({"totals": {"all": ["a", "b", "c", "c"], "north": ["a"]}}, "each of them once"),
    ({"totals": {**TOTALS, 7: ["a", "b"]}}, "do not go into unique_id"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_cannot_be_reconciled_is_refused_in_words(forecasts, changes, words):
    with pytest.raises(ArgumentError, match=words):
        reconcile(forecasts, **({"totals": TOTALS} | changes))


def test_frames_that_lack_something_are_refused_in_words(forecasts, residuals):
    series = forecasts.filter(~pl.col("unique_id").is_in(list(TOTALS)))
    with pytest.raises(ArgumentError, match="names 'all', of which there is no forecast"):
        reconcile(series, TOTALS, method="mint_shrink", residuals=residuals)
    with pytest.raises(ArgumentError, match=r"there are 0 rows of 'b', wanted one \(1 such"):
        reconcile(forecasts.filter((pl.col("unique_id") != "b") | (pl.col("ds") != pl.col("ds").min())), TOTALS)
    with pytest.raises(ArgumentError, match=r"there are 2 rows of"):
        reconcile(pl.concat([forecasts, forecasts.head(1)]), TOTALS)
    with pytest.raises(ArgumentError, match="residuals has no column 'y'"):
        reconcile(forecasts, TOTALS, method="mint_shrink", residuals=residuals.drop("y"))
    with pytest.raises(ArgumentError, match="wanted one of numbers per model"):
        reconcile(forecasts.select("unique_id", "ds", "y"), TOTALS)
    with pytest.raises(ArgumentError, match="sample paths"):
        reconcile(forecasts.with_columns(sample=0), TOTALS)
