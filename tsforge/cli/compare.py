"""`tsforge compare`: finished runs on the windows they were tested on, and which differences are real."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.options import Debug, Json, Quiet
from tsforge.cli.output import begin, say, show_json, show_table
from tsforge.errors import ArgumentError

NAMES = ("better_than", "tied_with")
MOST_NAMED = 8  # models of whose names a line of the table can hold


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
    report: Annotated[
        Path | None, typer.Option("--report", help="A .html file for the leaderboard, the diagram and forecasts.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Rank finished runs, and say which of them are shown to be better than which."""
    begin(quiet=quiet, debug=debug)
    for option, place, suffix in (("--diagram", diagram, ".svg"), ("--report", report, ".html")):
        if place is not None and place.suffix != suffix:
            raise ArgumentError(f"{option} {place}: wanted a name that ends in {suffix}.")
    from tsforge.estimators.comparison import compared

    found = compared(runs, metric or (), by=[] if by is None else [name.strip() for name in by.split(",")])
    board = found.board(alpha=alpha, test=test)
    if diagram is not None:
        from tsforge.evaluation.critical_difference import critical_difference_diagram

        drawn = critical_difference_diagram(found.ranked(alpha=alpha), f"Mean ranks by {board.columns[2]}")
        diagram.parent.mkdir(parents=True, exist_ok=True)
        diagram.write_text(drawn, encoding="utf-8")
    if report is not None:
        from tsforge.estimators.reporting import report_comparison

        report.parent.mkdir(parents=True, exist_ok=True)
        report_comparison(report, found, alpha=alpha, test=test)
    if json:
        pairs = found.pairs(alpha=alpha, test=test).to_dicts()
        show_json({"leaderboard": board.to_dicts(), "pairs": pairs,
                   "diagram": None if diagram is None else str(diagram),
                   "report": None if report is None else str(report)})
        return
    show_table(_shown(board.to_dicts()), f"{board['blocks'][0]} blocks by {', '.join(found.by)}")
    if len(board) > MOST_NAMED:
        say("Which models each is better than is in --json and in --report.")
    if diagram is not None:
        say(f"Mean ranks are drawn in {diagram}.")
    if report is not None:
        say(f"Open {report}")


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The leaderboard for readers: without the ends of intervals, and with numbers for names where they are many."""
    if len(rows) > MOST_NAMED:
        rows = [row | {name: len([other for other in row[name].split(", ") if other]) for name in NAMES}
                for row in rows]
    return [{name: value for name, value in row.items() if not name.endswith(("-lo", "-hi")) and name != "blocks"}
            for row in rows]
