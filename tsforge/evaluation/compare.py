"""Every pair of models of a forecast frame: how large is the difference, and is it there?

Blocks    Wilcoxon, the t-test and the interval take one loss per block (`by`), and blocks as independent.
Windows   Diebold-Mariano takes the mean over series of each cutoff, in order of time, and allows for the correlation
          of windows that overlap. That is the difference of a panel as a whole: Timmermann & Zhu (2019),
          "Comparing Forecasting Performance with Panel Data".
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, log2
from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import ArgumentError, suggest
from tsforge.evaluation.asked import Spec
from tsforge.evaluation.evaluate import like
from tsforge.evaluation.paired import Losses, Runs, complete, losses_of, windows_of
from tsforge.evaluation.scale import as_eager
from tsforge.evaluation.significance import (
    Outcome,
    bootstrap_interval,
    check_alpha,
    diebold_mariano,
    holm,
    paired_t,
    wilcoxon,
)

TESTS = ("wilcoxon", "t", "dm")
log = logging.getLogger("tsforge")


def compare(
    forecasts: Any, metric: Spec = "mae", *, by: str | Sequence[str] = ("unique_id",), alpha: float = 0.05,
    test: str = "wilcoxon", runs: Runs | None = None, missing: str = "error", scale: str | None = None,
    train: Any = None, season: int | None = None,
) -> Any:
    """Test the difference of every pair of models.

    Args:
        forecasts: Forecast frame with the truth as `y`.
        metric: One metric of `evaluate`; a label such as `pinball-0.1` where it gives several.
        by: What is one observation: groups of `evaluate`. They are taken as independent of each other, which windows of
            one series are not.
        alpha: Probability of calling a difference where there is none, in any of the pairs.
        test: Whose p is corrected and decides: "wilcoxon", "t" or "dm" (Diebold-Mariano over cutoffs).
        runs: Model to the columns that are trainings of it with several seeds, such as
            `{"TimesNet": ["TimesNet-s1", "TimesNet-s2"]}`. Their mean loss is tested; the interval draws seeds too.
        missing: "error" refuses forecasts that are missing where there is a truth; "drop" scores all models on the
            cells that all of them forecast.
        scale, train, season: As `evaluate` takes them.

    Returns:
        Frame of the kind that was given, a row per pair, whatever the order of the columns; `model` has the better
        mean: `model`, `other`, `metric`, `difference` (model minus other, mean over the blocks), `lo` and `hi` of its
        bootstrap interval of 1 - alpha (of this pair alone, not corrected), `p_wilcoxon`, `p_t`, `p_dm` (NaN where
        cutoffs do not allow it: the log says why), `p_holm` (the p of `test`, corrected over the pairs by Holm),
        `blocks`, and `verdict` in words.

    Raises:
        ArgumentError: too few models, blocks or windows for `test` to find anything; forecasts are missing; what
            `evaluate` refuses.
        UnknownNameError: no such metric, or no column for a run.
    """
    check_alpha(alpha)
    table = complete(as_eager(forecasts, "forecasts"), metric, missing)
    scoring = {"runs": runs, "scale": scale, "train": train, "season": season}
    losses = losses_of(table, metric, by, **scoring)
    pairs = judge(losses, windows(table, metric, test, scoring), test=test, alpha=alpha)
    return like(forecasts, pl.DataFrame([_row(losses, pair, alpha) for pair in pairs]))


@dataclass(frozen=True)
class Pair:
    """Two models and what was found.

    Args:
        model, other: `model` has the better mean, or an equal one.
        outcomes: By test; Diebold-Mariano is absent where cutoffs do not allow it.
        p_holm: Corrected p of the test that decides.
        verdict: In words.
        differs: Whether `model` is better: the difference is found, and mean and test agree on who is better.
    """

    model: str
    other: str
    outcomes: dict[str, Outcome]
    p_holm: float
    verdict: str
    differs: bool


@dataclass(frozen=True)
class Windows:
    """Losses of each cutoff, in order of time, and how many windows ahead they may be correlated (`h`)."""

    losses: Losses
    h: int


def windows(table: pl.DataFrame, metric: Spec, test: str, scoring: dict[str, Any]) -> Windows | None:
    """What Diebold-Mariano needs of the table; None, and a notice, where it lacks that and another test decides."""
    try:
        h = windows_of(table)
        losses = losses_of(table, metric, ("cutoff",), least=h + 1, **scoring)
    except ArgumentError as error:
        if test == "dm":
            raise
        log.info("No Diebold-Mariano test: %s", error)
        return None
    if losses.n < 16 * h and h > 1:
        log.info("Diebold-Mariano: %d windows, of which %d overlap, are few: it finds differences too easily below %d.",
                 losses.n, h, 16 * h)
    return Windows(losses, h)


def judge(losses: Losses, over_time: Windows | None, *, test: str, alpha: float) -> list[Pair]:
    """Every pair of models, tested, the p of `test` corrected over the pairs.

    Raises:
        ArgumentError: no such test, or Wilcoxon's cannot find anything in so few blocks.
    """
    pairs = list(combinations(losses.models, 2))
    _check_test(test, losses, len(pairs), alpha)
    outcomes = [_outcomes(model, other, losses, over_time) for model, other in pairs]
    corrected = holm([found[test].p for found in outcomes]).tolist()
    return [_judged(losses, *pair, found, p, test, alpha)
            for pair, found, p in zip(pairs, outcomes, corrected, strict=True)]


def _outcomes(model: str, other: str, losses: Losses, over_time: Windows | None) -> dict[str, Outcome]:
    one, two = losses.mean(model), losses.mean(other)
    found = {"wilcoxon": wilcoxon(one, two), "t": paired_t(one, two)}
    if over_time is not None:
        found["dm"] = diebold_mariano(over_time.losses.mean(model), over_time.losses.mean(other), over_time.h)
        if found["dm"].note:
            log.info("Diebold-Mariano, %s and %s: %s.", model, other, found["dm"].note)
    return found


def _judged(
    losses: Losses, model: str, other: str, found: dict[str, Outcome], p: float, test: str, alpha: float
) -> Pair:
    agree = bool(losses.mean(model).mean() < losses.mean(other).mean()) and found[test].statistic < 0
    differs = p <= alpha
    verdict = "no difference shown"
    if differs:
        verdict = f"{model} is better" if agree else f"{test} finds {other} better, the mean does not"
    return Pair(model, other, found, p, verdict, differs and agree)


def _row(losses: Losses, pair: Pair, alpha: float) -> dict[str, Any]:
    one, two = losses.values[pair.model], losses.values[pair.other]
    ends = sorted(losses.sign * end for end in bootstrap_interval(one, two, alpha=alpha))
    tests = {f"p_{name}": pair.outcomes[name].p if name in pair.outcomes else np.nan for name in TESTS}
    return {
        "model": pair.model, "other": pair.other, "metric": losses.metric,
        "difference": losses.sign * float(one.mean() - two.mean()), "lo": ends[0], "hi": ends[1],
        **tests, "p_holm": pair.p_holm, "blocks": losses.n, "verdict": pair.verdict,
    }


def _check_test(test: str, losses: Losses, pairs: int, alpha: float) -> None:
    if test not in TESTS:
        raise ArgumentError(f"test={test!r} is not one of {', '.join(TESTS)}.{suggest(test, TESTS)}")
    needed = 1 + ceil(log2(pairs / alpha))  # the least two-sided p over n blocks is 2 ** (1 - n)
    if test == "wilcoxon" and losses.n < needed:
        raise ArgumentError(
            f"{losses.n} groups by ({', '.join(losses.by)}) are too few: Wilcoxon's test of {pairs} pairs at "
            f"alpha={alpha} finds nothing below {needed}, however large the difference. Add series or windows, compare "
            "fewer models, or take test='t'."
        )
