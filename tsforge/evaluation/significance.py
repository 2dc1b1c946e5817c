"""Tests of paired losses: is one model better than another, or was it luck?

Shapes    loss, other [n]; for the bootstrap also [block, run]. Paired: entry i of both is the same series or time
Units     those of the losses; statistics and p have none.
Sign      A statistic is negative where the first model has the smaller losses. All tests are two-sided.
Errors    ShapeError where the shapes differ; ArgumentError where a loss is not finite or there are too few.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from tsforge.errors import ArgumentError, ShapeError

BATCH = 4_000_000  # numbers that are resampled at once


@dataclass(frozen=True)
class Outcome:
    """What a test found.

    Args:
        statistic: Negative where the first model has the smaller losses.
        p: Two-sided.
        n: How many pairs of losses there were.
        note: What was done otherwise than the test's name says; empty where nothing was.
    """

    statistic: float
    p: float
    n: int
    note: str = ""


def diebold_mariano(loss: ArrayLike, other: ArrayLike, h: int = 1) -> Outcome:
    """Diebold-Mariano test with the small-sample correction of Harvey, Leybourne and Newbold.

    Formula   d = loss - other,   V = g_0 + 2 sum_{k<h} g_k,   g_k = sum_t (d_t - mean(d)) (d_{t-k} - mean(d)) / n
              mean(d) / sqrt(V / n) * sqrt((n + 1 - 2h + h (h - 1) / n) / n), against Student's t with n - 1 degrees
    Fallback  V can come out as 0 or less where h > 1. Then g_0 alone is taken, and `note` says so.
    Size      For h > 1 it rejects too often in small samples, corrected or not: of a true null hypothesis at 5 percent
              about 10 percent for n = 8, h = 2, and 20 percent for n = 8, h = 4. From n = 16 h on it keeps its level.
    Source    Diebold & Mariano (1995), JBES 13(3); Harvey, Leybourne & Newbold (1997), IJF 13(2), equation 9.

    Args:
        loss, other: `[time]`, in order of time, of forecasts that were made at equal distances.
        h: Steps ahead, in those distances: errors h or more apart are taken as uncorrelated.

    Raises:
        ArgumentError: fewer than h + 1 times.
    """
    if h < 1:
        raise ArgumentError(f"h={h}: steps ahead are 1 or more.")
    d = _differences(loss, other, least=max(2, h + 1), why=f"for h={h}")
    n, centred = len(d), d - d.mean()
    g = np.array([centred[k:] @ centred[: n - k] for k in range(h)]) / n
    variance, note = g[0] + 2 * g[1:].sum(), ""
    if variance <= 0 < g[0]:
        variance, note = g[0], f"the variance with {h - 1} autocovariances was not positive: taken without them"
    if _constant(d):
        return _certain(d, note)
    correction = (n + 1 - 2 * h + h * (h - 1) / n) / n
    statistic = float(d.mean() / np.sqrt(variance / n) * np.sqrt(correction))
    return Outcome(statistic, float(2 * stats.t.sf(abs(statistic), n - 1)), n, note)


def paired_t(loss: ArrayLike, other: ArrayLike) -> Outcome:
    """Student's t-test of the mean difference (scipy.stats.ttest_1samp of the differences).

    Takes the differences as independent: losses of overlapping or adjoining windows are not, so that it finds
    differences which are none. `diebold_mariano` is for those.
    """
    d = _differences(loss, other)
    if _constant(d):
        return _certain(d)
    statistic, p = np.array(stats.ttest_1samp(d, 0.0)).tolist()
    return Outcome(statistic, p, len(d))


def wilcoxon(loss: ArrayLike, other: ArrayLike) -> Outcome:
    """Wilcoxon's signed-rank test (scipy.stats.wilcoxon): do differences lie as far below 0 as above?

    The statistic is the signed sum of the ranks of |difference|. Equal losses are left out, as Wilcoxon did. The p is
    exact for up to 50 pairs without ties. Differences are taken as independent.
    """
    d = _differences(loss, other)
    differing = d[d != 0]
    if not differing.size:
        return Outcome(0.0, 1.0, len(d))
    signed = float(np.sign(differing) @ stats.rankdata(np.abs(differing)))
    _, p = np.array(stats.wilcoxon(differing)).tolist()
    return Outcome(signed, p, len(d))


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's correction: `[m]` p of one question each -> p of which the least stays below alpha by chance with
    probability alpha at most.

    Formula   in ascending order, the running maximum of min(1, (m - i) p_i) over i = 0, 1, ...
    Source    Holm (1979), Scandinavian Journal of Statistics 6(2).
    """
    p = np.asarray(p, dtype=float)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1)
    return adjusted


def bootstrap_interval(
    loss: ArrayLike, other: ArrayLike | None = None, *, alpha: float = 0.05, n_resamples: int = 2_000, seed: int = 0
) -> tuple[float, float]:
    """Interval of a mean loss, or of its difference to another model's, over blocks and runs (scipy.stats.bootstrap).

    Blocks are drawn with replacement, the same for both models; the runs of each model are drawn apart from them, for
    a run goes through all blocks. Bias-corrected and accelerated (BCa); where that is not defined, as for equal losses,
    the percentiles. The mean of few runs is uncertain by more than a draw from these few can show.

    Args:
        loss: `[block]` or `[block, run]`; a run is one training of the model, with its seed.
        other: The same blocks of the model that is subtracted, in as many runs as there are.
        alpha: 0.05 gives the interval of 95 percent.
        n_resamples: Draws.
        seed: Of the draws.

    Source    Efron (1987), "Better Bootstrap Confidence Intervals", JASA 82(397); blocks crossed with runs: Owen
              (2007), "The Pigeonhole Bootstrap", AOAS 1(2).
    """
    check_alpha(alpha)
    terms = [(1.0, _table("loss", loss))] + ([] if other is None else [(-1.0, _table("other", other))])
    n = len(terms[0][1])
    _same_blocks([len(values) for _, values in terms])
    single = sum((sign * values[:, 0] for sign, values in terms if values.shape[1] == 1), np.zeros(n))
    several = [(sign, values) for sign, values in terms if values.shape[1] > 1]

    def mean(blocks: np.ndarray, *runs: np.ndarray, axis: int = -1) -> np.ndarray | np.floating:
        blocks = blocks.astype(np.intp)  # [..., block]
        value = single[blocks].mean(axis)
        for (sign, values), drawn in zip(several, runs, strict=True):
            by_run = values[blocks].mean(-2)  # [..., run]
            value = value + sign * np.take_along_axis(by_run, drawn.astype(np.intp), axis=-1).mean(axis)
        return value

    samples = [np.arange(n), *(np.arange(values.shape[1]) for _, values in several)]
    widest = max(values.shape[1] for _, values in terms)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):  # what is not defined: see below
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        drawn = stats.bootstrap(samples, mean, n_resamples=n_resamples, confidence_level=1 - alpha, method="BCa",
                                batch=max(1, BATCH // (n * widest)), rng=np.random.default_rng(seed))
    ends = np.array(drawn.confidence_interval)
    if not np.isfinite(ends).all():
        ends = np.quantile(drawn.bootstrap_distribution, [alpha / 2, 1 - alpha / 2])
    return float(ends[0]), float(ends[1])


def check_alpha(alpha: float) -> None:
    """Raises ArgumentError where alpha is no probability."""
    if not 0 < alpha < 1:
        raise ArgumentError(f"alpha={alpha} is not between 0 and 1: 0.05 gives 95 percent intervals.")


def _table(name: str, loss: ArrayLike) -> np.ndarray:
    """As `[block, run]`."""
    values = np.asarray(loss, dtype=float)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] < 1:
        raise ShapeError(f"{name} has the shape {values.shape}: give [block] or [block, run].")
    _check(values, 2, "")
    return values


def _differences(loss: ArrayLike, other: ArrayLike, least: int = 2, why: str = "") -> np.ndarray:
    one, two = np.asarray(loss, dtype=float), np.asarray(other, dtype=float)
    if one.ndim != 1 or one.shape != two.shape:
        raise ShapeError(f"Shapes {one.shape} and {two.shape}: losses are paired, so give two vectors of one length.")
    _check(np.stack([one, two], axis=1), least, why)
    return one - two


def _same_blocks(sizes: list[int]) -> None:
    if len(set(sizes)) > 1:
        raise ShapeError(f"{' and '.join(map(str, sizes))} blocks: losses are paired, so give the same blocks.")


def _check(values: np.ndarray, least: int, why: str) -> None:
    if len(values) < least:
        raise ArgumentError(f"{len(values)} paired losses are too few{' ' + why if why else ''}: give {least} or more.")
    bad = np.count_nonzero(~np.isfinite(values).all(axis=1))
    if bad:
        raise ArgumentError(f"{bad} of {len(values)} paired losses are not finite: leave these pairs out first.")


def _constant(d: np.ndarray) -> bool:
    """Whether the differences are one number, but for rounding."""
    return bool(np.ptp(d) <= 1e-12 * np.abs(d).max())


def _certain(d: np.ndarray, note: str = "") -> Outcome:
    """All differences are equal: nothing varies, so a difference that is not 0 is there for sure."""
    mean = d.mean()
    return Outcome(float(np.sign(mean) * np.inf) if mean else 0.0, 0.0 if mean else 1.0, len(d), note)
