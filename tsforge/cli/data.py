"""`tsforge data`: tables of the datasets."""

from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Json, Overwrite, Quiet
from tsforge.cli.output import begin, say, show_json
from tsforge.cli.predict import check_out, write_table

app = typer.Typer(help="Tables of the datasets.")


@app.callback(invoke_without_command=True)
def data(context: typer.Context) -> None:
    """Tables of the datasets."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@app.command("export")
def export(
    source: Annotated[
        str, typer.Argument(metavar="DATA", help="A dataset or a file, as in chaos:system=Lorenz,n=4000.")
    ],
    out: Annotated[Path, typer.Option("--out", help="A .csv, .parquet or .arrow file.")],
    overwrite: Overwrite = False, json: Json = False, quiet: Quiet = False, debug: Debug = False,
) -> None:
    """Write the long table of a dataset."""
    begin(quiet=quiet, debug=debug)
    check_out(out, overwrite)
    from tsforge.data.load import load

    frame = load(source)
    write_table(frame.to_polars(), out)
    show_json({"out": str(out), "rows": len(frame), "series": len(frame.ids)}) if json else say(
        f"{len(frame)} rows are in {out}."
    )
