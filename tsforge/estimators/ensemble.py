"""Ensemble: several forecasters as one, with weights out of validation windows at the end of the fitted rows."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tsforge.errors import ArgumentError, CapabilityError, FrameError
from tsforge.estimators.base import Estimator
from tsforge.estimators.ensemble_artifact import read_ensemble, write_ensemble
from tsforge.estimators.ensemble_fit import Beside, EnsembleFit, as_windows, series_scale
from tsforge.estimators.ensemble_validation import Validation, unvalidated
from tsforge.estimators.parameters import unknown_argument
from tsforge.evaluation.backtest import Align, same_h
from tsforge.evaluation.combine import point_metric
from tsforge.evaluation.intervals import check_levels, check_quantiles
from tsforge.evaluation.metrics import mse
from tsforge.forecaster import Forecaster, Levels
from tsforge.frame.canonical import from_polars, to_polars
from tsforge.frame.frame import Frame, as_frame

log = logging.getLogger("tsforge")
WAYS = ("mean", "median", "greedy", "select")
NO_RECIPE = "An ensemble has no recipe, which describes one model: make it in Python, and keep it with save(folder)."


class Ensemble(Estimator):
    """Several forecasters as one: their mean, their median, a weighted mean, or for each series the best of them.

    `"greedy"` weights and `"select"` are chosen on `val_windows` windows at the end of the rows that `fit` is given:
    clones are fitted on the rows before the first of them and forecast them; then all members are fitted on all rows.
    Errors are counted in standard deviations of each series, and every pair of series and target counts alike. A series
    that was not there in training, or that no validation window holds, gets the weights over all series.

    A forecast that a member lacks (NaN) is left out and the weights of the others grow; where no member with a weight
    has one, the ensemble has none. Of two ways to combine, the one that leaves fewer observed cells without a forecast
    is better, then the one with the smaller error.

    Intervals are split conformal, of the residuals of the combined forecast in the validation windows. Weights were
    chosen on the same windows, so they may be a little narrow where there are few of them.

    Args:
        models: Estimators of different names and the same `h`; they are cloned, and stay as they are.
        combine: "mean", "median", "greedy" (Caruana et al. 2004: forward selection with replacement, one set of weights
            for all series) or "select" (one model for each series).
        metric: What validation judges by: "mae", "mse", "rmse" or "smape".
        val_windows: Validation windows.
        step_size: Steps between them; None is `h`.
        rounds: Of the greedy selection: members in its largest bag.
        align: "time" or "end", where validation windows lie, as in `tsforge.backtest`.
        calibrate: Whether "mean" and "median" make validation windows, which intervals need; the others always do.
        alias: The column of its forecasts; None is "Ensemble".
    """

    key = "ensemble"
    align: Align

    def __init__(
        self, models: Sequence[Any], combine: str = "mean", *, metric: str = "mae", val_windows: int = 3,
        step_size: int | None = None, rounds: int = 50, align: Align = "time",
        calibrate: bool = False, alias: str | None = None,
    ) -> None:
        self.models, self.combine, self.metric = models, combine, metric
        self.val_windows, self.step_size, self.rounds, self.align = val_windows, step_size, rounds, align
        self.calibrate, self.alias = calibrate, alias

    @property
    def h(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Steps ahead: those of its members."""
        return same_h(self._models())

    @property
    def weights_(self) -> pl.DataFrame:
        """`model, weight` over all series; what a series has that was not there in training."""
        fit = self._fitted()
        return pl.DataFrame({"model": [m.name for m in fit.members], "weight": fit.weights})

    @property
    def chosen_(self) -> pl.DataFrame:
        """`unique_id, model`: which one each series has.

        Raises:
            CapabilityError: `combine` is not "select".
        """
        fit = self._fitted()
        if fit.chosen is None:
            raise CapabilityError(f"combine={fit.combine!r} has the same weights for all series: see weights_.")
        return pl.DataFrame({"unique_id": fit.ids, "model": [fit.members[k].name for k in fit.chosen]})

    def trained_until(self) -> pl.DataFrame:
        """`unique_id, ds`: the last time of each series that fitting looked at."""
        return self._fitted().members[0].trained_until()

    def fit(self, X: Any, y: Any = None, *, checkpoint: Any = None, verbose: bool = False, **roles: Any) -> "Estimator":
        """Learns from a frame; what an earlier fit learned is forgotten.

        Args:
            X: A table or Frame.
            y: Not used; scikit-learn passes it.
            checkpoint: Not kept: a fit that was killed starts anew.
            verbose: Not used; the log says which member is at work.
            roles: Keywords of `Frame` for a plain table.

        Raises:
            ArgumentError: there is no model, two have one name or different `h`, or an argument cannot work.
            UnknownNameError: there is no such metric.
            CapabilityError: the frame has irregular steps, or what a member does not take.
            FrameError: the table cannot be read, or its series are too short for the validation windows.
        """
        self._check()
        frame = self._frame(X, roles)
        if frame.schema.irregular:
            raise CapabilityError("Ensemble does not take irregular steps: give Frame(..., resample='1h', how='last').")
        models = self._models()
        fit, members = self._learned(models, frame), []
        for number, model in enumerate(models, 1):
            log.info(f"{self.name}: {model.name} ({number} of {len(models)}) is fitted on all rows ...")
            member: Any = clone(model)
            members.append(member.fit(frame))
        self.fitted_ = replace(fit, members=members)  # pyright: ignore[reportAttributeAccessIssue]
        return self

    def predict(
        self, X: Any = None, *, h: int | np.integer | None = None, future: Any = None, level: Levels | None = None,
        quantiles: Levels | None = None, **unknown: Any,
    ) -> Any:
        """Forecasts the next `h` steps of each series, as every estimator does; see `Estimator.predict`.

        Raises:
            CalibrationError: a level, and no validation windows (`calibrate=True` makes some) or too few.
        """
        for name in unknown:
            raise unknown_argument(f"{type(self).__name__}.predict", name, ("h", "future", "level", "quantiles"))
        fit, steps = self._fitted(), self._steps(h)
        asked = (check_levels(level), check_quantiles(quantiles))
        words = {} if future is None else {"future": future}
        tables, kinds = zip(*(to_polars(member.predict(X, **words)) for member in fit.members), strict=True)
        beside = self._beside(tables)
        known = fit.known(beside.ids(fit.schema.id_col), beside.values.shape[1])
        scale = self._scale(known, beside.ids(fit.schema.id_col), X, None) if any(asked) else None
        return from_polars(beside.table(self._values(beside, known, scale, *asked), steps), kinds[0])

    def predict_at(
        self, X: Any, cutoffs: pl.DataFrame, *, level: Levels = (), quantiles: Levels = (),
    ) -> pl.DataFrame:
        """Forecasts after each of `cutoffs` (`unique_id, cutoff`), beside the truth `y`; a forecast sees nothing later.

        Raises:
            NotFittedError: `fit` was not called.
            FrameError: no cutoff lies inside its series.
            CalibrationError: as in `predict`.
        """
        fit, asked = self._fitted(), (check_levels(level), check_quantiles(quantiles))
        tables = [member.predict_at(X, cutoffs) for member in fit.members]
        beside = self._beside(tables)
        ids = beside.ids("unique_id")
        known = fit.known(ids, beside.values.shape[1])
        scale = self._scale(known, ids, X, cutoffs) if any(asked) else None
        table = beside.table(self._values(beside, known, scale, *asked), self.h)
        return table.with_columns(tables[0]["y"])

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error, in sds, of the `h` steps after the training rows; greater is better.

        Raises:
            FrameError: `X` lacks the last training rows, or rows after them.
        """
        fit, cutoffs = self._fitted(), self.trained_until().rename({"ds": "cutoff"})
        tables = [member.predict_at(X, cutoffs) for member in fit.members]
        beside = self._beside(tables)
        known = fit.known(beside.ids("unique_id"), beside.values.shape[1])
        truth = as_windows(tables[0]["y"], self.h, beside.values.shape[3])
        if np.isnan(truth).all():
            raise FrameError(f"score: no series has an observed value in the {self.h} steps after its training rows.")
        scale = fit.scale[np.maximum(known, 0)][:, None]
        return -float(mse(truth / scale, fit.point(beside.values, known) / scale))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes a run folder: JSON and safetensors, and in it a run folder of each member; no pickle.

        Raises:
            OutputExistsError: the folder exists and `overwrite` was not given.
        """
        arguments = self.get_params(deep=False)
        del arguments["models"]
        write_ensemble(Path(path), self._fitted(), self.h, arguments, overwrite=overwrite)
        return Path(path)

    def to_recipe(self) -> dict[str, Any]:
        """Not of an ensemble.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(NO_RECIPE)

    @classmethod
    def from_recipe(cls, recipe: Mapping[str, Any]) -> "Estimator":
        """Not of an ensemble.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(NO_RECIPE)

    def _fitted(self) -> EnsembleFit:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not hasattr(self, "fitted_"):
            raise NotFittedError("This Ensemble is not fitted: call fit(frame) first.")
        return self.fitted_  # pyright: ignore[reportReturnType]

    def _models(self) -> list[Any]:
        """The models, seen to be forecasters."""
        given: Any = self.models
        several = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else []
        if not several:
            raise ArgumentError(f"models={given!r}: wanted some forecasters, as in [tsforge.Theta(h=12), ...].")
        for model in several:
            if isinstance(model, type) or not isinstance(model, Forecaster):
                raise ArgumentError(f"models: {model!r} is no forecaster; wanted such as tsforge.SeasonalNaive(h=24).")
        return several

    def _check(self) -> None:
        same_h(self._models())
        if self.combine not in WAYS:
            raise ArgumentError(f"combine={self.combine!r}: wanted one of {', '.join(WAYS)}.")
        if self.align not in ("time", "end"):
            raise ArgumentError(f"align={self.align!r}: wanted 'time' or 'end'.")
        point_metric(self.metric)
        counts = {"val_windows": self.val_windows, "rounds": self.rounds}
        for name, value in (counts if self.step_size is None else counts | {"step_size": self.step_size}).items():
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise ArgumentError(f"{name}={value!r}: wanted a whole number, 1 or more.")

    def _learned(self, models: Sequence[Any], frame: Frame) -> EnsembleFit:
        """Weights and residuals, without members."""
        if self.combine in ("mean", "median") and not self.calibrate:
            return unvalidated(models, frame, self.combine)
        step_size = self.h if self.step_size is None else self.step_size
        log.info(f"{self.name}: {len(models)} models are validated on {self.val_windows} windows ...")
        made = Validation(self.combine, self.metric, self.val_windows, step_size, self.rounds, self.align)
        return made.learn(models, frame)

    def _beside(self, tables: Sequence[pl.DataFrame]) -> Beside:
        fit = self._fitted()
        return Beside.of(tables, [member.name for member in fit.members], self.h, len(fit.schema.targets))

    def _values(
        self, beside: Beside, known: np.ndarray, scale: np.ndarray | None, level: Sequence[float | int],
        quantiles: Sequence[float | int],
    ) -> dict[str, np.ndarray]:
        fit = self._fitted()
        point = fit.point(beside.values, known)
        return {self.name: point} if scale is None else fit.columns(self.name, point, known, scale, level, quantiles)

    def _scale(self, known: np.ndarray, ids: pl.Series | None, X: Any, cutoffs: pl.DataFrame | None) -> np.ndarray:
        """[window, channel] the sd of each series: of training, or of the rows that come with it where it is new."""
        fit = self._fitted()
        scale = fit.scale[np.maximum(known, 0)]
        new = known < 0
        if ids is not None and new.any():
            given, own = series_scale(as_frame(X, fit.schema.without_covariates()), cutoffs)
            there = replace(fit, ids=given).known(ids, len(known))
            scale[new] = own[there[new]]
        return scale


def open_ensemble(folder: Path, open_member: Callable[[Path], Any]) -> Ensemble:
    """The ensemble of a run folder, its members opened by `open_member`.

    Raises:
        ArtifactError: the folder is not a whole, unchanged ensemble of a format this version reads.
    """
    arguments, fit = read_ensemble(folder, open_member)
    model = Ensemble(list(fit.members), **arguments)
    model.fitted_ = fit  # pyright: ignore[reportAttributeAccessIssue]
    return model
