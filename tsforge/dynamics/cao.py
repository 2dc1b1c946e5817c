"""Cao's method: the embedding dimension from which nearest neighbours stay near, and whether a series is noise.

Paper     Cao (1997), "Practical method for determining the minimum embedding dimension of a scalar time series",
          Physica D 110.
Equation  a(i, d) = |y_i(d+1) - y_n(d+1)| / |y_i(d) - y_n(d)|        n the neighbour of i in d dimensions, maximum norm
          E(d) = mean_i a(i, d),                    E1(d) = E(d+1) / E(d)
          E*(d) = mean_i |x[i + d lag] - x[n + d lag]|,   E2(d) = E*(d+1) / E*(d)
Shapes    x [time] -> e1, e2 [dimension], from dimension 1 on
Units     none: E1 and E2 are ratios, the same for a x + b.   lag in steps.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tsforge.dynamics.checks import at_least, series
from tsforge.dynamics.nearest import MAXIMUM, neighbours_in_delays
from tsforge.errors import ArgumentError

LEVEL, TOLERANCE = 0.8, 0.15  # where E1 counts as high, and as flat


@dataclass(frozen=True)
class CaoCurves:
    """E1 and E2 at dimensions 1, 2, ...; `e1[d - 1]` belongs to dimension d."""

    e1: Float[np.ndarray, " dimension"]
    e2: Float[np.ndarray, " dimension"]


def cao(x: ArrayLike, lag: int, max_dimension: int = 10, *, theiler: int = 0) -> CaoCurves:
    """E1 and E2 for dimensions 1 to `max_dimension`.

    E1 rises and levels off near 1 at the dimension sought. E2 is 1 at every dimension if the future does not depend on
    the past, and differs from 1 at some dimension otherwise; on short or noisy series by little.

    Args:
        theiler: Steps around a vector in which it has no neighbour; 0 as in the paper.

    E2 is NaN or infinite where a step of it divides by 0: all neighbours agree on the next value to the last bit.

    Raises:
        ShapeError, ArgumentError: not one finite series that changes, of at least (max_dimension + 1) lag + 2 steps;
            an argument below its smallest value; no vector has a neighbour.
    """
    at_least("lag", lag, 1)
    at_least("max_dimension", max_dimension, 1)
    values = series(x, least=(max_dimension + 1) * lag + 2)
    # [dimension + 1, E and E*]
    means = np.array([_means(values, d, lag, theiler) for d in range(1, max_dimension + 2)])
    with np.errstate(divide="ignore", invalid="ignore"):
        e1, e2 = (means[1:] / means[:-1]).T
    return CaoCurves(e1, e2)


def embedding_dimension(
    x: ArrayLike, lag: int, max_dimension: int = 10, *, level: float | int = LEVEL, tolerance: float | int = TOLERANCE,
    theiler: int = 0,
) -> int:
    """The smallest dimension d <= `max_dimension` at which E1 has levelled off.

    Levelled off means E1(d) >= `level` and |E1(d+1) - E1(d)| <= `tolerance`. The paper leaves the judgement to the eye;
    the defaults find 3 for the Lorenz system, 2 for the Hénon map and for a sine, 1 for the logistic map.

    Raises:
        ShapeError, ArgumentError: as `cao`, with one dimension more; E1 does not level off, as that of noise.
    """
    e1 = cao(x, lag, max_dimension + 1, theiler=theiler).e1
    found = levels_off(e1, level, tolerance)
    if found is None:
        raise ArgumentError(
            f"E1 does not level off up to max_dimension={max_dimension} at lag={lag} (it is {_told(e1[:-1])}): the "
            "series may be noise. Raise max_dimension, lower level, or choose another lag."
        )
    return found


def levels_off(
    e1: Float[np.ndarray, " dimension"], level: float | int = LEVEL, tolerance: float | int = TOLERANCE
) -> int | None:
    """The first dimension d with E1(d) >= `level` and |E1(d+1) - E1(d)| <= `tolerance`; None where there is none."""
    flat = np.flatnonzero((e1[:-1] >= level) & (np.abs(np.diff(e1)) <= tolerance))
    return int(flat[0]) + 1 if len(flat) else None


def _means(x: np.ndarray, dimension: int, lag: int, theiler: int) -> tuple[float, float]:
    distance, growth = neighbours_in_delays(x, dimension, lag, theiler=theiler, norm=MAXIMUM)
    return float(np.mean(np.maximum(distance, growth) / distance)), float(growth.mean())


def _told(values: np.ndarray) -> str:
    return ", ".join(f"{value:.2f}" for value in values)
