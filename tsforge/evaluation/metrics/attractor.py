"""Metrics of a free-running forecast as an attractor: where its delay vectors lie, whenever they come there.

Shapes    y, y_hat [h] or [h, channel], the same; the result is one float. Delay vectors of several channels stand side
          by side, so that with all coordinates of a system `dimension=1` compares its states.
Missing   Truth: steps after the last are cut off; one missing before it gives NaN. A forecast that is not finite: NaN.
"""

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics.arrays import Number, one_window
from tsforge.evaluation.metrics.whole import each_whole

BLOCK = 1 << 22  # distances held at a time


def attractor_kl(
    y: ArrayLike, y_hat: ArrayLike, *, dimension: int = 3, lag: int = 1, bins: int = 10, smoothing: Number = 1e-5,
) -> float:
    """Kullback-Leibler divergence of the histogram of true states from that of the forecast's.

    Formula   sum_c p_c log(p_c / q_c),   p_c = (n_c + smoothing) / (n + smoothing cells), q alike of the forecast;
              cells are bins^k boxes over the range of the k coordinates of the true delay vectors, and all outside
    Args      dimension, lag: of the delay vectors, lag in steps.   bins: boxes along each coordinate.
    Range     0 to inf, 0 is best.   Units  nats; of y none. Compare values of equal h, bins and smoothing alone: where
              the forecast never comes, smoothing sets the value.
    Missing   Truth: steps after the last are cut off; one missing before it gives NaN. A forecast not finite: NaN.
    Source    Koppe et al. (2019), "Identifying nonlinear dynamical systems via generative recurrent neural networks
              with applications to fMRI", PLoS Computational Biology 15(8), in its binned form. There, states outside
              the range are dropped; here they are a cell of their own.
    """
    return float(kl_divergences(*one_window(y, y_hat), dimension=dimension, lag=lag, bins=bins, smoothing=smoothing)[0])


def attractor_mmd(
    y: ArrayLike, y_hat: ArrayLike, *, dimension: int = 3, lag: int = 1, bandwidth: Number | None = None,
) -> float:
    """Maximum mean discrepancy of true and forecast states, with a Gaussian kernel.

    Formula   sqrt(mean k(u, u') - 2 mean k(u, v) + mean k(v, v')),   k(u, v) = exp(-|u - v|² / (2 bandwidth²))
              over all pairs of true delay vectors u and forecast ones v, channels in standard deviations of the truth
    Args      dimension, lag: of the delay vectors, lag in steps.   bandwidth: None is the median distance of two true
              delay vectors, the same whatever the forecast.
    Range     0 to sqrt(2), 0 is best.   Units  none.
    Missing   Truth: steps after the last are cut off; one missing before it gives NaN. A forecast not finite: NaN.
    Source    Gretton et al. (2012), "A Kernel Two-Sample Test", JMLR 13, the biased estimate of equation 5.
    """
    return float(discrepancies(*one_window(y, y_hat), dimension=dimension, lag=lag, bandwidth=bandwidth)[0])


def kl_divergences(
    y: np.ndarray, y_hat: np.ndarray, *, dimension: int = 3, lag: int = 1, bins: int = 10, smoothing: Number = 1e-5,
) -> np.ndarray:
    """`attractor_kl` of windows [window, h, channel] -> [window]."""
    from tsforge.dynamics.embedding import delay_embed

    if bins < 2 or not smoothing > 0:
        raise ArgumentError(f"bins={bins}, smoothing={smoothing}: wanted 2 bins or more and a smoothing above 0.")

    def score(truth: np.ndarray, forecast: np.ndarray) -> float:
        states, guesses = (delay_embed(values, dimension, lag) for values in (truth, forecast))
        low, high = states.min(axis=0), states.max(axis=0)
        p, q = _counts(_cells(states, low, high, bins), _cells(guesses, low, high, bins))
        return _divergence(p, q, float(bins) ** states.shape[1] + 1, float(smoothing))

    return each_whole(y, y_hat, score)


def discrepancies(
    y: np.ndarray, y_hat: np.ndarray, *, dimension: int = 3, lag: int = 1, bandwidth: Number | None = None,
) -> np.ndarray:
    """`attractor_mmd` of windows [window, h, channel] -> [window]."""
    from scipy.spatial.distance import pdist

    from tsforge.dynamics.embedding import delay_embed

    if bandwidth is not None and not bandwidth > 0:
        raise ArgumentError(f"bandwidth={bandwidth}: wanted a distance above 0, in standard deviations, or None.")

    def score(truth: np.ndarray, forecast: np.ndarray) -> float:
        mean, sd = truth.mean(axis=0), truth.std(axis=0)
        sd = np.where(truth.min(axis=0) < truth.max(axis=0), sd, 1.0)
        u, v = (delay_embed((values - mean) / sd, dimension, lag) for values in (truth, forecast))
        width = (float(np.median(pdist(u))) or 1.0) if bandwidth is None and len(u) > 1 else bandwidth or 1.0
        squared = _similarity(u, u, width) - 2 * _similarity(u, v, width) + _similarity(v, v, width)
        return max(squared, 0.0) ** 0.5  # rounding may leave it a little below 0

    return each_whole(y, y_hat, score)


def _cells(states: np.ndarray, low: np.ndarray, high: np.ndarray, bins: int) -> np.ndarray:
    """[row, coordinate], the box of each state; -1 in all coordinates outside."""
    width = np.where(high > low, high - low, 1.0)
    cells = np.minimum(np.floor((states - low) / width * bins), bins - 1)  # the upper edge belongs to the last box
    out = ((states < low) | (states > high)).any(axis=1)
    cells[out] = -1
    return cells.astype(np.int64)


def _counts(p: np.ndarray, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many states of each lie in the boxes that one of them visits."""
    _, which = np.unique(np.concatenate([p, q]), axis=0, return_inverse=True)
    which = which.ravel()
    boxes = int(which.max()) + 1
    return np.bincount(which[: len(p)], minlength=boxes), np.bincount(which[len(p) :], minlength=boxes)


def _divergence(p: np.ndarray, q: np.ndarray, cells: float, smoothing: float) -> float:
    """Both have as many states, so boxes that neither visits add nothing."""
    whole = p.sum() + smoothing * cells
    shares = (p + smoothing) / whole
    return max(float((shares * np.log((p + smoothing) / (q + smoothing))).sum()), 0.0)


def _similarity(u: np.ndarray, v: np.ndarray, width: Number) -> float:
    """Mean of the kernel over all pairs."""
    from scipy.spatial.distance import cdist

    rows = max(1, BLOCK // len(v))
    total = sum(np.exp(-cdist(u[i : i + rows], v, "sqeuclidean") / (2 * width**2)).sum()
                for i in range(0, len(u), rows))
    return float(total) / (len(u) * len(v))
