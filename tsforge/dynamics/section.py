"""Poincaré section: where and when a trajectory crosses a plane.

Paper     Poincaré (1899), "Les méthodes nouvelles de la mécanique céleste" III;
          Hénon (1982), "On the numerical computation of Poincaré maps", Physica D 5, on why to interpolate.
Equation  s(u) = normal . u - offset;   a crossing is a root of s along the polynomial through 2 or 4 states around it
Shapes    x [time, coordinate], normal [coordinate] -> times [crossing], points [crossing, coordinate]
Units     points in those of x;   times from the first state on, in those of dt.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tsforge.dynamics.checks import at_least, real, states
from tsforge.errors import ArgumentError, ShapeError

HALVINGS = 53  # as many as a float has bits


@dataclass(frozen=True)
class Section:
    """Crossings in the order of time. Differences of `times` are return times."""

    times: Float[np.ndarray, " crossing"]
    points: Float[np.ndarray, "crossing coordinate"]


def poincare_section(
    x: ArrayLike, normal: ArrayLike, offset: float | int = 0.0, *, direction: Literal["up", "down", "both"] = "up",
    interpolation: Literal["linear", "cubic"] = "cubic", dt: float | int = 1.0,
) -> Section:
    """Crossings of the plane `normal . u = offset`.

    Args:
        direction: "up" from below the plane (`normal . u < offset`) onto it or above, "down" the other way, "both".
        interpolation: Of the states around a crossing, in time: error of order dt^2 or dt^4.
        dt: Time of a step.

    A state on the plane counts as above it, so that a crossing counts once, and a touch from below as up and down.

    Raises:
        ShapeError: `normal` has not one number for each coordinate.
        ArgumentError: `x` is not finite or shorter than the 2 or 4 states of a polynomial; a normal of zeros; dt not
            above 0; an unknown direction or interpolation.
    """
    if interpolation not in ("linear", "cubic"):
        raise ArgumentError(f"interpolation={interpolation!r}: wanted 'linear' or 'cubic'.")
    at_least("dt", dt, np.finfo(float).tiny)
    width = 2 if interpolation == "linear" else 4
    points, plane = states(x, least=width), real(normal)
    if plane.shape != points.shape[1:]:
        raise ShapeError(f"normal has the shape {plane.shape}: wanted one number per coordinate, {points.shape[1]}.")
    if not plane.any():
        raise ArgumentError("normal is all zeros: wanted a direction across the plane.")
    height = points @ plane - offset
    before = _crossings(height >= 0, direction)
    first = np.clip(before - width // 2 + 1, 0, len(points) - width)
    near = first[:, None] + np.arange(width)  # [crossing, width]
    place = _roots(height[near], (before - first).astype(np.float64))
    return Section((first + place) * float(dt), np.einsum("cw,cwd->cd", _weights(place, width), points[near]))


def _crossings(above: np.ndarray, direction: str) -> np.ndarray:
    """Steps before a crossing."""
    up, down = ~above[:-1] & above[1:], above[:-1] & ~above[1:]
    kinds = {"up": up, "down": down, "both": up | down}
    if direction not in kinds:
        raise ArgumentError(f"direction={direction!r}: wanted 'up', 'down' or 'both'.")
    return np.flatnonzero(kinds[direction])


def _roots(heights: np.ndarray, low: np.ndarray) -> np.ndarray:
    """Where the polynomial through heights [crossing, width] at 0, 1, ... is 0 between `low` and `low + 1`."""
    width, high = heights.shape[1], low + 1
    below = (heights * _weights(low, width)).sum(axis=1) < 0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        same = ((heights * _weights(middle, width)).sum(axis=1) < 0) == below
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return (low + high) / 2


def _weights(place: np.ndarray, width: int) -> np.ndarray:
    """Lagrange's weights [crossing, width] of values at 0, 1, ..., width - 1 for the value at `place`."""
    columns = []
    for j in range(width):
        others = [k for k in range(width) if k != j]
        columns.append(np.prod([(place - k) / (j - k) for k in others], axis=0))
    return np.stack(columns, axis=1)
