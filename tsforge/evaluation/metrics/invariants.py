"""Metrics of what stays the same along a trajectory: its power spectrum, largest exponent and dimension.

Shapes    y, y_hat [h] or [h, channel], the same; the result is one float.
Missing   Truth: steps after the last are cut off; one missing before it gives NaN. A forecast that is not finite: NaN.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics.arrays import Number, one_window
from tsforge.evaluation.metrics.whole import each_whole, or_nan


def spectrum_hellinger(y: ArrayLike, y_hat: ArrayLike, *, smoothing: Number = 0) -> float:
    """Hellinger distance of the power spectra of truth and forecast, the mean over channels.

    Formula   sqrt(1 - sum_f sqrt(p_f q_f)),   p_f = |F(y - mean y)_f|² over its sum, q alike of the forecast; f > 0
    Args      smoothing: sd of a Gaussian in frequency bins (1 / h of a step) that p and q are smoothed by first.
              Without, two stretches of one noise are about 0.46 apart.
    Range     0 to 1, 0 is best; 1 for a forecast that stands still.   Units  none; of y none.
    Missing   Truth: steps after the last are cut off; one missing before it, or a truth that stands still: NaN. A
              forecast not finite: NaN.
    Source    Mikhaeil, Monfared & Durstewitz (2022), "On the difficulty of learning chaotic dynamics with RNNs",
              NeurIPS 35.
    """
    return float(spectrum_distances(*one_window(y, y_hat), smoothing=smoothing)[0])


def lyapunov_error(
    y: ArrayLike, y_hat: ArrayLike, *, dimension: int, fit: Sequence[int], lag: int = 1, theiler: int | None = None,
    exponent: Number | None = None,
) -> float:
    """How far the largest Lyapunov exponent of a forecast is from that of the truth.

    Formula   |lambda(y_hat) - lambda(y)|,   lambda = tsforge.dynamics.largest_lyapunov(., dimension, fit, lag, theiler)
    Args      dimension, lag, theiler: of the delay vectors, in steps.   fit: first and last step of the straight part
              of the divergence curve; look at it first (docs/dynamics.md).   exponent: the true one, in 1 / step, where
              it is known; else it is estimated from y.
    Range     0 to inf, 0 is best.   Units  1 / step, natural logarithm.
    Missing   Truth: steps after the last are cut off; one missing before it gives NaN. A forecast that is not finite,
              or that has no exponent because it stands still or repeats: NaN.
    Source    Rosenstein, Collins & De Luca (1993), Physica D 65.
    """
    given = None if exponent is None else np.array([float(exponent)])
    errors = lyapunov_errors(
        *one_window(y, y_hat), dimension=dimension, fit=fit, lag=lag, theiler=theiler, exponent=given
    )
    return float(errors[0])


def correlation_dimension_error(
    y: ArrayLike, y_hat: ArrayLike, *, dimension: int, lag: int = 1, theiler: int = 0,
    shares: Sequence[Number] = (1e-4, 1e-2),
) -> float:
    """How far the correlation dimension of a forecast is from that of the truth.

    Formula   |D(y_hat) - D(y)|,   D = tsforge.dynamics.correlation_dimension of the delay vectors
    Args      dimension, lag: of the delay vectors.   theiler, shares: as there; shares[0] h² / 2 pairs have to be some.
    Range     0 to inf, 0 is best.   Units  none.
    Missing   Truth: steps after the last are cut off; one missing before it gives NaN. A forecast not finite: NaN; one
              that stands still has the dimension 0.
    Source    Grassberger & Procaccia (1983), "Measuring the strangeness of strange attractors", Physica D 9.
    """
    errors = dimension_errors(*one_window(y, y_hat), dimension=dimension, lag=lag, theiler=theiler, shares=shares)
    return float(errors[0])


def spectrum_distances(y: np.ndarray, y_hat: np.ndarray, *, smoothing: Number = 0) -> np.ndarray:
    """`spectrum_hellinger` of windows [window, h, channel] -> [window]."""
    if not smoothing >= 0:
        raise ArgumentError(f"smoothing={smoothing}: wanted a number of frequency bins, 0 or more.")

    def score(truth: np.ndarray, forecast: np.ndarray) -> float:
        p, q = _spectrum(truth, float(smoothing)), _spectrum(forecast, float(smoothing))
        if not p.any(axis=0).all():
            return float("nan")
        shared = np.sqrt(p * q).sum(axis=0)  # [channel]
        return float(np.sqrt(np.maximum(1 - shared, 0.0)).mean())

    return each_whole(y, y_hat, score)


def lyapunov_errors(
    y: np.ndarray, y_hat: np.ndarray, *, dimension: int, fit: Sequence[int], lag: int = 1, theiler: int | None = None,
    exponent: np.ndarray | None = None,
) -> np.ndarray:
    """`lyapunov_error` of windows [window, h, channel], exponent [window] -> [window]."""
    from tsforge.dynamics.lyapunov import largest_lyapunov

    first, last = fit

    def estimate(values: np.ndarray) -> float:
        return largest_lyapunov(values, dimension=dimension, fit=(first, last), lag=lag, theiler=theiler)

    def score(truth: np.ndarray, forecast: np.ndarray) -> float:
        return abs(or_nan(estimate, forecast) - estimate(truth))

    if exponent is None:
        return each_whole(y, y_hat, score)
    own = each_whole(y, y, lambda truth, _: 0.0 * estimate(truth))  # NaN where the truth cannot be scored
    return np.abs(each_whole(y, y_hat, lambda _, forecast: or_nan(estimate, forecast)) - exponent) + own


def dimension_errors(
    y: np.ndarray, y_hat: np.ndarray, *, dimension: int, lag: int = 1, theiler: int = 0,
    shares: Sequence[Number] = (1e-4, 1e-2),
) -> np.ndarray:
    """`correlation_dimension_error` of windows [window, h, channel] -> [window]."""
    from tsforge.dynamics.correlation import correlation_dimension
    from tsforge.dynamics.embedding import delay_embed

    low, high = map(float, shares)

    def estimate(values: np.ndarray) -> float:
        return correlation_dimension(delay_embed(values, dimension, lag), theiler=theiler, shares=(low, high)).dimension

    def score(truth: np.ndarray, forecast: np.ndarray) -> float:
        still = (np.ptp(forecast, axis=0) == 0).all()
        return abs((0.0 if still else or_nan(estimate, forecast)) - estimate(truth))

    return each_whole(y, y_hat, score)


def _spectrum(values: np.ndarray, smoothing: float) -> np.ndarray:
    """Shares of the power [frequency, channel]; zeros for a channel that stands still."""
    power = np.abs(np.fft.rfft(values - values.mean(axis=0), axis=0)[1:]) ** 2
    power[:, np.ptp(values, axis=0) == 0] = 0.0  # exact, whatever the mean was rounded to
    if smoothing and len(power):
        from scipy.ndimage import gaussian_filter1d

        power = gaussian_filter1d(power, smoothing, axis=0, mode="reflect")
    total = power.sum(axis=0)
    return np.divide(power, total, out=np.zeros(power.shape), where=total > 0)
