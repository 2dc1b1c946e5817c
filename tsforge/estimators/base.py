"""The scikit-learn face that every estimator has: fit, predict, cross_validation, score, save."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError

from tsforge.data.store import Store, build_store
from tsforge.data.windows import forecast_frame
from tsforge.errors import ArgumentError, FrameError
from tsforge.estimators.checks import check_h, refuse_other_channels
from tsforge.estimators.fitted import Fitted
from tsforge.estimators.nested import WAYS, changed, nested
from tsforge.estimators.outputs import Outputs, cutoff_rows, truth_of
from tsforge.estimators.parameters import unknown_argument
from tsforge.estimators.paths import no_paths, path_frame
from tsforge.estimators.streaming import refusal
from tsforge.evaluation.backtest import backtest, check_column
from tsforge.evaluation.intervals import check_levels, check_quantiles
from tsforge.evaluation.metrics import mse
from tsforge.forecaster import Levels
from tsforge.frame.canonical import to_polars
from tsforge.frame.check import read_times, read_values
from tsforge.frame.frame import KNOWN, Frame, as_frame
from tsforge.frame.schema import require
from tsforge.frame.wide import widened
from tsforge.training.specs import recorded

KEPT = ("alias", "accelerator")  # arguments that may change without another fit


class Estimator(BaseEstimator):
    """A forecaster with the arguments of one catalog row. The constructor stores them and does nothing else."""

    key: ClassVar[str]  # the row
    h: int
    alias: str | None
    fitted_: Fitted

    @property
    def name(self) -> str:
        """The column of its forecasts."""
        return self.alias or type(self).__name__

    @property
    def schema_(self) -> Any:
        """The roles it was fitted with."""
        return self._fitted().schema

    @property
    def history_(self) -> list[dict[str, Any]]:
        """One row per validation: step, loss, val_loss, learning_rate."""
        return self._fitted().history

    def trained_until(self) -> pl.DataFrame:
        """`unique_id, ds`: the last time of each series that fitting looked at."""
        return self._fitted().trained_until_by_id

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "fitted_")

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments; `deep` brings those of an encoder beside it, as `encoder__n`."""
        params = super().get_params(deep=False)
        for way in WAYS if deep else ():
            params |= nested(way, params.get(way))
        return params

    def set_params(self, **params: Any) -> "Estimator":
        """Changes arguments. What was learned with others is forgotten; a new `alias` or `accelerator` keeps it.

        `encoder__n=2` changes the argument `n` of the encoder that `encoder` names.

        Raises:
            UnknownArgumentError: there is no such argument; names ours, or the nearest.
        """
        before = self.get_params(deep=False)
        inside: dict[str, dict[str, Any]] = {way: {} for way in WAYS if way in before}
        for name in list(params):
            way, _, argument = name.partition("__")
            if way in inside and argument:
                inside[way][argument] = params.pop(name)
            elif name not in before:
                raise unknown_argument(type(self).__name__, name, before)
        for way, changes in inside.items():
            if changes:
                params[way] = changed(way, params.get(way, before[way]), changes)
        super().set_params(**params)
        if any(name not in KEPT and value != before[name] for name, value in params.items()):
            vars(self).pop("fitted_", None)
        return self

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | Path | None = None, verbose: bool = False,
        on_validation: Callable[[dict[str, Any]], None] | None = None, **roles: Any,
    ) -> "Estimator":
        """Learns from a frame; see the two kinds of estimators."""
        raise NotImplementedError(f"{type(self).__name__} has no fit.")

    def predict(
        self, X: Any = None, *, h: int | np.integer | None = None, future: Any = None, level: Levels | None = None,
        quantiles: Levels | None = None, samples: int | None = None, **unknown: Any,
    ) -> Any:
        """Forecasts the next `h` steps of each series.

        Args:
            X: A table or Frame, after whose end it forecasts; None is the end of what it was fitted on.
            h: Fewer steps than it was made for: the first ones of the same forecast.
            future: `unique_id, ds` and the covariates known ahead, for all the steps it was made for.
            level: Percents of intervals, as in `[80, 95]`.
            quantiles: Levels of single quantiles, as in `[0.1]`.
            samples: So many paths of each series in the place of one forecast, told apart by a column `sample`; of
                models that make paths.
            unknown: Nothing else; a word of another library gets an error that names ours.

        Returns:
            `unique_id, ds, (target,) TimesNet, TimesNet-lo-80, ...` in the kind of table that came in and in the
            user's units.

        Raises:
            NotFittedError: `fit` was not called.
            FrameError: the table lacks what the model was fitted with.
            CalibrationError: too few calibration windows for a level.
            CapabilityError: `samples` of a model that makes no paths; names those that do.
            UnknownArgumentError: there is no such argument.
        """
        for name in unknown:
            known = ("h", "future", "level", "quantiles", "samples")
            raise unknown_argument(f"{type(self).__name__}.predict", name, known)
        fitted = self._fitted()
        full, h = self._steps(), self._steps(h)
        frame = fitted.context if X is None else self._read(X)
        store = build_store(frame, ahead=full, known=self._known(future))
        series, rows = np.arange(len(store.ids)), store.ends - 1
        if samples is not None:
            if level is not None or quantiles is not None:
                raise ArgumentError("predict(samples=...) gives the paths; level= and quantiles= are another call.")
            paths = self._paths(store, series, rows, samples)
            return frame.give_back(path_frame(check_column(self.name), paths[:, :, :h], store, series, rows))
        outputs = self._outputs if X is not None else self._outputs_of_context
        columns = self._columns(outputs, store, series, rows, check_levels(level), check_quantiles(quantiles))
        table = forecast_frame(store, series, rows, {name: values[:, :h] for name, values in columns.items()})
        return frame.give_back(table)

    def predict_at(
        self,
        X: Any,
        cutoffs: pl.DataFrame,
        *,
        level: Levels = (),
        quantiles: Levels = (),
    ) -> pl.DataFrame:
        """Forecasts after each of `cutoffs` (`unique_id, cutoff`), beside the truth `y`; a forecast sees nothing later.

        On irregular rows it goes on from the last row at or before a cutoff, whose time is the `cutoff` that comes out.

        Raises:
            NotFittedError: `fit` was not called.
            FrameError: no cutoff lies inside its series.
        """
        self._fitted()
        store = build_store(self._read(X), ahead=self._steps(), open_ended=True)
        series, rows = cutoff_rows(store, cutoffs)
        if not len(rows):
            raise FrameError(f"None of {len(cutoffs)} cutoffs lies between the first and the last row of its series.")
        columns = self._columns(
            self._outputs, store, series, rows, check_levels(level), check_quantiles(quantiles)
        )
        return forecast_frame(store, series, rows, columns, with_cutoff=True, truth=True)

    def generate(self, n: int = 100, length: int | None = None, *, seed: int | None = None) -> pl.DataFrame:
        """Series that were never seen, like those it was fitted on; of models that make paths.

        Args:
            n: How many.
            length: Steps of each; None is `h`. Longer ones go on from themselves.
            seed: Of the draws; None is that of the model. Series i is the same for every n.

        Returns:
            `unique_id` "path-0", ..., `ds` 0, 1, ... and the targets in the user's units: a table to fit on. Score it
            with `tsforge.evaluation.generation_scores`, and always look at independence.

        Raises:
            CapabilityError: the model makes no paths; names those that do.
            NotFittedError: `fit` was not called.
            ArgumentError: a number is below 1.
        """
        raise no_paths("generate", type(self).__name__)

    def update(self, X: Any) -> "Estimator":
        """Reads rows that follow those it knows, at a cost that does not depend on how many it knows.

        `predict()` forecasts after them then, as it would if it read every series from its start. Series that were
        not there begin. Of models made with `streaming=True`.

        Args:
            X: A table with the columns of the fitted one, or a Frame. Absent rows are missing steps.

        Raises:
            CapabilityError: the model does not stream; names those that do.
            NotFittedError: `fit` was not called.
            FrameError: a column is missing, a row does not follow the known ones, or a stamp lies off the grid.
        """
        raise refusal(self)

    def cross_validation(
        self, X: Any, *, n_windows: int = 1, step_size: int | None = None, refit: bool | int = False,
        level: Levels | None = None, quantiles: Levels | None = None, **roles: Any,
    ) -> Any:
        """Forecasts of a clone, fitted on rows up to the first cutoff, beside the truth; see `tsforge.backtest`."""
        return backtest(
            [self], X, n_windows=n_windows, step_size=step_size, refit=refit, level=level, quantiles=quantiles, **roles
        )

    def score(self, X: Any, y: Any = None) -> float:
        """Minus the mean squared error, in scaled units, of the `h` steps after the training rows; greater is better.

        Raises:
            FrameError: `X` lacks the last training rows, or rows after them.
        """
        fitted, h = self._fitted(), self._steps()
        store = build_store(self._read(X), ahead=h, open_ended=True)
        series, rows = cutoff_rows(store, self.trained_until().rename({"ds": "cutoff"}))
        truth = truth_of(store, series, rows, h)
        if np.isnan(truth).all():
            raise FrameError(
                f"score: no series has both its last training row and an observed value in the {h} steps after "
                "it. Give the rows that the model was fitted on together with those that follow."
            )
        outputs = self._outputs(store, series, rows)
        point, _ = fitted.law.read(outputs.values.astype(np.float64))
        return -float(mse((truth - outputs.loc[:, None]) / outputs.scale[:, None], point))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Writes a run folder: safetensors, JSON and arrow, no pickle.

        Raises:
            OutputExistsError: the folder exists and `overwrite` was not given.
        """
        self._fitted().write(Path(path), recorded_arguments(self), self.to_recipe(), overwrite=overwrite)
        return Path(path)

    def to_recipe(self) -> dict[str, Any]:
        """The arguments as the parts of a recipe: `model`, `train`; `encoder`, `context`, `task` where there are any.

        `from_recipe` is the inverse.
        """
        arguments = {
            name: list(v) if isinstance(v, tuple) else v for name, v in recorded_arguments(self).items()
        }
        train = {name: arguments.pop(name) for name in list(arguments) if name in self._training_names()}
        ways = {way: arguments.pop(way) for way in (*WAYS, "task") if way in arguments}
        if ways.get("task") == "forecast":
            del ways["task"]
        elif arguments["h"] is None:
            del arguments["h"]
        return {
            "model": {"name": self.key, **arguments},
            **{way: spec for way, spec in ways.items() if spec is not None},
            "train": train,
        }

    def lookback(self, frame: Frame) -> int:
        """Steps that a training window on this frame sees."""
        return 1

    def _columns(
        self, outputs: Callable[..., Outputs], store: Store, series: np.ndarray, rows: np.ndarray, level: tuple,
        quantiles: tuple,
    ) -> dict[str, np.ndarray]:
        name, o = check_column(self.name), outputs(store, series, rows)
        return self._fitted().law.columns(name, o.values, o.known, o.loc, o.scale, level, quantiles)

    def _paths(self, store: Store, series: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
        """[window, n, h, channel] in the user's units."""
        raise no_paths("predict(samples=...)", type(self).__name__)

    def _outputs(self, store: Store, series: np.ndarray, rows: np.ndarray) -> Outputs:
        raise NotImplementedError(f"{type(self).__name__} makes no outputs.")

    def _outputs_of_context(self, store: Store, series: np.ndarray, rows: np.ndarray) -> Outputs:
        """The outputs after the rows it knows; `store` holds the last of them."""
        return self._outputs(store, series, rows)

    @classmethod
    def _training_names(cls) -> tuple[str, ...]:
        raise NotImplementedError(f"{cls.__name__} has no training arguments.")

    def _fitted(self) -> Fitted:
        if not hasattr(self, "fitted_"):
            raise NotFittedError(f"This {type(self).__name__} is not fitted: call fit(frame) first.")
        return self.fitted_

    def _steps(self, h: int | np.integer | None = None) -> int:
        if h is None:
            return int(self.h)
        if isinstance(h, bool) or not isinstance(h, int | np.integer) or not 1 <= h <= self.h:
            raise ArgumentError(
                f"predict(h={h!r}): this {type(self).__name__} was made for h={self.h} and can be cut to 1..{self.h}. "
                "No model here forecasts further than it was fitted for; fit one with a larger h."
            )
        return int(h)

    def _known(self, future: Any) -> pl.DataFrame | None:
        if future is None:
            return None
        schema = self._fitted().schema
        if not schema.future:
            raise FrameError("future=: this model was fitted without covariates that are known ahead. Leave it out.")
        if isinstance(future, Frame):
            raise FrameError("future=: what is known ahead has no target, so it is no Frame: give the plain table.")
        table, _ = to_polars(future)
        require(table.columns, [schema.time_col, *([schema.id_col] if schema.id_col else []), *schema.future], "future")
        ids = (
            pl.lit("series")
            if schema.id_col is None
            else pl.col(schema.id_col).cast(self._fitted().preparation.ids.dtype, strict=False)
        )
        times = read_times(table[schema.time_col], schema.time_col)
        known = read_values(table.select(ids.alias("unique_id"), times.alias("ds"), *schema.future), schema.future)
        return widened(known, schema.future, schema.channel_ids) if schema.channels_from else known

    def _read(self, X: Any) -> Frame:
        """The frame to forecast from, with the roles of the one that was fitted."""
        schema = self._fitted().schema
        frame = as_frame(X, schema)
        if not schema.static:
            frame = frame.without_offered()
        if schema.channel_ids != frame.schema.channel_ids:
            refuse_other_channels(schema.channel_ids, frame.schema.channel_ids)
        for role in ("targets", "past", "future", "static", "calendar"):
            wanted, given = getattr(schema, role), getattr(frame.schema, role)
            if wanted != given:
                raise FrameError(f"{role}: the model was fitted with {list(wanted)}, this frame has {list(given)}.")
        for role in ("freq", "grid", *(["encoding"] if schema.calendar else [])):
            wanted, given = getattr(schema, role), getattr(frame.schema, role)
            if wanted != given:
                raise FrameError(f"{role}: the model was fitted with {wanted!r}, this frame has {given!r}.")
        return frame

    def _frame(self, X: Any, roles: dict[str, Any], *, ahead: bool = True) -> Frame:
        """The frame to learn from, once `h` (where there is a horizon), the name and the roles are seen to be such."""
        if ahead:
            check_h(self.h)
        check_column(self.name)
        for role in roles:
            if role not in KNOWN:
                raise unknown_argument(f"{type(self).__name__}.fit", role, KNOWN)
        return as_frame(X, **roles)


def recorded_arguments(model: Estimator) -> dict[str, Any]:
    """The arguments of an estimator as a file holds them: a class in the place of an encoder by its name."""
    return {name: recorded(value) if name in WAYS else value for name, value in model.get_params(deep=False).items()}
