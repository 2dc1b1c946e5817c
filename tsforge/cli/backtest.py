"""`tsforge backtest`: several models after cutoffs inside the data, scored and reported."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.options import (
    Calendar,
    Debug,
    Encoding,
    Engine,
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
    Static,
    Target,
    TimeCol,
    Workers,
    numbers,
    partial_of,
)
from tsforge.cli.output import begin, complain, say, show_json, show_table
from tsforge.errors import ArgumentError, UnknownNameError, suggest


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
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="key=value for all models that have it; timesnet.key=value for one of them."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write.")] = None,
    engine: Engine = None,
    workers: Workers = None,
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
    """Score models on windows that they never saw, beside seasonal naive where rows are regular."""
    begin(quiet=quiet, debug=debug)
    from tsforge.data.load import load
    from tsforge.estimators.backtests import Backtest, write_backtest
    from tsforge.estimators.shards.folder import WorkFolder
    from tsforge.training.artifact import refuse_existing

    if out is not None:
        refuse_existing(out, overwrite)
    roles = Roles(target, past, future, static, id_col, time_col, freq, season, calendar, encoding).given()
    if align not in ("time", "end"):
        raise ArgumentError(f"--align {align!r}: wanted time or end.")
    models = models_of(model or ["dlinear"], h, input_size, set_ or [])
    partial, frame = partial_of(out), load(source, **roles)
    if frame.schema.irregular and "seasonal_naive" not in (model or []):
        models = [made for made in models if made.key != "seasonal_naive"]
        say("note: SeasonalNaive takes no irregular rows and is left out.")
    try:
        run = Backtest(models, frame, n_windows=windows, step_size=step, refit=refit, align=align,
                       level=numbers(level, "--level"), metrics=metric or ["mse", "mae", "smape", "mase"],
                       engine=engine, workers=workers, folder=partial, overwrite=overwrite)
    except KeyboardInterrupt:
        if engine is not None and partial is not None:
            complain(f"interrupted. What is done is in {partial}; go on with the same command.")
        raise
    if out is not None:
        write_backtest(run, out, {"data": source, **roles}, overwrite=overwrite)
        if engine is not None and partial is not None:
            WorkFolder(partial).remove()
    if json:
        show_json({"scores": run.scores.to_dicts(), "out": None if out is None else str(out)})
        return
    show_table(run.scores.to_dicts(), f"{run.windows} windows of {h} steps")
    if out is not None:
        say(f"Forecasts, scores and report.html are in {out}: open {out / 'report.html'}")


def models_of(names: list[str], h: int, input_size: int | None, pairs: list[str]) -> list[Any]:
    """Estimators of these names and of seasonal naive; each takes those of the arguments that it has.

    Raises:
        RecipeError: a pair is no `key=value`.
        UnknownNameError: there is no such model, or an argument is for one that is not here.
        UnknownArgumentError: no model has an argument.
    """
    from tsforge.estimators.estimator import estimator
    from tsforge.training.overrides import read_override

    classes = {name: estimator(name) for name in dict.fromkeys([*names, "seasonal_naive"])}
    given: dict[str, dict[str, Any]] = {name: {"h": h} for name in classes}
    arguments = [read_override(pair) for pair in pairs]
    if input_size is not None:
        arguments.insert(0, (["input_size"], input_size))
    for path, value in sorted(arguments, key=lambda argument: len(argument[0])):  # what is for one model wins
        for name in _takers(path, classes):
            given[name][path[-1]] = value
    return [made(**given[name]) for name, made in classes.items()]


def _takers(path: list[str], classes: dict[str, type]) -> list[str]:
    """The models that an argument is for: the one before the dot, or all that have it."""
    from inspect import signature

    from tsforge.estimators.parameters import unknown_argument

    *owner, argument = path
    known = {name: list(signature(made).parameters) for name, made in classes.items()}
    one = ".".join(owner)
    if owner and one not in classes:
        hint = suggest(one, classes) or f" There are: {', '.join(classes)}."
        raise UnknownNameError(f"--set {'.'.join(path)}: this backtest has no model {one!r}.{hint}")
    takers = [name for name in classes if argument in known[name] and one in ("", name)]
    if not takers:
        asked = [one] if owner else list(classes)
        every = dict.fromkeys(name for model in asked for name in known[model])
        raise unknown_argument(", ".join(classes[name].__name__ for name in asked), argument, every)
    return takers
