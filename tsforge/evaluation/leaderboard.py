"""The leaderboard: scores with intervals, and which of the differences are real."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from tsforge.errors import ArgumentError
from tsforge.evaluation.asked import Spec
from tsforge.evaluation.compare import judge, windows
from tsforge.evaluation.evaluate import like
from tsforge.evaluation.paired import Losses, Runs, complete, losses_of
from tsforge.evaluation.ranking import mean_ranks
from tsforge.evaluation.scale import as_eager
from tsforge.evaluation.significance import bootstrap_interval, check_alpha


def leaderboard(
    forecasts: Any, metrics: Spec | Sequence[Spec] = ("mae", "mse"), *, by: str | Sequence[str] = ("unique_id",),
    alpha: float = 0.05, test: str = "wilcoxon", runs: Runs | None = None, missing: str = "error",
    scale: str | None = None, train: Any = None, season: int | None = None,
) -> Any:
    """One row per model: what it scores, how sure that is, and whom it beats. The first metric decides.

    Args:
        metrics: Metrics of `evaluate`, or labels such as `pinball-0.1`.
        forecasts, by, alpha, test, runs, missing, scale, train, season: As `compare` takes them.

    Returns:
        Frame of the kind that was given, the best mean first: `place` (1 and the number of models shown to be better,
        so models that tie for the first place all have 1), `model`; for each metric its mean over the blocks, as
        `mae`, and the ends of its bootstrap interval of 1 - alpha, as `mae-lo` and `mae-hi`; and by the first metric
        `mean_rank`, `better_than` and `tied_with` (names with commas between; empty where there are none) and `blocks`.
        A model is better than another where `compare` finds so; it ties with those where no difference is shown.

    Raises:
        ArgumentError: as in `compare`.
        UnknownNameError: as in `compare`.
    """
    check_alpha(alpha)
    table, asked = as_eager(forecasts, "forecasts"), [metrics] if isinstance(metrics, str | Mapping) else list(metrics)
    if not asked:
        raise ArgumentError("metrics is empty: name some metrics, of which the first decides.")
    scoring = {"runs": runs, "scale": scale, "train": train, "season": season}
    for metric in asked:
        table = complete(table, metric, missing)
    found = [losses_of(table, metric, by, **scoring) for metric in asked]
    first, *others = {losses.metric: losses for losses in found}.values()
    board = _scores(first, alpha).with_columns(pl.Series("mean_rank", mean_ranks(first.table())))
    for losses in others:
        board = board.join(_scores(losses, alpha), on="model", how="left", maintain_order="left")
    over_time = windows(table, asked[0], test, scoring) if test == "dm" else None
    pairs = judge(first, over_time, test=test, alpha=alpha)
    beaten = {model: [pair.other for pair in pairs if pair.differs and pair.model == model] for model in first.models}
    told = pl.DataFrame([_told(model, beaten) for model in first.models])
    board = board.join(told, on="model", how="left", maintain_order="left")
    board = board.with_columns(blocks=pl.lit(first.n, dtype=pl.Int64))
    last = ["mean_rank", "better_than", "tied_with", "blocks"]
    return like(forecasts, board.select("place", "model", pl.exclude("place", "model", *last), *last))


def _scores(losses: Losses, alpha: float) -> pl.DataFrame:
    rows = []
    for model, values in losses.values.items():
        ends = sorted(losses.sign * end for end in bootstrap_interval(values, alpha=alpha))
        label = losses.metric
        rows.append({"model": model, label: losses.sign * float(values.mean()), f"{label}-lo": ends[0],
                     f"{label}-hi": ends[1]})
    return pl.DataFrame(rows)


def _told(model: str, beaten: dict[str, list[str]]) -> dict[str, Any]:
    losers = beaten[model]
    winners = [other for other, names in beaten.items() if model in names]
    ties = [other for other in beaten if other not in (model, *losers, *winners)]
    return {"model": model, "place": 1 + len(winners), "better_than": ", ".join(losers), "tied_with": ", ".join(ties)}
