"""What made paths are worth beside real ones: their marginal laws, and whether they are copies. No training, no torch.

Shapes    real, fake [path, time, channel] over the same grid, from t = 0 to t = 1; the result is one float
Units     distances are in sd of the real values of a channel at that time; correlations have none.
Source    Min, Hu & Ichiba (2023), arXiv:2304.13131; the scores that train a network stand in
          `tsforge.evaluation.generation_scores`.
Differs   The published independence cuts the time down to a whole number, which is always t = 0, where starts are
          independent by construction. Here a time t is the step round(t K), and t = 0 is refused.
Errors    ShapeError where the arrays differ in what they have to share; ArgumentError for a time outside (0, 1].
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.metrics.arrays import Number

MARGINAL_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
INDEPENDENCE_TIMES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def marginal_distance(real: ArrayLike, fake: ArrayLike, times: Sequence[Number] = MARGINAL_TIMES) -> float:
    """Wasserstein-1 distance of the values at each of `times`, in sd of the real ones; the mean over times, channels.

    Range     0 to inf, 0 is best; two samples of one law are about sqrt(2 / n) apart.
    """
    x, y = pair(real, fake)
    steps = steps_of(times, x.shape[1])
    x, y = np.sort(x[:, steps], axis=0), np.sort(y[:, steps], axis=0)
    sd = x.std(axis=0)
    if len(x) != len(y):
        shares = (np.arange(max(len(x), len(y))) + 0.5) / max(len(x), len(y))
        x, y = (np.quantile(z, shares, axis=0, method="inverted_cdf") for z in (x, y))
    return float((np.abs(x - y).mean(axis=0) / np.where(sd == 0, 1, sd)).mean())


def marginal_overlap(
    real: ArrayLike, fake: ArrayLike, times: Sequence[Number] = MARGINAL_TIMES, *, bins: int = 50
) -> float:
    """What the histograms of the values at each of `times` do not share; the mean over times and channels.

    Formula   1 - sum over bins of min(share of real, share of fake), the bins spanning the range of both
    Range     0 to 1, 0 is best; two samples of one law differ by about sqrt(bins / n).
    """
    x, y = pair(real, fake)
    missed = []
    for step in steps_of(times, x.shape[1]):
        for a, b in zip(x[:, step].T, y[:, step].T, strict=True):
            span = (min(a.min(), b.min()), max(a.max(), b.max()))
            shares = [np.histogram(z, bins=bins, range=span)[0] / len(z) for z in (a, b)]
            missed.append(1 - np.minimum(*shares).sum())
    return float(np.mean(missed))


def independence(real: ArrayLike, fake: ArrayLike, times: Sequence[Number] = INDEPENDENCE_TIMES) -> float:
    """How much of each real path is in the fake one that was made of it: a test for copies, of rows side by side.

    Formula   max over times of the mean over pairs of channels of |corr(real_t, fake_t)|
    Range     0 to 1, 0 is best: copies give 1 for one channel; independent paths about 0.8 / sqrt(n), the largest of
              nine times some 2 / sqrt(n). A channel that does not vary counts as 0.
    """
    x, y = pair(real, fake)
    if len(x) != len(y):
        raise ShapeError(f"real has {len(x)} paths, fake {len(y)}: each fake path stands beside the one it came from.")
    steps = steps_of(times, x.shape[1])
    return float(max(np.abs(_correlations(x[:, step], y[:, step])).mean() for step in steps))


def dependence(real: ArrayLike, fake: ArrayLike, times: Sequence[Number] = MARGINAL_TIMES) -> float:
    """How far the correlations between channels at each of `times` differ; the mean over times and pairs of channels.

    Range     0 to 2, 0 is best; 0 for one channel.
    """
    x, y = pair(real, fake)
    channels = x.shape[2]
    if channels == 1:
        return 0.0
    upper = np.triu_indices(channels, 1)
    gaps = [np.abs(_correlations(x[:, s], x[:, s]) - _correlations(y[:, s], y[:, s]))[upper].mean()
            for s in steps_of(times, x.shape[1])]
    return float(np.mean(gaps))


def pair(real: ArrayLike, fake: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as [path, time, channel] of floats.

    Raises:
        ShapeError: they are not, or differ in time or channels, or hold fewer than two paths.
    """
    x, y = np.asarray(real, dtype=float), np.asarray(fake, dtype=float)
    if x.ndim != 3 or y.ndim != 3 or x.shape[1:] != y.shape[1:] or min(len(x), len(y), x.shape[1]) < 2:
        raise ShapeError(f"real has the shape {x.shape} and fake {y.shape}: wanted [path, time, channel] with the same "
                         "times and channels, and two paths and times or more.")
    return x, y


def steps_of(times: Sequence[Number], length: int) -> list[int]:
    """The step round(t K) of each time t in (0, 1], K being the last; of short paths the first step, never the start.

    Raises:
        ArgumentError: a time is not in (0, 1], or there is none.
    """
    if not times or any(not 0 < t <= 1 for t in times):
        raise ArgumentError(f"times={tuple(times)}: wanted times after 0 and up to 1, at least one.")
    return [max(round(float(t) * (length - 1)), 1) for t in times]


def _correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[channel, channel] of columns of x with columns of y, 0 where one does not vary."""
    x, y = (z - z.mean(axis=0) for z in (x, y))
    norms = np.sqrt((x**2).sum(axis=0))[:, None] * np.sqrt((y**2).sum(axis=0))
    return np.where(norms > 0, x.T @ y / np.where(norms > 0, norms, 1), 0.0)
