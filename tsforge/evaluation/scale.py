"""What scores are scaled by: mean, sd and seasonal differences of training rows, for each series and target."""

import logging
from collections.abc import Sequence
from typing import Any

import narwhals as nw
import polars as pl

from tsforge.errors import ArgumentError
from tsforge.evaluation.asked import Asked

log = logging.getLogger("tsforge")


def training_statistics(
    table: pl.DataFrame, pair: list[str], metrics: list[Asked], scale: str | None, train: Any, season: int | None
) -> pl.DataFrame | None:
    """Per (series, target) pair: mean, sd, and scale_1, scale_2 as the metrics need them; None where nothing does."""
    if scale not in (None, "train"):
        raise ArgumentError(f"scale={scale!r} is not known: it is None or 'train'.")
    seasonal = [metric for metric in metrics if metric.needs_scale]
    wanting = [*seasonal, *(metric for metric in metrics if metric.needs_sd)]
    if not wanting and scale is None:
        return None
    asked = " and ".join([metric.label for metric in wanting] + ["scale='train'"] * (scale is not None))
    if train is None:
        raise ArgumentError(f"{asked} needs the training rows: give train=, a long frame of unique_id, ds and targets.")
    if seasonal and (season is None or season < 1):
        names = " and ".join(metric.label for metric in seasonal)
        raise ArgumentError(f"{names} needs season=, the steps in a season (1 or more), not {season}.")
    targets = table["target"].unique().to_list() if "target" in pair else None
    past, columns = _past(table, as_eager(train, "train"), targets)
    stats = pl.concat(_statistics(past, column, target, season, {m.needs_scale for m in seasonal})
                      for target, column in columns.items())
    stats = stats.with_columns(pl.col(name).cast(table.schema[name]) for name in pair)
    pairs = table.select(pair).unique()
    bare = pairs.join(stats, on=pair, how="anti").sort(pair)
    if len(bare):
        first = ", ".join(f"{name} {value!r}" for name, value in zip(pair, bare.row(0), strict=True))
        raise ArgumentError(f"{len(bare)} series of forecasts have no row in train up to their first cutoff, the first "
                            f"is {first}: add their rows to train=.")
    unseen = pairs.join(stats.filter(pl.col("mean").is_null()), on=pair, how="semi")
    if len(unseen):
        log.info(f"{len(unseen)} of {len(pairs)} series and targets were not observed up to their first cutoff: they "
                 f"have no {asked}.")
    return stats.select(*pair, pl.exclude(pair))


def _past(
    table: pl.DataFrame, train: pl.DataFrame, targets: list[str] | None
) -> tuple[pl.DataFrame, dict[str | None, str]]:
    """The training rows before each series' first forecast, in order of time, and the column of each target."""
    require_columns(train, ("unique_id", "ds", *(targets or ())), "train", "Rename or add them")
    if train.schema["ds"].is_temporal() != table.schema["ds"].is_temporal():
        found = f"{train.schema['ds']} in train, {table.schema['ds']} in forecasts"
        raise ArgumentError(f"ds is {found}: make them alike.")
    train = train.with_columns(pl.col("unique_id").cast(table.schema["unique_id"], strict=False))
    last = pl.col("cutoff").min() if "cutoff" in table.columns else pl.col("ds").min()
    inside = pl.col("ds") <= pl.col("_last") if "cutoff" in table.columns else pl.col("ds") < pl.col("_last")
    known = train.join(table.group_by("unique_id").agg(_last=last), on="unique_id")
    past = known.filter(inside).sort("unique_id", "ds")
    if len(past) < len(known):
        log.info("%d of %d rows of train lie after the first cutoff of their series and are left out.",
                 len(known) - len(past), len(known))
    if targets is not None:
        return past, {target: target for target in targets}
    numeric = [name for name, dtype in train.schema.items() if dtype.is_numeric() and name not in ("unique_id", "ds")]
    if "y" not in numeric and len(numeric) != 1:
        raise ArgumentError(f"train has the value columns {numeric}, wanted one: call the target 'y' or keep it alone.")
    return past, {None: "y" if "y" in numeric else numeric[0]}


def _statistics(past: pl.DataFrame, column: str, target: str | None, season: int | None, powers: set) -> pl.DataFrame:
    value = pl.col(column).cast(pl.Float64).fill_nan(None)
    steps = {f"scale_{power}": value.diff(season or 1).abs().pow(power).mean() for power in sorted(powers)}
    stats = past.group_by("unique_id").agg(
        mean=value.mean(),
        sd=pl.when(value.min() < value.max()).then(value.std(ddof=0)).otherwise(1.0),  # exact where constant
        **steps,
    )
    stats = stats.with_columns(pl.when(pl.col(name) > 0).then(name) for name in steps)
    return stats if target is None else stats.with_columns(target=pl.lit(target))


def require_columns(table: pl.DataFrame, wanted: Sequence[str], what: str, advice: str) -> None:
    """Raises ArgumentError where a column is not there."""
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        raise ArgumentError(f"{what} has no column {', '.join(map(repr, missing))}. {advice}.")


def as_eager(frame: Any, name: str) -> pl.DataFrame:
    """The frame in polars.

    Raises:
        ArgumentError: it is no eager frame.
    """
    try:
        return nw.from_native(frame, eager_only=True).to_polars()
    except TypeError:
        found = f"{name} is a {type(frame).__name__}"
        raise ArgumentError(f"{found}, wanted an eager frame: polars, pandas or pyarrow.") from None
