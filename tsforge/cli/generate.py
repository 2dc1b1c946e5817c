"""`tsforge generate`: series that were never seen, from a run of a model that makes paths."""

from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Json, Overwrite, Quiet, TableOut
from tsforge.cli.output import begin
from tsforge.cli.predict import check_out, hand_over


def generate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    n: Annotated[int, typer.Option("--n", help="How many series.")] = 100,
    length: Annotated[int | None, typer.Option("--length", help="Steps of each; else those of a forecast.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draws; else that of the run.")] = None,
    out: TableOut = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Generate series like those that a model was fitted on."""
    begin(quiet=quiet, debug=debug)
    if out is not None:
        check_out(out, overwrite)
    from tsforge.estimators.run import open_run

    hand_over(open_run(run).generate(n, length, seed=seed), out, json=json)
