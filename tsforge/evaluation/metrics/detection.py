"""What a detector of anomalies is worth: flags, or scores, against labels of points.

Shapes    labels, scores, flags, series [time]; labels and flags 0 or 1 (false or true), scores higher where stranger
Series    Points of several series stand one series after another, each in the order of time, and `series` names the
          series of each point. Points are counted together, but no segment and no buffer reaches into another series.
Units     buffers are in steps; of scores only the order counts.
Missing   A point without a label (NaN, null) is not counted, and ends a segment. A score or a flag that is missing
          where there is a label makes the result NaN. Without an anomaly there is nothing to find: NaN.
Errors    ShapeError where arrays differ in shape; ArgumentError for a label or a flag that is neither 0 nor 1, for a
          buffer below 0, a rule that is not known and for a series whose points do not stand together.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tsforge.evaluation.metrics.curves import binary
from tsforge.evaluation.metrics.segments import Rule, blocks, segments, volumes


class Found(NamedTuple):
    """Precision, recall and their harmonic mean, each 0 to 1, best at 1."""

    precision: float
    recall: float
    f1: float


def precision_recall_f1(labels: ArrayLike, flags: ArrayLike) -> Found:
    """How many of the flagged points are anomalous, how many of the anomalous ones are flagged.

    Formula   precision = TP / (TP + FP),   recall = TP / (TP + FN),   f1 = 2 TP / (2 TP + FP + FN)
    Range     0 to 1, 1 is best; precision is 0 where nothing is flagged.   Units  none.
    Missing   A label: not counted. A flag: all NaN. No anomaly: all NaN.
    Source    van Rijsbergen (1979), "Information Retrieval", chapter 7.
    """
    truth, flag = binary(labels, flags, "flags")
    truth, flag = truth[~np.isnan(truth)], flag[~np.isnan(truth)]
    if np.isnan(flag).any() or not truth.any():
        return Found(*[float("nan")] * 3)
    hits, flagged, anomalous = float((truth * flag).sum()), float(flag.sum()), float(truth.sum())
    return Found(hits / flagged if flagged else 0.0, hits / anomalous, 2 * hits / (flagged + anomalous))


def point_adjusted(labels: ArrayLike, flags: ArrayLike, *, series: ArrayLike | None = None) -> np.ndarray:
    """The flags after point adjustment: a whole anomalous segment is flagged once one of its points is.

    For `precision_recall_f1(labels, point_adjusted(labels, flags))`, which papers on anomaly detection report. It
    flatters. A segment of n points counts n hits for one lucky flag, while a false alarm counts one: where a share p of
    all points is flagged at random, a segment is found with probability 1 - (1 - p)^n. With a tenth of the points in
    segments of 100, p = 0.05 has an F1 near 0.8 and knows nothing. Report it beside the plain F1, never alone.

    Returns:
        [time], 0 or 1, NaN where the flag is missing.

    Source    Xu et al. (2018), "Unsupervised Anomaly Detection via Variational Auto-Encoder for Seasonal KPIs in Web
              Applications", WWW; what is wrong with it: Kim et al. (2022), "Towards a Rigorous Evaluation of
              Time-Series Anomaly Detection", AAAI.
    """
    truth, flag = binary(labels, flags, "flags")
    inside = truth == 1
    first, _ = segments(inside, blocks(series, len(truth)))
    number = np.searchsorted(first, np.flatnonzero(inside), side="right") - 1  # the segment of each anomalous point
    hit = np.bincount(number, flag[inside] == 1, len(first)) > 0
    adjusted = flag.copy()
    adjusted[inside] = np.where(np.isnan(flag[inside]), np.nan, hit[number])
    return adjusted


def vus_roc(
    labels: ArrayLike, scores: ArrayLike, *, max_buffer: int, series: ArrayLike | None = None, rule: Rule = "paper",
) -> float:
    """Volume under the ROC surface: the area under the range-based ROC curve, the mean over buffers of 0 to L steps.

    Formula   mean over l = 0 .. L of the area under (FPR_l, TPR_l) over all distinct scores as thresholds, by
              trapezoids from (0, 0) to (1, 1), with
              label_l = 1 in a segment, elsewhere min(1, sum of sqrt(1 - d / l) over segments d <= l / 2 steps away)
              TP_l = sum label_l of flagged points,   FP_l = flagged points - TP_l
              P_l = (sum label + sum label_l) / 2,   N_l = points - P_l
              TPR_l = min(1, TP_l / P_l) * (share of segments, buffers included, with a flag),   FPR_l = FP_l / N_l
    Args      max_buffer: L, the length of buffers at most, half of it on either side of a segment: as a rule the period
              of the series or the usual length of an anomaly.   rule: "paper" is the formula, and a score that jumps at
              the edges of segments has less than 1; with "flagged", sum label_l of P_l leaves out points of buffers
              that are not flagged, and such a score has 1.
    Range     0 to 1; a score that tells nothing has more with longer buffers, so compare values of equal L. With L = 0
              and one segment it is `roc_auc`; of several, TPR is lower while one is missed.
    Missing   A label: not counted. A score: NaN. No anomaly, or nothing else: NaN.
    Source    Paparrizos et al. (2022), "Volume Under the Surface: A New Accuracy Evaluation Measure for Time-Series
              Anomaly Detection", PVLDB 15(11). As in its authors' programs, buffers are alike on both sides, segments
              whose buffers overlap are one, and the mean is over l. "flagged" is what their later programs do, also
              those of Liu & Paparrizos (2024), "The Elephant in the Room: Towards A Reliable Time-Series Anomaly
              Detection Benchmark", NeurIPS. They take 250 thresholds; here are all of them.
    """
    return volumes(labels, scores, max_buffer, series, rule)[0]


def vus_pr(
    labels: ArrayLike, scores: ArrayLike, *, max_buffer: int, series: ArrayLike | None = None, rule: Rule = "paper",
) -> float:
    """Volume under the precision-recall surface: as `vus_roc`, of the range-based precision-recall curve.

    Formula   mean over l = 0 .. L of the area under (TPR_l, TP_l / flagged points), by trapezoids from recall 0, where
              the precision is 1; label_l, TP_l and TPR_l are those of `vus_roc`
    Args      max_buffer: L, as in `vus_roc`.   rule: as in `vus_roc`; with "flagged" the area is one of steps, as that
              of `average_precision`.
    Range     0 to 1, as `vus_roc`. With L = 0 and one segment, "flagged" is `average_precision`, and "paper" the area
              under the same curve with its points joined by straight lines.
    Missing   A label: not counted. A score: NaN. No anomaly, or nothing else: NaN.
    Source    Paparrizos et al. (2022), PVLDB 15(11); as in `vus_roc`.
    """
    return volumes(labels, scores, max_buffer, series, rule)[1]
