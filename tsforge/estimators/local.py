"""Local: the estimator of a per-series model."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from tsforge.data.prepare import Preparation
from tsforge.data.splits import Parts, held_back_cutoffs, split_rows
from tsforge.data.store import Store, build_store
from tsforge.errors import ArgumentError, CapabilityError, FrameError, TsforgeError
from tsforge.estimators.base import Estimator
from tsforge.estimators.fitted import Fitted, fingerprint_of
from tsforge.estimators.outputs import Outputs, truth_of
from tsforge.estimators.parameters import own_arguments
from tsforge.estimators.series_pool import check_workers, over_series
from tsforge.evaluation.intervals import Law
from tsforge.frame.frame import Frame
from tsforge.frame.schema import list_names
from tsforge.local.base import NOTHING, Covariates, LocalModel, State
from tsforge.local.packing import LocalFit
from tsforge.scaling import fit_scaling

LOCAL_TRAINING: dict[str, Any] = {"val_size": 0.1, "errors": "raise", "workers": None, "alias": None}
log = logging.getLogger("tsforge")


class Local(Estimator):
    """Forecasts each series by itself. Covariates that its model does not take are left unread.

    `val_size`: last steps of each series (int), or a share (float), whose residuals calibrate intervals.
    `errors`: `"raise"`, or `"collect"`: a series that fails is forecast as missing, and said.
    `workers`: processes; None takes one for each core where the model is slow and there are many series.
    """

    network: ClassVar[type[LocalModel]]
    val_size: float | int | None
    errors: str
    workers: int | None

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: Any = None, verbose: bool = False, on_validation: Any = None,
        **roles: Any,
    ) -> "Estimator":
        """Learns from a frame; what an earlier fit learned is forgotten.

        Args:
            X: A table or Frame.
            y: Not used; scikit-learn passes it.
            checkpoint: Not needed: a local model has no training to go on with.
            on_validation: Not called: there is no validation in between.
            verbose: Not needed either: a bar shows where many series are fitted on a terminal.
            roles: Keywords of `Frame` for a plain table.

        Raises:
            FrameError: the table cannot be read, or a series cannot be fitted (`errors="raise"`).
            ArgumentError: an argument has a value that cannot work.
            CapabilityError: the frame has irregular steps.
            UnknownArgumentError: a frame has no such role.
        """
        if self.errors not in ("raise", "collect"):
            raise ArgumentError(f"errors={self.errors!r}: wanted 'raise' or 'collect'.")
        check_workers(self.workers)
        frame, h = self._frame(X, roles).without_covariates(self.network.covariates), self._steps()
        if frame.schema.irregular:
            raise CapabilityError(
                f"{type(self).__name__} does not take irregular steps: give Frame(..., resample='1h', how='last')."
            )
        sizes = {"h": h, **self._own(frame.season)}
        model = self.network(**sizes)
        store = build_store(frame)
        parts = split_rows(store, h, self.val_size, 0.0)
        scaling = fit_scaling(store.values, store.starts, parts.train, "standard")
        preparation = Preparation(store.ids, "standard", "series", scaling, None, None, None)
        states = self._states(model, store, np.arange(len(store.ids)), parts.train)
        until = store.stamps(np.arange(len(store.ids)), store.ends - 1).alias("ds")
        self.fitted_ = Fitted("local", self.key, frame.schema, model.lookback, sizes, preparation, until, Law((), {}),
                              frame.since_observed(model.lookback), LocalFit(model, states), [], 0, None,
                              fingerprint_of(store))
        self.fitted_ = replace(self.fitted_, law=self._calibrated(store, parts, h))
        return self

    def _states(
        self, model: LocalModel, store: Store, series: np.ndarray, ends: np.ndarray
    ) -> tuple[State | None, ...]:
        """What is learned of each of these series from its rows before its end."""
        if type(model).fit is LocalModel.fit:
            return (NOTHING,) * len(series)
        collect = self.errors == "collect"
        jobs = ((model, *_history(store, int(s), int(end)), collect) for s, end in zip(series, ends, strict=True))
        states: list[State | None] = []
        failed: list[str] = []
        answers = over_series(_learn, jobs, len(series), workers=self.workers, slow=model.slow)
        for s, (state, error) in zip(series, answers, strict=True):
            states.append(state)
            if error is not None:
                if not collect:
                    raise FrameError(
                        f"Series {store.ids[int(s)]!r}: {error} errors='collect' forecasts the other series."
                    )
                failed.append(f"{store.ids[int(s)]} ({error})")
        if failed:
            log.warning(f"{len(failed)} of {len(series)} series cannot be fitted and are forecast as missing: "
                        f"{list_names(failed)}")
        return tuple(states)

    def _calibrated(self, store: Store, parts: Parts, h: int) -> Law:
        index, _ = held_back_cutoffs(parts, h)
        if not len(index):
            return Law((), {})
        series, rows = index.locate(np.arange(len(index)))
        outputs = self._outputs(store, series, rows)
        truth = (truth_of(store, series, rows, h) - outputs.loc[:, None]) / outputs.scale[:, None]
        return Law((), {}).fit_scores(outputs.values, truth, series, len(store.ids))

    def _outputs(self, store: Store, series: np.ndarray, rows: np.ndarray) -> Outputs:
        fitted = self._fitted()
        learned_then = fitted.predictor
        assert isinstance(learned_then, LocalFit)
        model = learned_then.model
        known = fitted.preparation.series_in(store.ids)
        loc, scale = (part.copy() for part in fitted.preparation.targets.of(np.maximum(known, 0)))
        order = np.argsort(series, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(series[order])) + 1) if len(order) else []
        unseen = {int(series[mine[0]]): int(rows[mine].min()) + 1 for mine in groups if known[series[mine[0]]] < 0}
        learned = self._unseen(model, store, unseen)
        for s, until in unseen.items():
            own = fit_scaling(store.values, store.starts[s : s + 1], np.array([until]), "standard")
            loc[s], scale[s] = own.loc[0], own.scale[0]

        def jobs() -> Iterator[tuple[Any, ...]]:
            for mine in groups:
                s = int(series[mine[0]])
                state = learned[s] if known[s] < 0 else learned_then.states[known[s]]
                values, covariates = _history(store, s, int(rows[mine].max()) + 1)
                yield model, values, rows[mine] - store.starts[s], state, covariates

        values = np.empty((len(series), self._steps(), store.values.shape[1]))
        answers = over_series(_foresee, jobs(), len(groups), workers=self.workers, slow=model.slow)
        for mine, answer in zip(groups, answers, strict=True):
            values[mine] = answer
        scaled = (values - loc[series][:, None]) / scale[series][:, None]
        return Outputs(scaled[..., None], known[series], loc[series], scale[series])

    def _unseen(self, model: LocalModel, store: Store, until: dict[int, int]) -> dict[int, State | None]:
        """What is learned of series that were not there in training, from the rows before their first cutoff."""
        if until and type(model).fit is not LocalModel.fit:
            log.info(f"{len(until)} series were not there in training and are fitted now.")
        states = self._states(model, store, np.array([*until], dtype=int), np.array([*until.values()], dtype=int))
        return dict(zip(until, states, strict=True))

    def _read(self, X: Any) -> Frame:
        return super()._read(X.without_covariates(self.network.covariates) if isinstance(X, Frame) else X)

    def _known(self, future: Any) -> Any:
        return super()._known(future) if "future" in self.network.covariates else None

    def _own(self, season: int) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in own_arguments(self.network)}
        return own | ({"season": season} if own.get("season", 1) is None else {})

    @classmethod
    def _training_names(cls) -> tuple[str, ...]:
        return tuple(LOCAL_TRAINING)


def _history(store: Store, series: int, end: int) -> tuple[np.ndarray, Covariates]:
    """The rows of one series before `end`; what is known ahead goes on to the last row that the store has."""
    begin, last = int(store.starts[series]), int(store.offsets[series + 1])
    ahead = [np.asarray(part[begin:last], np.float64) for part in (store.future, store.calendar) if part is not None]
    known = np.concatenate(ahead, axis=1) if ahead else None
    past = None if store.past is None else np.asarray(store.past[begin:end], dtype=np.float64)
    return np.asarray(store.values[begin:end], dtype=np.float64), Covariates(past, known)


def _learn(
    model: LocalModel, values: np.ndarray, covariates: Covariates, collect: bool
) -> tuple[State | None, str | None]:
    try:
        return model.fit(values, covariates), None
    except TsforgeError as error:
        return None, f"{error}"
    except Exception as error:
        if not collect:
            raise
        return None, f"{type(error).__name__}: {error}"


def _foresee(
    model: LocalModel, values: np.ndarray, cutoffs: np.ndarray, state: State | None, covariates: Covariates
) -> np.ndarray:
    if state is None:
        return np.full((len(cutoffs), model.h, values.shape[1]), np.nan)
    return model.forecast(values, cutoffs, state, covariates)
