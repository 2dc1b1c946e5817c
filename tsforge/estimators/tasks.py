"""TaskDeep: the estimator of a neural model that does more than forecast: it imputes, finds anomalies, or classifies.

A task is asked for at construction, `TimesNet(task="imputation", input_size=96)`, and answered by its own method. There
is no horizon then, so no `h`.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.batch import Batch
from tsforge.data.posed import HiddenWindows
from tsforge.data.prepare import Prepared, prepare
from tsforge.data.store import Store, build_store
from tsforge.data.windows import CutoffRanges, Cutoffs, Windows
from tsforge.errors import ArgumentError, CapabilityError, FrameError
from tsforge.estimators.answers import classes_table, errors_of, imputed, step_scores, tiles, untiled
from tsforge.estimators.base import Estimator
from tsforge.estimators.deep import Deep, sizes_of
from tsforge.estimators.fitted import Fitted, fingerprint_of
from tsforge.estimators.posing import Posed, classification, labels_of, lookback_of, reconstruction
from tsforge.evaluation.interpolation import interpolated
from tsforge.evaluation.intervals import Law
from tsforge.frame.frame import Frame
from tsforge.models import MODELS
from tsforge.models.base import Model
from tsforge.training.fit import Trained, dtype_of
from tsforge.training.keys import key
from tsforge.training.loader import evaluation_batch
from tsforge.training.predict import as_array, device_for, network_outputs
from tsforge.training.specs import Plugs
from tsforge.training.tasks import Anomaly, Classification, Imputation, Task, TaskSpec, read_task

log = logging.getLogger("tsforge")

MOST_ERRORS = 100_000  # of a detector that are kept: quantiles up to 0.99999 are those of all


class TaskDeep(Deep):
    """Fits a network for one of the tasks on its card."""

    task: TaskSpec

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | Path | None = None, verbose: bool = False,
        on_validation: Callable[[dict[str, Any]], None] | None = None, **roles: Any,
    ) -> Estimator:
        """Learns from a frame what its task asks for; the arguments are those of a forecaster's `fit`.

        For classification the frame has `labels=`, one row for each series; `val_size` is the share of the series that
        is held back, of each class alike, and all series have one scaling.

        Raises:
            CapabilityError: the model does not do this task.
            FrameError: the table cannot be read, no series is long enough, or there are no labels of two classes.
        """
        task = self._task()
        if task.name == "forecast":
            return super().fit(X, y, checkpoint=checkpoint, verbose=verbose, on_validation=on_validation, **roles)
        plugs = self._plugs()
        frame = self._admitted(self._frame(X, roles, ahead=False), plugs)
        store = build_store(frame)
        input_size = self._window(task, store)
        posed = self._posed(task, frame, store, input_size, plugs)
        sizes = {"h": 0, "input_size": input_size, **sizes_of(posed.preparation, posed.prepared), "task": task.name}
        sizes |= {"classes": len(posed.classes)} if posed.classes else {}
        digest = fingerprint_of(store)
        asked = f"{digest} {task.plain()} {posed.codes}"  # a checkpoint goes on with the same question alone
        trained = self._train(
            sizes, posed.loss, posed.train, posed.stop, plugs, asked, checkpoint=checkpoint, verbose=verbose,
            on_validation=on_validation,
        )
        self.fitted_ = self._learned(frame, store, posed, sizes, trained, digest)
        if isinstance(task, Anomaly):
            errors = step_scores(*self._reconstructed(store))
            self.fitted_ = replace(self.fitted_, errors=_thinned(np.sort(errors[np.isfinite(errors)])))
        return self

    def impute(self, X: Any) -> Any:
        """The frame with every missing step and value filled in; what was observed comes back as it was.

        Windows stand one after another, and what a window lacks is told by the rest of it, on both sides.

        Args:
            X: A table with the columns of the fitted one, or a Frame.

        Returns:
            `unique_id, ds` and the targets, one row for each step, in the kind of table that came in and in its units.

        Raises:
            CapabilityError: it was made for another task.
            NotFittedError: `fit` was not called.
            FrameError: the table lacks what the model was fitted with.
        """
        self._asked(Imputation)
        frame = self._read(X)
        store = build_store(frame)
        return frame.give_back(imputed(store, *self._reconstructed(store)))

    def score_anomalies(self, X: Any, *, quantile: float | int | None = None) -> Any:
        """How badly each step is reconstructed, and whether that is anomalous.

        Args:
            X: A table with the columns of the fitted one, or a Frame.
            quantile: Another level of the scores of the rows it was fitted on than the task's.

        Returns:
            `unique_id, ds, score, anomaly`: the mean over observed targets of the squared error, in units of their
            scaling; null where nothing was observed. In the kind of table that came in.

        Raises:
            CapabilityError: it was made for another task.
            NotFittedError: `fit` was not called.
            ArgumentError: `quantile` is no level.
            FrameError: the table lacks what the model was fitted with.
        """
        self._asked(Anomaly)
        frame = self._read(X)
        threshold = self.threshold(quantile)
        return frame.give_back(self._scored(build_store(frame)).with_columns(anomaly=pl.col("score") > threshold))

    def step_scores_of(self, frame: Frame) -> pl.DataFrame:
        """`unique_id, ds, score` of a Frame as polars, under these names whatever the user's are."""
        self._asked(Anomaly)
        return self._scored(build_store(self._read(frame)))

    def _scored(self, store: Store) -> pl.DataFrame:
        scores = step_scores(*self._reconstructed(store))
        rows = np.arange(len(scores))
        series = store.series_of(rows)
        stamps, score = store.stamps(series, rows), pl.Series(scores, nan_to_null=True)
        return pl.DataFrame({"unique_id": store.ids.gather(series), "ds": stamps, "score": score})

    def threshold(self, quantile: float | int | None = None) -> float:
        """The score above which a step is anomalous: a quantile of the scores of the rows it was fitted on.

        Raises:
            CapabilityError: it was made for another task.
            ArgumentError: `quantile` is no level.
        """
        level = Anomaly(self._asked(Anomaly).quantile if quantile is None else quantile).quantile
        errors = self._fitted().errors
        assert errors is not None
        return float(np.quantile(errors, level))

    def predict_class(self, X: Any) -> Any:
        """The class of each series, and the probability of each class.

        Args:
            X: A table with the columns of the fitted one, or a Frame; labels are not looked at.

        Returns:
            `unique_id, TimesNet, TimesNet-p-CLASS, ...`, one row for each series, in the kind of table that came in.

        Raises:
            CapabilityError: it was made for another task.
            NotFittedError: `fit` was not called.
            FrameError: the table lacks what the model was fitted with.
        """
        self._asked(Classification)
        frame = self._read(X)
        return frame.give_back(self._classes(frame))

    def score(self, X: Any, y: Any = None) -> float:
        """Greater is better: of a forecaster as for any, of a classifier the accuracy, else minus the squared error.

        Args:
            X: A Frame with labels for a classifier; for other tasks a table too.
            y: Not used.

        Raises:
            FrameError: `X` has no window, or no labels.
        """
        task = self._task()
        if task.name == "forecast":
            return super().score(X, y)
        if not isinstance(task, Classification):
            return -self.reconstruction_errors(X)["mse"]
        self._fitted()
        truth = labels_of(self._read(X), task.label)
        guess = self._classes(X)[self.name].cast(truth.dtype)
        right = (truth == guess).drop_nulls()
        if not len(right):
            raise FrameError(f"score: no series has a {truth.name!r}.")
        return float(right.mean())  # pyright: ignore[reportArgumentType]

    def reconstruction_errors(self, X: Any) -> dict[str, float]:
        """`mse` and `mae` in scaled units over all windows of `X`, and the number of `cells` that were asked for.

        An imputer is asked for cells that are hidden by (seed, number of the window); a detector for all observed ones.

        Raises:
            CapabilityError: it was made for another task.
            FrameError: no series is as long as a window, or no cell was asked for.
        """
        task, law, arguments = self._asked(Imputation, Anomaly), self._fitted().law, self._train_arguments()
        windows = self._asked_windows(X, task.hidden if isinstance(task, Imputation) else 0.0)

        def points(batch: Batch) -> np.ndarray:
            return law.read(as_array(network(batch.to(device))).astype(np.float64))[0]

        device = device_for(arguments.accelerator)
        network = self._network.to(device).eval()
        return errors_of(points, windows, evaluation_batch(network, arguments.batch_size))

    def interpolation_errors(self, X: Any) -> dict[str, float]:
        """The same of linear interpolation inside each window, of the same cells: what an imputer has to beat."""
        windows = self._asked_windows(X, self._asked(Imputation).hidden)
        return errors_of(lambda batch: interpolated(batch.past.numpy(), batch.past_mask.numpy()), windows, 256)

    def _asked_windows(self, X: Any, hidden: float) -> HiddenWindows:
        store, size = build_store(self._read(X)), self._fitted().input_size
        prepared, seed = self._prepared(store), key(self._train_arguments().seed, "score")
        index, filled = CutoffRanges(store.starts + size - 1, store.ends), self.network.missing == "filled"
        windows = HiddenWindows(prepared, index, size, filled=filled, hidden=hidden, seed=seed)
        if not len(windows) or not (prepared.mask is None or bool(prepared.mask.any())):
            raise FrameError(f"No series has a window of {size} steps with an observed value: give longer ones.")
        return windows

    def _task(self) -> Task:
        task = read_task(self.task)
        if task.name not in self.network.tasks:
            others = [made.__name__ for made in (MODELS[name] for name in MODELS) if task.name in made.tasks]
            raise CapabilityError(f"{type(self).__name__} does not do {task.name}; {', '.join(others)} do.")
        if task.name != "forecast" and self.context:
            raise CapabilityError(f"context= bends a forecast, and {task.name} makes none: leave it out.")
        return task

    def _asked(self, *wanted: type[Task]) -> Any:
        """The task, if it is one of those that are asked for, and was fitted."""
        task = self._task()
        if not isinstance(task, wanted):
            raise CapabilityError(
                f"This {type(self).__name__} was made for {task.name}: ask {task.asked_by}, or fit one with "
                f"task={wanted[0].name!r}."
            )
        self._fitted()
        return task

    def _steps(self, h: int | np.integer | None = None) -> int:
        task = self._task()
        if task.name != "forecast":
            raise CapabilityError(f"This {type(self).__name__} was made for {task.name} and makes no forecast: ask "
                                  f"{task.asked_by}.")
        return super()._steps(h)

    def _window(self, task: Task, store: Store) -> int:
        """Steps of a window; said where nobody stated them."""
        size = self.input_size
        if size is not None and (isinstance(size, bool) or not isinstance(size, int | np.integer) or size < 1):
            raise ArgumentError(f"input_size={size!r}: wanted a number of steps, 1 or more, or None.")
        found = lookback_of(task, None if size is None else int(size), store)
        if size is None:
            which = "the longest series" if isinstance(task, Classification) else "where nothing is stated"
            log.info(f"input_size is {found}, {which}; input_size= states another.")
        return found

    def _posed(self, task: Task, frame: Frame, store: Store, input_size: int, plugs: Plugs) -> Posed:
        ways = {"filled": self.network.missing == "filled", "ids": plugs.reads_static}
        if isinstance(task, Classification):
            return classification(task, frame, store, self._train_arguments(), input_size, **ways)
        return reconstruction(task, store, self._train_arguments(), input_size, **ways)

    def _learned(
        self, frame: Frame, store: Store, posed: Posed, sizes: dict[str, Any], trained: Trained, digest: str
    ) -> Fitted:
        until = store.stamps(np.arange(len(store.ids)), store.ends - 1).alias("ds")
        return Fitted(
            "deep", self.key, frame.schema, sizes["input_size"], sizes, posed.preparation, until,
            Law(posed.loss.quantiles, {}), frame.last_steps(1), trained.network, trained.history, trained.steps,
            trained.best_step, digest, classes=posed.classes,
        )

    @property
    def _network(self) -> Model:
        network = self._fitted().predictor
        assert isinstance(network, Model)
        return network

    def _prepared(self, store: Store) -> Prepared:
        ids, dtype = self._network.reads_ids, dtype_of(self._train_arguments().precision)
        return prepare(store, self._fitted().preparation, dtype=dtype, ids=ids)

    def _answers(self, store: Store, prepared: Prepared, index: Cutoffs) -> np.ndarray:
        """What the network says of windows that end at these rows."""
        fitted, arguments = self._fitted(), self._train_arguments()
        filled = self.network.missing == "filled"
        windows = Windows(prepared, index, fitted.input_size, 0, filled=filled, targets=False)
        return network_outputs(self._network, windows, arguments.batch_size, arguments.accelerator)

    def _reconstructed(self, store: Store) -> tuple[Prepared, np.ndarray]:
        """The scaled rows of a store, and [row, channel] what the network makes of them."""
        fitted, prepared = self._fitted(), self._prepared(store)
        index = tiles(store, fitted.input_size)
        point, _ = fitted.law.read(self._answers(store, prepared, index).astype(np.float64))
        return prepared, untiled(point, index, store)

    def _classes(self, X: Any) -> pl.DataFrame:
        store = build_store(self._read(X))
        scores = self._answers(store, self._prepared(store), Cutoffs(np.arange(len(store.ids)), store.ends - 1))
        return classes_table(self.name, store.ids, self._fitted().classes, scores)


def _thinned(ascending: np.ndarray) -> np.ndarray:
    """So many of them at most, evenly spread, the least and the greatest among them."""
    if len(ascending) <= MOST_ERRORS:
        return ascending
    return ascending[np.linspace(0, len(ascending) - 1, MOST_ERRORS).round().astype(np.int64)]
