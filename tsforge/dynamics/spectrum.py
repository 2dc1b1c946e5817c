"""All Lyapunov exponents of a system whose equations are known.

Paper     Benettin et al. (1980), "Lyapunov characteristic exponents for smooth dynamical systems ...", Meccanica 15;
          Shimada & Nagashima (1979), Prog. Theor. Phys. 61; Kaplan & Yorke (1979), Lecture Notes in Mathematics 730.
Equation  J(u_k) Q_k = Q_{k+1} R_{k+1},   lambda_j = mean_k log |R_k[j, j]| / dt
          a flow takes (u, Q) through one Runge-Kutta step of order 4 of u' = f(u), Q' = J(u) Q before each QR
Shapes    u [..., dimension]   J [..., dimension, dimension], J[i, j] = d f_i / d u_j   -> [dimension], largest first
Units     1 / step for a map, 1 / time for a flow, natural logarithm.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tsforge.dynamics.checks import at_least, real
from tsforge.errors import ArgumentError, ShapeError

Field = Callable[[np.ndarray], np.ndarray]
Basis = np.ndarray


def map_spectrum(
    step: Field, jacobian: Field, start: ArrayLike, *, n_steps: int, transient: int = 1000,
) -> Float[np.ndarray, " dimension"]:
    """Lyapunov exponents of the map u -> step(u).

    Args:
        step: [..., dimension] -> [..., dimension].
        jacobian: [..., dimension] -> [..., dimension, dimension].
        start: [dimension], or [orbit, dimension] to take the mean over several orbits, which go side by side.
        n_steps: Steps measured, after `transient` steps that turn the tangent vectors.

    An exponent is -inf where a direction collapses, as on a superstable cycle.

    Raises:
        ShapeError: `start` is neither, or a function gives another shape.
        ArgumentError: an orbit leaves the finite numbers; n_steps below 1 or transient below 0.
    """
    state, basis = _begin(step, jacobian, start, n_steps, transient)
    total = np.zeros(state.shape)
    for k in range(-transient, n_steps):
        basis, growth = _orthonormal(jacobian(state) @ basis)
        total += growth if k >= 0 else 0.0
        state = step(state)
    return _mean(state, total / n_steps)


def flow_spectrum(
    field: Field, jacobian: Field, start: ArrayLike, *, dt: float | int, n_steps: int, transient: int = 1000,
) -> Float[np.ndarray, " dimension"]:
    """Lyapunov exponents of the flow u' = field(u).

    Args:
        field, jacobian, start: As in `map_spectrum`.
        dt: Time of a Runge-Kutta step: a hundredth of the fastest period or less.
        n_steps: Steps measured, after `transient` steps that are not.

    Their sum is the mean divergence of the field along the orbit, up to the error of the steps: a check of `dt` and of
    the Jacobian.

    Raises:
        ShapeError, ArgumentError: as `map_spectrum`; dt not above 0.
    """
    at_least("dt", dt, np.finfo(float).tiny)
    state, basis = _begin(field, jacobian, start, n_steps, transient)
    total = np.zeros(state.shape)
    for k in range(-transient, n_steps):
        state, basis = _runge_kutta(field, jacobian, state, basis, dt)
        basis, growth = _orthonormal(basis)
        total += growth if k >= 0 else 0.0
    return _mean(state, total / (n_steps * dt))


def kaplan_yorke_dimension(spectrum: ArrayLike) -> float:
    """The dimension in which a volume neither grows nor shrinks: k + (sum of the first k exponents) / |the next one|.

    k is the largest number of exponents, in falling order, whose sum is not negative. Where that is all of them or
    none, it is the dimension.

    Raises:
        ArgumentError: no exponent, or one that is not finite.
    """
    exponents = np.sort(real(spectrum).ravel())[::-1]
    at_least("number of exponents", len(exponents), 1)
    sums = np.cumsum(exponents)
    kept = np.flatnonzero(sums >= 0)
    k = int(kept[-1]) + 1 if len(kept) else 0
    return float(k) if k in (0, len(exponents)) else k + float(sums[k - 1] / -exponents[k])


def _begin(f: Field, jacobian: Field, start: ArrayLike, n_steps: int, transient: int) -> tuple[np.ndarray, Basis]:
    state = real(start).astype(np.float64)
    at_least("n_steps", n_steps, 1)
    at_least("transient", transient, 0)
    if state.ndim not in (1, 2) or not state.size:
        raise ShapeError(f"start has the shape {state.shape}: wanted [dimension] or [orbit, dimension].")
    square = (*state.shape, state.shape[-1])
    for name, got, wanted in (("step or field", f(state), state.shape), ("jacobian", jacobian(state), square)):
        if np.shape(got) != wanted:
            raise ShapeError(f"The {name} gives {np.shape(got)} at a start {state.shape}: wanted {wanted}.")
    return state, np.broadcast_to(np.eye(state.shape[-1]), square)


def _runge_kutta(
    field: Field, jacobian: Field, state: np.ndarray, basis: Basis, dt: float | int,
) -> tuple[np.ndarray, Basis]:
    """One step of the flow and of its tangent vectors."""
    states, bases, du, dq = [], [], np.zeros(()), np.zeros(())
    for part in (0.0, 0.5, 0.5, 1.0):
        here = state + part * dt * du
        du, dq = field(here), jacobian(here) @ (basis + part * dt * dq)
        states.append(du)
        bases.append(dq)
    return state + dt * _weighted(states), basis + dt * _weighted(bases)


def _weighted(slopes: list[np.ndarray]) -> np.ndarray:
    first, second, third, fourth = slopes
    return (first + 2 * second + 2 * third + fourth) / 6


def _orthonormal(vectors: Basis) -> tuple[Basis, np.ndarray]:
    basis, triangle = np.linalg.qr(vectors)
    with np.errstate(divide="ignore"):
        return basis, np.log(np.abs(np.diagonal(triangle, axis1=-2, axis2=-1)))


def _mean(state: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    if not np.isfinite(state).all():
        raise ArgumentError(
            "An orbit leaves the finite numbers: give a start in the basin of the attractor, or a smaller dt."
        )
    return np.sort(exponents.reshape(-1, exponents.shape[-1]).mean(axis=0))[::-1]
