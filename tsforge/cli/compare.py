"""`tsforge compare`: finished runs on the windows they were tested on, and which differences are real."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.options import Debug, Json, Quiet
from tsforge.cli.output import begin, say, show_json, show_table
from tsforge.errors import ArgumentError


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, or the folder of a study.")],
    metric: Annotated[
        list[str] | None, typer.Option("--metric", help="Name of a metric; may be repeated, the first decides.")
    ] = None,
    by: Annotated[
        str | None, typer.Option("--by", help="One observation: unique_id, or unique_id,cutoff for every window.")
    ] = None,
    test: Annotated[str, typer.Option("--test", help="wilcoxon, t or dm (Diebold-Mariano).")] = "wilcoxon",
    alpha: Annotated[float, typer.Option("--alpha", help="Probability of any false difference.")] = 0.05,
    diagram: Annotated[
        Path | None, typer.Option("--diagram", help="A .svg file for the critical-difference diagram.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Rank finished runs, and say which of them are shown to be better than which."""
    begin(quiet=quiet, debug=debug)
    if diagram is not None and diagram.suffix != ".svg":
        raise ArgumentError(f"--diagram {diagram}: wanted a name that ends in .svg.")
    from tsforge.estimators.comparison import compared

    found = compared(runs, metric or (), by=[] if by is None else [name.strip() for name in by.split(",")])
    board = found.board(alpha=alpha, test=test)
    if diagram is not None:
        from tsforge.evaluation.critical_difference import critical_difference_diagram

        drawn = critical_difference_diagram(found.ranked(alpha=alpha), f"Mean ranks by {board.columns[2]}")
        diagram.parent.mkdir(parents=True, exist_ok=True)
        diagram.write_text(drawn, encoding="utf-8")
    if json:
        pairs = found.pairs(alpha=alpha, test=test).to_dicts()
        show_json({"leaderboard": board.to_dicts(), "pairs": pairs,
                   "diagram": None if diagram is None else str(diagram)})
        return
    show_table(_shown(board.to_dicts()), f"{board['blocks'][0]} blocks by {', '.join(found.by)}")
    if diagram is not None:
        say(f"Mean ranks are drawn in {diagram}.")


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The leaderboard for readers, without the ends of intervals."""
    return [{name: value for name, value in row.items() if not name.endswith(("-lo", "-hi")) and name != "blocks"}
            for row in rows]
