"""Probability integral transform: at which share of its law a forecast saw the truth.

Shapes    y [...]; a law is quantiles q_hats [..., quantile] or samples [sample, ...]
Paper     Dawid (1984), JRSS A 147(2); for laws that are not continuous Czado, Gneiting & Held (2009), "Predictive
          Model Assessment for Count Data", Biometrics 65(4), whose histogram draws nothing at random.
Equation  PIT in [F(y-), F(y)], of which some quantiles or samples tell bounds; between them its mass is spread evenly
"""

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.metrics.arrays import Quantiles, inside


def pit_bounds(
    y: ArrayLike, law: ArrayLike, quantiles: Quantiles | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the PIT of each cell, [...] both, between 0 and 1; NaN where truth or law is missing.

    Args:
        y: [...].
        law: q_hats [..., quantile] with `quantiles`, else samples [sample, ...].
        quantiles: Levels of q_hats. The PIT lies between the levels of the quantiles around the truth.

    Of n samples a truth that has k of them below it lies between k / (n + 1) and (k + 1) / (n + 1), as it does when it
    is drawn as they are.

    Raises:
        ShapeError: the law is not one of y.
        ArgumentError: a quantile is not between 0 and 1.
    """
    truth, values = np.asarray(y, dtype=float), np.asarray(law, dtype=float)
    levels = _levels(truth, values, quantiles)
    values = np.moveaxis(values, -1, 0) if quantiles is not None else values
    values = np.sort(values, axis=0)  # quantiles that cross say the same as in order
    ends = np.concatenate([[0.0], levels, [1.0]])
    lower, upper = ends[(values < truth).sum(axis=0)], ends[(values <= truth).sum(axis=0) + 1]
    lost = np.isnan(truth) | np.isnan(values).any(axis=0)
    return np.where(lost, np.nan, lower), np.where(lost, np.nan, upper)


def pit_histogram(
    y: ArrayLike, law: ArrayLike, quantiles: Quantiles | None = None, *, bins: int = 10,
) -> np.ndarray:
    """Shares [bin] of the PIT in bins of equal width; flat for a law that is right.

    Formula   mean over cells of the share of [lower, upper] that lies in each bin, bounds as in `pit_bounds`
    Range     0 to 1, sum 1; 1 / bins in each is best. High ends: too narrow; a high middle: too wide; a slope: biased.
              Units  none.
    Missing   Truth: left out, none left gives NaN. A missing quantile or sample of an observed cell: NaN.

    Raises:
        ShapeError, ArgumentError: as `pit_bounds`; fewer than 1 bin.
    """
    if bins < 1:
        raise ArgumentError(f"bins={bins}: wanted 1 or more.")
    lower, upper = (bound[~np.isnan(np.asarray(y, dtype=float))] for bound in pit_bounds(y, law, quantiles))
    return np.diff(mass(lower, upper, np.arange(bins + 1) / bins).mean(axis=0)) if len(lower) else np.full(bins, np.nan)


def mass(lower: np.ndarray, upper: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Share of each cell's PIT at or below each of `at`: bounds [cell], at [point] -> [cell, point]; NaN where lost."""
    return np.clip((at - lower[:, None]) / (upper - lower)[:, None], 0.0, 1.0)


def _levels(y: np.ndarray, law: np.ndarray, quantiles: Quantiles | None) -> np.ndarray:
    """[quantile] or [sample], ascending: the share of the law up to each."""
    if quantiles is None:
        if law.shape[1:] != y.shape or not len(law):
            raise ShapeError(f"samples {law.shape} are not of y {y.shape}: give [sample, ...], or quantiles= too.")
        return np.arange(1, len(law) + 1) / (len(law) + 1)
    if law.shape != (*y.shape, len(quantiles)) or not len(quantiles):
        raise ShapeError(f"q_hats {law.shape} are not of y {y.shape}: give [..., quantile], {len(quantiles)} of them.")
    inside("quantile", quantiles, 1)
    return np.sort(np.asarray(quantiles, dtype=float))
