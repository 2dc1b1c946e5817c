"""`tsforge report`: the HTML report of a run."""

from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Json, Quiet
from tsforge.cli.output import begin, say, show_json
from tsforge.errors import ArgumentError


def report(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="A .html file; report.html in the run folder unless told.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write what was run, how it learned, and its forecasts against the truth as one HTML file."""
    begin(quiet=quiet, debug=debug)
    if out is not None and out.suffix != ".html":  # a report that is there is replaced, and nothing else may be
        raise ArgumentError(f"--out {out}: wanted a name that ends in .html.")
    from tsforge.estimators.reporting import report_run

    place = report_run(run, out or run / "report.html")
    show_json({"report": str(place)}) if json else say(f"Open {place}")
