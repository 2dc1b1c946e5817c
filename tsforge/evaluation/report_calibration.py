"""The section of a report on calibration: how often the truth lies where a forecast says it would.

In        a forecast frame with the truth as `y` and intervals or quantiles of some models
Out       inline SVG and a table; each picture has the sentence that is read aloud in its place
"""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np
import polars as pl

from tsforge.evaluation.calibration import calibration_table, pit_table
from tsforge.evaluation.forecasts import KEYS, bands, floats, models_of, quantile_columns
from tsforge.evaluation.report_svg import MOST_MODELS, Panel, how_many, legend, of_model, panels
from tsforge.evaluation.report_table import number, table
from tsforge.evaluation.rows import pair_of

BINS = 10
LEAST_QUANTILES = 4  # of a histogram: with fewer most of it would be spread evenly by decree
MOST_ROWS = 200
TICKS = (0, 20, 40, 60, 80, 100)


def calibration(forecasts: pl.DataFrame) -> str:
    """The section's HTML; empty where there is no truth or no model has intervals or quantiles.

    Args:
        forecasts: Forecast frame with `cutoff` and the truth as `y`, without sample paths.
    """
    if "sample" in forecasts.columns or not np.isfinite(floats(forecasts, "y")).any():
        return ""
    every = models_of(forecasts, [])
    models = [model for model in every if quantile_columns(forecasts.columns, model)[1]]
    if not models:
        return ""
    forecasts = forecasts.select(_columns(forecasts, models))
    found = calibration_table(forecasts)
    reliability = [_reliability(found.filter(kind=kind), kind, models) for kind in ("interval", "quantile")
                   if kind in found["kind"]]
    keys = legend(models) if len(models) > 1 else ""
    return (panels(reliability, _reliability_words(forecasts, every, models), keys) + _table(forecasts, models)
            + _histograms(forecasts, models))


def interval_widths(forecasts: pl.DataFrame, by: Sequence[str] = ()) -> pl.DataFrame:
    """`model`, `stated`, the `by` columns and `width`: the mean width of each interval where there is a truth.

    Args:
        forecasts: Forecast frame with the truth as `y`.
        by: Of unique_id and target. As in `evaluate` a value is the mean over (series, target) pairs.

    Returns:
        The width is in the units of the target; NaN where an end is missing.
    """
    pair = pair_of(forecasts)
    seen = forecasts.filter(pl.col("y").cast(pl.Float64).is_finite())
    parts = []
    for model in models_of(forecasts, []):
        for level, (low, high) in quantile_columns(forecasts.columns, model)[0].items():
            width = (pl.col(high) - pl.col(low)).cast(pl.Float64).fill_null(np.nan).mean()
            each = seen.group_by(pair, maintain_order=True).agg(width=width)
            mean = each.group_by(by, maintain_order=True).agg(pl.col("width").mean()) if by else each.select(
                pl.col("width").mean())
            parts.append(mean.select(pl.lit(model).alias("model"), pl.lit(level / 100).alias("stated"), *by, "width"))
    return pl.concat(parts) if parts else pl.DataFrame()


def _columns(forecasts: pl.DataFrame, models: Sequence[str]) -> list[str]:
    """The keys, and the columns of these models."""
    owner = {name: found["model"] for name, found in bands(forecasts.columns)}
    return [name for name in forecasts.columns if name in KEYS or owner.get(name, name) in models]


def _reliability(found: pl.DataFrame, kind: str, models: Sequence[str]) -> str:
    told = "; ".join(
        f"{model}: " + ", ".join(f"{_percent(row['stated'])} stated, {_percent(row['observed'])} observed"
                                 for row in found.filter(model=model).iter_rows(named=True))
        for model in models[:MOST_MODELS]
    )
    panel = Panel(
        title="Truth inside each interval" if kind == "interval" else "Truth at or below each quantile",
        told=f"Reliability of {kind}s in percent. {told}.", x="stated (percent)", y="observed (percent of cells)",
        x_ends=(0, 100), y_ends=(0, 100), x_ticks=TICKS, y_ticks=TICKS, height=300,
    )
    drawn = [panel.line([(0, 0), (100, 100)], 'stroke-dasharray="4 4" opacity="0.7"')]
    for n, model in enumerate(models[:MOST_MODELS]):
        rows = found.filter(pl.col("observed").is_finite(), model=model).sort("stated")
        points = [(100 * stated, 100 * observed) for stated, observed in rows.select("stated", "observed").iter_rows()]
        marks = "".join(panel.mark(n, x, y) for x, y in points)
        drawn.append(of_model(n, [panel.line(points, 'stroke-width="1.5"'), marks]))
    return panel.drawn(drawn)


def _reliability_words(forecasts: pl.DataFrame, every: Sequence[str], models: Sequence[str]) -> str:
    windows = forecasts.filter(pl.col("y").is_not_null()).select(*pair_of(forecasts), "cutoff").n_unique()
    without = [model for model in every if model not in models]
    told = f" Without intervals: {escape(', '.join(without))}." if without else ""
    return (
        "Dashed: where the observed share is the stated one. An interval above it is too wide, one below it too "
        f"narrow; a quantile above it lies too high. Over {windows:,} windows; errors of one window go together, so a "
        f"share over few windows is uncertain however many cells it has.{how_many(models)}{told}"
    )


def _table(forecasts: pl.DataFrame, models: Sequence[str]) -> str:
    """Each interval: stated, observed, cells and width; by target where there are several, for units differ."""
    by = ["target"] if "target" in forecasts.columns and forecasts["target"].n_unique() > 1 else []
    shares = calibration_table(forecasts, by=by).filter(kind="interval")
    if shares.is_empty():
        return ""
    rank = pl.Series("model", models)
    joined = shares.join(interval_widths(forecasts, by), on=["model", "stated", *by], how="left")
    joined = joined.join(rank.to_frame().with_row_index("rank"), on="model").sort("rank", "stated", *by)
    rows = joined.select(
        "model", *by, level=100 * pl.col("stated"), observed=100 * pl.col("observed"), cells="cells", width="width"
    ).with_columns(pl.col("level").map_elements(lambda level: f"{level:g} %", return_dtype=pl.String))
    left_out = f" The first {MOST_ROWS} of {len(rows):,} rows are shown." if len(rows) > MOST_ROWS else ""
    return table(f"Each interval: the share of the truth inside in percent, over how many cells, and its mean width in "
                 f"the units of the target.{left_out}",
                 rows.head(MOST_ROWS).rename({"observed": "observed %", "width": "mean width"}))


def _histograms(forecasts: pl.DataFrame, models: Sequence[str]) -> str:
    fine = [model for model in models if len(quantile_columns(forecasts.columns, model)[1]) >= LEAST_QUANTILES]
    if not fine:
        return (f"<p>A histogram of the probability integral transform needs {LEAST_QUANTILES} quantiles or more: give "
                "two levels or more.</p>")
    shares = pit_table(forecasts.select(_columns(forecasts, fine[:MOST_MODELS])), bins=BINS)
    known = [model for model in fine[:MOST_MODELS] if shares.filter(model=model)["share"].is_finite().all()]
    drawn = [_histogram(model, models.index(model), shares.filter(model=model)["share"].to_list()) for model in known]
    return panels(drawn, (
        "Probability integral transform: at which share of a forecast's law the truth was seen. Dashed: a law that is "
        "right. High ends: too narrow; a high middle: too wide; a slope: biased. Between two quantiles the truth is "
        f"spread evenly.{how_many(fine)}"
    )) if drawn else ""


def _histogram(model: str, place: int, shares: Sequence[float]) -> str:
    most = max(0.2, max(shares))
    step = 5 if most <= 0.3 else 10 if most <= 0.6 else 20
    top = int(-(-100 * most // step)) * step
    panel = Panel(
        title=model, told=f"PIT histogram of {model}, percent of cells in ten bins: "
        + ", ".join(number(100 * share) for share in shares) + ". A law that is right has 10 in each.",
        x="share of the law below the truth", y="percent of cells", x_ends=(0, 1), y_ends=(0, top),
        x_ticks=(0, 0.2, 0.4, 0.6, 0.8, 1), y_ticks=range(0, top + 1, step), height=220,
    )
    even = panel.line([(0, 100 / BINS), (1, 100 / BINS)], 'stroke-dasharray="4 4" stroke-width="1.5"')
    return panel.drawn([of_model(place, _bars(panel, shares)), even])


def _bars(panel: Panel, shares: Sequence[float]) -> Iterator[str]:
    for n, share in enumerate(shares):
        left, right, high = (n + 0.08) / BINS, (n + 0.92) / BINS, 100 * share
        yield panel.area([(left, 0), (left, high), (right, high), (right, 0)], 0.75)


def _percent(share: float) -> str:
    return number(100 * share) if np.isfinite(share) else "none"
