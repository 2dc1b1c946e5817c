"""Answers: what a network says of windows, put together as tables with one row for each step or series."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import torch

from tsforge.batch import Batch
from tsforge.data.posed import HiddenWindows
from tsforge.data.prepare import Prepared
from tsforge.data.store import Store
from tsforge.data.windows import Cutoffs
from tsforge.training.loader import EvalLoader


def tiles(store: Store, steps: int) -> Cutoffs:
    """Windows one after another in each series; the last one ends with it, and may overlap the one before."""
    counts = -(-(store.ends - store.starts) // steps)
    series = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(series)) - np.repeat(np.cumsum(counts) - counts, counts)
    return Cutoffs(series, np.minimum(store.starts[series] + (place + 1) * steps, store.ends[series]) - 1)


def untiled(values: np.ndarray, index: Cutoffs, store: Store) -> np.ndarray:
    """[row, channel] out of tiles [window, step, channel]; where two overlap, the earlier one is taken."""
    rows = index.rows[:, None] + np.arange(1 - values.shape[1], 1)
    inside = rows >= store.starts[index.series][:, None]
    out = np.full((int(store.offsets[-1]), values.shape[2]), np.nan)
    out[rows[::-1][inside[::-1]]] = values[::-1][inside[::-1]]
    return out


def imputed(store: Store, prepared: Prepared, scaled: np.ndarray) -> pl.DataFrame:
    """`unique_id, ds` and the targets: as observed, and where nothing was, from [row, channel] `scaled`."""
    rows = np.arange(len(scaled))
    series, observed = store.series_of(rows), np.asarray(store.values[rows], dtype=np.float64)
    values = np.where(np.isnan(observed), scaled * prepared.scale[series] + prepared.loc[series], observed)
    schema, stamps = store.schema, store.stamps(series, rows)
    if not schema.channels_from:
        return pl.DataFrame({"unique_id": store.ids.gather(series), "ds": stamps}
                            | {name: values[:, k] for k, name in enumerate(schema.targets)})
    many = len(schema.targets)
    return pl.concat([
        pl.DataFrame({"unique_id": pl.repeat(name, len(rows), eager=True), "ds": stamps}
                     | {target: values[:, n * many + k] for k, target in enumerate(schema.targets)})
        for n, name in enumerate(schema.channel_ids)
    ])


def step_scores(prepared: Prepared, scaled: np.ndarray) -> np.ndarray:
    """[row] the mean over observed channels of the squared error of [row, channel] `scaled`; NaN without any."""
    errors = (prepared.observed(np.arange(len(scaled))[None])[0] - scaled) ** 2
    there = ~np.isnan(errors)
    return np.where(there.any(1), np.where(there, errors, 0).sum(1) / there.sum(1).clip(min=1), np.nan)


def classes_table(name: str, ids: pl.Series, classes: tuple[Any, ...], scores: np.ndarray) -> pl.DataFrame:
    """`unique_id, name, name-p-CLASS, ...` out of [series, class] scores before the softmax."""
    powers = np.exp((scores - scores.max(1, keepdims=True)).astype(np.float64))
    shares = powers / powers.sum(1, keepdims=True)
    best = pl.Series(list(classes)).gather(scores.argmax(1))
    columns = {f"{name}-p-{label}": shares[:, k] for k, label in enumerate(classes)}
    return pl.DataFrame({"unique_id": ids, name: best} | columns)


def errors_of(points: Callable[[Batch], np.ndarray], windows: HiddenWindows, batch_size: int) -> dict[str, float]:
    """`mse`, `mae` and their number of `cells`, over the cells that the windows ask for, in scaled units.

    Args:
        points: What is made of a batch, [window, step, channel].
        windows: All of them are gone through.
        batch_size: Windows at once.
    """
    sums = np.zeros(3)
    with torch.inference_mode():
        for batch in EvalLoader(windows, batch_size):
            assert batch.future is not None
            assert batch.future_mask is not None
            errors = (points(batch) - batch.future.numpy())[batch.future_mask.numpy()]
            sums += [(errors**2).sum(), np.abs(errors).sum(), len(errors)]
    return {"mse": float(sums[0] / sums[2]), "mae": float(sums[1] / sums[2]), "cells": int(sums[2])}
