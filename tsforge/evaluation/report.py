"""The report of a run: one HTML file that opens anywhere, without a network.

In        what was run, the data profile, the history of training, a forecast frame with its truth, scores
Out       one page, with sections on calibration and on what is left in the errors where the forecasts have them;
          plotly's script and all data stand in it, and its content policy forbids it to fetch anything
Bounded   at most 200 plots and about half a million numbers, chosen evenly; the page says what was left out
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from tsforge.errors import ArgumentError
from tsforge.evaluation.report_calibration import calibration
from tsforge.evaluation.report_page import nominal, page
from tsforge.evaluation.report_residuals import residuals

MAX_PLOTS = 200
MAX_VALUES = 500_000
MAX_POINTS = 2_000  # of a learning curve
PROFILE = ["unique_id", "target", "rows", "missing", "first", "last", "min", "mean", "max", "sd"]
KEYS = ["unique_id", "target", "cutoff"]
BAND = re.compile(r"(.+)-(lo|hi)-(\d+(?:\.\d+)?)")
QUANTILE = re.compile(r".+-q-\d+(?:\.\d+)?")


def write_report(
    path: Path | str,
    *,
    title: str,
    summary: Mapping[str, str | int | float],
    profile: pl.DataFrame,
    history: Sequence[Mapping[str, Any]],
    forecasts: pl.DataFrame,
    context: pl.DataFrame,
    scores: pl.DataFrame,
    horizon: pl.DataFrame,
    ranks: str = "",
    dynamics: str = "",
    by_series: pl.DataFrame | None = None,
) -> Path:
    """Write the page; the same arguments give the same bytes. A file that is there is replaced, whole or not at all.

    Args:
        path: The file to write; its folder must exist.
        title: Heading of the page.
        summary: What was run, by name, shown as it is; the text under `recipe` can be unfolded.
        profile: A row per series and target: `unique_id, target, rows, missing, first, last, min, mean, max, sd`.
        history: A record per logged step: `step, loss, val_loss, learning_rate`, each but `step` may be None.
        forecasts: Forecast frame with `cutoff` and the truth `y`. Intervals are drawn, quantile columns are not.
        context: Observations to draw up to each cutoff: `unique_id, ds, target, y`. Later rows are not used.
        scores: A row per model: `model`, then a column per metric. Lower is better, but `coverage-80`, a share, is
            best nearest 0.8.
        horizon: Error by step ahead: `step, model, metric, value`.
        ranks: HTML of a comparison, in place of the learning curve.
        dynamics: HTML on attractors and the growth of errors.
        by_series: Error by series, of one metric: `unique_id, model, metric, value`, and `target` where there are
            several.

    Returns:
        Where the page is.

    Raises:
        ArgumentError: plotly is missing, the folder is missing, `path` is a folder, or a frame lacks a column.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise ArgumentError(f"The report cannot be written to {path}: there is no folder {path.parent}. Make it first.")
    if path.is_dir():
        raise ArgumentError(f"The report cannot be written to {path}: it is a folder. Name a file in it.")
    _require("profile", profile, PROFILE)
    _require("forecasts", forecasts, ["unique_id", "ds", "cutoff", "y"])
    _require("context", context, ["unique_id", "ds", "target", "y"])
    _require("scores", scores, ["model"])
    _require("horizon", horizon, ["step", "model", "metric", "value"])
    plots = _forecasts(forecasts, context)
    models = list(dict.fromkeys([*plots["models"], *horizon["model"].to_list()]))
    data = {
        **plots,
        "models": models,
        "learning": _learning(history),
        "horizon": _horizon(horizon.sort("step", maintain_order=True), models),
    }
    # `<` would let a name end the script element; numbers that JSON lacks are None by now
    embedded = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    write_page(path, page(title, summary, profile, data, scores, embedded, plotly_script(), ranks, dynamics,
                          calibration(forecasts), residuals(forecasts), by_series))
    return path


def plotly_script() -> str:
    """The source of plotly.js.

    Raises:
        ArgumentError: plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise ArgumentError("A report needs plotly, which is not installed: pip install 'tsforge[report]'.") from error
    return get_plotlyjs()


def _require(name: str, frame: pl.DataFrame, columns: list[str]) -> None:
    lacking = [column for column in columns if column not in frame.columns]
    if lacking:
        raise ArgumentError(
            f"`{name}` has the columns {frame.columns} and lacks {lacking}: a report needs {columns} there."
        )


def write_page(path: Path, text: str) -> None:
    """Writes a page aside and renames it."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(text.encode(errors="backslashreplace"))  # a file name in the summary may be no valid text
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _forecasts(forecasts: pl.DataFrame, context: pl.DataFrame) -> dict[str, Any]:
    names = pl.col("unique_id", "target").cast(pl.String)
    forecasts = _with_target(forecasts, context).sort(*KEYS, "ds").with_columns(names)  # numbers sort as numbers
    models, bands = _columns(forecasts)
    keys = forecasts.select(KEYS).unique(maintain_order=True)
    steps = math.ceil(len(forecasts) / max(1, len(keys)))
    past = min(max(3 * steps, 60), 1000)
    values = 2 * past + (2 + len(models) + 2 * len(bands)) * steps
    chosen, shown = _spread(keys, min(MAX_PLOTS, max(1, MAX_VALUES // values)))
    rows = forecasts.join(chosen, on=KEYS, how="semi", maintain_order="left")
    observed = context.with_columns(names).join(chosen, on=["unique_id", "target"], how="semi")
    return {
        "models": models,
        "bands": [{"model": models.index(model), "level": level} for model, level in bands],
        "plots": list(_plots(rows, observed, models, bands, past)),
        "time": "date" if forecasts.schema["ds"].is_temporal() else "linear",
        "shown": {**shown, "past": past},
        "not_drawn": [column for column in forecasts.columns if QUANTILE.fullmatch(column)],
    }


def _spread(keys: pl.DataFrame, limit: int) -> tuple[pl.DataFrame, dict[str, list[int]]]:
    """Keys of a grid of series x targets x cutoffs, and [how many, of how many] of each.

    Cutoffs are picked within each series, for series end at different times.
    """
    pairs = keys.group_by("unique_id", "target", maintain_order=True).agg("cutoff")
    series, targets = pairs["unique_id"].unique(maintain_order=True), pairs["target"].unique().sort()
    sizes = [len(series), len(targets), max(pairs["cutoff"].list.len().to_list(), default=0)]
    sides = _grid(sizes, limit)
    for names, n in ((series, sides[0]), (targets, sides[1])):
        pairs = pairs.join(names[_even(len(names), n)].to_frame(), on=names.name, how="semi", maintain_order="left")
    cutoffs = [[every[i] for i in _even(len(every), sides[2])] for every in pairs["cutoff"]]
    chosen = pairs.with_columns(pl.Series("cutoff", cutoffs, dtype=pairs.schema["cutoff"])).explode("cutoff")
    names = ["plots", "series", "targets", "cutoffs"]
    counts = zip([len(chosen), *sides], [len(keys), *sizes], strict=True)
    return chosen, dict(zip(names, map(list, counts), strict=True))


def _with_target(forecasts: pl.DataFrame, context: pl.DataFrame) -> pl.DataFrame:
    if "target" in forecasts.columns:
        return forecasts
    names = context["target"].unique().to_list()
    if len(names) > 1:
        raise ArgumentError(
            f"`forecasts` has no column `target`, and `context` holds {len(names)} targets ({sorted(names)}): "
            "add the column to `forecasts`, or keep one target in `context`."
        )
    return forecasts.with_columns(target=pl.lit(names[0] if names else "y"))


def _columns(forecasts: pl.DataFrame) -> tuple[list[str], list[tuple[str, str]]]:
    """Models, and the (model, level) of each interval with both ends, widest first: it lies below the others."""
    ends = [match.groups() for match in map(BAND.fullmatch, forecasts.columns) if match]
    models = [
        column for column in forecasts.columns
        if column not in {*KEYS, "ds", "y"} and not BAND.fullmatch(column) and not QUANTILE.fullmatch(column)
    ]
    bands = [
        (model, level) for model, end, level in ends if end == "lo" and model in models and (model, "hi", level) in ends
    ]
    return models, sorted(bands, key=lambda band: -float(band[1]))


def _grid(sizes: list[int], limit: int) -> list[int]:
    """Sizes at most these whose product is at most `limit`, as alike as can be: what is small is kept whole."""
    cap = max(c for c in range(1, limit + 1) if math.prod(min(n, c) for n in sizes) <= limit)
    sides = [min(n, cap) for n in sizes]
    for axis, n in enumerate(sizes):
        others = math.prod(sides[:axis] + sides[axis + 1 :])
        sides[axis] = min(n, limit // max(1, others))
    return sides


def _even(n: int, k: int) -> list[int]:
    """`k` of the positions 0..n-1, evenly from the first to the last."""
    if k >= n:
        return list(range(n))
    return [n - 1] if k == 1 else [round(i * (n - 1) / (k - 1)) for i in range(k)]


def _plots(
    forecasts: pl.DataFrame, context: pl.DataFrame, models: list[str], bands: list[tuple[str, str]], past: int
) -> Iterator[dict[str, Any]]:
    before = context.sort("ds").partition_by("unique_id", "target", as_dict=True)
    nothing = context.clear()
    for (unique_id, target, cutoff), rows in forecasts.partition_by(KEYS, as_dict=True, maintain_order=True).items():
        seen = before.get((unique_id, target), nothing).filter(pl.col("ds") <= cutoff).tail(past)
        yield {
            "key": [unique_id, target, str(time := _times(rows["cutoff"])[0])],
            "cutoff": time,
            "past": [_times(seen["ds"]), _values(seen["y"])],
            "x": _times(rows["ds"]),
            "y": _values(rows["y"]),
            "point": [_values(rows[model]) for model in models],
            "lo": [_values(rows[f"{model}-lo-{level}"]) for model, level in bands],
            "hi": [_values(rows[f"{model}-hi-{level}"]) for model, level in bands],
        }


def _times(times: pl.Series) -> list[str] | list[int]:
    if not times.dtype.is_temporal():
        return times.to_list()
    return times.dt.to_string("%Y-%m-%d" if times.dtype == pl.Date else "%Y-%m-%d %H:%M:%S%.f").to_list()


def _values(values: pl.Series) -> list[float | None]:
    rounded = values.cast(pl.Float64).round_sig_figs(7)  # float32 knows no more
    return [value if value is not None and math.isfinite(value) else None for value in rounded]


def _learning(history: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A line per quantity over the records that have it: validation is logged more seldom than the loss."""
    lines = {}
    for name in ("loss", "val_loss", "learning_rate"):
        logged = [record for record in history if record.get(name) is not None]
        logged = [logged[i] for i in _even(len(logged), MAX_POINTS)]
        values = pl.Series([float(record[name]) for record in logged], dtype=pl.Float64)
        lines[name] = {"x": [int(record["step"]) for record in logged], "y": _values(values)}
    return {"records": len(history), "lines": lines}


def _horizon(horizon: pl.DataFrame, models: list[str]) -> list[dict[str, Any]]:
    return [
        {
            "name": str(metric),
            "level": nominal(str(metric)),
            "lines": [
                {"model": models.index(str(model)), "x": line["step"].to_list(), "y": _values(line["value"])}
                for (model,), line in rows.partition_by("model", as_dict=True, maintain_order=True).items()
            ],
        }
        for (metric,), rows in horizon.partition_by("metric", as_dict=True, maintain_order=True).items()
    ]
