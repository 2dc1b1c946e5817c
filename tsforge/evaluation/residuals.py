"""Autocorrelation of forecast errors: is there something left in them that a model could have used?

Formula   r_k = sum_t (e_t - m) (e_{t-k} - m) / sum_t (e_t - m)²,   m the mean of e
          Q = n (n + 2) sum_{k<=L} r_k² / (n - k), against chi² with L degrees of freedom
          of white noise  E r_k = -(n - k) / (n (n - 1)),
          Var r_k = (n⁴ - (k + 3) n³ + 3 k n² + 2 k (k + 1) n - 4 k²) / ((n + 1) n² (n - 1)²)
Shapes    errors [..., time] -> r [..., lag], lags from 1 on;   of a frame [pair, window, step]
Units     none
Missing   NaN: left out of all sums, and n counts what is there.
Source    Ljung & Box (1978), "On a Measure of Lack of Fit in Time Series Models", Biometrika 65(2); mean and variance
          of normal white noise: Dufour & Roy (1985), "Some Robust Exact Results on Sample Autocorrelations and Tests of
          Randomness", Journal of Econometrics 29(3). The usual band of 1.96 / sqrt(n) around 0 forgets that mean, which
          in eight errors is half of a standard deviation, and in a mean over many series several of them.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy import stats

from tsforge.errors import ArgumentError, ShapeError
from tsforge.evaluation.forecasts import floats
from tsforge.evaluation.rows import grouped, pair_of

LEAST = 8  # errors of a sequence
MOST_LAGS = 20
Z = 1.96


def autocorrelation(errors: ArrayLike, n_lags: int) -> Float[np.ndarray, "*sequence lag"]:
    """Sample autocorrelation at the lags 1 to `n_lags`, [..., time] -> [..., lag]; NaN where errors do not vary.

    Raises:
        ShapeError: there is no axis of time.
        ArgumentError: `n_lags` is not between 1 and the number of times minus 1.
    """
    values = np.asarray(errors, dtype=float)
    if values.ndim < 1:
        raise ShapeError(f"errors has the shape {values.shape}: give [..., time].")
    n = values.shape[-1]
    if not 1 <= n_lags < n:
        raise ArgumentError(f"n_lags={n_lags}: of {n} errors there are lags from 1 to {n - 1}.")
    there = ~np.isnan(values)
    mean = np.divide(np.nansum(values, axis=-1), there.sum(axis=-1), where=there.any(axis=-1),
                     out=np.zeros(values.shape[:-1]))
    centred = np.where(there, values - mean[..., None], 0.0)
    total = (centred**2).sum(axis=-1)
    # a constant is left with rounding alone, whose autocorrelation would be noise
    size = np.max(np.abs(np.where(there, values, 0.0)), axis=-1)
    varies = total > n * (1e-12 * size) ** 2
    r = np.stack([(centred[..., k:] * centred[..., : n - k]).sum(axis=-1) for k in range(1, n_lags + 1)], axis=-1)
    return np.where(varies[..., None], r / np.where(varies, total, 1.0)[..., None], np.nan)


def ljung_box(errors: ArrayLike, n_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Ljung and Box's test that errors are white noise: Q and its p, [...] both; NaN where errors do not vary.

    Args:
        errors: [..., time].
        n_lags: How many autocorrelations are tested together.

    Raises:
        ShapeError, ArgumentError: as `autocorrelation`.
    """
    values = np.asarray(errors, dtype=float)
    r = autocorrelation(values, n_lags)
    n = (~np.isnan(values)).sum(axis=-1)[..., None].astype(float)
    left = np.maximum(n - np.arange(1, n_lags + 1), 1.0)
    q = (n[..., 0] * (n[..., 0] + 2)) * (r**2 / left).sum(axis=-1)
    return np.asarray(q), np.where(np.isnan(q), np.nan, stats.chi2.sf(q, n_lags))


def white_noise(n: np.ndarray | int, n_lags: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the autocorrelation of normal white noise, [...] -> [..., lag] both.

    Args:
        n: How many errors each sequence has, [...], more than `n_lags`.
        n_lags: Lags from 1 on.

    Raises:
        ArgumentError: a sequence is not longer than `n_lags`.
    """
    m = np.asarray(n, dtype=float)[..., None]
    if n_lags < 1 or (m <= n_lags).any():
        raise ArgumentError(f"n_lags={n_lags} of {int(m.min())} errors: give 1 or more, and fewer than the errors.")
    k = np.arange(1, n_lags + 1)
    top = m**4 - (k + 3) * m**3 + 3 * k * m**2 + 2 * k * (k + 1) * m - 4 * k**2
    return -(m - k) / (m * (m - 1)), np.sqrt(top / ((m + 1) * m**2 * (m - 1) ** 2))


@dataclass(frozen=True)
class Pooled:
    """The mean autocorrelation of several sequences, and what white noise would do.

    Args:
        r: [lag], mean over the sequences.
        centre: [lag], what the mean is for white noise: below 0, for each sequence is centred by its own mean.
        one: [lag], half-width of 95 percent for one sequence.
        independent: [lag], half-width for the mean of as many sequences that do not know each other.
        sequences: How many have a value.
        n: Errors of a sequence, the fewest.
    """

    r: np.ndarray
    centre: np.ndarray
    one: np.ndarray
    independent: np.ndarray
    sequences: int
    n: int


def pooled(errors: Float[np.ndarray, "sequence time"], n_lags: int) -> Pooled | None:
    """The mean of the autocorrelations of sequences; None where none varies.

    Args:
        errors: [sequence, time]; each has more than `n_lags` errors.
        n_lags: Lags from 1 on.
    """
    r = autocorrelation(errors, n_lags)
    known = ~np.isnan(r).any(axis=1)
    if not known.any():
        return None
    n = (~np.isnan(errors[known])).sum(axis=1)
    mean, sd = white_noise(n, n_lags)
    return Pooled(
        r[known].mean(axis=0), mean.mean(axis=0), Z * np.sqrt((sd**2).mean(axis=0)),
        Z * np.sqrt((sd**2).sum(axis=0)) / len(n), len(n), int(n.min()),
    )


@dataclass(frozen=True)
class Layout:
    """Where the rows of a forecast frame stand in [pair, window, step], and which sequences of errors they make.

    Args:
        pair, window, step: [row] each, from 0 on; windows in order of time.
        shape: Of the three.
        y: [row], the truth; NaN where missing.
        overlap: Whether a window goes on after the next cutoff.
    """

    pair: np.ndarray
    window: np.ndarray
    step: np.ndarray
    shape: tuple[int, int, int]
    y: np.ndarray
    overlap: bool

    def errors(self, forecast: np.ndarray) -> np.ndarray:
        """Truth minus forecast, `[row]` as [pair, window, step]; NaN where there is none."""
        made = np.full(self.shape, np.nan)
        made[self.pair, self.window, self.step] = self.y - forecast
        return made


def layout(forecasts: pl.DataFrame) -> Layout:
    """The places of the rows of a forecast frame with `cutoff` and the truth as `y`."""
    pair = pair_of(forecasts)
    table = forecasts.select(
        *pair, "ds", "cutoff", pl.col("cutoff").rank("dense").over(pair).alias("window") - 1,
        pl.col("ds").rank("dense").over([*pair, "cutoff"]).alias("step") - 1,
    )
    number = grouped(table.select(pair)).number
    window, step = (table[name].to_numpy().astype(np.int64) for name in ("window", "step"))
    ends = table.group_by(*pair, "cutoff").agg(end=pl.col("ds").max()).sort(*pair, "cutoff")
    overlap = ends.select((pl.col("end") > pl.col("cutoff").shift(-1).over(pair)).any()).item()
    sides = (number, window, step)
    shape = tuple(int(side.max(initial=-1)) + 1 for side in sides)
    return Layout(*sides, (shape[0], shape[1], shape[2]), floats(forecasts, "y"), bool(overlap))


def long_enough(errors: Float[np.ndarray, "sequence time"]) -> Float[np.ndarray, "kept time"]:
    """The sequences that have 8 errors or more."""
    return errors[(~np.isnan(errors)).sum(axis=1) >= LEAST]


def lags_of(errors: Float[np.ndarray, "sequence time"]) -> tuple[int, int]:
    """How many lags are drawn, and how many are tested together: up to a half and a fifth of the shortest sequence.

    Args:
        errors: Sequences of 8 errors or more, one at least.
    """
    n = int((~np.isnan(errors)).sum(axis=1).min())
    return min(MOST_LAGS, n // 2), min(10, max(1, n // 5))
