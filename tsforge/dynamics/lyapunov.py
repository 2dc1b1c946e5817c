"""The largest Lyapunov exponent of a series: how fast neighbours part.

Paper     Rosenstein, Collins & De Luca (1993), "A practical method for calculating largest Lyapunov exponents from
          small data sets", Physica D 65.
Equation  S(k) = mean_i log |y[i + k] - y[n(i) + k]|,   lambda = slope of S over k dt        n(i) the neighbour of i
Shapes    x [time] or [time, coordinate] -> S [step + 1], from step 0 on
Units     k, lag, theiler and fit in steps;   dt in time per step;   lambda in 1 / time, natural logarithm.
Differs   Only pairs that can be followed for all steps count, so that every S(k) is a mean over the same pairs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from tsforge.dynamics.checks import at_least, enough, states
from tsforge.dynamics.embedding import delay_embed
from tsforge.dynamics.nearest import nearest
from tsforge.errors import ArgumentError


@dataclass(frozen=True)
class DivergenceCurve:
    """Mean logarithm of the distance of neighbours, 0, 1, ... steps on.

    `time` is k dt; `theiler` is the window that was used.
    """

    time: Float[np.ndarray, " step"]
    log_distance: Float[np.ndarray, " step"]
    theiler: int

    def slope(self, start: int, stop: int) -> float:
        """Slope of the least-squares line through steps `start` to `stop`, both included, in 1 / time.

        Raises:
            ArgumentError: not 0 <= start < stop <= the last step, or a distance there is 0 throughout.
        """
        if not 0 <= start < stop < len(self.time):
            last = len(self.time) - 1
            raise ArgumentError(f"The fit goes from {start} to {stop}: wanted 0 <= start < stop <= {last}, in steps.")
        time, distance = (values[start : stop + 1] for values in (self.time, self.log_distance))
        if not np.isfinite(distance).all():
            raise ArgumentError("All neighbours meet within the fit: the series ends in a fixed state or a cycle.")
        return float(np.polyfit(time - time[0], distance, 1)[0])


def divergence_curve(
    x: ArrayLike, *, dimension: int, steps: int, lag: int = 1, theiler: int | None = None, dt: float | int = 1.0,
) -> DivergenceCurve:
    """How neighbours part over `steps` steps.

    Args:
        x: A series, or states, which `dimension=1` leaves as they are.
        theiler: Neighbours are more than this many steps apart; None is the mean period, as in the paper: one over the
            mean frequency of the power spectrum.
        dt: Time of a step.

    Pairs are those of different states among the first `time - (dimension - 1) lag - steps`. A pair whose distance is 0
    at some step is left out there.

    Raises:
        ShapeError, ArgumentError: not finite, too short, or without neighbours; an argument below its smallest value.
    """
    values = states(x)
    at_least("steps", steps, 1)
    at_least("dt", dt, np.finfo(float).tiny)
    vectors = delay_embed(values, dimension, lag)
    enough(len(values), (dimension - 1) * lag + steps + 2)
    window = _mean_period(values) if theiler is None else theiler
    neighbour, _ = nearest(vectors[: len(vectors) - steps], theiler=window)
    own = np.flatnonzero(neighbour >= 0)
    curve = [_mean_log(vectors[own + k] - vectors[neighbour[own] + k]) for k in range(steps + 1)]
    return DivergenceCurve(np.arange(steps + 1) * float(dt), np.array(curve), window)


def largest_lyapunov(
    x: ArrayLike, *, dimension: int, fit: tuple[int, int], lag: int = 1, theiler: int | None = None,
    dt: float | int = 1.0,
) -> float:
    """The largest Lyapunov exponent, in 1 / time: the slope of the divergence curve over `fit`.

    Args:
        fit: First and last step of the line. No rule finds it: look at `divergence_curve`, and take the straight part,
            after the neighbours have turned to the fastest direction and before they are as far apart as any two
            states.
        x, dimension, lag, theiler, dt: As in `divergence_curve`.

    A slope is found for noise too; it is an exponent only where the curve has a straight part.

    Raises:
        ShapeError, ArgumentError: as `divergence_curve` and `DivergenceCurve.slope`.
    """
    curve = divergence_curve(x, dimension=dimension, steps=max(1, fit[1]), lag=lag, theiler=theiler, dt=dt)
    return curve.slope(*fit)


def _mean_log(difference: np.ndarray) -> float:
    distance = np.linalg.norm(difference, axis=1)
    return float(np.log(distance[distance > 0]).mean()) if distance.any() else -np.inf


def _mean_period(values: np.ndarray) -> int:
    """Steps of one over the mean frequency of the power spectrum, rounded up."""
    power = (np.abs(np.fft.rfft(values - values.mean(axis=0), axis=0)) ** 2).sum(axis=1)
    frequency = (np.fft.rfftfreq(len(values)) * power).sum()
    return int(np.ceil(power.sum() / frequency)) if frequency > 0 else 0
