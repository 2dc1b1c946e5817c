"""`tsforge generate`: series that were never seen, from a run of a model that makes paths."""

from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Json, Overwrite, Quiet
from tsforge.cli.output import begin, put, say, show_json
from tsforge.cli.predict import as_csv, check_out, write_table


def generate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    n: Annotated[int, typer.Option("--n", help="How many series.")] = 100,
    length: Annotated[int | None, typer.Option("--length", help="Steps of each; else those of a forecast.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the draws; else that of the run.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A .csv, .parquet or .arrow file; else CSV on standard output.")
    ] = None,
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

    table = open_run(run).generate(n, length, seed=seed)
    if out is not None:
        write_table(table, out)
        show_json({"out": str(out), "rows": len(table)}) if json else say(f"{len(table)} rows are in {out}.")
    elif json:
        show_json(table.to_dicts())
    else:
        put(as_csv(table))
