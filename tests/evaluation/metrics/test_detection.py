import math
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    auc,
    average_precision_score,
    f1_score,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
)

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.metrics.curves import average_precision, roc_auc
from tsforge.evaluation.metrics.detection import point_adjusted, precision_recall_f1, vus_pr, vus_roc
from tsforge.evaluation.metrics.segments import volumes

AREAS = [roc_auc, average_precision]
VOLUMES = [vus_roc, vus_pr]
RULES = ["paper", "flagged"]


def sample(n: int = 60, segments: int = 3, seed: int = 0, levels: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels with some segments, and scores that know a little of them; with `levels`, many of them equal."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(n)
    for start in rng.choice(n - 6, segments, replace=False):
        labels[start : start + rng.integers(1, 6)] = 1
    scores = rng.normal(size=n) + labels
    return labels, np.round(scores * levels) / levels if levels else scores


def soft_by_hand(labels: list, series: list, length: int) -> list[float]:
    """A point gains from every segment of its own series in turn; the sum stops at 1."""
    n, soft = len(labels), [float(label == 1) for label in labels]
    at = 0
    while at < n:
        if labels[at] != 1:
            at += 1
            continue
        end = at
        while end + 1 < n and labels[end + 1] == 1 and series[end + 1] == series[at]:
            end += 1
        for i in range(n):
            d = at - i if i < at else i - end
            if (i < at or i > end) and d <= length / 2 and series[i] == series[at]:
                soft[i] += math.sqrt(1 - d / length)
        at = end + 1
    return [min(1.0, value) for value in soft]


def runs_by_hand(labels, series: list, half: int) -> list[set[int]]:
    """The points of each segment and of its buffers; those that share a point go together."""
    runs: list[set[int]] = []
    for i in range(len(labels)):
        if labels[i] == 1:
            begins = i == 0 or labels[i - 1] != 1 or series[i - 1] != series[i]
            near = {j for j in range(i - half, i + half + 1) if 0 <= j < len(labels) and series[j] == series[i]}
            if begins and not (runs and runs[-1] & near):
                runs.append(set())
            runs[-1] |= near
    return runs


def volumes_by_hand(labels, scores, max_buffer: int, series=None, rule="paper") -> tuple[float, float]:
    """The equations of the docstring, one threshold and one point at a time."""
    n, series = len(labels), [0] * len(labels) if series is None else list(series)
    counted = [i for i in range(n) if not math.isnan(labels[i])]
    anomalous = sum(labels[i] for i in counted)
    rocs, prs = [], []
    for length in range(max_buffer + 1):
        soft = soft_by_hand(labels, series, length)
        runs = runs_by_hand(labels, series, length // 2)
        roc, pr = [(0.0, 0.0)], [(0.0, 1.0)]
        for threshold in sorted({scores[i] for i in counted}, reverse=True):
            flagged = {i for i in counted if scores[i] >= threshold}
            hits = sum(soft[i] for i in flagged)
            extended = sum(soft[i] for i in counted if rule == "paper" or i in flagged or labels[i] == 1)
            positive = (anomalous + extended) / 2
            found = sum(bool(run & flagged) for run in runs) / len(runs)
            recall = min(1.0, hits / positive) * found
            roc.append(((len(flagged) - hits) / (len(counted) - positive), recall))
            pr.append((recall, hits / len(flagged)))
        roc.append((1.0, 1.0))
        rocs.append(sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(roc)))
        low = [(a[1] + b[1]) / 2 if rule == "paper" else b[1] for a, b in pairwise(pr)]
        prs.append(sum((b[0] - a[0]) * height for (a, b), height in zip(pairwise(pr), low, strict=True)))
    return sum(rocs) / len(rocs), sum(prs) / len(prs)


@pytest.mark.parametrize("levels", [0, 2])
def test_areas_equal_scikit_learn_also_where_scores_are_equal(levels):
    labels, scores = sample(levels=levels)
    assert roc_auc(labels, scores) == pytest.approx(roc_auc_score(labels, scores))
    assert average_precision(labels, scores) == pytest.approx(average_precision_score(labels, scores))
    assert average_precision(labels, scores) != pytest.approx(average_precision_score(labels, -scores))


def test_precision_recall_and_f1_equal_scikit_learn():
    labels, scores = sample()
    flags = scores > 0.5
    found = precision_recall_f1(labels, flags)
    assert found == pytest.approx([score(labels, flags) for score in (precision_score, recall_score, f1_score)])
    assert found.precision != pytest.approx(recall_score(labels, flags))
    assert precision_recall_f1(labels, np.zeros(60)) == (0, 0, 0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [0, 1])
@pytest.mark.parametrize("rule", RULES)
def test_volumes_equal_a_loop_over_the_equations(seed, levels, rule):
    labels, scores = sample(26, seed=seed, levels=levels)
    roc, pr = volumes_by_hand(labels, scores, 9, rule=rule)
    assert vus_roc(labels, scores, max_buffer=9, rule=rule) == pytest.approx(roc, abs=1e-12)
    assert vus_pr(labels, scores, max_buffer=9, rule=rule) == pytest.approx(pr, abs=1e-12)
    other = RULES[RULES.index(rule) - 1]
    for changed in ({"max_buffer": 8, "rule": rule}, {"max_buffer": 9, "rule": other}):
        assert vus_roc(labels, scores, **changed) != pytest.approx(roc, abs=1e-6)
        assert vus_pr(labels, scores, **changed) != pytest.approx(pr, abs=1e-6)


def test_without_a_buffer_and_with_one_segment_volumes_are_the_plain_areas():
    labels, scores = np.zeros(50), np.random.default_rng(1).normal(size=50)
    labels[20:27] = 1
    precision, recall, _ = precision_recall_curve(labels, scores)
    assert vus_roc(labels, scores, max_buffer=0) == pytest.approx(roc_auc_score(labels, scores))
    assert vus_pr(labels, scores, max_buffer=0) == pytest.approx(auc(recall, precision))
    assert vus_roc(labels, scores, max_buffer=0, rule="flagged") == pytest.approx(roc_auc_score(labels, scores))
    assert vus_pr(labels, scores, max_buffer=0, rule="flagged") == pytest.approx(average_precision(labels, scores))
    labels[40] = 1  # a second segment counts as missed until its one point is flagged
    assert vus_roc(labels, scores, max_buffer=0) < roc_auc_score(labels, scores) - 0.01


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_buffer_rewards_a_score_that_is_a_little_late_and_no_other(volume):
    labels, late, far = np.zeros(200), np.zeros(200), np.zeros(200)
    labels[100:110], late[104:114], far[150:160] = 1, 1, 1
    gain = [volume(labels, scores, max_buffer=20) - volume(labels, scores, max_buffer=0) for scores in (late, far)]
    assert gain[0] > 2 * abs(gain[1])


@pytest.mark.parametrize("volume", VOLUMES)
def test_a_score_that_jumps_at_the_edges_of_segments_has_1_where_unflagged_buffers_are_not_missed(volume):
    labels, _ = sample(200)
    assert volume(labels, labels, max_buffer=20, rule="flagged") == pytest.approx(1)
    assert volume(labels, labels, max_buffer=20) < 0.95
    soft = soft_by_hand(labels, [0] * 200, 20)  # what the paper asks for: a score that rises towards a segment
    assert volume(labels, soft, max_buffer=20) > volume(labels, labels, max_buffer=20) + 0.02


@pytest.mark.parametrize("volume", VOLUMES)
def test_nothing_reaches_from_one_series_into_the_next(volume):
    labels, scores = sample(30, seed=3)
    labels[13:16] = 1  # over the border of the two
    series = ["a"] * 15 + ["b"] * 15
    by_hand = volumes_by_hand(labels, scores, 8, series)[VOLUMES.index(volume)]
    assert volume(labels, scores, max_buffer=8, series=series) == pytest.approx(by_hand)
    assert volume(labels, scores, max_buffer=8) != pytest.approx(by_hand, abs=1e-6)
    swapped = [np.concatenate([part[15:], part[:15]]) for part in (labels, scores, np.array(series))]
    assert volume(swapped[0], swapped[1], max_buffer=8, series=swapped[2]) == pytest.approx(by_hand)


def test_point_adjustment_flags_whole_segments_that_are_hit_and_leaves_the_rest():
    labels = [0, 1, 1, 1, 0, 1, 1, 0]
    flags = [1, 0, 0, 1, 0, 0, 0, 0]
    assert point_adjusted(labels, flags).tolist() == [1, 1, 1, 1, 0, 0, 0, 0]
    assert precision_recall_f1(labels, point_adjusted(labels, flags)) == pytest.approx((3 / 4, 3 / 5, 2 / 3))
    assert precision_recall_f1(labels, flags) == pytest.approx((1 / 2, 1 / 5, 2 / 7))


def test_point_adjustment_stops_at_the_end_of_a_series():
    labels, flags = [0, 1, 1, 1, 1, 0], [0, 0, 1, 0, 0, 0]
    assert point_adjusted(labels, flags, series=[7, 7, 7, 8, 8, 8]).tolist() == [0, 1, 1, 0, 0, 0]
    assert point_adjusted(labels, flags).tolist() == [0, 1, 1, 1, 1, 0]


def test_point_adjustment_makes_a_random_score_look_good():
    labels = np.zeros(20_000)
    for start in range(500, 20_000, 1000):
        labels[start : start + 100] = 1
    for seed in range(5):
        scores = np.random.default_rng(seed).random(20_000)
        flags = scores > np.quantile(scores, 0.95)
        assert precision_recall_f1(labels, flags).f1 < 0.1
        assert precision_recall_f1(labels, point_adjusted(labels, flags)).f1 > 0.75
        assert roc_auc(labels, scores) == pytest.approx(0.5, abs=0.03)
        assert vus_pr(labels, scores, max_buffer=50) < 0.15


every_score = pytest.mark.parametrize("score", [
    *AREAS, *[lambda labels, scores, volume=volume: volume(labels, scores, max_buffer=4) for volume in VOLUMES],
    lambda labels, scores: precision_recall_f1(labels, scores > 0).f1,
    lambda labels, scores: precision_recall_f1(labels, point_adjusted(labels, scores > 0)).f1,
], ids=["roc_auc", "average_precision", "vus_roc", "vus_pr", "f1", "adjusted_f1"])


@every_score
def test_a_perfect_score_is_best_and_its_opposite_worst(score, request):
    labels, scores = sample()
    perfect, opposite = score(labels, 2 * labels - 1), score(labels, 1 - 2 * labels)
    assert opposite < score(labels, scores) < perfect
    assert perfect == 1 or "vus" in request.node.name  # with a buffer, points beside a segment want half a score


@every_score
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_values_lie_between_0_and_1_and_only_the_order_of_scores_counts(score, seed):
    labels, scores = sample(40, seed=seed)
    value = score(labels, scores)
    assert 0 <= value <= 1 + 1e-12
    assert score(labels, scores**3 * 5) == value


@every_score
def test_points_without_a_label_are_not_counted_and_without_an_anomaly_the_value_is_nan(score):
    labels, scores = sample(segments=1)
    far = (labels == 0) & (np.convolve(labels, np.ones(15), mode="same") == 0)
    missing = np.where(far & (np.arange(60) % 3 == 0), np.nan, labels)
    unknown = np.where(np.isnan(missing), np.nan, scores)  # nobody needs to have scored these
    assert score(missing, unknown) == pytest.approx(score(labels[~np.isnan(missing)], scores[~np.isnan(missing)]))
    assert score(pl.Series(missing).fill_nan(None).cast(pl.Int64), scores) == score(missing, scores)
    assert math.isnan(score(np.zeros(60), scores))


@pytest.mark.parametrize("score", [*AREAS, *[lambda labels, scores, volume=volume: volume(labels, scores, max_buffer=2)
                                             for volume in VOLUMES]], ids=["roc_auc", "average_precision", "roc", "pr"])
def test_a_score_that_is_missing_or_a_class_that_is_not_there_makes_the_value_nan(score):
    labels, scores = sample()
    assert math.isnan(score(np.ones(60), scores))
    scores[3] = np.nan
    assert math.isnan(score(labels, scores))


def test_a_flag_that_is_missing_stays_missing():
    labels, flags = [0, 1, 1, 0], [0, 1, math.nan, 0]
    assert point_adjusted(labels, flags)[:2].tolist() == [0, 1]
    assert math.isnan(point_adjusted(labels, flags)[2])
    assert all(map(math.isnan, precision_recall_f1(labels, flags)))


def test_a_missing_label_ends_a_segment():
    assert point_adjusted([1, 1, math.nan, 1], [1, 0, 0, 0]).tolist() == [1, 1, 0, 0]


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(ShapeError, match=r"labels have the shape \(3,\) and scores \(2,\)"):
        roc_auc([0, 1, 1], [0.1, 0.2])
    with pytest.raises(ShapeError, match="wanted one axis"):
        average_precision([[0, 1]], [[0.1, 0.2]])
    with pytest.raises(ArgumentError, match="labels have the value 2"):
        vus_pr([0, 1, 2], [1.0, 2.0, 3.0], max_buffer=1)
    with pytest.raises(ArgumentError, match=r"flags have the value 0\.5"):
        precision_recall_f1([0, 1], [0, 0.5])
    with pytest.raises(ArgumentError, match="max_buffer=-1"):
        vus_roc([0, 1], [1.0, 2.0], max_buffer=-1)
    with pytest.raises(ArgumentError, match="rule='later'"):
        volumes([0, 1], [1.0, 2.0], 1, None, "later")
    with pytest.raises(ArgumentError, match="series a do not stand together"):
        point_adjusted([0, 1, 1], [0, 1, 1], series=["a", "b", "a"])
    with pytest.raises(ShapeError, match="one name for each of 2 points"):
        vus_roc([0, 1], [1.0, 2.0], max_buffer=1, series=["a"])
