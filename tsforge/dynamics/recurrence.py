"""Recurrence: when a system comes back to where it was.

Paper     Eckmann, Kamphorst & Ruelle (1987), "Recurrence plots of dynamical systems", Europhys. Lett. 4;
          Marwan et al. (2007), "Recurrence plots for the analysis of complex systems", Phys. Rep. 438.
Equation  R[i, j] = 1 where |u_i - u_j| <= threshold and |i - j| > theiler        maximum norm
Shapes    x [time] or [time, coordinate] -> sparse [time, time]
Units     threshold in those of x;   rate and determinism are shares, 0 to 1.
Cost      Memory for the recurrences alone: about rate * time^2 entries.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.spatial import KDTree

from tsforge.dynamics.checks import at_least, states
from tsforge.dynamics.correlation import correlation_sum
from tsforge.errors import ArgumentError


def recurrence_matrix(
    x: ArrayLike, *, threshold: float | int | None = None, rate: float | None = None, theiler: int = 0,
) -> csr_array:
    """The symmetric matrix of recurrences, True where there is one; its diagonal is empty.

    Args:
        threshold: Largest distance of a recurrence. Give it or `rate`.
        rate: Share of the pairs that shall be recurrences: the threshold becomes the smallest, to seven digits, with as
            many or more. Equal distances may bring many more.
        theiler: Pairs this many steps apart or fewer are none.

    Raises:
        ShapeError, ArgumentError: `x` is not finite or not longer than theiler + 1; not one of threshold and rate; a
            negative threshold or window; a rate not above 0 and at most 1.
    """
    at_least("theiler", theiler, 0)
    points = states(x, least=theiler + 2)
    if (threshold is None) == (rate is None):
        raise ArgumentError(f"threshold={threshold} and rate={rate}: wanted one of the two.")
    reach = _threshold(points, rate, theiler) if rate is not None else float(threshold or 0)
    at_least("threshold", reach, 0)
    earlier, later = KDTree(points).query_pairs(reach, p=np.inf, output_type="ndarray").T
    kept = later - earlier > theiler
    rows, columns = np.concatenate([earlier[kept], later[kept]]), np.concatenate([later[kept], earlier[kept]])
    return csr_array((np.ones(len(rows), dtype=bool), (rows, columns)), shape=(len(points), len(points)))


def recurrence_rate(matrix: csr_array, *, theiler: int = 0) -> float:
    """Share of the pairs more than `theiler` steps apart that are recurrences.

    Raises:
        ArgumentError: no pair is that far apart.
    """
    n = len(matrix.indptr) - 1
    at_least("time - theiler", n - theiler, 2)
    return matrix.nnz / ((n - theiler) * (n - theiler - 1))


def determinism(matrix: csr_array, *, min_length: int = 2) -> float:
    """Share of the recurrences that lie on diagonal lines of at least `min_length`: stretches that went alike twice.

    It is 0 without any recurrence. Noise has some by chance: compare with a shuffled series.

    Raises:
        ArgumentError: min_length below 1.
    """
    at_least("min_length", min_length, 1)
    entries = matrix.tocoo()
    diagonal, row = entries.col - entries.row, entries.row
    order = np.lexsort((row, diagonal))
    diagonal, row = diagonal[order], row[order]
    breaks = np.flatnonzero((np.diff(diagonal) != 0) | (np.diff(row) != 1)) + 1
    lengths = np.diff(np.concatenate([[0], breaks, [len(row)]]))
    return float(lengths[lengths >= min_length].sum() / len(row)) if len(row) else 0.0


def _threshold(points: np.ndarray, rate: float, theiler: int) -> float:
    """The smallest threshold with this rate: brackets narrowed sixteenfold at a time: a tree counts many at once."""
    if not 0 < rate <= 1:
        raise ArgumentError(f"rate={rate}: wanted a share above 0 and at most 1.")
    low, high = 0.0, float(np.ptp(points, axis=0).max())
    for _ in range(6):
        radii = np.linspace(low, high, 17)
        first = int(np.argmax(correlation_sum(points, radii, theiler=theiler) >= rate))
        low, high = float(radii[max(first - 1, 0)]), float(radii[first])
    return high
