import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.data.dysts_benchmark import DystsBenchmark
from tsforge.data.dysts_published import published_forecasts
from tsforge.evaluation.evaluate import evaluate
from tsforge.evaluation.metrics import mae, mse, rmse, smape
from tsforge.frame.frame import Frame

OURS = {"NaiveMean": "Mean", "NaiveDrift": "Drift", "NaiveSeasonal": "Naive"}
MEDIANS = {  # of sMAPE, as the published table has them
    15: {"NaiveMean": 155.7, "NaiveDrift": 132.0, "NaiveSeasonal": 126.4},
    100: {"NaiveMean": 155.2, "NaiveDrift": 120.7, "NaiveSeasonal": 119.3},
}
METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "smape": smape,
    "mae": mae,
    "mse": mse,
    "rmse": rmse,
    "mape": lambda y, p: 100 * np.mean(np.abs((y - p) / y)),
    "marre": lambda y, p: 100 * np.mean(np.abs(y - p)) / np.ptp(y),
    "r2_score": lambda y, p: 1 - np.sum((y - p) ** 2) / np.sum((y - y.mean()) ** 2),
    "coefficient_of_variation": lambda y, p: 100 * np.sqrt(np.mean((y - p) ** 2)) / y.mean(),
}


class Published:
    """Published forecasts of one granularity beside ours, from the published series."""

    def __init__(self, points: int, results: dict[str, Any], frame: Frame) -> None:
        self.points, self.h, self.results = points, 2 * points, results
        self.frame = frame.rows(pl.col("unique_id").is_in(list(results)))
        models = [tsforge.Mean(h=self.h), tsforge.Drift(h=self.h), tsforge.Naive(h=self.h),
                  tsforge.SeasonalNaive(h=self.h)]
        table = tsforge.backtest(models, self.frame, n_windows=1)
        self.forecasts = {str(name): part for (name,), part in table.group_by("unique_id", maintain_order=True)}

    def score(self, system: str, metric: str, model: str, steps: int) -> float:
        table = self.forecasts[system].head(steps)
        return METRICS[metric](table["y"].to_numpy(), table[model].to_numpy())

    def median(self, model: str) -> float:
        return float(np.median([self.score(system, "smape", model, self.h - 1) for system in self.results]))


@pytest.fixture(scope="module", params=[15, 100])
def published(request, shared_data) -> Published:
    points = request.param
    stem = f"test_univariate__pts_per_period_{points}__periods_12.json.gz"
    shared_data(f"dysts/{stem}")
    results = json.loads(gzip.decompress(shared_data(f"dysts/results_{stem}").read_bytes()))
    return Published(points, results, DystsBenchmark(pts_per_period=points).frame())


def test_the_forecasts_start_after_the_published_training_rows(published):
    assert len(published.results) == len(published.forecasts) == 66
    assert published.frame.table["ds"].max() == 12 * published.points - 1
    for system, table in published.forecasts.items():
        assert table["ds"].to_list() == list(range(10 * published.points, 12 * published.points))
        assert set(table["cutoff"]) == {10 * published.points - 1}
        assert np.array_equal(table["y"].to_numpy()[:-1], np.ravel(published.results[system]["values"]))


@pytest.mark.parametrize("theirs", OURS)
def test_our_forecasts_are_the_published_ones(published, theirs):
    for system, result in published.results.items():
        expected = np.ravel(result[theirs]["prediction"])
        found = published.forecasts[system][OURS[theirs]].to_numpy()
        size = published.frame.table.filter(pl.col("unique_id") == system)["y"].abs().max()
        assert np.abs(found - expected).max() <= 1e-14 * size, system


def test_the_published_seasonal_naive_knows_no_season(published):
    for system, result in published.results.items():
        seasonal = published.forecasts[system]["SeasonalNaive"].to_numpy()
        assert np.ptp(seasonal) > 1e-6
        assert np.ptp(result["NaiveSeasonal"]["prediction"]) == 0


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("theirs", OURS)
def test_all_eight_published_scores_are_those_of_our_forecasts_without_the_last_step(published, theirs, metric):
    for system, result in published.results.items():
        found = published.score(system, metric, OURS[theirs], published.h - 1)
        assert np.isclose(found, result[theirs][metric], rtol=1e-13, atol=1e-13 * (metric == "r2_score")), system


@pytest.mark.parametrize("metric", ["smape", "mae", "mse", "rmse"])
def test_our_evaluation_of_the_published_forecasts_gives_the_published_scores(published, metric):
    table = published_forecasts(published.points)
    assert table.columns[:3] == ["unique_id", "ds", "cutoff"]
    assert len(table) == 66 * (published.h - 1)
    found = evaluate(table, [metric], by=("unique_id",))
    assert len(found) == 66 * 16
    for row in found.iter_rows(named=True):
        expected = published.results[row["unique_id"]][row["model"].removesuffix(" (published)")][metric]
        assert row["value"] == pytest.approx(expected, rel=1e-6), (row["unique_id"], row["model"])


def test_published_forecasts_stand_beside_the_truth_of_the_series(published):
    table = published_forecasts(published.points).join(published.frame.table, on=["unique_id", "ds"], suffix=" of it")
    assert len(table) == 66 * (published.h - 1)
    assert table["y"].equals(table["y of it"].rename("y"))


def test_with_the_last_step_the_scores_are_others(published):
    same = [
        np.isclose(published.score(system, "mae", "Naive", published.h), result["NaiveSeasonal"]["mae"], rtol=1e-9)
        for system, result in published.results.items()
    ]
    assert not any(same)


def test_the_medians_are_those_of_the_published_table(published):
    medians = {theirs: published.median(ours) for theirs, ours in OURS.items()}
    assert {name: round(median, 1) for name, median in medians.items()} == MEDIANS[published.points]
    assert all(abs(published.median("SeasonalNaive") - median) > 1 for median in medians.values())


def test_the_page_shows_our_medians_beside_the_published_ones(published):
    page = (Path(__file__).parents[2] / "docs" / "chaos.md").read_text(encoding="utf-8")
    place = {15: 2, 100: 4}[published.points]
    for theirs, ours in {**OURS, "": "SeasonalNaive"}.items():
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines()]
        cells = next(row for row in rows if row[:2] == [theirs, f"`{ours}`"])
        assert cells[place] == f"{published.median(ours):.1f}"
        assert cells[place + 1] == str(MEDIANS[published.points].get(theirs, ""))
