"""`tsforge adapt`: a run, changed cheaply, becomes another run folder."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.options import Debug, Json, Overwrite, Quiet
from tsforge.cli.output import begin, say, show_json
from tsforge.errors import ArgumentError


def adapt(
    run: Annotated[Path, typer.Argument(help="A run folder of a neural model.")],
    out: Annotated[Path, typer.Option("--out", help="Run folder to write.")],
    adapter: Annotated[
        str, typer.Option("--adapter", help="flora, random_subspace, task_vectors, quantized; or full, all weights.")
    ] = "flora",
    data: Annotated[str | None, typer.Option("--data", help="A file or a dataset to learn from.")] = None,
    other: Annotated[
        list[Path] | None, typer.Option("--other", help="A run that task_vectors adds; may be repeated.")
    ] = None,
    max_steps: Annotated[int | None, typer.Option("--max-steps", help="Steps of training; 200 unless told.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the adapter or of training, as in rank=8.")
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Fine-tune a run on new data, compose several, or make one small; the run itself stays."""
    begin(quiet=quiet, debug=debug)
    from tsforge.training.artifact import refuse_existing

    refuse_existing(out, overwrite)
    arguments = arguments_of(set_ or [], max_steps)
    from tsforge.estimators.adapt import adapt as adapted

    frame = None if data is None else table_of(data)
    model = adapted(run, adapter, frame, others=other or [], verbose=not quiet, **arguments)
    model.save(out, overwrite=overwrite)
    if json:
        fitted = model.fitted_
        show_json({"run": str(out), "adapted": fitted.adapted[-1], "history": fitted.history})
        return
    say(f"The run is in {out}. Forecast with: tsforge predict {out}")


def table_of(source: str) -> Any:
    """A plain table, also of a dataset: its roles are those of the run."""
    from tsforge.data import DATASETS
    from tsforge.data.files import read_table
    from tsforge.data.load import load

    return load(source).to_polars() if source.partition(":")[0] in DATASETS else read_table(source)


def arguments_of(pairs: list[str], max_steps: int | None) -> dict[str, Any]:
    """Keywords of `tsforge.adapt`.

    Raises:
        RecipeError: a pair is no `key=value`.
        ArgumentError: a key has several parts, or the number of steps is stated twice.
    """
    from tsforge.training.overrides import read_override

    arguments: dict[str, Any] = {}
    for (key, *rest), value in map(read_override, pairs):
        if rest:
            raise ArgumentError(f"--set {'.'.join([key, *rest])}: an adapter and its training have bare keys, as in "
                                "--set rank=8.")
        arguments[key] = value
    if max_steps is not None:
        if "max_steps" in arguments:
            raise ArgumentError("--max-steps and --set max_steps say the same thing twice: keep one of them.")
        arguments["max_steps"] = max_steps
    return arguments
