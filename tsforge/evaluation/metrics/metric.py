"""Rows of `METRICS`: a metric of single cells, or one of whole windows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any, Literal

import numpy as np

from tsforge.evaluation.metrics.arrays import Quantiles


@dataclass(frozen=True)
class Metric:
    """A metric that is a mean of losses of single cells.

    Args:
        name: What `evaluate` calls it.
        function: The pure function.
        needs: The forecast columns it reads; `interval` gives one result per level.
        loss: Loss of each cell, `loss(y, *columns, *level_or_quantile) -> [...]`.
        summary: What it is, in one line.
        range: Its values, and the best of them.
        reduce: From losses to the value: their mean, its root, or their sum over the sum of |y|.
        needs_scale: The power of the `seasonal_scale` that divides the loss.
        weights: Weights of the quantiles, which are then summed; without, one result per quantile.
        path_loss: Loss of each cell from sample paths, `path_loss(y [...], samples [sample, ...]) -> [...]`.
        direction: `min`, or `level` where the level of the interval is best.
    """

    name: str
    function: Callable[..., float]
    needs: Literal["point", "interval", "quantiles"]
    loss: Callable[..., np.ndarray]
    summary: str
    range: str
    reduce: Literal["mean", "root", "ratio"] = "mean"
    needs_scale: Literal[1, 2] | None = None
    weights: Callable[[Quantiles], np.ndarray] | None = None
    path_loss: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    direction: Literal["min", "level"] = "min"


@dataclass(frozen=True)
class WindowMetric:
    """A metric of whole windows, that is of all steps after one cutoff of one series.

    Args:
        name: What `evaluate` calls it.
        function: The pure function of one window, `function(y, y_hat, *, ...)`; its keywords are what `evaluate` takes
            for it. `sd` among them is the training sd of each target, which `evaluate` fills in.
        needs: `window` reads the point forecast, `paths` sample paths.
        values: The same of many windows: y [window, h, channel] and y_hat alike, or samples [window, sample, h,
            channel] -> [window]; NaN where the truth of a window cannot be scored, or its forecast is missing.
        summary: What it is, in one line.
        range: Its values, and the best of them.
        together: Whether all targets of a series are one window, unless told; else each target is one.
        needs_sd: Whether it reads `sd` with the arguments that were given; None: it has no such keyword.
        stated: The arguments that stand in the name of a result, out of those given; None: those given.
        direction: `min` or `max`, which is best.
    """

    name: str
    function: Callable[..., float]
    needs: Literal["window", "paths"]
    values: Callable[..., np.ndarray]
    summary: str
    range: str
    together: bool = False
    needs_sd: Callable[[Mapping[str, Any]], bool] | None = None
    stated: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None
    direction: Literal["min", "max"] = "min"

    def arguments(self) -> dict[str, Parameter]:
        """What may be given for it, by name."""
        parameters = signature(self.function).parameters.values()
        return {p.name: p for p in parameters if p.kind is Parameter.KEYWORD_ONLY and p.name != "sd"}


AnyMetric = Metric | WindowMetric
