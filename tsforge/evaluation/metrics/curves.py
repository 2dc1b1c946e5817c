"""Areas under the curves of a score that ranks points or cases, for two classes.

Shapes    labels, scores [case], labels 0 or 1 (or false and true), scores higher where 1 is likelier; one float
Units     scores: any, only their order counts.
Missing   A case without a label (NaN, null) is left out. A score that is missing where there is a label: NaN. With
          cases of one class alone: NaN.
Errors    ShapeError where the arrays differ in shape or have more than one axis; ArgumentError for a label that is
          neither 0 nor 1.
"""

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError, ShapeError


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Area under the ROC curve: how often a 1 is scored above a 0.

    Formula   P(score of a 1 > score of a 0) + P(the two are equal) / 2
    Range     0 to 1, 1 is best; 0.5 for a score that tells nothing, however rare the 1s are.   Units  none.
    Missing   A label: left out. A score: NaN. One class alone: NaN.
    Source    Hanley & McNeil (1982), "The meaning and use of the area under a receiver operating characteristic (ROC)
              curve", Radiology 143(1).
    """
    counts = _counts(labels, scores)
    if counts is None:
        return float("nan")
    found, false = (np.append(0.0, each) for each in counts)
    return float(np.trapezoid(found, false) / (found[-1] * false[-1]))


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Mean precision over the 1s, each at the threshold that finds it: the area under the precision-recall curve.

    Formula   sum_k (recall_k - recall_(k-1)) precision_k   over the distinct scores from the highest down
    Range     0 to 1, 1 is best; a score that tells nothing has the share of 1s.   Units  none.
    Missing   A label: left out. A score: NaN. One class alone: NaN.
    Source    Davis & Goadrich (2006), "The relationship between Precision-Recall and ROC curves", ICML: points of this
              curve are not to be joined by straight lines, which promise more than any threshold keeps. So steps, here.
    """
    counts = _counts(labels, scores)
    if counts is None:
        return float("nan")
    found, false = counts
    return float((np.diff(found, prepend=0.0) * found / (found + false)).sum() / found[-1])


def _counts(labels: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray] | None:
    """How many 1s and how many 0s reach each distinct score, from the highest down; None where there is no curve."""
    truth, score = binary(labels, scores, "scores")
    truth, score = truth[~np.isnan(truth)], score[~np.isnan(truth)]
    if np.isnan(score).any() or len(np.unique(truth)) < 2:
        return None
    order, last = thresholds(score)
    found = truth[order].cumsum()[last]
    return found, last + 1 - found


def binary(labels: ArrayLike, values: ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels [case] of 0, 1 or NaN and what was said of them, as floats.

    Raises:
        ShapeError: they differ in shape, or have another number of axes than one.
        ArgumentError: a label is neither 0 nor 1.
    """
    truth, said = (np.asarray(array, dtype=float) for array in (labels, values))
    if truth.ndim != 1 or said.shape != truth.shape:
        raise ShapeError(f"labels have the shape {truth.shape} and {name} {said.shape}: wanted one axis, the same.")
    for kind, array in (("labels", truth), *([("flags", said)] if name == "flags" else [])):
        strange = array[~np.isnan(array) & (array != 0) & (array != 1)]
        if len(strange):
            raise ArgumentError(f"{kind} have the value {strange[0]:g}: wanted 0 and 1 (or false and true).")
    return truth, said


def thresholds(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The places [case] of scores from the highest down, and [threshold] the last rank of each distinct score."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    return order, np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # equal scores pass a threshold together
