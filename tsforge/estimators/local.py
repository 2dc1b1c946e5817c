"""Local: the estimator of a per-series model."""

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from tsforge.data.prepare import Preparation
from tsforge.data.splits import Parts, held_back_cutoffs, split_rows
from tsforge.data.store import Store, build_store
from tsforge.errors import CapabilityError
from tsforge.estimators.base import Estimator, Outputs, truth_of
from tsforge.estimators.fitted import Fitted, fingerprint_of
from tsforge.estimators.parameters import own_arguments
from tsforge.evaluation.intervals import Law
from tsforge.frame.frame import Frame
from tsforge.local.base import LocalModel
from tsforge.scaling import fit_scaling

LOCAL_TRAINING: dict[str, Any] = {"val_size": 0.1, "alias": None}


class Local(Estimator):
    """Forecasts each series by itself. Covariates are left unread.

    `val_size`: last steps of each series (int), or a share (float), whose residuals calibrate intervals.
    """

    network: ClassVar[type[LocalModel]]
    val_size: float | int | None

    def fit(self, X: Any, y: Any = None, *, checkpoint: Any = None, verbose: bool = False, **roles: Any) -> "Estimator":
        """Learns from a frame; what an earlier fit learned is forgotten.

        Args:
            X: A table or Frame.
            y: Not used; scikit-learn passes it.
            checkpoint: Not needed: a local model has no training to go on with.
            verbose: Not needed either.
            roles: Keywords of `Frame` for a plain table.

        Raises:
            FrameError: the table cannot be read.
            CapabilityError: the frame has irregular steps.
            UnknownArgumentError: a frame has no such role.
        """
        frame, h = self._frame(X, roles).without_covariates(), self._steps()
        if frame.schema.irregular:
            raise CapabilityError(
                f"{type(self).__name__} does not take irregular steps: give Frame(..., resample='1h', how='last')."
            )
        store = build_store(frame)
        sizes = {"h": h, **self._own(frame.season)}
        model = self.network(**sizes)
        parts = split_rows(store, h, self.val_size, 0.0)
        preparation = Preparation(
            store.ids,
            "standard",
            "series",
            fit_scaling(store.values, store.starts, parts.train, "standard"),
            None,
            None,
            None,
        )
        until = store.stamps(np.arange(len(store.ids)), store.ends - 1).alias("ds")
        self.fitted_ = Fitted("local", self.key, frame.schema, model.lookback, sizes, preparation, until, Law((), {}),
                              frame.since_observed(model.lookback), model, [], 0, None, fingerprint_of(store))
        self.fitted_ = replace(self.fitted_, law=self._calibrated(store, parts, h))
        return self

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
        model = fitted.predictor
        assert isinstance(model, LocalModel)
        values = np.empty((len(series), self._steps(), store.values.shape[1]))
        known = fitted.preparation.series_in(store.ids)
        loc, scale = (part.copy() for part in fitted.preparation.targets.of(np.maximum(known, 0)))
        order = np.argsort(series, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(series[order])) + 1) if len(order) else ():
            s = series[mine[0]]
            history = store.values[store.starts[s] : rows[mine].max() + 1]
            values[mine] = model.forecast(history, rows[mine] - store.starts[s])
            if known[s] < 0:
                until = int(rows[mine].min()) + 1
                own = fit_scaling(store.values, store.starts[s : s + 1], np.array([until]), "standard")
                loc[s], scale[s] = own.loc[0], own.scale[0]
        scaled = (values - loc[series][:, None]) / scale[series][:, None]
        return Outputs(scaled[..., None], known[series], loc[series], scale[series])

    def _read(self, X: Any) -> Frame:
        return super()._read(X.without_covariates() if isinstance(X, Frame) else X)

    def _known(self, future: Any) -> None:
        """Covariates are left unread."""

    def _own(self, season: int) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in own_arguments(self.network)}
        return own | ({"season": season} if own.get("season", 1) is None else {})

    @classmethod
    def _training_names(cls) -> tuple[str, ...]:
        return tuple(LOCAL_TRAINING)
