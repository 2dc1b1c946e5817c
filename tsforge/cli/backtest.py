"""`tsforge backtest`: several models after cutoffs inside the data, scored and reported."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.options import (
    Calendar,
    Debug,
    Encoding,
    Freq,
    Future,
    IdCol,
    Json,
    Level,
    Overwrite,
    Past,
    Quiet,
    Roles,
    Season,
    Set,
    Static,
    Target,
    TimeCol,
    begin,
    numbers,
    say,
    show_json,
    show_table,
    values,
)
from tsforge.errors import ArgumentError


def backtest(
    source: Annotated[str, typer.Argument(metavar="DATA", help="A file or a dataset.")],
    h: Annotated[int, typer.Option("--h", help="Steps to forecast.")],
    model: Annotated[list[str] | None, typer.Option("--model", help="Name of a model; may be repeated.")] = None,
    windows: Annotated[int, typer.Option("--windows", help="Cutoffs.")] = 1,
    step: Annotated[int | None, typer.Option("--step", help="Steps between cutoffs; h unless told.")] = None,
    refit: Annotated[bool, typer.Option("--refit", help="Fit anew at every cutoff.")] = False,
    align: Annotated[str, typer.Option("--align", help="time, or end for series without a common calendar.")] = "time",
    metric: Annotated[list[str] | None, typer.Option("--metric", help="Name of a metric; may be repeated.")] = None,
    level: Level = None,
    input_size: Annotated[int | None, typer.Option("--input-size", help="Past steps neural models see.")] = None,
    set_: Set = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write.")] = None,
    target: Target = None,
    past: Past = None,
    future: Future = None,
    static: Static = None,
    id_col: IdCol = None,
    time_col: TimeCol = None,
    freq: Freq = None,
    season: Season = None,
    calendar: Calendar = None,
    encoding: Encoding = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score models on windows that they never saw, beside seasonal naive."""
    begin(quiet=quiet, debug=debug)
    from tsforge.data.load import load
    from tsforge.estimators.backtests import Backtest, write_backtest
    from tsforge.training.artifact import refuse_existing

    if out is not None:
        refuse_existing(out, overwrite)
    roles = Roles(target, past, future, static, id_col, time_col, freq, season, calendar, encoding).given()
    if align not in ("time", "end"):
        raise ArgumentError(f"--align {align!r}: wanted time or end.")
    models = models_of(model or ["dlinear"], h, input_size, values(set_))
    run = Backtest(models, load(source, **roles), n_windows=windows, step_size=step, refit=refit, align=align,
                   level=numbers(level, "--level"), metrics=metric or ["mse", "mae", "smape", "mase"])
    if out is not None:
        write_backtest(run, out, {"data": source, **roles}, overwrite=overwrite)
    if json:
        show_json({"scores": run.scores.to_dicts(), "out": None if out is None else str(out)})
        return
    show_table(run.scores.to_dicts(), f"{run.windows} windows of {h} steps")
    if out is not None:
        say(f"Forecasts, scores and report.html are in {out}: open {out / 'report.html'}")


def models_of(names: list[str], h: int, input_size: int | None, arguments: dict[str, Any]) -> list[Any]:
    """Estimators of these names; each takes those of the arguments that it has, and seasonal naive is always there."""
    from inspect import signature

    from tsforge.estimators.estimator import estimator
    from tsforge.estimators.parameters import unknown_argument

    given = arguments | ({} if input_size is None else {"input_size": input_size})
    classes = {name: estimator(name) for name in dict.fromkeys([*names, "seasonal_naive"])}
    known = {name: set(signature(made).parameters) for name, made in classes.items()}
    for argument in given:
        if not any(argument in parameters for parameters in known.values()):
            raise unknown_argument(
                ", ".join(made.__name__ for made in classes.values()), argument, sorted(set().union(*known.values()))
            )
    return [made(h=h, **{k: v for k, v in given.items() if k in known[name]}) for name, made in classes.items()]
