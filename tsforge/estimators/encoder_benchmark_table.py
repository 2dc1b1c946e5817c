"""Tables of the encoder benchmark: each encoder beside the same model without one, and what that says of an encoder."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, geometric_mean, median, stdev
from typing import Any

import numpy as np

from tsforge.estimators.encoder_benchmark_cells import Measured
from tsforge.estimators.encoder_benchmark_settings import METRIC, EncoderCell
from tsforge.evaluation.significance import holm, wilcoxon

ALPHA = 0.05
HELPS, HURTS, SAME = "helps", "hurts", "no difference shown"
Setting = tuple[str, str, str, str | None]  # task, model, line, encoder


def score_rows(cells: Sequence[EncoderCell], measured: Mapping[str, Measured]) -> list[dict[str, Any]]:
    """One row per dataset, model and encoder whose seeds are all measured, as its line to beat is.

    Columns: `dataset`, `model` (and what is given beside the series), `encoder` ("none" is the line to beat), `mae` and
    its `sd` over seeds (None for one), `ratio` to the line, `wins` (seeds in which it is better than the line of the
    same seed), `p` of Wilcoxon's test over blocks of the means over seeds, by Holm over the encoders of one model and
    dataset, `time` of a fit (the median) in times that of the line, `parameters`, `seeds`, and `verdict`: "helps" or
    "hurts" where the p is 0.05 at most and all seeds agree.
    """
    runs: dict[Setting, list[Measured | None]] = {}
    for cell in cells:
        key = (cell.task, cell.model, cell.line, cell.encoder)
        runs.setdefault(key, []).append(measured.get(cell.name))
    whole = {key: [run for run in found if run is not None] for key, found in runs.items() if None not in found}
    rows = {key: _row(key, own, whole[(*key[:3], None)]) for key, own in whole.items() if (*key[:3], None) in whole}
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for key, row in rows.items():
        if row["p"] is not None:
            families.setdefault(key[:2], []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p"] for row in family]).tolist(), strict=True):
            row["p"] = p
    for row in rows.values():
        row["verdict"] = _verdict(row)
    return list(rows.values())


def _row(key: Setting, own: list[Measured], line: list[Measured]) -> dict[str, Any]:
    task, model, given, encoder = key
    scores, without = [run.score for run in own], [run.score for run in line]
    blocks, other = (np.mean([run.blocks for run in runs], axis=0) for runs in (own, line))
    tested = encoder is not None and len(blocks) > 1
    return {
        "dataset": task, "model": f"{model}, {given}" if given else model, "encoder": encoder or "none",
        METRIC: fmean(scores), "sd": stdev(scores) if len(scores) > 1 else None,
        "ratio": fmean(scores) / fmean(without),
        "wins": None if encoder is None else sum(a < b for a, b in zip(scores, without, strict=True)),
        "p": wilcoxon(blocks, other).p if tested else None,
        "time": median(run.seconds for run in own) / median(run.seconds for run in line),
        "parameters": own[0].parameters, "seeds": len(own),
    }


def _verdict(row: Mapping[str, Any]) -> str | None:
    if row["encoder"] == "none":
        return None
    if row["p"] is None or row["p"] > ALPHA or row["wins"] not in (0, row["seeds"]):
        return SAME
    if row["wins"] and row["ratio"] < 1:
        return HELPS
    return HURTS if not row["wins"] and row["ratio"] > 1 else SAME


def by_encoder(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per encoder, the least ratio first.

    Columns: `encoder`, `compared` with how many lines, in how many it `helps` and `hurts`, the geometric mean of its
    `ratio` and its `time`, and where: `helps_in` and `hurts_in`, a model and a dataset each.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["encoder"] != "none":
            found.setdefault(row["encoder"], []).append(row)
    table = []
    for encoder, own in found.items():
        where = {word: [f"{row['model']} on {row['dataset']}" for row in own if row["verdict"] == word]
                 for word in (HELPS, HURTS)}
        table.append({
            "encoder": encoder, "compared": len(own), "helps": len(where[HELPS]), "hurts": len(where[HURTS]),
            "ratio": geometric_mean(row["ratio"] for row in own), "time": geometric_mean(row["time"] for row in own),
            "helps_in": ", ".join(where[HELPS]), "hurts_in": ", ".join(where[HURTS]),
        })
    return sorted(table, key=lambda row: row["ratio"])


def refused_rows(cells: Sequence[EncoderCell], refused: Mapping[str, str]) -> list[dict[str, str]]:
    """One row per encoder, model and reason: what does not apply, on which datasets, and why."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for cell in cells:
        if cell.name in refused and cell.encoder is not None:
            datasets = found.setdefault((cell.encoder, cell.model, refused[cell.name]), [])
            datasets += [cell.task] if cell.task not in datasets else []
    merged: dict[tuple[str, str, str], list[str]] = {}
    for (encoder, model, reason), datasets in found.items():
        merged.setdefault((encoder, ", ".join(datasets), reason), []).append(model)
    return [{"encoder": encoder, "models": ", ".join(models), "datasets": datasets, "reason": reason}
            for (encoder, datasets, reason), models in merged.items()]


def markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Rows as a table of markdown; numbers to four digits."""
    numeric = [any(isinstance(row[name], int | float) for row in rows) for name in columns]
    lines = [f"| {' | '.join(columns)} |", f"| {' | '.join('---:' if right else '---' for right in numeric)} |"]
    return "\n".join([*lines, *(f"| {' | '.join(_text(row[name]) for name in columns)} |" for row in rows)]) + "\n"


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value).replace("|", "\\|")
