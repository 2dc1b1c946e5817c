"""`tsforge data`: tables of the datasets, and a look at a file before it is fitted."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import (
    Debug,
    Freq,
    Future,
    IdCol,
    Json,
    Overwrite,
    Past,
    Quiet,
    Roles,
    Static,
    Target,
    TimeCol,
)
from tsforge.cli.output import begin, put, say, show_json, show_table
from tsforge.cli.predict import check_out, write_table
from tsforge.errors import FrameError

app = typer.Typer(help="Tables of the datasets, and a look at your own.")


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


@app.command("system")
def system(
    name: Annotated[str, typer.Argument(help="A chaotic system, as in Lorenz.")],
    json: Json = False, quiet: Quiet = False, debug: Debug = False,
) -> None:
    """Show what is known of a chaotic system: exponents, dimensions, entropy, each with its source."""
    begin(quiet=quiet, debug=debug)
    from tsforge.data.systems import metadata

    known = metadata(name)
    rows = [{"what": what, "value": _short(estimate.value), "unit": estimate.unit, "source": estimate.source}
            for what, estimate in known.estimates().items()]
    about = {"kind": known.kind, "description": known.description, "citation": known.citation,
             "dimension": known.dimension, "coordinates": ", ".join(known.coordinates),
             "parameters": ", ".join(f"{key}={value}" for key, value in known.parameters.items())}
    if json:
        exact = {what: estimate.value for what, estimate in known.estimates().items()}
        show_json({**about, "parameters": dict(known.parameters),
                   "estimates": [row | {"value": exact[row["what"]]} for row in rows]})
        return
    show_table([{"what": what, "known": str(value)} for what, value in about.items()], title=name)
    put("\n")
    show_table(rows)


def _short(value: float | tuple[float, ...]) -> str:
    parts = value if isinstance(value, tuple) else (value,)
    return ", ".join(f"{part:.4g}" for part in parts)


@app.command("check")
def check(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file, or a folder of parquet files.")],
    target: Target = None, past: Past = None, future: Future = None, static: Static = None, id_col: IdCol = None,
    time_col: TimeCol = None, freq: Freq = None,
    json: Json = False, quiet: Quiet = False, debug: Debug = False,
) -> None:
    """Show a file as a fit would see it: series, span, gaps, repeats, ranges, and what to do."""
    begin(quiet=True, debug=debug)
    from tsforge.data.files import read_table
    from tsforge.frame.profile import profile

    roles = Roles(target, past, future, static, id_col, time_col, freq).given()
    found = profile(read_table(path), **roles)
    begin(quiet=quiet, debug=debug)
    if json:
        show_json(asdict(found))
    else:
        facts = {"rows": found.rows} | {name: value for name, value in found.keys.items() if value is not None}
        show_table([{"what": name, "found": str(value)} for name, value in facts.items()])
        put("\n")
        show_table(found.columns)
        put("".join(f"\n- {sentence}" for sentence in found.advice) + "\n")
    if found.fault is not None:
        raise FrameError(found.fault)
