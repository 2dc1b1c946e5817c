"""`tsforge bench encoders`: what each encoder is worth, beside the same models without one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.options import Debug, Json, Quiet
from tsforge.cli.output import begin, complain, put, say, show_json, show_table
from tsforge.errors import ArgumentError, TrainingError


def encoders(
    out: Annotated[Path, typer.Option("--out", help="Folder of cells and tables.")] = Path("runs/encoders"),
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="etth1, nn5, lorenz or beijing; may be repeated. Else all.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="A neural model; may be repeated. Else encoder_forecaster, dlinear, timesnet."),
    ] = None,
    encoder: Annotated[
        list[str] | None, typer.Option("--encoder", help="A row of `tsforge list encoders`; may be repeated. Else all.")
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="With commas between.")] = "0,1,2",
    max_steps: Annotated[int, typer.Option("--max-steps", help="Steps of each training.")] = 150,
    set_: Annotated[list[str] | None, typer.Option("--set", help="key=value, for all recipes.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Measure cells of other settings anew; those of these are taken.")
    ] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print the tables as markdown.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Forecast with each encoder and without; the same command goes on where it was stopped."""
    begin(quiet=quiet, debug=debug)
    from tsforge.estimators.encoder_benchmark import encoder_benchmark

    try:
        found = encoder_benchmark(
            out, datasets=dataset, models=model, encoders=encoder, seeds=_numbers(seeds), max_steps=max_steps,
            overrides=set_ or [], overwrite=overwrite,
        )
    except KeyboardInterrupt:
        complain(f"interrupted. What is measured is in {out}; go on with the same command.")
        raise
    if json:
        show_json({"encoders": found.encoders, "table": found.table, "refused": found.not_applied, "out": str(out)})
    elif as_markdown:
        put(found.markdown())
    else:
        _show(found.table, found.encoders, found.not_applied)
    if found.failed:
        raise TrainingError(f"{len(found.failed)} trainings failed: {', '.join(found.failed)}. The same command says "
                            "why, tries them again, and leaves the others as they are.")
    say(f"The tables are in {out}: table.csv, encoders.csv, refused.csv, and tables.md with all three.")


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ArgumentError(f"--seeds {text!r}: wanted whole numbers with commas between, as in 0,1,2.") from None


def _show(
    table: Sequence[Mapping[str, Any]], each: Sequence[Mapping[str, Any]], refused: Sequence[Mapping[str, Any]]
) -> None:
    several = any(row["seeds"] > 1 for row in table)
    rows = []
    for row in table:
        shown = {name: value for name, value in row.items() if name not in ("sd", "seeds")}
        if several:
            shown |= {"mae": f"{row['mae']:.4f} ± {row['sd']:.2g}"}
            shown |= {} if row["wins"] is None else {"wins": f"{row['wins']} of {row['seeds']}"}
        rows.append(shown)
    show_table(rows, "mean absolute error of standardised values; ratio and time: to the same model without an encoder")
    put("\n")
    show_table([dict(row) for row in each], "each encoder over models and datasets")
    if refused:
        put("\n")
        show_table([dict(row) for row in refused], "does not apply")
