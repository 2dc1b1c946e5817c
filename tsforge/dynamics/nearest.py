"""The nearest neighbour of every state, by a k-d tree.

Rules     Neighbours at distance 0 are no neighbours (Cao 1997): their ratio and their logarithm mean nothing.
          Within the Theiler window, |i - j| <= theiler, are none either: on a trajectory they are near in time only
          (Theiler 1986, "Spurious dimension from correlation algorithms ...", Phys. Rev. A 34).
          Of neighbours at the same distance the earliest counts.
Cost      About time * log(time) for few coordinates, and memory for `CELLS` candidates beside the points. Many equal
          distances (small whole numbers) or very many coordinates bring the cost towards time^2, the memory not.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from tsforge.dynamics.checks import at_least, enough
from tsforge.dynamics.embedding import delay_embed
from tsforge.errors import ArgumentError

CELLS = 1 << 18  # candidates held at a time
EUCLIDEAN, MAXIMUM = 2.0, np.inf  # norms as scipy numbers them


def nearest(
    points: Float[np.ndarray, "time coordinate"], *, theiler: int = 0, norm: float = EUCLIDEAN,
) -> tuple[Int[np.ndarray, " time"], Float[np.ndarray, " time"]]:
    """Step and distance of each state's nearest neighbour; -1 and infinity where it has none.

    Raises:
        ArgumentError: a negative Theiler window, or no state has a neighbour.
    """
    at_least("theiler", theiler, 0)
    n, distinct = len(points), _Distinct.of(points)
    steps, distances = np.full(n, -1), np.full(n, np.inf)
    tree, left, k = KDTree(distinct.points), np.arange(n), 8
    while len(left) and len(distinct.points) > 1:
        k = min(k, len(distinct.points))
        settled = np.zeros(len(left), dtype=bool)
        for low in range(0, len(left), max(1, CELLS // k)):
            rows = left[low : low + max(1, CELLS // k)]
            reach, groups = map(np.asarray, tree.query(points[rows], k=k, p=norm))  # [row, k]
            steps[rows], distances[rows] = _first(reach, distinct.after(groups, rows, theiler), n)
            settled[low : low + len(rows)] = distances[rows] < reach[:, -1]  # so no equal one was left out
        left, k = left[~settled] if k < len(distinct.points) else left[:0], 4 * k
    if not (steps >= 0).any():
        raise ArgumentError(
            f"None of the {n} states has a neighbour that differs and is more than theiler={theiler} steps away: "
            "the series is constant, exactly periodic or too short. Give a longer one, or a smaller Theiler window."
        )
    return steps, distances


def _first(reach: np.ndarray, steps: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of each row of candidates, the earliest of equals; `n` is the step of one that does not count."""
    distance = np.where((reach > 0) & (steps < n), reach, np.inf)
    best = distance.min(axis=1)
    step = np.where(distance == best[:, None], steps, n).min(axis=1)
    return np.where(np.isfinite(best), step, -1), best


@dataclass(frozen=True)
class _Distinct:
    """States without repetition, and the steps at which each of them occurs.

    A tree of distinct states answers a series of many equal values, such as counts of intermittent demand, at once;
    a tree of all of them would list every repetition at distance 0 first.
    """

    points: np.ndarray  # [distinct, coordinate]
    starts: np.ndarray  # [distinct], where the steps of a state begin in `order`
    order: np.ndarray  # [time], steps sorted by state, then by time
    keys: np.ndarray  # [time], state * time + step, sorted

    @classmethod
    def of(cls, points: np.ndarray) -> "_Distinct":
        order = np.lexsort(points.T)  # stable: equal states stay in the order of time
        new = np.ones(len(points), dtype=bool)
        new[1:] = (points[order[1:]] != points[order[:-1]]).any(axis=1)
        keys = (np.cumsum(new) - 1) * len(points) + order
        return cls(points[order[new]], np.flatnonzero(new), order, keys)

    def after(self, groups: np.ndarray, rows: np.ndarray, theiler: int) -> np.ndarray:
        """The earliest step of each group of [row, k] outside the window of its row; the number of steps if none."""
        n, here = len(self.order), rows[:, None]
        first = self.order[self.starts[groups]]
        if theiler == 0:  # a group holds steps of another state than the row's, so never the row itself
            return first
        place = np.searchsorted(self.keys, groups * n + np.minimum(here + theiler + 1, n))
        ends = np.append(self.starts[1:], n)
        later = np.where(place < ends[groups], self.order[np.minimum(place, n - 1)], n)
        return np.where(first < here - theiler, first, later)


def neighbours_in_delays(
    x: Float[np.ndarray, " time"], dimension: int, lag: int, *, theiler: int, norm: float,
) -> tuple[Float[np.ndarray, " pair"], Float[np.ndarray, " pair"]]:
    """How far delay vectors are from their nearest neighbours, and how far apart the next coordinate finds the two.

    Only the first `time - dimension * lag` vectors take part: the others have no next coordinate.
    """
    enough(len(x), dimension * lag + 2)
    rows = len(x) - dimension * lag
    steps, distances = nearest(delay_embed(x, dimension, lag)[:rows], theiler=theiler, norm=norm)
    found = np.flatnonzero(steps >= 0)
    following = x[dimension * lag :]
    return distances[found], np.abs(following[found] - following[steps[found]])
