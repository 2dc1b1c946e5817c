"""`tsforge.sweep`: estimators and a frame in, the best of many settings out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tsforge.errors import ArgumentError
from tsforge.estimators.base import Estimator
from tsforge.estimators.shards.frames import write_frame
from tsforge.frame.frame import as_frame
from tsforge.space import Dimension
from tsforge.sweeps.ledger import in_memory
from tsforge.sweeps.settings import DECLARED, declared_values
from tsforge.sweeps.sweep import Search, Sweep, refuse_finished
from tsforge.training.recipe import Recipe, check_recipe


def sweep(
    estimator: Any, frame: Any, space: Mapping[str, Any] | None = None, *,
    trials: int = 20, timeout: float | int | None = None, metric: str | dict[str, Any] = "mse",
    direction: str | None = None, windows: int = 3, step: int | None = None, refit: bool | int = False,
    scale: str | None = "auto", sampler: str | dict[str, Any] = "tpe", pruner: str | dict[str, Any] | None = None,
    storage: str | Path | None = None, study_name: str = "sweep", out: str | Path | None = None, workers: int = 1,
    seed: int = 0, start: Sequence[Mapping[str, Any]] = (), earlier: Sequence[str | Path] = (), resume: bool = False,
    verbose: bool = False, **roles: Any,
) -> Sweep:
    """Looks for the settings of an estimator with the least error on windows at the end of a frame.

    Each trial fits a clone on the rows before the windows and forecasts them. The best is fitted again on all rows.
    What is to test it has to lie after the frame; of a recipe `tsforge sweep` keeps the test part away by itself.

    Args:
        estimator: With the arguments that all trials share; of several, each with its own, the model is chosen, too.
        frame: A table or Frame.
        space: Dotted keys with what they may be, as in `{"d_model": [16, 32], "learning_rate": {"low": 1e-4, "high":
            1e-2, "log": True}}`; None is what the model and its encoder declare. docs/sweeps.md tells of choices that
            open others.
        trials: Settings to try. The estimator's own are the first, as far as they lie in the space.
        timeout: Seconds after which no trial is begun.
        metric: What is minimised, or maximised where more of it is better.
        direction: "minimize" or "maximize"; None follows the metric.
        windows: Validation windows; the last one ends where the frame ends.
        step: Steps between their cutoffs; None is h.
        refit: False fits once per trial; True at each cutoff; k at every k-th.
        scale: "train" standardises each series; "auto" does so for mse, mae and rmse; None leaves units alone.
        sampler: tpe, random, gp, qmc or brute_force; or `{"name": "tpe", "n_startup_trials": 5}`.
        pruner: median, hyperband, successive_halving or wilcoxon; None stops no trial early.
        storage: A path of a journal or an address of a database; None keeps it in `out`, or for the time of the call.
        study_name: Name in the storage.
        out: Folder of what the sweep leaves: best.yaml, the run `best`, trials.parquet, report.html.
        workers: Processes on this machine.
        seed: Proposals are drawn from (seed, number of the trial).
        start: Settings to try right after the estimator's own.
        earlier: Folders or storages of earlier sweeps on the same data, which the sampler learns from.
        resume: Go on with a study that is there.
        verbose: Shows the progress of the last fit.
        roles: Keywords of `Frame` for a plain table.

    Returns:
        The best model, its settings and value, the study of optuna, and a table of the trials.

    Raises:
        ArgumentError: an argument, the space or the storage cannot be as stated, or the study is there already.
        FrameError: the frame cannot be read, or is too short for the windows.
        TrainingError: no trial came to a number.
    """
    made, place = as_frame(frame, **roles), None if out is None else Path(out)
    if place is not None:
        refuse_finished(place, resume=resume, overwrite=False)
    part = {
        "trials": trials, "timeout": timeout, "metric": metric, "direction": direction, "windows": windows,
        "step": step, "refit": refit, "scale": scale, "sampler": sampler, "pruner": pruner, "seed": seed,
        "start": [dict(settings) for settings in start],
    }
    recipe = recipe_of(estimator, space, part)
    with TemporaryDirectory(prefix="tsforge-sweep-") as aside:
        kept = Path(aside) if place is None else place
        stored = kept / "frame" if workers > 1 or place is not None else None
        if stored is not None:
            stored.mkdir(parents=True, exist_ok=True)
            write_frame(made, stored)
        passing = storage is None and place is None and workers > 1
        search = Search(
            recipe, frame=made, out=place, storage=kept / "sweep.journal" if passing else storage, name=study_name,
            workers=workers, resume=resume, earlier=list(earlier), stored=stored,
        )
        search.run()
        done = search.finish(overwrite=resume, verbose=verbose)
        return replace(done, study=in_memory(done.study)) if passing else done


def recipe_of(estimator: Any, space: Mapping[str, Any] | None, part: Mapping[str, Any]) -> Recipe:
    """The recipe of a sweep over estimators.

    Raises:
        ArgumentError: there is none, they differ in h, two are of one class, or a space is stated for several.
    """
    several = list(estimator) if isinstance(estimator, Sequence) else [estimator]
    for one in several:
        if isinstance(one, type) or not isinstance(one, Estimator):
            raise ArgumentError(f"sweep: {one!r} is no model; wanted such as tsforge.DLinear(h=24).")
    if len(several) == 1:
        return check_recipe({**several[0].to_recipe(), "sweep": {**part, "space": _plain(space)}})
    if not several:
        raise ArgumentError("sweep needs a model, such as tsforge.DLinear(h=24).")
    return check_recipe(_of_several(several, space, part))


def _of_several(several: list[Estimator], space: Mapping[str, Any] | None, part: Mapping[str, Any]) -> dict[str, Any]:
    keys = [one.key for one in several]
    if len(set(keys)) < len(keys) or len({one.h for one in several}) > 1:
        raise ArgumentError("sweep: several models have to be of different classes and of one h; what differs within a "
                            "class is a space.")
    if space is not None:
        raise ArgumentError("sweep: a space for several models names them: give one model and "
                            "space={'model.name': {'dlinear': {...}, 'timesnet': {...}}}, or leave space out.")
    choices: dict[str, dict[str, Any]] = {}
    start = []
    for one in several:
        made: Any = type(one)
        recipe, default = one.to_recipe(), made(h=one.h).to_recipe()
        fixed = {f"{name}.{key}": value for name in ("model", "train") for key, value in recipe[name].items()
                 if key not in ("name", "h") and value != default[name].get(key)}
        fixed |= {way: recipe[way] for way in ("encoder", "context") if way in recipe}
        choices[one.key] = {"model": DECLARED, "train": DECLARED, **fixed}
        start.append({"model.name": one.key} | declared_values(recipe))
    whole = {**part, "space": {"model.name": choices}, "start": [*start, *part["start"]]}
    return {"model": {"h": several[0].h}, "sweep": whole}


def _plain(space: Any) -> Any:
    """The space as a recipe states it, where dimensions are objects."""
    if not isinstance(space, Mapping):
        return space.plain() if isinstance(space, Dimension) else space
    return {key: _plain(value) for key, value in space.items()}
