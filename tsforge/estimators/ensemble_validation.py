"""Validation of an ensemble: clones that end before the validation windows forecast them, and weights follow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsforge.errors import FrameError, TsforgeError
from tsforge.estimators.ensemble_fit import Beside, EnsembleFit, as_windows, series_scale
from tsforge.evaluation.backtest import Align, cutoffs_of, forecasts_at
from tsforge.evaluation.combine import Judge, best_models, greedy_weights, point_metric
from tsforge.evaluation.conformal import Scores
from tsforge.frame.frame import Frame


@dataclass(frozen=True)
class Validation:
    """How members are weighed.

    Args:
        combine: "mean", "median", "greedy" or "select".
        metric: A metric of points. Errors are counted in sds of each series; pairs of series and target count alike.
        windows: Validation windows.
        step_size: Steps between them.
        rounds: Of the greedy selection.
        align: Where the windows lie, as in `tsforge.backtest`.
    """

    combine: str
    metric: str
    windows: int
    step_size: int
    rounds: int
    align: Align

    def learn(self, models: Sequence[Any], frame: Frame) -> EnsembleFit:
        """Weights and residuals, without members.

        Raises:
            FrameError: the series are too short for the windows, or these hold no observed value.
        """
        h, names = models[0].h, [model.name for model in models]
        try:
            cutoffs = cutoffs_of(frame, h, self.windows, self.step_size, self.align)
            table = forecasts_at(models, frame, cutoffs)
        except TsforgeError as error:
            given = f"val_windows={self.windows}, step_size={self.step_size}"
            raise type(error)(f"In the validation of the ensemble ({given}): {error}") from error
        ids, scale = series_scale(frame, cutoffs.drop("window"))
        keys = [name for name in ("unique_id", "ds", "target", "cutoff") if name in table.columns]
        beside = Beside.of([table.select(*keys, name) for name in names], names, h, scale.shape[1])
        truth = as_windows(table["y"], h, scale.shape[1])
        if np.isnan(truth).all():
            raise FrameError("The validation windows of the ensemble hold no observed value: give more, val_windows=, "
                             "or others, step_size=.")
        fit = unvalidated(models, frame, self.combine, ids, scale)
        known = fit.known(beside.ids("unique_id"), len(truth))
        weights, chosen = self._weights(beside.values, truth, known, scale)
        fit = replace(fit, weights=weights, chosen=chosen)
        residuals = np.abs(truth - fit.point(beside.values, known)) / scale[known][:, None]
        return replace(fit, scores=Scores.fit(residuals, known, len(ids)))

    def _weights(
        self, values: np.ndarray, truth: np.ndarray, known: np.ndarray, scale: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Weights [model] over all series, and for "select" the model of each series; arrays as in `EnsembleFit`."""
        models, (n_series, channels) = len(values), scale.shape
        if self.combine in ("mean", "median"):
            return np.full(models, 1 / models), None
        width, row = scale[known][:, None], point_metric(self.metric)
        pair = np.broadcast_to((known * channels)[:, None, None] + np.arange(channels), truth.shape)
        judge = Judge((truth / width).ravel(), pair.ravel(), row.loss, row.reduce == "root")
        flat = (values / width).reshape(models, -1)
        if self.combine == "greedy":
            return greedy_weights(flat, judge, self.rounds), None
        worth = [judge(forecast) for forecast in flat]
        overall = worth.index(min(worth))
        chosen = best_models(flat, judge, np.repeat(np.arange(n_series), channels), n_series)
        return (np.arange(models) == overall).astype(np.float64), np.where(chosen < 0, overall, chosen)


def unvalidated(
    models: Sequence[Any], frame: Frame, combine: str, ids: Any = None, scale: np.ndarray | None = None,
) -> EnsembleFit:
    """Equal weights, without members and without residuals."""
    if scale is None:
        ids, scale = series_scale(frame)
    return EnsembleFit(frame.schema, [], combine, np.full(len(models), 1 / len(models)), ids, scale)
