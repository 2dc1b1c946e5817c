"""`tsforge impute`: a table with its missing values filled in by a run, as CSV or a file."""

from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Json, Overwrite, Quiet, TableOut
from tsforge.cli.output import begin
from tsforge.cli.predict import check_out, hand_over, table_of


def impute(
    run: Annotated[Path, typer.Argument(help="A run folder, fitted with --task imputation.")],
    data: Annotated[str, typer.Option("--data", help="A file or a dataset with values missing.")],
    out: TableOut = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fill in missing values with a fitted model; what was observed stays as it is."""
    begin(quiet=quiet, debug=debug)
    if out is not None:
        check_out(out, overwrite)
    from tsforge.estimators.run import open_task

    hand_over(open_task(run, "imputation").impute(table_of(data)), out, json=json)
