"""What every tool of the room asks of its input: real numbers, all of them there, enough of them."""

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError, ShapeError


def real(x: ArrayLike) -> np.ndarray:
    """`x` as floats of its own precision (whole numbers become float64), not copied where they are that already.

    Raises:
        ArgumentError: a value is not a number, is missing or is infinite.
    """
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise ArgumentError(f"x has the type {values.dtype}: wanted an array of real numbers.")
    if values.dtype.kind != "f":
        return values.astype(np.float64)
    odd = np.flatnonzero(~np.isfinite(values))
    if len(odd):
        step = np.unravel_index(odd[0], values.shape)[0]
        raise ArgumentError(
            f"x has {len(odd)} values that are NaN or infinite, the first at step {step}: a delay "
            "vector needs each of its values. Fill the gaps, or take a stretch without any."
        )
    return values


def series(x: ArrayLike, least: int = 2, *, constant: bool = False) -> Float[np.ndarray, " time"]:
    """`x` as one series of float64.

    Args:
        least: Fewest values that will do.
        constant: Whether a series that never changes will do.

    Raises:
        ShapeError: `x` has more than one axis.
        ArgumentError: too short, not finite, or constant.
    """
    values = real(x).astype(np.float64, copy=False)
    if values.ndim != 1:
        raise ShapeError(f"x has the shape {values.shape}: wanted one series [time]. Take its columns one by one.")
    enough(len(values), least)
    if not constant and values.min() == values.max():
        raise ArgumentError(f"x is {values[0]:g} at all of its {len(values)} steps: wanted a series that changes.")
    return values


def states(x: ArrayLike, least: int = 2) -> Float[np.ndarray, "time coordinate"]:
    """`x` as states of float64; a series [time] becomes [time, 1].

    Raises:
        ShapeError: `x` has neither one axis nor two, or no coordinate.
        ArgumentError: too short, or not finite.
    """
    values = real(x).astype(np.float64, copy=False)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] == 0:
        raise ShapeError(f"x has the shape {np.shape(x)}: wanted [time] or [time, coordinate].")
    enough(len(values), least)
    return values


def enough(length: int, least: int) -> None:
    """Raises ArgumentError for fewer than `least` steps."""
    if length < least:
        raise ArgumentError(
            f"x has {length} steps: wanted at least {least}. "
            "Give a longer series, or a smaller lag, dimension or window."
        )


def at_least(name: str, value: float | int, least: float | int) -> None:
    """Raises ArgumentError for a value below `least`."""
    if not value >= least:
        raise ArgumentError(f"{name}={value}: wanted {least} or more.")
