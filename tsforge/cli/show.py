"""`tsforge show`: a run, or one row of a catalog with its arguments."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tsforge.cli.list_rows import catalogs
from tsforge.cli.options import Debug, Json, Quiet, begin, show_json
from tsforge.errors import UnknownNameError, suggest

KINDS = {"model": "models", "local": "local", "dataset": "datasets", "loss": "losses", "metric": "metrics"}


def show(
    what: Annotated[str, typer.Argument(help="A run folder, or a name; model:timesnet is explicit.")],
    json: Json = False, quiet: Quiet = False, debug: Debug = False,
) -> None:
    """Show a run, a model, a dataset, a loss or a metric."""
    begin(quiet=quiet, debug=debug)
    if Path(what).exists():
        _show_run(Path(what), json)
        return
    kind, colon, name = what.partition(":")
    known = catalogs()
    if colon and kind not in KINDS:
        raise UnknownNameError(
            f"There is no kind {kind!r}.{suggest(kind, KINDS) or f' There are: {chr(44).join(KINDS)}.'}"
        )
    places = [KINDS[kind]] if colon else list(known)
    name = name if colon else what
    for place in places:
        row = next((row for row in known[place] if row["name"] == name), None)
        if row is not None:
            _show_row(place, row, json)
            return
    names = [row["name"] for place in places for row in known[place]]
    raise UnknownNameError(
        f"There is no run folder and no name {what!r}.{suggest(name, names)} See `tsforge list models`."
    )


def _show_run(path: Path, json: bool) -> None:
    from tsforge.training.artifact import read_run

    record = read_run(path)[0]
    if json:
        show_json(record.model_dump(mode="json", exclude={"ids", "trained_until"}))
        return
    last = record.history[-1] if record.history else {}
    lines: dict[str, Any] = {
        "model": record.name,
        "series": len(record.ids),
        "targets": ", ".join(record.roles["targets"]),
        "freq": record.roles["freq"],
        "h": record.arguments["h"],
        "input_size": record.input_size,
        "steps": record.steps,
        "best step": record.best_step,
        "validation loss": last.get("val_loss"),
        "written by": f"tsforge {record.tsforge}",
    }
    for name, value in lines.items():
        if value is not None:
            print(f"{name:16} {value}")
    for row in record.test or []:
        print(f"test {row['model']} {row['metric']:8} {row['value']:.4f}")


def _show_row(place: str, row: dict[str, str], json: bool) -> None:
    details = dict(row)
    if place in ("models", "local"):
        from tsforge.estimators.estimator import estimator

        made = estimator(row["name"])
        details["arguments"] = {n: p for n, p in made(h=1).get_params().items() if n != "h"}  # type: ignore[assignment]
        details["documentation"] = made.__doc__ or ""
    if json:
        show_json(details)
        return
    for name, value in details.items():
        if name == "documentation":
            print(f"\n{value}")
        elif value:
            print(f"{name:12} {value}")
