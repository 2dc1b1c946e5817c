import math
from statistics import NormalDist

import numpy as np
import polars as pl
import pytest
import utilsforecast.losses as reference
from polars.testing import assert_frame_equal

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.calibration import calibration_table, pit_table
from tsforge.evaluation.evaluate import evaluate
from tsforge.evaluation.metrics import pit_bounds, pit_histogram

LEVELS = [0.1, 0.25, 0.5, 0.75, 0.9]


def normal_quantiles(levels: list[float], sd: float = 1.0, mean: float = 0.0) -> list[float]:
    return [NormalDist(mean, sd).inv_cdf(level) for level in levels]


def test_a_truth_between_two_quantiles_has_its_pit_between_their_levels():
    lower, upper = pit_bounds([-9.0, 0.3, 0.5, 9.0], [[0.0, 0.5, 1.0]] * 4, [0.1, 0.5, 0.9])
    assert list(zip(lower, upper, strict=True)) == [(0, 0.1), (0.1, 0.5), (0.1, 0.9), (0.9, 1)]
    crossed, _ = pit_bounds([0.3], [[1.0, 0.5, 0.0]], [0.9, 0.5, 0.1])
    assert crossed == [0.1]


def test_of_samples_the_pit_is_the_rank_of_the_truth_among_them():
    rng = np.random.default_rng(0)
    y, samples = rng.normal(size=50), rng.normal(size=(19, 50))
    lower, upper = pit_bounds(y, samples)
    rank = np.array([sum(samples[i, k] < y[k] for i in range(19)) for k in range(50)])
    assert lower == pytest.approx(rank / 20)
    assert upper == pytest.approx((rank + 1) / 20)
    bounds = pit_bounds([1.0], [[0.0], [1.0], [1.0]])  # of ties the whole stretch
    assert (bounds[0][0], bounds[1][0]) == (0.25, 1.0)


@pytest.mark.parametrize("bins", [1, 4, 10, 17])
def test_the_histogram_spreads_each_mass_over_its_stretch(bins):
    rng = np.random.default_rng(1)
    y, q_hats = rng.normal(size=40), np.sort(rng.normal(size=(40, 3)), axis=1)
    levels = [0.2, 0.45, 0.8]
    ends = [0, *levels, 1]
    shares = np.zeros(bins)
    for truth, quantiles in zip(y, q_hats, strict=True):
        k = sum(q < truth for q in quantiles)
        for b in range(bins):
            overlap = min(ends[k + 1], (b + 1) / bins) - max(ends[k], b / bins)
            shares[b] += max(overlap, 0) / (ends[k + 1] - ends[k]) / 40
    assert pit_histogram(y, q_hats, levels, bins=bins) == pytest.approx(shares)
    assert shares.sum() == pytest.approx(1)


def test_a_right_law_is_flat_a_narrow_one_high_at_the_ends_and_a_biased_one_slopes():
    y = np.random.default_rng(0).normal(size=8000)
    levels = [k / 20 for k in range(1, 20)]

    def histogram(**law: float) -> np.ndarray:
        return pit_histogram(y, np.tile(normal_quantiles(levels, **law), (8000, 1)), levels, bins=5)

    assert np.abs(histogram() - 0.2).max() < 0.015
    narrow, wide, low = histogram(sd=0.5), histogram(sd=2.0), histogram(mean=-1.0)
    assert min(narrow[0], narrow[-1]) > 0.3 > 0.1 > narrow[2]
    assert wide[2] > 0.3 > 0.1 > max(wide[0], wide[-1])
    assert low[-1] > 0.4 > 0.1 > low[0]
    samples = np.random.default_rng(1).normal(size=(99, 8000))
    assert np.abs(pit_histogram(y, samples, bins=5) - 0.2).max() < 0.015


def test_missing_truth_is_left_out_and_a_missing_law_is_nan():
    y, q_hats = np.array([0.0, np.nan, 2.0]), np.array([[-1.0, 1.0]] * 3)
    kept = [0, 2]
    assert pit_histogram(y, q_hats, [0.2, 0.8]) == pytest.approx(pit_histogram(y[kept], q_hats[kept], [0.2, 0.8]))
    q_hats[1] = np.nan
    assert np.isfinite(pit_histogram(y, q_hats, [0.2, 0.8])).all()
    q_hats[0, 1] = np.nan
    assert np.isnan(pit_histogram(y, q_hats, [0.2, 0.8])).all()
    assert np.isnan(pit_histogram([np.nan], [[0.0, 1.0]], [0.2, 0.8])).all()


def test_laws_that_are_not_of_the_truth_are_refused():
    with pytest.raises(ShapeError, match=r"give \[\.\.\., quantile\], 2 of them"):
        pit_bounds([0.0], [[0.0]], [0.1, 0.9])
    with pytest.raises(ShapeError, match=r"give \[sample, \.\.\.\]"):
        pit_bounds([0.0], [[0.0, 1.0]])
    with pytest.raises(ArgumentError, match="quantile=10"):
        pit_bounds([0.0], [[0.0]], [10])
    with pytest.raises(ArgumentError, match="bins=0"):
        pit_histogram([0.0], [[0.0]], [0.1], bins=0)


# --- tables


def forecasts(n: int = 200, missing: bool = True) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    table = pl.DataFrame({
        "unique_id": ["a"] * (n // 4) + ["b"] * (n - n // 4), "ds": range(n), "y": rng.normal(size=n),
        "M": 0.0, "N": 0.0, "M-lo-80": normal_quantiles([0.1])[0], "M-hi-80": normal_quantiles([0.9])[0],
        "M-q-0.25": normal_quantiles([0.25])[0], "N-q-0.25": 0.0,
    })
    return table.with_columns(y=pl.when(pl.col("ds") % 7 > 0).then("y")) if missing else table


@pytest.mark.parametrize("by", [(), ("unique_id",)])
def test_the_table_has_the_coverage_of_intervals_and_the_share_below_quantiles(by):
    table = forecasts()
    found = calibration_table(table, by=by)
    intervals = found.filter(kind="interval").drop("kind", "stated")
    coverage = evaluate(table.drop("N", "N-q-0.25"), "coverage", by=by).drop("metric").rename({"value": "observed"})
    assert_frame_equal(intervals, coverage)
    for row in found.filter(kind="quantile").iter_rows(named=True):
        name = {0.1: "-lo-80", 0.25: "-q-0.25", 0.9: "-hi-80"}[row["stated"]]
        groups = table.filter(pl.col("y").is_not_null()).group_by("unique_id").agg(
            (pl.col("y") <= pl.col(row["model"] + name)).mean().alias("share"))
        wanted = groups.filter(unique_id=row["unique_id"])["share"][0] if by else groups["share"].mean()
        assert row["observed"] == pytest.approx(wanted)
    models = found.select("model", "stated").unique().sort("model", "stated").rows()
    assert models == [("M", 0.1), ("M", 0.25), ("M", 0.8), ("M", 0.9), ("N", 0.25)]


def test_its_shares_equal_utilsforecast():
    table = forecasts(missing=False)
    ours = calibration_table(table, by="unique_id").filter(kind="quantile", stated=0.25)
    theirs = reference.calibration(table, {"M": "M-q-0.25", "N": "N-q-0.25"})
    for model in "MN":
        mine = ours.filter(model=model).sort("unique_id")["observed"].to_list()
        assert mine == pytest.approx(theirs.sort("unique_id")[model].to_list())


def test_the_histogram_table_is_the_pure_function_in_each_series():
    table = forecasts().drop("N", "N-q-0.25")
    found = pit_table(table, bins=4, by="unique_id")
    assert found.columns == ["unique_id", "model", "low", "high", "share", "cells"]
    for name in "ab":
        mine = table.filter(unique_id=name).filter(pl.col("y").is_not_null())
        law = mine.select("M-lo-80", "M-q-0.25", "M-hi-80").to_numpy()
        wanted = pit_histogram(mine["y"].to_numpy(), law, [0.1, 0.25, 0.9], bins=4)
        assert found.filter(unique_id=name)["share"].to_list() == pytest.approx(wanted)
    assert found["low"].to_list() == [0, 0.25, 0.5, 0.75] * 2
    every = pit_table(table, bins=4, pool=True)
    assert every["share"].to_list() != pytest.approx(pit_table(table, bins=4)["share"].to_list())


def test_sample_paths_have_both_tables():
    rng = np.random.default_rng(0)
    table = pl.DataFrame({"unique_id": "a", "ds": range(600), "y": rng.normal(size=600)})
    paths = table.join(pl.DataFrame({"sample": range(19)}), how="cross")
    paths = paths.with_columns(M=pl.Series(rng.normal(size=len(paths))), N=pl.Series(rng.normal(size=len(paths)) + 1))
    found = calibration_table(paths)
    assert np.abs(found.filter(model="M")["observed"] - found.filter(model="M")["stated"]).max() < 0.06
    assert (found.filter(model="N")["observed"] - found.filter(model="N")["stated"]).max() > 0.2
    matrix = paths.sort("sample", "ds")["M"].to_numpy().reshape(19, 600)
    wanted = pit_histogram(table["y"].to_numpy(), matrix, bins=5)
    assert pit_table(paths, bins=5).filter(model="M")["share"].to_list() == pytest.approx(wanted)


def test_what_has_no_law_is_refused():
    table = forecasts().select("unique_id", "ds", "y", "M")
    with pytest.raises(ArgumentError, match=r"'M-q-0\.1' or 'M-lo-80', or sample paths"):
        calibration_table(table)
    with pytest.raises(ArgumentError, match="bins=0"):
        pit_table(table, bins=0)


def test_a_missing_quantile_of_an_observed_cell_is_nan():
    table = forecasts().with_columns(pl.when(pl.col("ds") != 50).then("M-q-0.25").alias("M-q-0.25"))
    observed = {(model, stated): value for model, _, stated, value, _ in calibration_table(table).iter_rows()}
    assert math.isnan(observed["M", 0.25])
    assert not math.isnan(observed["M", 0.1])
    assert pit_table(table).filter(model="M")["share"].is_nan().all()
