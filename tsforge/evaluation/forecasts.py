"""A forecast frame as it is read: its keys, its models and their columns, its sample paths."""

import re
from collections.abc import Iterator

import numpy as np
import polars as pl

from tsforge.errors import ArgumentError, suggest
from tsforge.evaluation.scale import require_columns

KEYS = ("unique_id", "ds", "target", "cutoff", "sample", "y")
BY = ("unique_id", "target", "cutoff", "ds", "step")
BAND = re.compile(r"(?P<model>.*)-(?P<kind>lo|hi|q)-(?P<number>\d+(\.\d+)?(e-?\d+)?)")


def models_of(table: pl.DataFrame, by: list[str]) -> list[str]:
    """The forecast columns, after a look at the columns the frame must have.

    Raises:
        ArgumentError: a column is missing or holds no numbers, there is no model, or `by` has an unknown value.
    """
    require_columns(table, ("unique_id", "ds"), "forecasts", "Rename or add them")
    require_columns(table, ("y",), "forecasts", "Join the truth on unique_id and ds, or score what backtest returns")
    for name in by:
        if name not in BY:
            raise ArgumentError(f"by={name!r} is not one of {', '.join(BY)}.{suggest(name, BY)}")
    require_columns(table, [name for name in by if name != "step"], "forecasts", "Leave them out of by=")
    banded = {name for name, _ in bands(table.columns)}
    values = ["y", *(name for name in table.columns if name not in KEYS)]
    for name in values:
        if not (table.schema[name].is_numeric() or table.schema[name] == pl.Null):
            raise ArgumentError(f"Column {name!r} holds {table.schema[name]}, wanted numbers: drop or cast it.")
    models = [name for name in values[1:] if name not in banded]
    if not models:
        raise ArgumentError(f"forecasts has the columns {table.columns}: wanted one per model.")
    return models


def bands(columns: list[str]) -> Iterator[tuple[str, re.Match[str]]]:
    """The columns of intervals and quantiles, with their model, kind and number."""
    return ((name, found) for name in columns if name not in KEYS and (found := BAND.fullmatch(name)))


def quantile_columns(columns: list[str], model: str) -> tuple[dict[float, tuple[str, str]], dict[float, str]]:
    """A model's intervals by level, and its quantiles by share, the ends of intervals among them."""
    own = ((name, found) for name, found in bands(columns) if found["model"] == model)
    by_kind = {(found["kind"], float(found["number"])): name for name, found in own}
    levels = sorted(n for kind, n in by_kind if kind == "lo" and ("hi", n) in by_kind and 0 < n < 100)
    intervals = {level: (by_kind["lo", level], by_kind["hi", level]) for level in levels}
    quantiles = {round((100 - level) / 200, 12): pair[0] for level, pair in intervals.items()}
    quantiles |= {round((100 + level) / 200, 12): pair[1] for level, pair in intervals.items()}
    quantiles |= {round(n, 12): name for (kind, n), name in by_kind.items() if kind == "q" and 0 < n < 1}
    return intervals, dict(sorted(quantiles.items()))


def one_row_per_cell(table: pl.DataFrame, models: list[str]) -> tuple[pl.DataFrame, dict[str, np.ndarray]]:
    """The frame with one row per cell, and each model's paths [sample, row]; without `sample` the frame as it is.

    Raises:
        ArgumentError: cells have different numbers of samples, or different truths in one cell.
    """
    if "sample" not in table.columns:
        return table, {}
    keys = [name for name in ("unique_id", "target", "cutoff", "ds") if name in table.columns]
    ordered = table.sort([*keys, "sample"])
    cells = ordered.group_by(keys, maintain_order=True).agg(
        pl.col("y").first(), rows=pl.len(), samples=pl.col("sample").n_unique(),
        truths=pl.col("y").cast(pl.Float64).fill_nan(None).n_unique(),
    )
    n = ordered["sample"].n_unique()
    odd = cells.filter((pl.col("rows") != n) | (pl.col("samples") != n) | (pl.col("truths") != 1))
    if len(odd):
        first = ", ".join(f"{name} {odd[name][0]!r}" for name in keys)
        raise ArgumentError(f"{len(odd)} of {len(cells)} cells do not have each of the {n} samples once and one truth "
                            f"in y, the first is {first}: complete the paths, or join the truth on the other keys.")
    paths = {name: floats(ordered, name).reshape(len(cells), n).T for name in models}
    return cells.drop("rows", "samples", "truths"), paths


def floats(table: pl.DataFrame, name: str) -> np.ndarray:
    """A column; NaN where missing."""
    return table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
