"""Deep: the estimator of a neural forecaster."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import polars as pl

from tsforge.data.prepare import Preparation, Prepared, prepare
from tsforge.data.splits import Parts, held_back_cutoffs, split_rows, training_cutoffs
from tsforge.data.store import Store, build_store
from tsforge.data.windows import Cutoffs, Windows
from tsforge.errors import ArgumentError
from tsforge.estimators.base import Estimator
from tsforge.estimators.checks import check_card
from tsforge.estimators.fitted import Fitted, fingerprint_of
from tsforge.estimators.outputs import Outputs
from tsforge.estimators.parameters import own_arguments
from tsforge.estimators.paths import Sampler, check_count, generated_frame, seeds_of
from tsforge.estimators.streaming import outputs_from, refusal, states_of, updated
from tsforge.evaluation.backtest import check_column
from tsforge.evaluation.intervals import Law
from tsforge.frame.frame import Frame
from tsforge.frame.schema import list_names
from tsforge.losses.base import Loss
from tsforge.losses.spec import make_loss
from tsforge.models import MODELS
from tsforge.models.base import Model
from tsforge.training.arguments import TRAINING, TrainArguments
from tsforge.training.fit import Trained, dtype_of, fit_network
from tsforge.training.predict import network_outputs
from tsforge.training.specs import Plugs, read_plugs

log = logging.getLogger("tsforge")


class Deep(Estimator):
    """Fits a network on the windows of a frame, and forecasts with it."""

    network: ClassVar[type[Model]]
    input_size: int | None
    context: Any  # one spec of an encoder, or several

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: str | Path | None = None, verbose: bool = False,
        on_validation: Callable[[dict[str, Any]], None] | None = None, **roles: Any,
    ) -> "Estimator":
        """Learns from a frame; what an earlier fit learned is forgotten.

        Args:
            X: A table or Frame.
            y: Not used; scikit-learn passes it.
            checkpoint: Folder in which the state of training is kept; a checkpoint that is there is gone on from.
            verbose: Shows progress on standard error.
            on_validation: Called after each validation with its row of `history_`; what it raises ends the training.
            roles: Keywords of `Frame` for a plain table.

        Raises:
            FrameError: the table cannot be read, or no series is long enough.
            ArgumentError: an argument has a value that cannot work.
            CapabilityError: the frame has what the model cannot take, or the encoder is not of a kind that it takes.
            UnknownNameError: there is no such encoder.
            UnknownArgumentError: a frame has no such role, or an encoder no such argument.
            TrainingError: the loss is not finite.
        """
        frame, arguments, plugs, h = self._frame(X, roles), self._train_arguments(), self._plugs(), self._steps()
        frame = self._admitted(frame, plugs)
        loss, input_size = make_loss(arguments.loss), self.lookback(frame)
        if self.input_size is None:
            log.info(
                f"input_size is {input_size}: 2 h rounded up to a season of {frame.season}; input_size= states another."
            )
        store = build_store(frame)
        parts = split_rows(store, h, arguments.val_size, arguments.calibration_share, input_size)
        preparation = Preparation.fit(store, parts.train, arguments.scaler, arguments.scaler_scope)
        prepared = prepare(store, preparation, dtype=dtype_of(arguments.precision), ids=plugs.reads_static)
        train, stop, calibrate = self._windows(prepared, parts, input_size, arguments, store)
        sizes = {"h": h, "input_size": input_size, **sizes_of(preparation, prepared)}
        digest = fingerprint_of(store)
        trained = self._train(
            sizes, loss, train, stop, plugs, digest, checkpoint=checkpoint, verbose=verbose, on_validation=on_validation
        )
        law = self._calibrated(Law(loss.quantiles, {}), trained.network, calibrate, store, arguments)
        until = store.stamps(np.arange(len(store.ids)), store.ends - 1).alias("ds")
        self.fitted_ = Fitted(
            "deep",
            self.key,
            frame.schema,
            input_size,
            sizes,
            preparation,
            until,
            law,
            frame.last_steps(1 if trained.network.streaming else input_size),
            trained.network,
            trained.history,
            trained.steps,
            trained.best_step,
            digest,
            stream=states_of(trained.network, prepared, store.ends, arguments.accelerator),
        )
        return self

    def _admitted(self, frame: Frame, plugs: Plugs) -> Frame:
        """The frame, without the static columns that are offered and not read, once the card is seen to allow it."""
        static_read = "static" in self.network.covariates or plugs.reads_static
        if not static_read and frame.offered and frame.static is not None:
            left = list_names(frame.schema.static)
            log.info(f"{type(self).__name__} takes no static covariates; {left} of the dataset are left out.")
            frame = frame.without_offered()
        check_card(self.network, frame, models_able(), static_read=static_read)
        return frame

    def _train(
        self, sizes: dict[str, Any], loss: Loss, train: Windows, stop: Windows, plugs: Plugs, digest: str, *,
        checkpoint: str | Path | None, verbose: bool, on_validation: Callable[[dict[str, Any]], None] | None,
    ) -> Trained:
        from tsforge.training.progress import watching

        arguments = self._train_arguments()
        with watching(arguments, len(train), verbose, on_validation) as watcher:
            return fit_network(
                self.network, sizes, self._own(), loss, arguments, train, stop, plugs=plugs,
                checkpoint=None if checkpoint is None else Path(checkpoint), watcher=watcher, data=digest,
            )

    def update(self, X: Any) -> "Estimator":
        """As for any estimator; the rows are read on from the states that the network is in."""
        if not getattr(self, "streaming", False):
            raise refusal(self)
        fitted, arguments = self._fitted(), self._train_arguments()
        frame = self._read(X) if isinstance(X, Frame) else X
        self.fitted_ = updated(fitted, frame, dtype_of(arguments.precision), arguments.accelerator)
        return self

    def _windows(
        self, prepared: Prepared, parts: Parts, input_size: int, arguments: TrainArguments, store: Store
    ) -> list[Windows]:
        ranges = [
            training_cutoffs(parts, input_size, self._steps(), arguments.short, store.ids),
            *held_back_cutoffs(parts, self._steps()),
        ]
        dropped = int((ranges[0].counts() == 0).sum())
        if dropped:
            log.info(
                f"{dropped} of {len(store.ids)} series are too short for a training window and are left out."
            )
        whole = int(((parts.end == parts.train) & (ranges[0].counts() > 0)).sum())
        if whole and arguments.val_size:
            log.info(f"{whole} of {len(store.ids)} series are too short to hold steps back and train only.")
        filled = self.network.missing == "filled"
        return [Windows(prepared, index, input_size, self._steps(), filled=filled) for index in ranges]

    def _calibrated(self, law: Law, network: Model, windows: Windows, store: Store, arguments: TrainArguments) -> Law:
        if not len(windows):
            return law
        outputs = network_outputs(network, windows, arguments.batch_size, arguments.accelerator)
        numbers = np.arange(len(windows))
        series, _ = windows.index.locate(numbers)
        return law.fit_scores(outputs, windows.truth(numbers), series, len(store.ids))

    def _outputs(self, store: Store, series: np.ndarray, rows: np.ndarray) -> Outputs:
        fitted, arguments = self._fitted(), self._train_arguments()
        assert isinstance(fitted.predictor, Model)
        prepared, windows = self._windows_at(store, series, rows)
        values = network_outputs(fitted.predictor, windows, arguments.batch_size, arguments.accelerator)
        return Outputs(values, prepared.known.numpy()[series], prepared.loc[series], prepared.scale[series])

    def _columns(
        self, outputs: Callable[..., Outputs], store: Store, series: np.ndarray, rows: np.ndarray, level: tuple,
        quantiles: tuple,
    ) -> dict[str, np.ndarray]:
        if not self.network.samples or not (level or quantiles):
            return super()._columns(outputs, store, series, rows, level, quantiles)
        name, o, sampler = check_column(self.name), outputs(store, series, rows), self._sampler(store, series, rows)[1]
        return self._fitted().law.columns(
            name, o.values, o.known, o.loc, o.scale, level, quantiles, paths=sampler.quantiles
        )

    def generate(self, n: int = 100, length: int | None = None, *, seed: int | None = None) -> pl.DataFrame:
        """As for any estimator; of models that make paths."""
        if not self.network.samples:
            return super().generate(n, length, seed=seed)
        fitted, arguments = self._fitted(), self._train_arguments()
        n, length = check_count("n", n), check_count("length", self.h if length is None else length)
        return generated_frame(fitted, n, length, arguments.seed if seed is None else seed, arguments.accelerator)

    def _paths(self, store: Store, series: np.ndarray, rows: np.ndarray, n: int) -> np.ndarray:
        if not self.network.samples:
            return super()._paths(store, series, rows, n)
        prepared, sampler = self._sampler(store, series, rows)
        loc, scale = (part[series][:, None, None] for part in (prepared.loc, prepared.scale))
        return sampler.paths(check_count("samples", n)) * scale + loc

    def _sampler(self, store: Store, series: np.ndarray, rows: np.ndarray) -> tuple[Prepared, Sampler]:
        fitted, arguments = self._fitted(), self._train_arguments()
        assert isinstance(fitted.predictor, Model)
        prepared, windows = self._windows_at(store, series, rows)
        seeds = seeds_of(arguments.seed, store, series, rows)
        return prepared, Sampler(fitted.predictor, windows, seeds, arguments.accelerator)

    def _windows_at(self, store: Store, series: np.ndarray, rows: np.ndarray) -> tuple[Prepared, Windows]:
        fitted, arguments = self._fitted(), self._train_arguments()
        until = store.ends.copy()
        np.minimum.at(
            until, series, rows + 1
        )  # a series unseen in training is scaled by what lies before its first cutoff
        assert isinstance(fitted.predictor, Model)
        prepared = prepare(store, fitted.preparation, dtype=dtype_of(arguments.precision), until=until,
                           ids=fitted.predictor.reads_ids)
        windows = Windows(prepared, Cutoffs(series, rows), fitted.input_size, self._steps(),
                          filled=self.network.missing == "filled", targets=False)
        return prepared, windows

    def _outputs_of_context(self, store: Store, series: np.ndarray, rows: np.ndarray) -> Outputs:
        fitted, arguments = self._fitted(), self._train_arguments()
        if fitted.stream is None:
            return self._outputs(store, series, rows)
        prepared = prepare(store, fitted.preparation, dtype=dtype_of(arguments.precision))
        values = outputs_from(fitted, prepared, series, rows, arguments.accelerator)
        return Outputs(values, prepared.known.numpy()[series], prepared.loc[series], prepared.scale[series])

    def lookback(self, frame: Frame) -> int:
        """`input_size`, or 2 h rounded up to a season.

        Raises:
            ArgumentError: `input_size` is no number of steps.
        """
        if self.input_size is None:
            return -(-2 * self.h // frame.season) * frame.season
        if (
            isinstance(self.input_size, bool)
            or not isinstance(self.input_size, int | np.integer)
            or self.input_size < 1
        ):
            raise ArgumentError(f"input_size={self.input_size!r}: wanted a number of past steps, 1 or more, or None.")
        return int(self.input_size)

    def _own(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in own_arguments(self.network)}

    def _plugs(self) -> Plugs:
        return read_plugs(self.network, getattr(self, "encoder", None), self.context)

    def _train_arguments(self) -> TrainArguments:
        return TrainArguments(**{name: getattr(self, name) for name in TRAINING})

    @classmethod
    def _training_names(cls) -> tuple[str, ...]:
        return tuple(TRAINING)


def sizes_of(preparation: Preparation, prepared: Prepared) -> dict[str, Any]:
    """The arguments of a network that the columns of a frame give."""
    static = preparation.static
    return prepared.widths | {"static_cardinalities": () if static is None else static.cardinalities}


def models_able() -> dict[str, list[str]]:
    """Which models take past, future and static covariates, and irregular steps."""
    networks = [MODELS[name] for name in MODELS]
    able = {role: [n.__name__ for n in networks if role in n.covariates] for role in ("past", "future", "static")}
    return able | {"irregular": [n.__name__ for n in networks if n.irregular]}
