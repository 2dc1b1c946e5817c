"""Streaming: a fitted estimator goes on from the states of its series when new rows come."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch

from tsforge.data.prepare import Preparation, Prepared, prepare
from tsforge.data.store import Store, build_store
from tsforge.data.windows import Cutoffs
from tsforge.errors import CapabilityError, FrameError
from tsforge.estimators.fitted import Fitted
from tsforge.evaluation.conformal import Ranked, Scores
from tsforge.evaluation.intervals import Law
from tsforge.frame.canonical import canonical, in_order, to_polars
from tsforge.frame.check import check_keys, read_values
from tsforge.frame.frame import Frame
from tsforge.frame.schema import Schema, list_names, require
from tsforge.frame.wide import widened
from tsforge.models import MODELS
from tsforge.models.base import Model, State
from tsforge.scaling import Scaling, fit_scaling
from tsforge.training.predict import as_array, device_for
from tsforge.training.stream import final_states, forecasts_from


def refusal(model: Any) -> CapabilityError:
    """The error for `update` of a model that does not stream: names those that do, or the argument that is missing."""
    title = type(model).__name__
    if hasattr(model, "streaming"):
        return CapabilityError(
            f"update: this {title} was made with streaming=False and forecasts from its last input_size steps. Make it "
            "with streaming=True and fit it, or give the whole context to predict(table)."
        )
    able = [network.__name__ for network in map(MODELS.__getitem__, MODELS) if network.streams]
    return CapabilityError(
        f"update: {title} does not stream; {' and '.join(able)} do, made with streaming=True. Give the rows that the "
        "forecast needs to predict(table)."
    )


def states_of(
    network: Model, prepared: Prepared, ends: np.ndarray, accelerator: str
) -> dict[str, np.ndarray] | None:
    """[series, ...] the states after all rows; None where the network does not stream."""
    if not network.streaming:
        return None
    device = device_for(accelerator)
    return _stored(final_states(network.to(device).eval(), prepared, ends, device))


def outputs_from(
    fitted: Fitted, prepared: Prepared, series: np.ndarray, rows: np.ndarray, accelerator: str
) -> np.ndarray:
    """[series, h, channel, output] after the last row of each series, from the states there."""
    network, device = fitted.predictor, device_for(accelerator)
    assert isinstance(network, Model)
    states = _loaded(fitted, prepared.known.numpy()[series], device)
    with torch.inference_mode():
        return as_array(forecasts_from(network.to(device).eval(), states, prepared, Cutoffs(series, rows)))


def updated(fitted: Fitted, given: Any, dtype: torch.dtype, accelerator: str) -> Fitted:
    """What was fitted, with the states after new rows: a Frame of the fitted roles, or a plain table.

    Raises:
        FrameError: the table lacks a column, a row does not follow the known ones, or a stamp lies off the grid.
    """
    table = _following(given, fitted)
    known = fitted.context.table.filter(pl.col("unique_id").is_in(table["unique_id"].unique().implode()))
    _refuse_known(known, table)
    frame = _stored_frame(pl.concat([known, table]), fitted)
    store = build_store(frame)
    fitted = _with_new_series(fitted, store)
    network, device = fitted.predictor, device_for(accelerator)
    assert isinstance(network, Model)
    assert fitted.stream is not None
    prepared = prepare(store, fitted.preparation, dtype=dtype)
    rows = prepared.known.numpy()
    read = store.ids.is_in(known["unique_id"].implode()).to_numpy().astype(np.int64)  # the row that leads on to the new
    after = final_states(
        network.to(device).eval(), prepared, store.ends, device, begins=store.starts + read,
        states=_loaded(fitted, rows, device),
    )
    stream = {name: array.copy() for name, array in fitted.stream.items()}
    for name, array in _stored(after).items():
        stream[name][rows] = array
    rest = fitted.context.table.filter(~pl.col("unique_id").is_in(store.ids.implode()))
    return replace(fitted, stream=stream, context=_stored_frame(pl.concat([rest, frame.last_steps(1).table]), fitted))


def _following(given: Any, fitted: Fitted) -> pl.DataFrame:
    """Rows in the form of the context; unlike a frame they may be few, and nothing in them observed."""
    if isinstance(given, Frame):
        table = given.table
    else:
        schema, (table, _) = fitted.schema, to_polars(given)
        ids = [schema.id_col] if schema.id_col else []
        require(table.columns, [*ids, schema.time_col, *schema.columns], "update")
        table = in_order(canonical(table, replace(schema, static=()), None)[0])[0]
        table = read_values(table, schema.columns)
        check_keys(table)
        if schema.channels_from:
            table = _as_known_channels(table, schema)
    if not len(table):
        raise FrameError("update: the table has no row.")
    return _like(table, fitted.context.table)


def _as_known_channels(table: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    new = [key for key in table["unique_id"].unique().sort().to_list() if key not in schema.channel_ids]
    if new:
        raise FrameError(f"update: the model was fitted on other series as channels, without {list_names(new)}.")
    return widened(table, schema.columns, schema.channel_ids)


def _like(table: pl.DataFrame, context: pl.DataFrame) -> pl.DataFrame:
    """The columns in the types of the context."""
    for name, what in (("unique_id", "names of series"), ("ds", "stamps")):
        given, wanted = table.schema[name], context.schema[name]
        if given != wanted and (given, wanted.base_type()) != (pl.Date, pl.Datetime):
            raise FrameError(f"update: {what} are {given} here, and were {wanted} in the table that was fitted.")
    return table.select(pl.col(name).cast(dtype) for name, dtype in context.schema.items())


def _refuse_known(known: pl.DataFrame, table: pl.DataFrame) -> None:
    last = known.select("unique_id", last="ds")
    early = table.join(last, on="unique_id", how="inner").filter(pl.col("ds") <= pl.col("last"))
    if len(early):
        first = early.row(0, named=True)
        raise FrameError(
            f"update: series {first['unique_id']!r} is known up to {first['last']}, and a row of {first['ds']} is "
            f"given ({len(early)} such rows). Give rows that follow. What was read is not read again: after a "
            "correction go on from the run saved before, or fit anew."
        )


def _stored_frame(table: pl.DataFrame, fitted: Fitted) -> Frame:
    context = fitted.context
    return Frame.stored(table, fitted.schema, month_end=context.grid.month_end, kind=context.kind,
                        time_dtype=context.time_dtype)


def _with_new_series(fitted: Fitted, store: Store) -> Fitted:
    """Series that were not there are scaled by the rows they come with, and keep that; their states are those of none.

    They count as looked at up to there, and pool the residuals of the others.
    """
    new = np.flatnonzero(fitted.preparation.series_in(store.ids) < 0)
    if not len(new):
        return fitted
    old, network, many = fitted.preparation, fitted.predictor, len(new)
    assert isinstance(network, Model)
    assert fitted.stream is not None

    def with_own(values: Any, scaling: Scaling | None) -> Scaling | None:
        if scaling is None or old.scope == "global" or old.scaler is None:
            return scaling
        own = fit_scaling(values, store.starts[new], store.ends[new], old.scaler, old.scope)
        return Scaling(np.concatenate([scaling.loc, own.loc]), np.concatenate([scaling.scale, own.scale]))

    targets = with_own(store.values, old.targets)
    assert targets is not None
    preparation = Preparation(
        pl.concat([old.ids, store.ids.gather(new)]), old.scaler, old.scope, targets, with_own(store.past, old.past),
        with_own(store.future, old.future), old.static,
    )
    scores = {pair: Scores(s.pooled, _longer(s.own, many)) for pair, s in fitted.law.scores.items()}
    states = _stored(network.start(many))
    return replace(
        fitted, preparation=preparation, law=Law(fitted.law.quantiles, scores),
        trained_until=pl.concat([fitted.trained_until, store.stamps(new, store.ends[new] - 1).alias("ds")]),
        stream={name: np.concatenate([array, states[name]]) for name, array in fitted.stream.items()},
    )


def _longer(own: Ranked, more: int) -> Ranked:
    """As many series more, without a score."""
    values, counts = np.full((more, *own.values.shape[1:]), np.nan), np.zeros((more, *own.counts.shape[1:]), np.int64)
    return Ranked(np.concatenate([own.values, values]), np.concatenate([own.counts, counts]))


def _loaded(fitted: Fitted, rows: np.ndarray, device: torch.device) -> State:
    assert fitted.stream is not None
    return {name: torch.from_numpy(array[rows]).to(device) for name, array in fitted.stream.items()}


def _stored(states: State) -> dict[str, np.ndarray]:
    return {name: tensor.cpu().numpy() for name, tensor in states.items()}
