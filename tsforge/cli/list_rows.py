"""`tsforge list`: the rows of a catalog."""

from typing import Annotated

import typer

from tsforge.cli.options import Debug, Json, Quiet
from tsforge.cli.output import begin, show_json, show_table
from tsforge.errors import UnknownNameError, suggest


def catalogs() -> dict[str, list[dict[str, str]]]:
    """Every catalog as rows, with no row imported."""
    from tsforge.data import DATASETS
    from tsforge.encoders import ENCODERS
    from tsforge.evaluation.metrics import METRICS
    from tsforge.local import LOCAL
    from tsforge.losses import LOSSES
    from tsforge.models import MODELS

    metrics = [
        {"name": name, "class": "", "family": m.needs, "paper": "", "summary": m.summary} for name, m in METRICS.items()
    ]
    return {
        "models": MODELS.rows(),
        "local": LOCAL.rows(),
        "encoders": ENCODERS.rows(),
        "datasets": [row | {"here": _here(row)} for row in DATASETS.rows()],
        "losses": LOSSES.rows(),
        "metrics": metrics,
    }


def _here(row: dict[str, str]) -> str:
    """Whether the files of a dataset are on this machine; nothing is known of those that packages add."""
    from tsforge.data.places import is_present

    if row["family"] == "installed":
        return ""
    return "yes" if is_present(row["name"]) else "no"


def list_rows(
    kind: Annotated[str, typer.Argument(help="models, local, encoders, datasets, losses or metrics.")],
    json: Json = False, quiet: Quiet = False, debug: Debug = False,
) -> None:
    """List what there is of a kind."""
    begin(quiet=quiet, debug=debug)
    known = catalogs()
    if kind not in known:
        hint = suggest(kind, known) or f" There are: {', '.join(known)}."
        raise UnknownNameError(f"There is no catalog {kind!r}.{hint}")
    show_json(known[kind]) if json else show_table(known[kind])
