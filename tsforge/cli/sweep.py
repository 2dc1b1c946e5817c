"""`tsforge sweep`: many settings are tried on windows before the test part, and the best is fitted again."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.fit import name_of, stated_of
from tsforge.cli.options import (
    Calendar,
    Debug,
    Encoding,
    Freq,
    Future,
    IdCol,
    Json,
    Past,
    Quiet,
    Roles,
    Season,
    Set,
    Static,
    Storage,
    Study,
    Target,
    TimeCol,
)
from tsforge.cli.output import begin, complain, say, show_json, show_table
from tsforge.errors import ArgumentError


def sweep(
    source: Annotated[str, typer.Argument(metavar="DATA|RECIPE", help="A file, a dataset, or a recipe (.yaml).")],
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Name of a model; of several, the model is chosen, too.")
    ] = None,
    h: Annotated[int | None, typer.Option("--h", help="Steps to forecast.")] = None,
    input_size: Annotated[int | None, typer.Option("--input-size", help="Past steps the model sees.")] = None,
    space: Annotated[
        list[str] | None,
        typer.Option("--space", help="key=16,32,64 or key=0.0001..0.01:log; else what the model declares."),
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Settings to try, with those there already.")] = None,
    timeout: Annotated[float | None, typer.Option("--timeout", help="Seconds; then no trial is begun.")] = None,
    metric: Annotated[str | None, typer.Option("--metric", help="What is minimised, or maximised.")] = None,
    windows: Annotated[int | None, typer.Option("--windows", help="Validation windows before the test part.")] = None,
    step: Annotated[int | None, typer.Option("--step", help="Steps between their cutoffs; else h.")] = None,
    sampler: Annotated[str | None, typer.Option("--sampler", help="tpe, random, gp, qmc or brute_force.")] = None,
    pruner: Annotated[
        str | None, typer.Option("--pruner", help="median, hyperband, successive_halving or wilcoxon.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of the proposals.")] = None,
    workers: Annotated[int, typer.Option("--workers", help="Processes that share the cores.")] = 1,
    storage: Storage = None,
    study: Study = "sweep",
    earlier: Annotated[
        list[str] | None, typer.Option("--earlier", help="Folder or storage of an earlier sweep to learn from.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder to write; else runs/sweep_...")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a sweep that is there.")] = False,
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
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Look for good settings; what is done survives a kill, and other machines may join with `tsforge worker`."""
    begin(quiet=quiet, debug=debug)
    from tsforge.sweeps.progress import Shown
    from tsforge.sweeps.stated import space_of, swept
    from tsforge.sweeps.sweep import Search, refuse_finished

    roles = Roles(target, past, future, static, id_col, time_col, freq, season, calendar, encoding).given()
    is_recipe = source.endswith((".yaml", ".yml"))
    if is_recipe and (roles or model or h is not None or input_size is not None):
        raise ArgumentError(
            "A recipe states its model, sizes and roles; change them with --set, as in --set model.h=24."
        )
    stated: Any = source if is_recipe else _of_models(source, model, h, input_size, roles)
    part = {"trials": trials, "timeout": timeout, "metric": metric, "windows": windows, "step": step,
            "sampler": sampler, "pruner": pruner, "seed": seed, "space": space_of(space)}
    recipe = swept(stated, set_ or [], {name: value for name, value in part.items() if value is not None})
    place = out or Path("runs") / f"sweep_{Path(source).stem if is_recipe else name_of(source, recipe.model)}"
    refuse_finished(place, resume=resume, overwrite=False)
    search = Search(recipe, out=place, storage=storage, name=study, workers=workers, resume=resume,
                    earlier=list(earlier or []))
    try:
        with Shown(search.worker.proposer.settings, search.part.trials) as shown:
            search.run(say if quiet else shown.say, None if quiet else shown.update)
    except KeyboardInterrupt:
        complain(f"interrupted: {len(search.ended)} of {search.part.trials} trials are done and kept. Go on with the "
                 "same command and --resume.")
        raise
    done = search.finish(overwrite=resume, verbose=not quiet)
    test = done.result.test if done.result else []
    if json:
        show_json({"out": str(place), "metric": done.metric, "value": done.best_value, "settings": done.best_settings,
                   "trials": done.trials.to_dicts(), "test": test})
        return
    show_table([{"setting": key, "best": value} for key, value in done.best_settings.items()],
               f"{done.metric} {done.best_value:.6g} over {search.part.windows} validation windows")
    if done.result is not None and test:
        show_table(done.result.table, f"test part: {done.result.windows} windows of {recipe.model['h']} steps")
    say(f"The best run is in {place / 'best'}, its recipe in {place / 'best.yaml'}, the trials in "
        f"{place / 'trials.parquet'}, the report in {place / 'report.html'}.")


def _of_models(
    source: str, models: list[str] | None, h: int | None, input_size: int | None, roles: dict[str, Any]
) -> dict[str, Any]:
    """What is swept as a recipe; of several models each declares its own space."""
    stated = stated_of("sweep", source, (models or [None])[0], h, input_size, roles)
    if len(models or ()) > 1:
        del stated["model"]["name"]
        stated["sweep"] = {"space": {"model.name": dict.fromkeys(models or (), "declared")}}
    return stated
