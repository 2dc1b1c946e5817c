"""`tsforge fit`: a recipe, or data and a model, become a run folder."""

import re
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
    Overwrite,
    Past,
    Quiet,
    Roles,
    Season,
    Set,
    Static,
    Target,
    TimeCol,
)
from tsforge.cli.output import begin, complain, say, show_json, show_table
from tsforge.errors import ArgumentError


def fit(
    source: Annotated[str, typer.Argument(metavar="DATA|RECIPE", help="A file, a dataset, or a recipe (.yaml).")],
    model: Annotated[str | None, typer.Option("--model", help="Name of a model; see `tsforge list models`.")] = None,
    h: Annotated[int | None, typer.Option("--h", help="Steps to forecast.")] = None,
    input_size: Annotated[int | None, typer.Option("--input-size", help="Past steps the model sees.")] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="Name of an encoder in the model; see `tsforge list encoders`.")
    ] = None,
    context: Annotated[
        list[str] | None, typer.Option("--context", help="Name of an encoder that tells it more; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Run folder to write; else runs/RECIPE or runs/MODEL_DATA_H.")
    ] = None,
    set_: Set = None,
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
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint in OUT.partial.")] = False,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fit a model and write it as a run folder."""
    begin(quiet=quiet, debug=debug)
    from tsforge.training.recipe import read_recipe

    roles = Roles(target, past, future, static, id_col, time_col, freq, season, calendar, encoding).given()
    is_recipe = source.endswith((".yaml", ".yml"))
    if is_recipe and (roles or any(value is not None for value in (model, h, input_size, encoder, context or None))):
        raise ArgumentError(
            "A recipe states its model, sizes and roles; change them with --set, as in --set model.h=24."
        )
    ways = _ways(encoder, context or [])
    stated = source if is_recipe else stated_of("fit", source, model, h, input_size, roles) | ways
    recipe = read_recipe(stated, set_ or [])
    place = out or Path("runs") / (Path(source).stem if is_recipe else name_of(source, recipe.model))
    if resume and place.exists() and not overwrite:
        from tsforge.estimators.run import finished_run

        record = finished_run(place)
        say(f"{place} is finished already; there is nothing to resume.")
        if json:
            show_json({"run": str(place), "test": record.test or [], "history": record.history})
        return
    from tsforge.estimators.run import kept_training, run_recipe

    try:
        result = run_recipe(recipe, place, resume=resume, overwrite=overwrite, verbose=not quiet)
    except KeyboardInterrupt:
        kept = kept_training(place)
        complain(f"interrupted. {'Go on with the same command and --resume.' if kept else 'Nothing was written.'}")
        raise
    if json:
        said = {} if result.validation is None else {"validation": result.validation}
        show_json({"run": str(place), "test": result.test, **said, "history": result.model.history_})
        return
    if result.validation:
        v = result.validation
        say(f"validation: {v['metric']} {v['value']:.6g} over {v['windows']} windows before the test part")
    if result.test:
        show_table(result.table, f"test part: {result.windows} windows of {result.model.h} steps")
    say(f"The run is in {place}. Forecast with: tsforge predict {place}")


def stated_of(
    command: str, source: str, model: str | None, h: int | None, input_size: int | None, roles: dict[str, Any]
) -> dict[str, Any]:
    """What a command line states of a run, as a recipe does.

    Raises:
        ArgumentError: there is no model, or no horizon.
    """
    if model is None:
        raise ArgumentError(f"{command} needs a model: --model dlinear --h 24; see `tsforge list models`.")
    if h is None:
        raise ArgumentError(f"{command} needs the number of steps to forecast: --h 24.")
    stated = {"name": model, "h": h} | ({} if input_size is None else {"input_size": input_size})
    return {"frame": {"data": source, **roles}, "model": stated}


def _ways(encoder: str | None, context: list[str]) -> dict[str, Any]:
    """Encoders as a recipe states them; of one context the arguments are reached by --set context.key=value."""
    ways = {"encoder": encoder, "context": context[0] if len(context) == 1 else context}
    return {way: spec for way, spec in ways.items() if spec}


def name_of(source: str, model: dict[str, Any]) -> str:
    """`dlinear_co2_52`; what no file is called everywhere is left out."""
    data = Path(source).name.partition(".")[0]
    return re.sub(r"[^\w=-]+", "-", f"{model.get('name', 'models')}_{data}_{model.get('h')}").strip("-")
