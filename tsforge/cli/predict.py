"""`tsforge predict`: forecasts of a run, as CSV or a file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.options import Debug, Engine, Json, Level, Overwrite, Quiet, TableOut, Workers, numbers, partial_of
from tsforge.cli.output import begin, complain, put, say, show_json
from tsforge.errors import ArgumentError, OutputExistsError


def predict(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    data: Annotated[str | None, typer.Option("--data", help="Forecast after the end of this instead.")] = None,
    future_data: Annotated[
        Path | None, typer.Option("--future-data", help="Covariates known ahead, for the next steps.")
    ] = None,
    h: Annotated[int | None, typer.Option("--h", help="Fewer steps than the model was made for.")] = None,
    level: Level = None,
    quantiles: Annotated[str | None, typer.Option("--quantiles", help="Levels of quantiles, as in 0.1,0.9.")] = None,
    samples: Annotated[
        int | None, typer.Option("--samples", help="So many paths instead, of a model that makes paths.")
    ] = None,
    out: TableOut = None,
    engine: Engine = None,
    workers: Workers = None,
    overwrite: Overwrite = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Forecast with a fitted model."""
    begin(quiet=quiet, debug=debug)
    if out is not None:
        check_out(out, overwrite)
    from tsforge.data.files import read_table
    from tsforge.estimators.run import open_run
    from tsforge.estimators.shards.engines import check_engine
    from tsforge.estimators.shards.folder import WorkFolder
    from tsforge.frame.canonical import to_polars

    check_engine(engine, workers)
    asked: dict[str, Any] = {
        "h": h, "future": None if future_data is None else read_table(future_data),
        "level": numbers(level, "--level") or None, "quantiles": numbers(quantiles, "--quantiles") or None,
    }
    if samples is not None:
        if engine is not None:
            raise ArgumentError("--samples and --engine: paths are made in one process; leave one of them out.")
        asked["samples"] = samples
    frame, partial = None if data is None else table_of(data), partial_of(out)
    if engine is None:
        table = to_polars(_answer(open_run(run), frame, asked))[0]
    else:
        table = _in_shards(run, frame, partial, engine, workers, overwrite=overwrite, **asked)
    hand_over(table, out, json=json)
    if out is not None and engine is not None and partial is not None:
        WorkFolder(partial).remove()


def _answer(model: Any, frame: Any, asked: dict[str, Any]) -> Any:
    """The forecasts of a run; of a classifier the classes."""
    task = getattr(model, "task", "forecast")
    if (task if isinstance(task, str) else task["name"]) != "classification":
        return model.predict(frame, **asked)
    if frame is None or any(value not in (None, []) for value in asked.values()):
        raise ArgumentError("A classifier is asked about other series: give --data, and neither --h nor levels.")
    return model.predict_class(frame)


def hand_over(answer: Any, out: Path | None, *, json: bool) -> None:
    """A table to its file, or to standard output as CSV or JSON."""
    from tsforge.frame.canonical import to_polars

    table = to_polars(answer)[0]
    if out is not None:
        write_table(table, out)
        show_json({"out": str(out), "rows": len(table)}) if json else say(f"{len(table)} rows are in {out}.")
    elif json:
        show_json(table.to_dicts())
    else:
        put(as_csv(table))


def _in_shards(
    run: Path, data: Any, partial: Path | None, engine: str, workers: int | None, **asked: Any
) -> Any:
    from tsforge.estimators.shards.backtest import work_folder
    from tsforge.estimators.shards.predict import predict_in_shards

    try:
        with work_folder(partial) as work:
            return predict_in_shards(run, data, work, engine, workers, **asked)
    except KeyboardInterrupt:
        if partial is not None:
            complain(f"interrupted. What is done is in {partial}; go on with the same command.")
        raise


def table_of(source: str) -> Any:
    """A table to ask a run about; it is read with the roles of the run, also where it is a dataset."""
    from tsforge.data import DATASETS
    from tsforge.data.files import read_table
    from tsforge.data.load import load

    return load(source).to_polars() if source.partition(":")[0] in DATASETS else read_table(source)


def check_out(out: Path, overwrite: bool) -> None:
    """Raises where a table cannot be written to `out`."""
    if out.suffix not in (".csv", ".parquet", ".arrow"):
        raise ArgumentError(f"--out {out}: wanted a name that ends in .csv, .parquet or .arrow.")
    if out.is_dir():
        raise ArgumentError(f"--out {out}: this is a folder; name a file.")
    if out.exists() and not overwrite:
        raise OutputExistsError(f"{out} exists already. Choose another place, or replace it with --overwrite.")
    if not out.parent.is_dir():
        raise ArgumentError(f"--out {out}: there is no folder {out.parent}; make it first.")


def write_table(table: Any, out: Path) -> None:
    """Writes a table aside and renames it."""
    import io

    from tsforge.training.checkpoint import write_aside

    content = io.BytesIO()
    if out.suffix == ".csv":
        content.write(as_csv(table).encode())
    else:
        {".parquet": table.write_parquet, ".arrow": table.write_ipc}[out.suffix](content)
    write_aside(out, content.getvalue())


def as_csv(table: Any) -> str:
    """The table as CSV; times of whole seconds are written without a fraction."""
    import polars as pl

    times = [name for name, dtype in table.schema.items() if isinstance(dtype, pl.Datetime)]
    whole = all(dtype.time_zone is None for dtype in table.select(times).dtypes) and all(
        (table[name].dt.microsecond() == 0).all() for name in times
    )
    return table.write_csv(datetime_format="%Y-%m-%d %H:%M:%S" if times and whole else None)
