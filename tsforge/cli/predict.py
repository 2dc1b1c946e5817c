"""`tsforge predict`: forecasts of a run, as CSV or a file."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Json, Level, Overwrite, Quiet, begin, numbers, say, show_json
from tsforge.errors import ArgumentError, OutputExistsError


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[str | None, typer.Option("--data", help="Forecast after the end of this instead.")] = None,
    future_data: Annotated[
        Path | None, typer.Option("--future-data", help="Covariates known ahead, for the next steps.")
    ] = None,
    h: Annotated[int | None, typer.Option("--h", help="Fewer steps than the model was made for.")] = None,
    level: Level = None,
    quantiles: Annotated[str | None, typer.Option("--quantiles", help="Levels of quantiles, as in 0.1,0.9.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A .csv, .parquet or .arrow file; else CSV on standard output.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Forecast with a fitted model."""
    begin(quiet=quiet, debug=debug)
    if out is not None:
        check_out(out, overwrite)
    from tsforge.data.files import read_table
    from tsforge.estimators.run import open_run
    from tsforge.frame.canonical import to_polars

    model = open_run(run)
    frame = None if data is None else _table(data)
    future = None if future_data is None else read_table(future_data)
    forecasts = model.predict(
        frame, h=h, future=future, level=numbers(level, "--level"), quantiles=numbers(quantiles, "--quantiles")
    )
    table = to_polars(forecasts)[0]
    if out is not None:
        write_table(table, out)
        say(f"{len(table)} rows are in {out}.")
    elif json:
        show_json(table.to_dicts())
    else:
        sys.stdout.write(table.write_csv())


def _table(source: str):
    from tsforge.data.files import read_table
    from tsforge.data.load import load

    path = Path(source)
    return read_table(path) if path.exists() or path.suffix else load(source)


def check_out(out: Path, overwrite: bool) -> None:
    """Raises where a table cannot be written to `out`."""
    if out.suffix not in (".csv", ".parquet", ".arrow"):
        raise ArgumentError(f"--out {out}: wanted a name that ends in .csv, .parquet or .arrow.")
    if out.exists() and not overwrite:
        raise OutputExistsError(f"{out} exists already. Choose another place, or replace it with --overwrite.")
    if not out.parent.is_dir():
        raise ArgumentError(f"--out {out}: there is no folder {out.parent}; make it first.")


def write_table(table, out: Path) -> None:
    """Writes a table aside and renames it."""
    import io

    from tsforge.training.checkpoint import write_aside

    content = io.BytesIO()
    {".csv": table.write_csv, ".parquet": table.write_parquet, ".arrow": table.write_ipc}[out.suffix](content)
    write_aside(out, content.getvalue())
