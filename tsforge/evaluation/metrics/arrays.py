"""What metrics share: arrays of one shape, means over what was observed, checks of levels, windows."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError, ShapeError

Number = float | int
Quantiles = Sequence[Number] | np.ndarray  # [quantile]


def alike(*arrays: ArrayLike) -> list[np.ndarray]:
    """As float arrays of one shape: a [n, 1] that broadcasts against [n] would be scored n times."""
    found = [np.asarray(array, dtype=float) for array in arrays]
    if len({array.shape for array in found}) > 1:
        raise ShapeError(f"Shapes {', '.join(str(a.shape) for a in found)} differ: truth and forecast need the same.")
    return found


def one_window(y: ArrayLike, y_hat: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Truth and forecast [h] or [h, channel] as a batch of one window, [1, h, channel].

    Raises:
        ShapeError: they differ in shape, or have another number of axes.
    """
    truth, forecast = alike(y, y_hat)
    if truth.ndim not in (1, 2):
        raise ShapeError(f"y has the shape {truth.shape}: wanted one window, [h] or [h, channel].")
    return truth.reshape(1, len(truth), -1), forecast.reshape(1, len(truth), -1)


def one_ensemble(y: ArrayLike, samples: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Truth [h] or [h, channel] and its paths [sample, h] or [sample, h, channel] as a batch of one window.

    Raises:
        ShapeError: the paths are not those of the truth, or there is none.
    """
    truth, paths = np.asarray(y, dtype=float), np.asarray(samples, dtype=float)
    if truth.ndim not in (1, 2) or paths.shape[1:] != truth.shape or not len(paths):
        raise ShapeError(f"y has the shape {truth.shape} and samples {paths.shape}: wanted [h] and [sample, h], or "
                         "[h, channel] and [sample, h, channel], with one sample or more.")
    return truth.reshape(1, len(truth), -1), paths.reshape(1, len(paths), len(truth), -1)


def mean_observed(y: np.ndarray, loss: np.ndarray) -> float:
    """Mean of the losses whose truth was observed; NaN where none was."""
    observed = loss[~np.isnan(y)]
    return float(observed.mean()) if observed.size else float("nan")


def positive(scale: Number) -> Number:
    """The scale where it can divide, else NaN."""
    return scale if scale > 0 else float("nan")


def inside(name: str, values: Quantiles, top: int) -> None:
    """Raises ArgumentError for a value that is not between 0 and `top`."""
    for value in values:
        if not 0 < value < top:
            raise ArgumentError(f"{name}={value} is not between 0 and {top}: a level is a percent, a quantile a share.")
