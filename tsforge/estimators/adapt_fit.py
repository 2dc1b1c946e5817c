"""What an adapted run learns: weights set, or trained on new data from those of the run on."""

import copy
import logging
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tsforge.data.prepare import Preparation, Prepared, prepare
from tsforge.data.splits import Parts, held_back_cutoffs, split_rows, training_cutoffs
from tsforge.data.store import Store, build_store
from tsforge.data.windows import Windows
from tsforge.encoders.adapter.base import Adapter
from tsforge.encoders.adapter.quantized import QuantizedAdapter
from tsforge.estimators.adapt_series import seen_until, with_store
from tsforge.estimators.deep import Deep
from tsforge.estimators.fitted import Fitted, fingerprint_of
from tsforge.estimators.parameters import own_arguments
from tsforge.evaluation.intervals import Law
from tsforge.losses.spec import make_loss
from tsforge.models.base import Model
from tsforge.training.arguments import TRAINING, TrainArguments
from tsforge.training.fit import Trained, dtype_of, fit_network
from tsforge.training.predict import network_outputs
from tsforge.training.progress import watching

log = logging.getLogger("tsforge")


@dataclass(frozen=True)
class Asked:
    """What `adapt` was asked for: the adapter, None where every weight trains, its arguments and those of training."""

    name: str
    made: type[Adapter] | None
    own: dict[str, Any]
    training: dict[str, Any]


def set_aside(model: Deep, known: Fitted, asked: Asked) -> Fitted:
    """Without data: the weights are set. Intervals stay where weights are rounded; composed runs have none."""
    network, adapter = _ready(model, asked)
    assert adapter is not None
    adapter.merge(network)
    law = known.law if isinstance(adapter, QuantizedAdapter) else Law(known.law.quantiles, {})
    network = network.cpu().eval().requires_grad_(False)
    return replace(known, predictor=network, law=law, grids=_grids(adapter))


def _ready(model: Deep, asked: Asked) -> tuple[Model, Adapter | None]:
    """A copy of the network in which what is to train requires gradients, and the adapter that it has."""
    network = copy.deepcopy(model.fitted_.predictor)
    assert isinstance(network, Model)
    if asked.made is None:
        return network.requires_grad_(True).train(), None
    weights = sum(weight.numel() for weight in network.parameters())
    adapter = asked.made(**asked.own)
    adapter.attach(network)
    log.info(f"{type(adapter).__name__}: {adapter.trainable_parameters()} numbers train, for {weights} weights.")
    return network.train(), adapter


def learned(model: Deep, known: Fitted, asked: Asked, X: Any, verbose: bool) -> Fitted:
    """With data: trained as any network is, from the weights of the run on."""
    frame, arguments = model._read(X), _arguments(model, asked)
    loss, store = make_loss(arguments.loss), build_store(frame)
    parts = split_rows(store, model.h, arguments.val_size, arguments.calibration_share, known.input_size)
    preparation = with_store(known.preparation, store, parts.train)
    assert isinstance(known.predictor, Model)
    prepared = prepare(store, preparation, dtype=dtype_of(arguments.precision), ids=known.predictor.reads_ids)
    train, stop, calibrate = _windows(model, prepared, parts, known.input_size, arguments, store)
    network, adapter = _ready(model, asked)
    make, own = model.network, {name: getattr(model, name) for name in own_arguments(model.network)}
    with watching(arguments, len(train), verbose) as watcher:
        trained = fit_network(make, known.sizes, own, loss, arguments, train, stop, watcher=watcher, ready=network)
    if adapter is not None:
        adapter.merge(trained.network)
    law = _calibrated(Law(loss.quantiles, {}), trained, calibrate, preparation, model, arguments)
    until = store.stamps(np.arange(len(store.ids)), store.ends - 1)
    return replace(
        known, preparation=preparation, law=law, context=frame.last_steps(known.input_size), predictor=trained.network,
        trained_until=seen_until(known.preparation, known.trained_until, store.ids, until), history=trained.history,
        steps=trained.steps, best_step=trained.best_step, fingerprint=fingerprint_of(store), grids=_grids(adapter),
    )


def _arguments(model: Deep, asked: Asked) -> TrainArguments:
    """The training arguments of the run, but on one device, and what was asked for."""
    given: dict[str, Any] = {name: getattr(model, name) for name in TRAINING}
    given |= {"max_steps": None, "max_epochs": None, "devices": 1, "strategy": "auto", "checkpoint_every": None}
    return TrainArguments(**given | asked.training)


def _windows(
    model: Deep, prepared: Prepared, parts: Parts, input_size: int, arguments: TrainArguments, store: Store
) -> list[Windows]:
    """Windows that train, that choose the weights, and that calibrate intervals."""
    ranges = [training_cutoffs(parts, input_size, model.h, arguments.short, store.ids),
              *held_back_cutoffs(parts, model.h)]
    dropped = int((ranges[0].counts() == 0).sum())
    if dropped:
        log.info(f"{dropped} of {len(store.ids)} series are too short for a training window and are left out.")
    filled = model.network.missing == "filled"
    return [Windows(prepared, index, input_size, model.h, filled=filled) for index in ranges]


def _calibrated(
    law: Law, trained: Trained, windows: Windows, preparation: Preparation, model: Deep, arguments: TrainArguments
) -> Law:
    """The law with the residuals of held-back windows; a series without any has those of all."""
    if not len(windows):
        return law
    outputs = network_outputs(trained.network, windows, arguments.batch_size, arguments.accelerator)
    numbers = np.arange(len(windows))
    series, _ = windows.index.locate(numbers)
    return law.fit_scores(outputs, windows.truth(numbers), windows.prepared.known.numpy()[series], len(preparation.ids))


def _grids(adapter: Adapter | None) -> dict[str, Any]:
    return adapter.grids() if isinstance(adapter, QuantizedAdapter) else {}
