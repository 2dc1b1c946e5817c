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
    task: Annotated[
        str | None, typer.Option("--task", help="imputation, anomaly or classification, in place of a forecast.")
    ] = None,
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
    labels: Annotated[
        str | None, typer.Option("--labels", help="Column, or file of unique_id and class, of a classification.")
    ] = None,
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
    roles |= {} if labels is None else {"labels": labels}
    is_recipe = source.endswith((".yaml", ".yml"))
    stated_here = (model, h, task, input_size, encoder, context or None)
    if is_recipe and (roles or any(value is not None for value in stated_here)):
        raise ArgumentError(
            "A recipe states its model, task, sizes and roles; change them with --set, as in --set model.h=24."
        )
    ways = _ways(encoder, context or [])
    stated = source if is_recipe else stated_of("fit", source, model, h, input_size, roles, task) | ways
    recipe = read_recipe(stated, set_ or [])
    place = out or Path("runs") / (Path(source).stem if is_recipe else name_of(source, recipe.model, recipe.task))
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
        windows = f": {result.windows} windows of {result.model.h} steps" if result.windows else ""
        show_table(result.table, f"test part{windows}")
    say(f"The run is in {place}. {next_command(recipe.task).format(place)}")


def stated_of(
    command: str, source: str, model: str | None, h: int | None, input_size: int | None, roles: dict[str, Any],
    task: str | None = None,
) -> dict[str, Any]:
    """What a command line states of a run, as a recipe does.

    Raises:
        ArgumentError: there is no model, or no horizon.
    """
    if model is None:
        raise ArgumentError(f"{command} needs a model: --model dlinear --h 24; see `tsforge list models`.")
    asked = {} if task in (None, "forecast") else {"task": task}
    if h is None and not asked:
        raise ArgumentError(f"{command} needs the number of steps to forecast: --h 24.")
    sizes = {name: size for name, size in (("h", h), ("input_size", input_size)) if size is not None}
    return {"frame": {"data": source, **roles}, "model": {"name": model, **sizes}, **asked}


def next_command(task: Any) -> str:
    """What to do with a run of this task, `{}` in the place of its folder."""
    name = task.get("name") if isinstance(task, dict) else task
    return {
        "imputation": "Fill in missing values with: tsforge impute {} --data FILE",
        "anomaly": "Look for anomalies with: tsforge anomalies {} --data FILE",
        "classification": "Classify other series with: tsforge predict {} --data FILE",
    }.get(name or "", "Forecast with: tsforge predict {}")


def _ways(encoder: str | None, context: list[str]) -> dict[str, Any]:
    """Encoders as a recipe states them; of one context the arguments are reached by --set context.key=value."""
    ways = {"encoder": encoder, "context": context[0] if len(context) == 1 else context}
    return {way: spec for way, spec in ways.items() if spec}


def name_of(source: str, model: dict[str, Any], task: Any = None) -> str:
    """`dlinear_co2_52`, `timesnet_co2_imputation`; what no file is called everywhere is left out."""
    data = Path(source).name.partition(".")[0]
    last = task.get("name") if isinstance(task, dict) else task or model.get("h")
    return re.sub(r"[^\w=-]+", "-", f"{model.get('name', 'models')}_{data}_{last}").strip("-")
