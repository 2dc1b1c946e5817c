"""The text format of the UEA and UCR archives of time series classification: one line a case.

Source    Bagnall et al. (2018), "The UEA multivariate time series classification archive, 2018", arXiv:1811.00075.
Format    `@name value` lines, `@data`, then `value,value,...:value,...:class`: a colon between dimensions, "?" missing.
Differs   Values with time stamps, `(stamp,value)`, are refused.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tsforge.errors import FrameError
from tsforge.frame.schema import list_names

MISSING = ("?", "NaN", "nan")


@dataclass(frozen=True)
class Cases:
    """What a file holds.

    Args:
        values: `case` from 0, `ds` the step from 0, `x0`, `x1`, ... the dimensions.
        outcome: Of each case its class as text, or its target as a number; None where the file has none.
    """

    values: pl.DataFrame
    outcome: pl.Series | None


def read_ts(path: Path) -> Cases:
    """The cases of a .ts file, whose lengths may differ.

    Raises:
        FrameError: the file is not as the format says; names the line.
    """
    header, lines = _parts(path)
    if _says(header, "timestamps"):
        raise FrameError(f"{path}: values with time stamps are not read. Write them as steps, or load them as a table.")
    if lines.is_empty():
        raise FrameError(f"{path} is not a .ts file with cases: nothing follows a line @data.")
    kind = next((name for name in ("classlabel", "targetlabel") if _says(header, name)), None)
    outcome = None if kind is None else _outcome(lines, kind, header[kind].split()[1:], path)
    dimensions = pl.col("cells") if kind is None else pl.col("cells").list.head(pl.col("cells").list.len() - 1)
    return Cases(_values(lines.with_columns(dimensions), header, path), outcome)


def _parts(path: Path) -> tuple[dict[str, str], pl.DataFrame]:
    """The `@` lines by their names, and the lines of data: number and cells between colons."""
    header: dict[str, str] = {}
    numbers, texts = [], []
    with path.open(encoding="utf-8-sig", errors="replace") as file:  # only comments hold letters beyond ASCII
        for number, line in enumerate(map(str.strip, file), start=1):
            if not line or line.startswith("#"):
                continue
            if "data" in header:
                numbers.append(number)
                texts.append(line)
            else:
                word, _, rest = line.partition(" ")
                header[word.lower().removeprefix("@")] = rest.strip()
    lines = pl.DataFrame({"line": numbers, "cells": texts}, schema={"line": pl.Int64, "cells": pl.String})
    return header, lines.with_columns(pl.col("cells").str.split(":"))


def _says(header: dict[str, str], name: str) -> bool:
    return header.get(name, "").lower().split()[:1] == ["true"]


def _outcome(lines: pl.DataFrame, kind: str, classes: list[str], path: Path) -> pl.Series:
    """The class or the target of each case."""
    outcome = lines["cells"].list.last().str.strip_chars()
    if kind == "targetlabel":
        read = outcome.cast(pl.Float64, strict=False)
        known, wanted = read.is_not_null(), "a number"
    else:
        read, known, wanted = outcome, outcome.is_in(classes or outcome.unique()), f"one of {list_names(classes)}"
    if not known.all():
        at = int(known.not_().arg_max() or 0)
        raise FrameError(f"{path}, line {lines[at, 'line']}: it ends in {outcome[at]!r}, wanted {wanted}.")
    return read


def _values(lines: pl.DataFrame, header: dict[str, str], path: Path) -> pl.DataFrame:
    """One row per step."""
    stated = header.get("dimensions", header.get("dimension", ""))
    many = int(stated) if stated.isdigit() else max(1, lines["cells"].list.len()[0])
    other = lines.filter(pl.col("cells").list.len() != many)
    if len(other):
        found = f"{path}, line {other[0, 'line']}: {len(other[0, 'cells'])} dimensions"
        raise FrameError(f"{found}, wanted {many} ({len(other)} such lines).")
    names = [f"x{k}" for k in range(many)]
    apart = lines.select("line", *(pl.col("cells").list.get(k).str.split(",").alias(f"x{k}") for k in range(many)))
    steps = pl.col("x0").list.len()
    uneven = apart.filter(pl.any_horizontal(pl.col(*names).list.len() != steps))
    if len(uneven):
        lengths = f"{path}, line {uneven[0, 'line']}: its dimensions differ in length"
        raise FrameError(f"{lengths}, wanted the same steps in all ({len(uneven)} such lines).")
    apart = apart.with_columns(pl.int_range(pl.len()).alias("case"), pl.int_ranges(0, steps).alias("ds"))
    return _numbers(apart.explode("ds", *names), names, path)


def _numbers(long: pl.DataFrame, names: list[str], path: Path) -> pl.DataFrame:
    """The rows of steps with their texts read."""
    text = long.select(pl.col(*names).str.strip_chars().replace(MISSING, None))
    values = text.cast(pl.Float64, strict=False)
    for name in names:
        bad = long.filter(values[name].is_null() & text[name].is_not_null())
        if len(bad):
            raise FrameError(
                f"{path}, line {bad[0, 'line']}, step {bad[0, 'ds'] + 1} of {name}: {bad[0, name]!r} is no number "
                f"({len(bad)} such values). Write '?' where the value is not known."
            )
    return long.select(pl.col("case", "ds").cast(pl.Int64)).with_columns(values)
