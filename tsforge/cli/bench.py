"""`tsforge bench`: benchmarks, of chaotic systems beside published results and of encoders beside none."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.bench_encoders import encoders
from tsforge.cli.options import Debug, Json, Overwrite, Quiet
from tsforge.cli.output import begin, put, say, show_json, show_table

app = typer.Typer(help="Benchmarks: of models beside published ones, of encoders beside none.", no_args_is_help=True)
app.command("encoders")(encoders)
MODELS = ["delay_ensemble", "kernel_ar", "nvar", "analogs", "seasonal_naive"]


@app.command("chaos")
def chaos(
    model: Annotated[
        list[str] | None, typer.Option("--model", help=f"Name of a model; may be repeated. Else {', '.join(MODELS)}.")
    ] = None,
    points: Annotated[int, typer.Option("--points", help="Points of a period, 15 or 100.")] = 15,
    system: Annotated[list[str] | None, typer.Option("--system", help="Some systems; all 66 unless told.")] = None,
    train: Annotated[
        bool, typer.Option("--train", help="Learn from the train trajectories too: a column of its own.")
    ] = False,
    input_size: Annotated[int | None, typer.Option("--input-size", help="Past steps neural models see.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value for all models that have it; dlinear.key=value for one of them."),
    ] = None,
    exponent: Annotated[
        str, typer.Option("--exponent", help="Which exponent of dysts: lyapunov_separation or lyapunov_qr.")
    ] = "lyapunov_separation",
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write.")] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Forecast the 66 systems of the chaos benchmark, beside the 16 published models."""
    begin(quiet=quiet, debug=debug)
    from tsforge.cli.backtest import models_of
    from tsforge.estimators.chaos_benchmark import chaos_benchmark, check_estimate, write_benchmark
    from tsforge.training.artifact import refuse_existing

    if out is not None:
        refuse_existing(out, overwrite)
    check_estimate(exponent)  # before anything is fitted
    names = model or ([] if train else MODELS)
    models = models_of(names or ["dlinear"], 2 * points, input_size, set_ or [])
    if "seasonal_naive" not in names:  # which `models_of` adds
        models = models[:-1]
    found = chaos_benchmark(models, points, systems=system, train=train)
    table, thirds = found.table(), found.by_exponent(exponent)
    if out is not None:
        write_benchmark(found, out, exponent, overwrite=overwrite)
    if json:
        show_json({"table": table.to_dicts(), "scores": found.scores.to_dicts(), "thirds": thirds.to_dicts(),
                   "exponent": exponent, "points": points, "out": None if out is None else str(out)})
        return
    title = f"sMAPE of {len(found.scores)} systems, {points} points of a period, column: {found.column}"
    show_table(table.drop("column").to_dicts(), title)
    put("\n")
    show_table(_shown(thirds, found.models), f"median sMAPE by {exponent} of dysts: Lyapunov times of the two periods")
    if out is not None:
        say(f"Forecasts, scores and report.html are in {out}: open {out / 'report.html'}")


def _shown(thirds: Any, own: tuple[str, ...]) -> list[dict[str, Any]]:
    """A row for each model, a column for each third; of the published models the best."""
    from tsforge.data.dysts_published import BEST

    heads = [f"{row['lyapunov_times']} ({row['systems']})" for row in thirds.iter_rows(named=True)]
    return [{"model": name, **dict(zip(heads, thirds[name].to_list(), strict=True))} for name in (*own, BEST)]
