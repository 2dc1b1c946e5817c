"""`tsforge study`: the runs of a recipe with a grid, and one table of their scores."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.options import Debug, Json, Quiet, Set
from tsforge.cli.output import begin, complain, say, show_json, show_table
from tsforge.errors import TrainingError


def study(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="A recipe (.yaml) with a grid.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder of the runs; else runs/RECIPE.")] = None,
    set_: Set = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes that share the cores.")] = 1,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace runs of other recipes; those of this one are taken.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit and score each run of a grid; the same command goes on where it was stopped."""
    begin(quiet=quiet, debug=debug)
    from tsforge.estimators.grid import read_grid
    from tsforge.estimators.study import run_study

    place = out or Path("runs") / recipe.stem
    cells = read_grid(recipe, set_ or [])
    try:
        done = run_study(cells, place, workers=workers, overwrite=overwrite, verbose=not quiet)
    except KeyboardInterrupt:
        complain(f"interrupted. What is done is in {place}; go on with the same command.")
        raise
    if json:
        show_json({"out": str(place), "table": done.table, "runs": done.runs})
    elif done.table:
        show_table(_shown(done.table), f"test parts of {len(cells)} runs")
    if done.failed:
        names = ", ".join(done.failed)
        raise TrainingError(
            f"{len(done.failed)} of {len(cells)} runs failed: {names}. Their reasons are in {place / 'study.json'}; "
            "the same command tries them again and leaves the others as they are."
        )
    say(f"The runs are in {place}, their scores in {place / 'study.json'}, this table in {place / 'table.csv'}.")


def _shown(table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The table for readers: a mean and its spread in one column, and `n` where there are several seeds."""
    several = any(row["n"] > 1 for row in table)
    rows = []
    for row in table:
        shown = {name: value for name, value in row.items() if not name.endswith("_sd") and name != "n"}
        for name in shown:
            sd = row.get(f"{name}_sd")
            if sd is not None:
                shown[name] = f"{row[name]:.4g} ± {sd:.2g}"
        rows.append(shown | ({"n": row["n"]} if several else {}))
    return rows
