"""What bench/baselines.py compares models with; it is no part of the package, and is loaded from its file."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import tsforge
from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics import dtw
from tsforge.evaluation.metrics.classification import accuracy
from tsforge.evaluation.metrics.curves import roc_auc

BENCH = Path(__file__).parents[2] / "bench"
SPEC = spec_from_file_location("bench_baselines", BENCH / "baselines.py")
assert SPEC is not None
assert SPEC.loader is not None
baselines = module_from_spec(SPEC)
SPEC.loader.exec_module(baselines)


def walks(lengths: list[int], channels: int = 2, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(length, channels)).cumsum(axis=0) for length in lengths]


def warped_by_hand(x: np.ndarray, y: np.ndarray, band: int) -> float:
    """The recursion over cells of Sakoe and Chiba, one cell at a time."""
    best = np.full((len(x) + 1, len(y) + 1), np.inf)
    best[0, 0] = 0
    for i in range(len(x)):
        for j in range(len(y)):
            if abs(i - j) <= band:
                cost = ((x[i] - y[j]) ** 2).sum()
                best[i + 1, j + 1] = cost + min(best[i, j], best[i, j + 1], best[i + 1, j])
    return best[-1, -1] ** 0.5


@pytest.mark.parametrize("band", [0, 0.2, 1])
def test_warping_of_cases_of_any_length_equals_the_recursion_over_cells(band):
    cases, others = walks([7, 12, 12, 5]), walks([9, 4, 12], seed=1)
    table = baselines.dtw_table(cases, others, band=band)
    for i, x in enumerate(cases):
        for j, y in enumerate(others):
            steps = max(int(band * max(len(x), len(y))), abs(len(x) - len(y)))
            assert table[i, j] == pytest.approx(warped_by_hand(x, y, steps))
    swapped = baselines.dtw_table(others, cases, band=band)
    np.testing.assert_allclose(swapped.T, table)
    assert table[1, 2] != pytest.approx(warped_by_hand(cases[1][:, :1], others[2][:, :1], 12))  # channels go together


def test_warping_of_equal_lengths_is_the_metric_and_without_a_band_the_euclidean_distance():
    cases = walks([10, 10])
    assert baselines.dtw_table(cases[:1], cases[1:])[0, 0] == pytest.approx(dtw(*cases))
    assert baselines.dtw_table(cases[:1], cases[1:], band=0)[0, 0] == pytest.approx(np.linalg.norm(cases[0] - cases[1]))


def test_a_distance_does_not_depend_on_what_else_is_asked():
    cases = walks([7, 12, 30])
    alone = baselines.dtw_table(cases[:1], cases[1:2])[0, 0]
    assert baselines.dtw_table(cases, cases)[0, 1] == alone


def test_the_nearest_case_lends_its_class_and_of_equal_ones_the_first():
    cases = walks([8, 8, 8])
    told = baselines.nearest([*cases, cases[1]], ["a", "b", "c", "d"], [cases[2], cases[1] + 1e-3])
    assert told.tolist() == ["c", "b"]


def test_warping_refuses_missing_values_and_bands_that_are_no_share():
    cases = walks([4, 4])
    with pytest.raises(ArgumentError, match="band=2"):
        baselines.dtw_table(cases, cases, band=2)
    cases[0][1, 0] = np.nan
    with pytest.raises(ArgumentError, match="A value is missing"):
        baselines.dtw_table(cases, cases)


def test_summaries_are_those_of_the_observed_values():
    case = np.array([[1.0, 5.0, np.nan], [np.nan, 7.0, np.nan], [4.0, 6.0, np.nan], [2.0, 9.0, np.nan]])
    found = baselines.summaries([case, case[:1]])
    seen, at = [1.0, 4.0, 2.0], [0, 2, 3]
    wanted = [np.mean(seen), np.std(seen), 2.0, 1.0, 4.0, np.polyfit(at, seen, 1)[0], 0.75]
    np.testing.assert_allclose(found[0, :7], wanted)
    slope = np.polyfit(range(4), case[:, 1], 1)[0]
    np.testing.assert_allclose(found[0, 7:14], [6.75, case[:, 1].std(), 9, 5, 9, slope, 1])
    np.testing.assert_allclose(found[0, 14:], [np.nan] * 6 + [0])
    np.testing.assert_allclose(found[1, :7], [1, 0, 1, 1, 1, 0, 1])
    np.testing.assert_allclose(baselines.last_and_mean([case])[0], [2, 7 / 3, 9, 6.75, np.nan, np.nan])


def test_a_missing_feature_becomes_its_training_mean_and_says_that_it_was_missing():
    rng = np.random.default_rng(0)
    features, classes = rng.normal(size=(200, 3)), np.arange(200) % 2
    features[classes == 1, 2] = np.where(rng.random(100) < 0.8, np.nan, features[classes == 1, 2])
    model = baselines.linear().fit(features[:150], classes[:150])
    filled = model[0].transform(features[150:])
    missing = np.isnan(features[150:, 2])
    np.testing.assert_allclose(filled[missing, 2], np.nanmean(features[:150, 2]))
    assert filled[:, 3].tolist() == missing.tolist()
    assert accuracy(classes[150:], model.predict(features[150:])) > 0.8
    blind = baselines.linear().fit(np.nan_to_num(features[:150]), classes[:150])
    assert accuracy(classes[150:], blind.predict(np.nan_to_num(features[150:]))) < 0.7


def test_the_penalty_shrinks_the_weights_of_the_linear_model():
    features = np.random.default_rng(0).normal(size=(60, 2))
    classes = (features[:, 0] > 0).astype(int)
    free, tight = (baselines.linear(c=c).fit(features, classes)[-1].coef_ for c in (1, 0.01))
    assert np.linalg.norm(tight) < np.linalg.norm(free) / 2


def test_pca_finds_rows_that_leave_the_plane_and_not_those_far_out_on_it():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(2, 6))
    strange = np.arange(300) % 10 == 0

    def rows(far: float = 1, off: float = 0) -> np.ndarray:
        size = np.where(strange, far, 1.0)[:, None]
        values = size * rng.normal(size=(300, 2)) @ plane + 0.01 * rng.normal(size=(300, 6))
        values[strange] += off * rng.normal(size=6)
        return np.concatenate([values, np.full((300, 1), 7.0)], axis=1)  # and a constant channel

    train, test, far, off = rows(), rows(), rows(far=3), rows(off=0.5)
    own, scores = baselines.residuals_of_pca(train, off, share=0.99)
    assert own.shape == scores.shape == (300,)
    assert roc_auc(strange, scores) > 0.99
    assert roc_auc(strange, baselines.residuals_of_pca(train, far, share=0.99)[1]) < 0.9
    assert roc_auc(strange, scores) > roc_auc(strange, baselines.residuals_of_pca(train, off, share=0.3)[1])
    np.testing.assert_allclose(baselines.residuals_of_pca(train, off[:5], share=0.99)[1], scores[:5])
    with pytest.raises(ArgumentError, match="share=1"):
        baselines.residuals_of_pca(train, test, share=1)


@pytest.mark.parametrize(("window", "season"), [(1, 1), (5, 1), (3, 7), (50, 1)])
def test_the_distance_from_the_median_is_that_of_a_loop_and_sees_nothing_later(window, season):
    values = np.random.default_rng(0).normal(size=40)
    scores = baselines.distances_from_median(values, window=window, season=season)
    for t in range(40):
        before = [values[t - k * season] for k in range(1, window + 1) if t - k * season >= 0]
        assert scores[t] == pytest.approx(abs(values[t] - np.median(before)) if before else 0)
    later = np.where(np.arange(40) < 25, values, 100.0)
    assert (baselines.distances_from_median(later, window=window, season=season)[:25] == scores[:25]).all()


def test_a_median_of_nothing_is_refused():
    with pytest.raises(ArgumentError, match="window=0"):
        baselines.distances_from_median(np.ones(5), window=0)


def test_cases_of_a_frame_are_its_series_in_its_order():
    table = pl.DataFrame({"unique_id": ["b", "b", "a"], "ds": [1, 0, 0], "y": [1.0, None, 3.0], "z": [4, 5, 6]})
    ids, cases = baselines.cases_of(tsforge.Frame(table, targets=["y", "z"], freq="1i"))
    assert ids == ["a", "b"]
    np.testing.assert_array_equal(cases[0], [[3, 6]])
    np.testing.assert_array_equal(cases[1], [[np.nan, 5], [1, 4]])


def told(name: str, band: float | int) -> float:
    parts = [tsforge.load("ucr", name=name, part=part) for part in ("train", "test")]
    (_, cases), (_, others) = map(baselines.cases_of, parts)
    classes, truth = (frame.labels["class"].to_numpy() for frame in parts)
    return accuracy(truth, baselines.nearest(cases, classes, others, band=band))


def test_the_euclidean_neighbour_has_the_error_that_the_archive_publishes(shared_data):
    shared_data("uea_ucr/ArrowHead")
    assert told("ArrowHead", 0) == pytest.approx(1 - 0.2, abs=1e-4)  # Dau et al. (2019), ED (w=0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "published"), [("ArrowHead", 1 - 0.2971), ("JapaneseVowels", 0.949)])
def test_the_warped_neighbour_has_the_accuracy_that_the_archives_publish(name, published, shared_data):
    shared_data(f"uea_ucr/{name}")  # Dau et al. (2019), DTW (w=100); Bagnall et al. (2018), DTW_D
    assert told(name, 1) == pytest.approx(published, abs=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("file", "options", "names"), [
    ("classification", ["--problems", "ArrowHead", "--band", "0.1", "--models"],
     ["1-NN DTW, band 0.1", "linear on", "25 of 200"]),
    ("detection", ["--max-buffer", "5", "--models"],
     ["machine-1-2 PCA", "machine-1-2 random", "nyc_taxi median of 14 days"]),
])
def test_a_benchmark_prints_its_baselines(file, options, names, shared_data):
    for data in ("uea_ucr/ArrowHead", "physionet2012", "smd", "nab"):
        shared_data(data)
    words = [sys.executable, str(BENCH / f"{file}.py"), *options]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert [name for name in names if name not in said] == []
