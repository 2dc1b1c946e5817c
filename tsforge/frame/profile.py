"""Profile: a table as the check of a frame sees it: series, span, gaps, repeats, ranges, and what to do about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tsforge.errors import FrameError
from tsforge.frame.canonical import find_id, in_order, to_polars
from tsforge.frame.check import read_times
from tsforge.frame.frame import Frame
from tsforge.frame.grid import grid_of, infer_freq, season_of
from tsforge.frame.schema import find_time, list_names

SENTINELS = (-9999, -999, -99, -1, 999, 9999, 99999)  # numbers that files write for "not known"
FAR = 50  # interquartile ranges


@dataclass(frozen=True)
class Profile:
    """What a table holds.

    Args:
        rows: Rows of the table.
        keys: `id_col`, `time_col`, `series`, `first`, `last`, `freq`, `season`, and the counts `out_of_order`,
            `repeated` (rows whose series and time stood before), `off_grid`, `absent` (steps without a row) with
            `series_with_gaps`, and the `shortest`, `median` and `longest` series in rows. What a fault keeps from being
            counted is None.
        columns: For each, `column`, `role`, `type`, `missing`, `infinite`, `least`, `mean`, `greatest`, `distinct`.
        fault: What a frame of it is refused for; None where it is accepted.
        advice: What to do or to look at, one sentence each.
    """

    rows: int
    keys: dict[str, Any]
    columns: list[dict[str, Any]]
    fault: str | None
    advice: list[str]


def profile(df: Any, **roles: Any) -> Profile:
    """Looks at a table without refusing it.

    Args:
        df: What `Frame` takes.
        roles: Those of `Frame`.
    """
    table, _ = to_polars(df)
    frame, fault = None, None
    try:
        frame = Frame(table, **roles)
    except FrameError as error:
        fault = str(error)
    keys = _keys(table, roles)
    columns = [_column(table[name], _role(name, frame, keys, roles)) for name in table.columns]
    return Profile(len(table), keys, columns, fault, _advice(table, keys, columns, frame))


def _keys(table: pl.DataFrame, roles: dict[str, Any]) -> dict[str, Any]:
    names = ("series", "first", "last", "freq", "season", "out_of_order", "repeated", "off_grid", "absent",
             "series_with_gaps", "shortest", "median", "longest")
    keys: dict[str, Any] = {"id_col": None, "time_col": None, **dict.fromkeys(names)}
    try:
        id_col = find_id(table.columns, roles.get("id_col"))
        time_col = find_time(table.columns, roles.get("time_col"))
        keys |= {"id_col": id_col, "time_col": time_col, "series": table[id_col].n_unique() if id_col else 1}
        ids = pl.col(id_col) if id_col else pl.lit("series")
        stamps = table.select(ids.alias("unique_id"), read_times(table[time_col], time_col).alias("ds"))
    except FrameError:
        return keys
    return keys | _times(stamps, roles.get("freq"))


def _times(stamps: pl.DataFrame, freq: str | None) -> dict[str, Any]:
    same = pl.col("unique_id") == pl.col("unique_id").shift(1)
    backwards = stamps.select((same & (pl.col("ds") < pl.col("ds").shift(1))).sum()).item()
    ordered, _ = in_order(stamps)
    once = ordered.unique(maintain_order=True)
    lengths = stamps.group_by("unique_id").len()["len"]
    freq = infer_freq(once) if freq in (None, "irregular") else freq
    found = {
        "first": once["ds"].min(), "last": once["ds"].max(), "freq": freq, "season": season_of(freq) if freq else None,
        "out_of_order": backwards, "repeated": len(stamps) - len(once),
        "shortest": lengths.min(), "median": lengths.median(), "longest": lengths.max(),
    }
    return found if freq is None else found | _grid(once, freq)


def _grid(once: pl.DataFrame, freq: str) -> dict[str, Any]:
    first = once.select(pl.col("ds").first().over("unique_id")).to_series()
    try:
        steps = grid_of(freq, once["ds"]).steps(once["ds"], first)
    except FrameError:
        return {}
    spans = once.with_columns(step=steps).drop_nulls().group_by("unique_id").agg(
        absent=pl.col("step").max() + 1 - pl.col("step").n_unique()
    )
    gaps = spans["absent"]
    return {"off_grid": steps.null_count(), "absent": int(gaps.sum()), "series_with_gaps": int((gaps > 0).sum())}


def _role(name: str, frame: Frame | None, keys: dict[str, Any], roles: dict[str, Any]) -> str:
    if name in (keys["id_col"], keys["time_col"]):
        return "series" if name == keys["id_col"] else "time"
    if frame is None:
        given = (role for role in ("targets", "past", "future", "static") if name in _names(roles.get(role)))
        return next(given, "")
    schema = frame.schema
    parts = {"target": schema.targets, "past": schema.past, "future": schema.future, "static": schema.static}
    return next((role for role, members in parts.items() if name in members), "")


def _names(value: Any) -> Sequence[str]:
    return [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []


def _column(values: pl.Series, role: str) -> dict[str, Any]:
    about = {"column": values.name, "role": role, "type": str(values.dtype), "missing": values.null_count()}
    numbers: dict[str, Any] = {"infinite": None, "least": None, "mean": None, "greatest": None}
    if values.dtype.is_numeric() and role not in ("series", "time"):
        if values.dtype.is_float():
            about["missing"] += int(values.is_nan().sum() or 0)
        floats = values.cast(pl.Float64).fill_nan(None)
        finite = floats.filter(floats.is_finite())
        numbers = {"infinite": int(floats.is_infinite().sum() or 0), "least": finite.min(), "mean": finite.mean(),
                   "greatest": finite.max()}
    return about | numbers | {"distinct": values.n_unique()}


def _advice(
    table: pl.DataFrame, keys: dict[str, Any], columns: list[dict[str, Any]], frame: Frame | None
) -> list[str]:
    said = _about_keys(table, keys)
    for about in columns:
        values = table[about["column"]]
        if about["role"] not in ("series", "time") and values.dtype.is_numeric():
            said += _about_values(values, about)
    return said if said or frame is None else ["Nothing stands in the way of a fit."]


def _about_keys(table: pl.DataFrame, keys: dict[str, Any]) -> list[str]:
    said = []
    if keys["time_col"] is None:
        stamps = [name for name in table.columns if _reads_as_time(table[name])]
        said += [f"{list_names(stamps, 3)} would do as the time: --time-col names it."] if stamps else []
    if keys["repeated"]:
        said.append(f"{keys['repeated']} rows repeat a series and time.{_series_column(table, keys)}")
    if keys["out_of_order"]:
        said.append(f"{keys['out_of_order']} rows go back in time; they are sorted on reading.")
    if keys["off_grid"]:
        said.append(
            f"{keys['off_grid']} stamps lie off the grid of {keys['freq']}: give the right step with --freq, or, in "
            "Python, declare freq='irregular' with grid=."
        )
    if keys["absent"]:
        said.append(f"{keys['absent']} steps have no row, in {keys['series_with_gaps']} series; they count as missing.")
    return said


def _about_values(values: pl.Series, about: dict[str, Any]) -> list[str]:
    said, name = [], values.name
    if about["distinct"] == 1:
        said.append(f"{name!r} is constant.")
    sentinel = next((s for s in SENTINELS if s in (about["least"], about["greatest"])), None)
    if sentinel is not None and _stands_alone(values, sentinel):
        count = int((values == sentinel).sum())
        said.append(f"{name!r} holds {sentinel} {count} times, far from all else: if it means missing, make it empty.")
    floats = values.cast(pl.Float64).fill_nan(None).drop_nulls()
    low, middle, high = (floats.quantile(q) or 0.0 for q in (0.25, 0.5, 0.75))
    for extreme in (about["least"], about["greatest"]):
        if sentinel is None and extreme is not None and abs(extreme - middle) > FAR * (high - low) > 0:
            said.append(f"{name!r} reaches {extreme:g}, more than {FAR} interquartile ranges from its median.")
    return said


def _reads_as_time(values: pl.Series) -> bool:
    if values.dtype != pl.String and not values.dtype.is_temporal():
        return False
    try:
        read_times(values.head(100), values.name)
    except FrameError:
        return False
    return True


def _series_column(table: pl.DataFrame, keys: dict[str, Any]) -> str:
    """A hint at the columns that would tell the series apart."""
    left = [name for name in table.columns if name not in (keys["id_col"], keys["time_col"])]
    fit = [
        name for name in left
        if not table.schema[name].is_float() and not table.select(name, keys["time_col"]).is_duplicated().any()
        and table[name].n_unique() < len(table)
    ]
    return f" With {list_names(fit, 3)} as the series there are none: --id-col." if fit else " Keep one row for each."


def _stands_alone(values: pl.Series, sentinel: int) -> bool:
    """Whether the rest of the column keeps away from the sentinel by more than it spreads."""
    rest = values.filter(values != sentinel).cast(pl.Float64).drop_nans().drop_nulls()
    if len(rest) == len(values) or len(rest) < 2:
        return False
    low, high = float(rest.min()), float(rest.max())  # pyright: ignore[reportArgumentType]
    return min(abs(low - sentinel), abs(high - sentinel)) > max(high - low, 1e-9)
