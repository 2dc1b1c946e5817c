"""`tsforge show`: a run, or one row of a catalog with its arguments."""

from collections.abc import Iterable
from inspect import Parameter, getdoc, signature
from pathlib import Path
from textwrap import wrap
from typing import Annotated, Any

import typer

from tsforge.cli.list_rows import catalogs
from tsforge.cli.options import Debug, Json, Quiet
from tsforge.cli.output import begin, put, show_json, show_table
from tsforge.errors import UnknownNameError, suggest

KINDS = {
    "model": "models", "local": "local", "encoder": "encoders", "dataset": "datasets", "loss": "losses",
    "metric": "metrics",
}
REQUIRED = "required"


def show(
    what: Annotated[str, typer.Argument(help="A run folder, a name (model:timesnet is explicit), or kernels.")],
    json: Json = False, quiet: Quiet = False, debug: Debug = False,
) -> None:
    """Show a run, a model, an encoder, a dataset, a loss, a metric, or which kernels run here."""
    begin(quiet=quiet, debug=debug)
    if Path(what).exists():
        _show_run(Path(what), json)
        return
    if what == "kernels":
        _show_kernels(json)
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


def _show_kernels(json: bool) -> None:
    """Which implementations of the scans can run on this machine, and why the others cannot."""
    from tsforge.kernels import available

    show_json(available()) if json else show_table(available())


def _show_run(path: Path, json: bool) -> None:
    from tsforge.estimators.ensemble_artifact import is_ensemble
    from tsforge.training.artifact import read_run

    if is_ensemble(path):
        _show_ensemble(path, json)
        return
    record = read_run(path)[0]
    if json:
        show_json(record.model_dump(mode="json", exclude={"ids", "trained_until"}))
        return
    best = next((row for row in record.history if row["step"] == record.best_step), {})
    lines: dict[str, Any] = {
        "model": record.name,
        "series": len(record.ids),
        "targets": ", ".join(record.roles["targets"]),
        "freq": record.roles["freq"],
        "h": record.arguments["h"],
        "input_size": record.input_size,
        "encoder": record.arguments.get("encoder"),
        "context": record.arguments.get("context"),
        "steps": record.steps or None,
        "best step": record.best_step,
        "validation loss": None if best.get("val_loss") is None else f"{best['val_loss']:.4g}",
        "written by": f"tsforge {record.tsforge}",
    }
    put(_lines({name: value for name, value in lines.items() if value is not None}))
    scores = {f"test {row['metric']} of {row['model']}": row["value"] for row in record.test or []}
    if scores:
        put("\n" + _lines({name: "nothing to score" if v is None else f"{v:.4g}" for name, v in scores.items()}))


def _show_ensemble(path: Path, json: bool) -> None:
    """Its members with their weights over all series; each is a run folder inside it, which can be shown too."""
    from tsforge.estimators.ensemble_artifact import read_record

    record, arrays = read_record(path)
    weights = dict(zip(record["members"], arrays["weights"].tolist(), strict=True))
    if json:
        show_json({**record, "ids": len(record["ids"]), "weights": weights})
        return
    arguments = record["arguments"]
    lines = {
        "model": f"{arguments['alias'] or 'Ensemble'}, {arguments['combine']}",
        "series": len(record["ids"]),
        "h": record["h"],
        **{f"weight of {name}": f"{weight:.4g}" for name, weight in weights.items()},
        "written by": f"tsforge {record['tsforge']}",
    }
    put(_lines(lines))


def _show_row(place: str, row: dict[str, str], json: bool) -> None:
    arguments, training, documentation = _arguments(place, row["name"])
    card = _card(row["name"]) if place == "datasets" and row["family"] != "installed" else {}
    if json:
        known = {"card": card} if card else {}
        show_json({**row, "arguments": arguments, "training": training, "documentation": documentation, **known})
        return
    put(_lines({name: value for name, value in row.items() if value}))
    if card:
        put("\nCard\n" + _lines({name: _folded(part) for name, part in card.items() if part}, indent="  "))
    for title, part in (("Arguments", arguments), ("Training arguments", training)):
        if part:
            put(f"\n{title}\n{_lines(part, indent='  ')}")
    if documentation:
        put(f"\n{documentation}\n")


def _arguments(place: str, name: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A row's own arguments and the training arguments, with their defaults, and what its class says of itself."""
    if place == "metrics":
        from tsforge.evaluation.metrics import METRICS, WindowMetric

        metric = METRICS[name]
        own = metric.arguments() if isinstance(metric, WindowMetric) else {}
        defaults = {key: REQUIRED if p.default is Parameter.empty else p.default for key, p in own.items()}
        return defaults, {}, getdoc(metric.function) or ""
    training: Iterable[str] = ()
    if place in ("models", "local"):
        from tsforge.estimators.estimator import estimator

        made = estimator(name)
        training = made(h=1).to_recipe()["train"]
    else:
        from tsforge.data import DATASETS
        from tsforge.encoders import ENCODERS
        from tsforge.losses import LOSSES

        made = {"datasets": DATASETS, "encoders": ENCODERS, "losses": LOSSES}[place][name]
    given = {
        argument: REQUIRED if parameter.default is Parameter.empty else parameter.default
        for argument, parameter in signature(made).parameters.items()
        if argument not in getattr(made, "given", ())  # by the data
    }
    own, trained = ({a: v for a, v in given.items() if (a in training) is kind} for kind in (False, True))
    return own, trained, getdoc(getattr(made, "network", made)) or ""


def _card(name: str) -> dict[str, Any]:
    """The card of a dataset, and where its files are looked for."""
    from dataclasses import asdict

    from tsforge.data.card import read_card
    from tsforge.data.places import data_folder

    card = asdict(read_card(name))
    files = [{**file, "path": file["path"] if file["package"] else str(data_folder() / file["path"])}
             for file in card.pop("files")]
    return card | {"files": files}


def _folded(part: Any) -> str:
    """A part of a card in lines that stand under each other."""
    if isinstance(part, list):
        part = [" ".join(word for word in file.values() if word and isinstance(word, str)) for file in part]
    if isinstance(part, dict):
        part = [f"{column}: {unit}" for column, unit in part.items()]
    lines = part if isinstance(part, list) else wrap(part, 100)
    return ("\n" + " " * 12).join(lines)


def _lines(values: dict[str, Any], indent: str = "") -> str:
    width = max((len(name) for name in values), default=0)
    return "".join(f"{indent}{name:{width}}  {value}\n" for name, value in values.items())
