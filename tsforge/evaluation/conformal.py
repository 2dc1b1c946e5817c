"""Split-conformal intervals from residuals of held-back windows.

Source    Vovk et al. (2005); Lei et al. (2018), JASA 113; for trained quantiles Romano et al. (2019), 1905.03222.
"""

import logging
from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from tsforge.errors import CalibrationError

log = logging.getLogger("tsforge")
BUDGET = 4_000_000  # numbers kept for all series pooled, and as many for each by itself; beyond it ranks are thinned
FEWEST = 16  # ranks kept of a series; where the budget has no room for them, series are pooled


@dataclass(frozen=True)
class Ranked:
    """Order statistics, each cell with its own count; the smallest first.

    Args:
        values: [..., rank, h, channel]; all of them where there are few, else evenly spread ranks, the largest kept.
        counts: [..., h, channel] scores that were observed.
    """

    values: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, scores: np.ndarray, most: int) -> "Ranked":
        """Ranks scores [window, h, channel]; NaN is not observed."""
        ordered = np.sort(scores, axis=0)  # NaN goes last
        counts = (~np.isnan(scores)).sum(axis=0)
        kept = min(most, len(scores))
        if kept == 0:
            return cls(ordered[:0], counts)
        k = np.arange(1, kept + 1)[:, None, None]
        ranks = np.where(counts <= kept, k, k * counts // kept)
        return cls(np.take_along_axis(ordered, ranks - 1, axis=0), counts)

    def quantile(self, level: float) -> np.ndarray:
        """The `ceil((n + 1) level)`-th smallest, or the next one kept; NaN where n is too small: [..., h, channel]."""
        kept = self.values.shape[-3]
        if kept == 0:
            return np.full(self.counts.shape, np.nan)
        wanted = np.ceil(np.round((self.counts + 1) * level, 9)).astype(np.int64)
        thinned = -(-wanted * kept // np.maximum(self.counts, 1))
        index = np.clip(np.where(self.counts <= kept, wanted, thinned), 1, kept) - 1
        picked = np.take_along_axis(self.values, index[..., None, :, :], axis=-3)[..., 0, :, :]
        return np.where(wanted <= self.counts, picked, np.nan)


@dataclass(frozen=True)
class Scores:
    """Scores of calibration windows per horizon step and channel, in scaled units: pooled, and of each series.

    A score is the absolute residual of a point forecast, or how far the truth lies outside a trained pair of quantiles
    (negative inside). A series with too few windows of its own takes the pooled ones.
    """

    pooled: Ranked
    own: Ranked  # [series, ...]

    @classmethod
    def fit(cls, scores: np.ndarray, series: np.ndarray, n_series: int) -> "Scores":
        """Ranks scores [window, h, channel] of windows of these series; NaN where the truth was missing."""
        cells = max(1, int(np.prod(scores.shape[1:])))
        order = np.argsort(series, kind="stable")
        counts = np.bincount(series, minlength=n_series)
        most = min(BUDGET // (cells * max(n_series, 1)), int(counts.max(initial=0)))
        if most < min(FEWEST, counts.max(initial=0)):
            log.info("%d series are too many to keep the calibration residuals of each: intervals pool them.", n_series)
            most = 0
        values = np.full((n_series, most, *scores.shape[1:]), np.nan)
        observed = np.zeros((n_series, *scores.shape[1:]), dtype=np.int64)
        for s, mine in enumerate(np.split(order, np.cumsum(counts)[:-1])):
            ranked = Ranked.of(scores[mine], most)
            values[s, : len(ranked.values)], observed[s] = ranked.values, ranked.counts
        return cls(Ranked.of(scores, max(FEWEST, BUDGET // cells)), Ranked(values, observed))

    def quantile(self, level: float, series: np.ndarray) -> np.ndarray:
        """The score that covers `level` (a share) for each of these series (-1: unseen): [len(series), h, channel].

        Raises:
            CalibrationError: too few windows even when all series are pooled; names the highest level possible.
        """
        pooled = self.pooled.quantile(level)
        if np.isnan(pooled).any():
            fewest = int(self.pooled.counts.min())
            highest = floor(1e4 * fewest / (fewest + 1)) / 100  # rounded up it would not be possible
            possible = f"The highest level possible is {highest:g}. " if fewest else ""
            raise CalibrationError(
                f"level={100 * level:g} needs {windows_for(level)} calibration windows, and there are {fewest}. "
                f"{possible}Hold more back with val_size= and calibration_share=, or train with loss='quantile'."
            )
        own = self.own.quantile(level)
        chosen = np.where((series >= 0)[:, None, None], own[np.maximum(series, 0)], np.nan)
        return np.where(np.isnan(chosen), pooled, chosen)


def windows_for(level: float) -> int:
    """Windows needed for a level (a share): `ceil(level / (1 - level))`."""
    return ceil(round(level / (1 - level), 9))
