"""`tsforge anomalies`: how strange each step of a table is to a run, as CSV or a file."""

from pathlib import Path
from typing import Annotated

import typer

from tsforge.cli.options import Debug, Json, Overwrite, Quiet, TableOut
from tsforge.cli.output import begin, say
from tsforge.cli.predict import check_out, hand_over, table_of


def anomalies(
    run: Annotated[Path, typer.Argument(help="A run folder, fitted with --task anomaly.")],
    data: Annotated[str, typer.Option("--data", help="A file or a dataset to look through.")],
    quantile: Annotated[
        float | None, typer.Option("--quantile", help="Threshold: a quantile of the scores of the fitted rows.")
    ] = None,
    only: Annotated[bool, typer.Option("--only", help="Only the anomalous steps.")] = False,
    out: TableOut = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score each step by how badly a fitted model reconstructs it, and flag the anomalous ones."""
    begin(quiet=quiet, debug=debug)
    if out is not None:
        check_out(out, overwrite)
    from tsforge.estimators.run import open_task
    from tsforge.frame.canonical import to_polars

    model = open_task(run, "anomaly")
    table = to_polars(model.score_anomalies(table_of(data), quantile=quantile))[0]
    flagged = int(table["anomaly"].sum() or 0)
    say(f"{flagged} of {len(table)} steps are anomalous: their score is above {model.threshold(quantile):.6g}.")
    hand_over(table.filter("anomaly") if only else table, out, json=json)
