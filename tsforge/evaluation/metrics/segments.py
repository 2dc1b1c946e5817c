"""Segments of anomalous points, their buffers, and the surfaces of rates over thresholds and buffers.

Shapes    inside, block, soft [time]; a segment is its first point and the one after its last
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.metrics.curves import binary, thresholds

Rule = Literal["paper", "flagged"]


def blocks(series: ArrayLike | None, points: int) -> np.ndarray:
    """[time], the number of the series of each point, in order of appearance; all 0 where there is one.

    Raises:
        ShapeError: there is not one series for each point.
        ArgumentError: the points of a series do not stand together.
    """
    if series is None:
        return np.zeros(points, dtype=np.int64)
    names = np.asarray(series)
    if names.shape != (points,):
        raise ShapeError(f"series has the shape {names.shape}: wanted one name for each of {points} points.")
    block = np.append(0, (names[1:] != names[:-1]).cumsum())[:points]
    known, first = np.unique(names, return_index=True)
    apart = [name for name, at in zip(known, first, strict=True) if len(np.unique(block[names == name])) > 1]
    if apart:
        raise ArgumentError(f"The points of series {apart[0]} do not stand together: sort by series, then by time.")
    return block


def segments(inside: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First points and ends of the runs of points that are inside, none of which goes on into the next series."""
    other = np.concatenate([[True], block[1:] != block[:-1], [True]])
    edge = np.concatenate([[False], inside, [False]])
    first = inside & (other[:-1] | ~edge[:-2])
    last = inside & (other[1:] | ~edge[2:])
    return np.flatnonzero(first), np.flatnonzero(last) + 1


def soft_labels(inside: np.ndarray, block: np.ndarray, length: int) -> np.ndarray:
    """[time], 1 inside a segment, sqrt(1 - d / length) at d <= length / 2 steps from one, their sum up to 1."""
    first, stop = segments(inside, block)
    distance = np.arange(1, length // 2 + 1)
    near = np.concatenate([first[:, None] - distance, stop[:, None] - 1 + distance])  # [2 segment, distance]
    home = np.tile(block[first], 2)[:, None]
    there = (near >= 0) & (near < len(inside))
    there &= block[np.clip(near, 0, len(inside) - 1)] == home
    weight = np.broadcast_to(np.sqrt(1 - distance / max(length, 1)), near.shape)
    return np.minimum(inside + np.bincount(near[there], weight[there], len(inside)), 1.0)


def buffered(
    first: np.ndarray, stop: np.ndarray, block: np.ndarray, half: int
) -> tuple[np.ndarray, np.ndarray]:
    """First points and ends of segments with `half` steps more on both sides; those that overlap are one."""
    home = block[first]
    low = np.maximum(first - half, np.searchsorted(block, home, side="left"))
    high = np.minimum(stop + half, np.searchsorted(block, home, side="right"))
    apart = low[1:] >= high[:-1]
    return low[np.append(True, apart)], high[np.append(apart, True)]


def volumes(
    labels: ArrayLike, scores: ArrayLike, max_buffer: int, series: ArrayLike | None, rule: str
) -> tuple[float, float]:
    """Mean areas under the range-based ROC and precision-recall curves, over buffers of 0 to `max_buffer` steps."""
    truth, score = binary(labels, scores, "scores")
    block = blocks(series, len(truth))
    if max_buffer < 0:
        raise ArgumentError(f"max_buffer={max_buffer}: wanted a number of steps, 0 or more.")
    if rule not in get_args(Rule):
        raise ArgumentError(f"rule={rule!r}: wanted 'paper' or 'flagged'.")
    seen, inside = ~np.isnan(truth), truth == 1
    if np.isnan(score[seen]).any() or len(np.unique(truth[seen])) < 2:
        return float("nan"), float("nan")
    order, last = thresholds(score[seen])
    places, values = np.flatnonzero(seen)[order], score[seen][order][last]  # from the highest score down
    ceiling = np.append(np.where(seen, score, -np.inf), -np.inf)  # one more, at which the last segment may end
    first, stop = segments(inside, block)
    areas = []
    for length in range(max_buffer + 1):
        soft = soft_labels(inside, block, length)
        bounds = np.stack(buffered(first, stop, block, length // 2), axis=1)
        best = np.sort(np.maximum.reduceat(ceiling, bounds.ravel())[::2])  # the highest score of each segment
        found = 1 - np.searchsorted(best, values) / len(best)
        hits, sure = (kind[places].cumsum()[last] for kind in (soft, inside))
        areas.append(_areas(hits, sure, last + 1, found, rule))
    roc, pr = np.mean(areas, axis=0)
    return float(roc), float(pr)


def _areas(
    hits: np.ndarray, sure: np.ndarray, flagged: np.ndarray, found: np.ndarray, rule: str
) -> tuple[float, float]:
    """Areas under both curves of one buffer, from what each threshold finds [threshold].

    Args:
        hits: Soft labels of the flagged points.
        sure: Flagged points in segments.
        flagged: Flagged points.
        found: Share of the segments with a flag.
    """
    positive = sure[-1] + ((hits[-1] - sure[-1]) if rule == "paper" else (hits - sure)) / 2
    recall = np.append(0.0, np.minimum(hits / positive, 1.0) * found)
    false = np.append(0.0, (flagged - hits) / (flagged[-1] - positive))
    precision = np.append(1.0, hits / flagged)
    roc = np.trapezoid(np.append(recall, 1.0), np.append(false, 1.0))
    pr = np.trapezoid(precision, recall) if rule == "paper" else np.diff(recall) @ precision[1:]
    return float(roc), float(pr)
