"""Correlation dimension: how the number of near pairs falls with the radius.

Paper     Grassberger & Procaccia (1983), "Measuring the strangeness of strange attractors", Physica D 9;
          Theiler (1986), Phys. Rev. A 34, for the window.
Equation  C(r) = share of the pairs |i - j| > theiler with |u_i - u_j| <= r,      dimension = d log C / d log r
Shapes    x [time] or [time, coordinate] -> C [radius]
Units     r in those of x;   theiler in steps;   C and the dimension have none.
Differs   The maximum norm, which k-d trees count exactly; the dimension does not depend on the norm.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from tsforge.dynamics.checks import at_least, states
from tsforge.errors import ArgumentError


@dataclass(frozen=True)
class CorrelationDimension:
    """The dimension, the curve it is the slope of, and the radii (first, last) of the line."""

    dimension: float
    radii: Float[np.ndarray, " radius"]
    sums: Float[np.ndarray, " radius"]
    fit: tuple[float, float]


def correlation_sum(x: ArrayLike, radii: ArrayLike, *, theiler: int = 0) -> Float[np.ndarray, " radius"]:
    """Share of the pairs of states, more than `theiler` steps apart, that are within each radius in the maximum norm.

    Raises:
        ShapeError, ArgumentError: `x` is not finite or not longer than theiler + 1; a negative window or radius.
    """
    at_least("theiler", theiler, 0)
    points, reach = states(x, least=theiler + 2), np.atleast_1d(_radii(radii))
    order = np.argsort(reach)
    tree, n = KDTree(points), len(points)
    counts = tree.count_neighbors(tree, reach[order], p=np.inf).astype(np.int64) - n  # every pair twice, without i = j
    for k in range(1, theiler + 1):
        apart = np.sort(np.abs(points[k:] - points[:-k]).max(axis=1))
        counts -= 2 * np.searchsorted(apart, reach[order], side="right")
    sums = np.empty(len(reach))
    sums[order] = counts / ((n - theiler) * (n - theiler - 1))
    return sums


def correlation_dimension(
    x: ArrayLike, *, theiler: int = 0, shares: tuple[float, float] = (1e-4, 1e-2), n_radii: int = 32,
) -> CorrelationDimension:
    """Slope of log C over log r, by least squares.

    Args:
        x: States, or delay vectors of a dimension above twice the one expected.
        theiler: Pairs closer in time do not count. For a flow it must not be 0: take a few times the lag.
        shares: The line is fitted over the radii with `shares[0] <= C(r) <= shares[1]`: below it there are too few
            pairs, above it the size of the attractor bends the curve.
        n_radii: Radii, evenly spaced in the logarithm over the fit and some way beyond.

    Raises:
        ShapeError, ArgumentError: as `correlation_sum`; a constant series; shares that are not 0 < low < high <= 1;
            fewer than three different sums within the shares.
    """
    points = states(x, least=theiler + 3)
    extent = float(np.ptp(points, axis=0).max())
    if extent == 0:
        raise ArgumentError(f"All {len(points)} states are the same: wanted a series that changes.")
    if not 0 < shares[0] < shares[1] <= 1:
        raise ArgumentError(f"shares={shares}: wanted 0 < low < high <= 1.")
    radii = np.geomspace(*_span(points, extent, theiler, shares), n_radii)
    sums = correlation_sum(points, radii, theiler=theiler)
    inside = (sums >= shares[0]) & (sums <= shares[1])
    if len(np.unique(sums[inside])) < 3:
        raise ArgumentError(
            f"C(r) takes {len(np.unique(sums[inside]))} values between {shares[0]:g} and {shares[1]:g}: wanted 3 or "
            "more. Give a longer series, wider shares or more radii; whole numbers may be too coarse for a dimension."
        )
    slope = np.polyfit(np.log(radii[inside]), np.log(sums[inside]), 1)[0]
    return CorrelationDimension(float(slope), radii, sums, (float(radii[inside][0]), float(radii[inside][-1])))


def _span(points: np.ndarray, extent: float, theiler: int, shares: tuple[float, float]) -> tuple[float, float]:
    """Radii a little outside the fit, found on a thousand states: counting pairs at large radii costs time^2."""
    stride = max(1, len(points) // 1000)
    grid = extent * np.geomspace(1e-5, 1.0, 64)
    sample = points[::stride]
    sums = correlation_sum(sample, grid, theiler=min(theiler // stride, len(sample) - 2))
    low = np.flatnonzero(sums <= shares[0] / 4)
    high = np.flatnonzero(sums >= min(1.0, 2 * shares[1]))
    return float(grid[low[-1]] if len(low) else grid[0]), float(grid[high[0]])


def _radii(radii: ArrayLike) -> np.ndarray:
    """Radii as floats. Raises ArgumentError for one that is negative or no number."""
    reach = np.asarray(radii, dtype=np.float64)
    if not (reach >= 0).all():
        raise ArgumentError(f"radii={radii}: wanted numbers of 0 or more.")
    return reach
