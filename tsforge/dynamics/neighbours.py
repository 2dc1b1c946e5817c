"""False nearest neighbours: pairs that are near in d dimensions only because the attractor is folded there.

Paper     Kennel, Brown & Abarbanel (1992), "Determining embedding dimension for phase-space reconstruction using a
          geometrical construction", Phys. Rev. A 45.
Equation  false by the first criterion    |x[i + d lag] - x[n + d lag]| / R_d(i) > ratio
          false by the second criterion   R_{d+1}(i) / sd(x) > size
          n the neighbour of i in d dimensions, Euclidean norm, R_d their distance
Shapes    x [time] -> shares [dimension], from dimension 1 on
Units     shares of the vectors, 0 to 1, the same for a x + b.   lag in steps.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tsforge.dynamics.checks import at_least, series
from tsforge.dynamics.nearest import EUCLIDEAN, neighbours_in_delays


@dataclass(frozen=True)
class FalseNeighbours:
    """Shares of false neighbours at dimensions 1, 2, ...; `either[d - 1]` belongs to dimension d."""

    by_ratio: Float[np.ndarray, " dimension"]
    by_size: Float[np.ndarray, " dimension"]
    either: Float[np.ndarray, " dimension"]


def false_neighbours(
    x: ArrayLike, lag: int, max_dimension: int = 10, *, ratio: float | int = 15.0, size: float | int = 2.0,
    theiler: int = 0,
) -> FalseNeighbours:
    """Shares of false nearest neighbours for dimensions 1 to `max_dimension`; the first with about 0 is enough.

    Args:
        ratio: Threshold of the first criterion; the paper finds 10 and more to do, and uses 15.
        size: Threshold of the second, in standard deviations of `x`. It keeps noise from passing: in many dimensions
            the nearest neighbour is far, and the first criterion alone would call it true.
        theiler: Steps around a vector in which it has no neighbour; 0 as in the paper.

    Raises:
        ShapeError, ArgumentError: not one finite series that changes, of at least max_dimension * lag + 2 steps; an
            argument below its smallest value; no vector has a neighbour.
    """
    for name, value in (("lag", lag), ("max_dimension", max_dimension)):
        at_least(name, value, 1)
    for name, value in (("ratio", ratio), ("size", size)):
        at_least(name, value, 0)
    values = series(x, least=max_dimension * lag + 2)
    shares = []
    for dimension in range(1, max_dimension + 1):
        distance, growth = neighbours_in_delays(values, dimension, lag, theiler=theiler, norm=EUCLIDEAN)
        by_ratio, by_size = growth > ratio * distance, np.hypot(distance, growth) > size * values.std()
        shares.append([by_ratio.mean(), by_size.mean(), (by_ratio | by_size).mean()])
    return FalseNeighbours(*np.array(shares).T)
