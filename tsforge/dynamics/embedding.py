"""Delay vectors: a state of the system rebuilt from the past of one observable.

Paper     Packard et al. (1980), "Geometry from a time series", PRL 45;
          Takens (1981), "Detecting strange attractors in turbulence", Lecture Notes in Mathematics 898.
Equation  y[t] = (x[t], x[t + lag], ..., x[t + (dimension - 1) lag])        forward in time, the newest value last
Shapes    x [time] -> [time - (dimension - 1) lag, dimension]
          x [time, coordinate] -> [time - (dimension - 1) lag, dimension * coordinate], coordinates inside
Units     those of x;   lag in steps.
"""

import numpy as np
from jaxtyping import Float
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike

from tsforge.dynamics.checks import at_least, enough, real
from tsforge.errors import ArgumentError, ShapeError


def delay_embed(x: ArrayLike, dimension: int, lag: int = 1) -> Float[np.ndarray, "row column"]:
    """The delay vectors of a series, one a row, in the precision of `x`.

    Column j is `x[t + j * lag]`, so row t ends at step `t + (dimension - 1) * lag` and knows nothing of later steps.
    For one series it is a read-only view of `x`: no memory, whatever the dimension.

    Raises:
        ShapeError: `x` is neither [time] nor [time, coordinate].
        ArgumentError: `x` is too short for one row or has a value that is not finite; dimension or lag below 1.
    """
    values = real(x)
    at_least("dimension", dimension, 1)
    at_least("lag", lag, 1)
    if values.ndim not in (1, 2):
        raise ShapeError(f"x has the shape {values.shape}: wanted [time] or [time, coordinate].")
    span = (dimension - 1) * lag + 1
    enough(len(values), span)
    windows = sliding_window_view(values, span, axis=0)[..., ::lag]  # [row, dimension] or [row, coordinate, dimension]
    return windows if values.ndim == 1 else windows.swapaxes(1, 2).reshape(len(windows), -1)


def delay_unembed(vectors: ArrayLike, lag: int = 1) -> Float[np.ndarray, " time"]:
    """The series that delay vectors [row, dimension] belong to: the inverse of `delay_embed` for one series.

    Vectors that were changed, for example forecast or denoised, may disagree about a step: then it is the mean of what
    they say, which is the series whose delay vectors are nearest in least squares.

    Raises:
        ShapeError: `vectors` is not [row, dimension].
        ArgumentError: fewer rows than `lag`, so that some step stands in no vector; lag below 1; a value not finite.
    """
    values = real(vectors)
    at_least("lag", lag, 1)
    if values.ndim != 2:
        raise ShapeError(f"vectors have the shape {values.shape}: wanted [row, dimension].")
    rows, dimension = values.shape
    if dimension > 1 and rows < lag:
        raise ArgumentError(f"{rows} delay vectors of lag {lag} leave steps between them untold: wanted {lag} or more.")
    total, count = np.zeros((2, rows + (dimension - 1) * lag))
    for j, column in enumerate(values.T):
        total[j * lag : j * lag + rows] += column
        count[j * lag : j * lag + rows] += 1
    return total / count
