"""The section of a report that ranks models: a leaderboard with intervals, and the critical-difference diagram."""

from html import escape
from typing import Any

import polars as pl

from tsforge.evaluation.report_table import number, table

DECIDED = ("place", "model", "mean_rank", "better_than", "tied_with", "blocks")
BARS = "Mean ranks, the best to the left. Models under one bar are not shown to differ (Friedman, Nemenyi)."


def ranks(board: pl.DataFrame, diagram: str, told: str) -> str:
    """The section's HTML.

    Args:
        board: What `leaderboard` returned.
        diagram: An <svg> element, or nothing.
        told: A sentence on what was tested and how.
    """
    metrics = [name for name in board.columns if name not in DECIDED and not name.endswith(("-lo", "-hi"))]
    others = len(board) - 1
    rows = [
        {"model": row["model"], "place": row["place"]}
        | {name: _with_interval(row, name) for name in metrics}
        | {"mean rank": row["mean_rank"], "better than": f"{len(_names(row['better_than']))} of {others}",
           "tied with": f"{len(_names(row['tied_with']))}"}
        for row in board.iter_rows(named=True)
    ]
    caption = (
        f"{told} In brackets: bootstrap interval of the mean. Place: 1 and the number of models shown to be better."
    )
    drawn = f'<figure>{diagram}<figcaption>{BARS}</figcaption></figure>' if diagram else ""
    return table(escape(caption), pl.DataFrame(rows, infer_schema_length=None)) + drawn + _details(board)


def _with_interval(row: dict[str, Any], name: str) -> str:
    return f"{number(row[name])} [{number(row[f'{name}-lo'])}, {number(row[f'{name}-hi'])}]"


def _names(joined: str) -> list[str]:
    return [name for name in joined.split(", ") if name]


def _details(board: pl.DataFrame) -> str:
    """Who is shown to be better than whom, to be unfolded: with many models it is long."""
    beaten = "".join(
        f"<dt>{escape(row['model'])}</dt><dd>{escape(row['better_than']) or '–'}</dd>"
        for row in board.iter_rows(named=True)
    )
    return f"<details><summary>Which models each is shown to be better than</summary><dl>{beaten}</dl></details>"
