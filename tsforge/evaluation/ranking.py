"""Mean ranks of several models over blocks, and which of them differ: Friedman, then Nemenyi.

Formula   chi2 = 12 n / (k (k + 1)) (sum_j R_j² - k (k + 1)² / 4), corrected for ties
          F = (n - 1) chi2 / (n (k - 1) - chi2)
          CD = q sqrt(k (k + 1) / (6 n)),   q the studentised range of k over sqrt(2), with infinite degrees of freedom
Shapes    losses [block, model], n blocks and k models; rank 1 is the least loss, equals share the mean of their ranks
Source    Friedman (1937), JASA 32; Iman & Davenport (1980), Communications in Statistics A9(6) for F;
          Nemenyi (1963); as laid out in Demšar (2006), "Statistical Comparisons of Classifiers", JMLR 7.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy import stats

from tsforge.errors import ArgumentError
from tsforge.evaluation.asked import Spec
from tsforge.evaluation.evaluate import like
from tsforge.evaluation.paired import Runs, complete, losses_of
from tsforge.evaluation.scale import as_eager
from tsforge.evaluation.significance import Outcome, check_alpha


def ranking(
    forecasts: Any, metric: Spec = "mae", *, by: str | Sequence[str] = ("unique_id",), alpha: float = 0.05,
    runs: Runs | None = None, missing: str = "error", scale: str | None = None, train: Any = None,
    season: int | None = None,
) -> Any:
    """Mean rank of every model over the series, and the groups of models that are not shown to differ.

    Two models differ where their mean ranks lie the critical difference or more apart, and Friedman's test has found
    that not all models are alike. Where it has not, all are one group.

    Args:
        forecasts: Forecast frame with the truth as `y`.
        metric: One metric of `evaluate`; a label such as `pinball-0.1` where it gives several.
        by: What is one observation: groups of `evaluate`. They are taken as independent of each other.
        alpha: Probability of finding a difference somewhere where there is none.
        runs: Model to the columns that are trainings of it with several seeds; their mean loss is ranked.
        missing: "error" refuses forecasts that are missing where there is a truth; "drop" scores all models on the
            cells that all of them forecast.
        scale, train, season: As `evaluate` takes them.

    Returns:
        Frame of the kind that was given, best rank first: `model`, `mean_rank`, `group` (numbers, such as "1 2": models
        that share one are not shown to differ), and the same in each row `critical_difference`, `p_friedman`, `blocks`.

    Raises:
        ArgumentError: fewer than three models or two blocks; forecasts are missing; what `evaluate` refuses.
        UnknownNameError: no such metric, or no column for a run.
    """
    check_alpha(alpha)
    table = complete(as_eager(forecasts, "forecasts"), metric, missing)
    losses = losses_of(table, metric, by, runs=runs, scale=scale, train=train, season=season)
    found = friedman(losses.table())
    ranks = dict(sorted(zip(losses.models, mean_ranks(losses.table()).tolist(), strict=True), key=lambda pair: pair[1]))
    cd = critical_difference(len(ranks), losses.n, alpha)
    groups = not_different(list(ranks.values()), cd) if found.p <= alpha else [(0, len(ranks))]
    names = [" ".join(str(n) for n, (first, end) in enumerate(groups, 1) if first <= place < end)
             for place in range(len(ranks))]
    table = pl.DataFrame({"model": list(ranks), "mean_rank": list(ranks.values()), "group": names})
    return like(forecasts, table.with_columns(
        critical_difference=pl.lit(cd), p_friedman=pl.lit(found.p), blocks=pl.lit(losses.n, dtype=pl.Int64)
    ))


def mean_ranks(losses: ArrayLike) -> np.ndarray:
    """`[block, model]` -> `[model]`; the smallest loss of a block has rank 1, equals share their mean rank."""
    return stats.rankdata(np.asarray(losses, dtype=float), axis=1).mean(axis=0)


def friedman(losses: ArrayLike) -> Outcome:
    """Are all models alike? Friedman's test, in the F of Iman and Davenport, which is less conservative than chi2.

    Args:
        losses: `[block, model]`, three models or more.

    Returns:
        F with k - 1 and (k - 1)(n - 1) degrees of freedom, its p, and n. F is infinite, with p 0, where all blocks
        agree.

    Raises:
        ArgumentError: fewer than three models or two blocks, or a loss that is not finite.
    """
    losses = np.asarray(losses, dtype=float)
    if losses.ndim != 2 or losses.shape[0] < 2 or losses.shape[1] < 3 or not np.isfinite(losses).all():
        raise ArgumentError(
            f"Friedman's test got losses of the shape {losses.shape}: give finite ones as [block, model], two blocks "
            "and three models or more. Two models are compared by compare."
        )
    n, k = losses.shape
    if (np.ptp(losses, axis=1) == 0).all():
        return Outcome(0.0, 1.0, n)
    chi2 = float(stats.friedmanchisquare(*losses.T).statistic)
    rest = n * (k - 1) - chi2
    f = (n - 1) * chi2 / rest if rest > 1e-9 * n else np.inf
    return Outcome(float(f), float(stats.f.sf(f, k - 1, (k - 1) * (n - 1))), n)


def critical_difference(k: int, n: int, alpha: float = 0.05) -> float:
    """How far apart the mean ranks of two of `k` models over `n` blocks have to be (Nemenyi).

    Raises:
        ArgumentError: fewer than two models or blocks, or an alpha that is no probability.
    """
    check_alpha(alpha)
    if k < 2 or n < 2:
        raise ArgumentError(f"{k} models over {n} blocks: give two or more of both.")
    q = float(stats.studentized_range.ppf(1 - alpha, k, np.inf)) / np.sqrt(2)
    return float(q * np.sqrt(k * (k + 1) / (6 * n)))


def not_different(ranks: Sequence[float], cd: float) -> list[tuple[int, int]]:
    """Largest runs `[first, end)` of ascending mean ranks that span less than `cd`; one of a single rank stands too."""
    found: list[tuple[int, int]] = []
    for first, low in enumerate(ranks):
        end = sum(rank - low < cd for rank in ranks)  # those before `first` lie lower
        if not found or end > found[-1][1]:
            found.append((first, end))
    return found
