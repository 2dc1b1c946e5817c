"""Metrics of sample paths: how near the truth lies to the law that the paths are drawn from.

Shapes    y [h] or [h, channel], samples [sample, h] or [sample, h, channel]; the result is one float.
Units     channels of different units are to be standardised first: distances are taken over all of them.
Missing   Cells without truth are left out of truth and paths. A path that is missing where there is a truth: NaN.
"""

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics.arrays import Number, mean_observed, one_ensemble


def crps_of_samples(y: ArrayLike, samples: ArrayLike) -> float:
    """Continuous ranked probability score of the empirical law of samples, the mean over cells.

    Formula   mean over cells of (mean_i |x_i - y| - 1/2 mean_ij |x_i - x_j|)
    Range     0 to inf, 0 is best; of one sample it is the mean absolute error.   Units  of y.
    Missing   Truth: left out, none left gives NaN. A sample: NaN.
    Source    Gneiting & Raftery (2007), "Strictly Proper Scoring Rules", JASA 102(477), equation 20.
    """
    truth, paths = one_ensemble(y, samples)
    return mean_observed(truth[0], sample_crps(truth[0], paths[0]))


def energy_score(y: ArrayLike, samples: ArrayLike, *, beta: Number = 1) -> float:
    """Energy score: the CRPS of whole paths, by their distance over all steps and channels.

    Formula   mean_i |x_i - y|^beta - 1/2 mean_ij |x_i - x_j|^beta,   |.| the Euclidean norm
    Range     0 to inf, 0 is best; proper for 0 < beta < 2.   Units  of y to the power beta.
    Missing   Truth: left out, none left gives NaN. A path: NaN.
    Source    Gneiting & Raftery (2007), JASA 102(477), section 4.3. It sees wrong means well and wrong dependence
              between steps badly: see `variogram_score`.
    """
    return float(energy_scores(*one_ensemble(y, samples), beta=beta)[0])


def variogram_score(y: ArrayLike, samples: ArrayLike, *, p: Number = 0.5) -> float:
    """Variogram score: whether the cells of a path differ from each other as those of the truth do.

    Formula   sum_jk (|y_j - y_k|^p - mean_i |x_ij - x_ik|^p)²   over all ordered pairs of cells j, k
    Range     0 to inf, 0 is best; a mean that is wrong by a constant does not count.   Units  of y to the power 2 p.
    Missing   Truth: its pairs are left out, with no cell left NaN. A path: NaN.
    Source    Scheuerer & Hamill (2015), "Variogram-Based Proper Scoring Rules", MWR 143(4), with equal weights.
    """
    return float(variogram_scores(*one_ensemble(y, samples), p=p)[0])


def sample_crps(y: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Loss of `crps_of_samples`: y [...], samples [sample, ...] -> [...]."""
    n = len(samples)
    rank = 2 * np.arange(1, n + 1) - n - 1
    spread = np.tensordot(rank, np.sort(samples, axis=0), axes=1) / n**2  # sorted, half the mean distance of two
    return np.abs(samples - y).mean(axis=0) - spread


def energy_scores(y: np.ndarray, samples: np.ndarray, *, beta: Number = 1) -> np.ndarray:
    """`energy_score` of windows: y [window, h, channel], samples [window, sample, h, channel] -> [window]."""
    from scipy.spatial.distance import cdist, pdist

    if not 0 < beta < 2:
        raise ArgumentError(f"beta={beta}: the energy score is proper for 0 < beta < 2.")
    scores = np.full(len(y), np.nan)
    for window, (truth, paths) in enumerate(zip(y, samples, strict=True)):
        seen = ~np.isnan(truth)
        if seen.any():
            ours, n = paths[:, seen], len(paths)
            near = cdist(ours, truth[seen][None]) ** beta
            scores[window] = near.mean() - (pdist(ours) ** beta).sum() / n**2
    return scores


def variogram_scores(y: np.ndarray, samples: np.ndarray, *, p: Number = 0.5) -> np.ndarray:
    """`variogram_score` of windows: y [window, h, channel], samples [window, sample, h, channel] -> [window]."""
    if not p > 0:
        raise ArgumentError(f"p={p}: the order of a variogram is above 0, 0.5 as a rule.")
    scores = np.full(len(y), np.nan)
    for window, (truth, paths) in enumerate(zip(y, samples, strict=True)):
        seen = ~np.isnan(truth)
        if seen.any():
            cells, ours = truth[seen], paths[:, seen]  # [cell], [sample, cell]
            scores[window] = sum(
                ((np.abs(cells - cells[k]) ** p - (np.abs(ours - ours[:, k, None]) ** p).mean(axis=0)) ** 2).sum()
                for k in range(len(cells))
            )
    return scores
