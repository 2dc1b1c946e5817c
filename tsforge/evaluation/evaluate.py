"""Scores of a forecast frame: by series, cutoff, step or overall, in one long table.

Frame     forecast frame with the truth as `y`  ->  the `by` columns, model, metric, value, cells
Units     those of the metric; with scale="train" y is counted in training standard deviations.
Mean      A value that spans several (series, target) pairs is the mean of the pairs' values, so that a long or a large
          series does not count more. A root or a ratio is taken inside each pair; a metric of whole windows is the mean
          over the windows of a pair, or of a series where it looks at all targets together. pool=True takes all rows,
          or windows, as one.
"""

from collections.abc import Sequence
from typing import Any

import narwhals as nw
import polars as pl

from tsforge.evaluation.asked import Spec, read_metrics
from tsforge.evaluation.cell_scores import cell_groups, cell_scores
from tsforge.evaluation.forecasts import models_of, one_row_per_cell
from tsforge.evaluation.metrics import Metric
from tsforge.evaluation.rows import mean_over_pairs, pair_of, rows_of
from tsforge.evaluation.scale import as_eager, require_columns, training_statistics
from tsforge.evaluation.window_scores import window_scores


def evaluate(
    forecasts: Any, metrics: Spec | Sequence[Spec] = ("mse", "mae"), *, by: str | Sequence[str] = ("unique_id",),
    scale: str | None = None, train: Any = None, season: int | None = None, pool: bool = False,
) -> Any:
    """Score every model of a forecast frame by every metric.

    Args:
        forecasts: Forecast frame with the truth as `y`; polars, pandas or another eager frame narwhals reads. With
            sample paths each row is a step of one path, `sample` its number, and `y` the same in all of them.
        metrics: Names out of `METRICS`, or with arguments `"dtw(band=5)"` or `{"name": "dtw", "band": 5}`, which stand
            in the name of the result. `coverage`, `interval_score` and `msis` give a row per level (`coverage-80`),
            `pinball` one per quantile (`pinball-0.1`). Intervals count as quantiles too: `-lo-80` is the quantile 0.1.
            Metrics of whole windows take `together`: whether all targets of a series are one window. Those that take
            `exponent` (1 / step; one number, or `{unique_id: number}`) also take `source`, a word on where it is from,
            which stands in the name of the result.
        by: Groups, out of unique_id, target, cutoff, ds and `step`, the rank of ds among the rows of its series,
            target and cutoff (1 is the first step ahead). `()` is the overall table. A window has no ds and no step,
            and no target where targets are taken together.
        scale: "train" standardises truth and forecast by the training mean and sd (ddof 0; 0 counts as 1) of each
            series and target, as published tables do.
        train: Long frame for `scale`, `mase`, `rmsse`, `msis` and `valid_prediction_time`: unique_id, ds and the
            targets as columns, each row one step, missing values null. Rows after the first cutoff of a series
            (without cutoffs: from its first forecast on) are never used.
        season: Steps in a season, for `mase`, `rmsse` and `msis`.
        pool: Take all rows (or windows) of a group as one, instead of the mean over its (series, target) pairs.

    Returns:
        Frame of the kind that was given: the `by` columns, `model`, `metric`, `value` (NaN where nothing could be
        scored) and `cells`, the number of observed cells scored; sorted by the `by` columns.

    Raises:
        UnknownNameError: no such metric; names the nearest.
        UnknownArgumentError: a metric has no such argument.
        ArgumentError: a column, the training rows, `season` or an argument of a metric are needed and missing, a column
            holds no numbers, or an argument has an unknown value.
    """
    table = as_eager(forecasts, "forecasts")
    asked, by = read_metrics(metrics), [by] if isinstance(by, str) else list(dict.fromkeys(by))
    models = models_of(table, by)
    table, paths = one_row_per_cell(table, models)
    training = training_statistics(table, pair_of(table), asked, scale, train, season)
    rows = rows_of(table, paths, training, scaled=scale is not None)
    cells = cell_groups(rows, by, pool=pool)
    averaged = len(cells.keys.columns) - 1 > len(by)
    results: dict[str, list[pl.DataFrame]] = {model: [] for model in models}
    for one in asked:
        found = (cell_scores(rows, cells, one.metric, models, averaged=averaged) if isinstance(one.metric, Metric)
                 else window_scores(rows, one, models, by, pool=pool))
        for model, label, values in found:
            keys = {"model": pl.lit(model), "metric": pl.lit(label)}
            results[model].append(mean_over_pairs(values.with_columns(**keys), [*by, *keys]))
    result = pl.concat([part for parts in results.values() for part in parts])
    return like(forecasts, result.sort(by, maintain_order=True) if by else result)


def scores_table(evaluated: Any) -> Any:
    """One row per model (and per `by` key, where there are any), one column per metric, for printing.

    Args:
        evaluated: What `evaluate` returned; with `by=()` there is one row per model.

    Returns:
        Frame of the kind that was given.

    Raises:
        ArgumentError: a column of `evaluate` is missing.
    """
    table = as_eager(evaluated, "evaluated")
    require_columns(table, ("model", "metric", "value"), "evaluated", "Give what evaluate(...) returned")
    index = [name for name in table.columns if name not in ("metric", "value", "cells")]
    return like(evaluated, table.pivot(on="metric", index=index, values="value", maintain_order=True))


def like(given: Any, table: pl.DataFrame) -> Any:
    """A table as a frame of the kind that was given."""
    return nw.from_arrow(table, backend=nw.from_native(given, eager_only=True).implementation).to_native()
