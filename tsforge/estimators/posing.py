"""Posing: the windows, the loss and the sizes that a task other than the forecast trains with."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch

from tsforge.data.posed import HiddenWindows, LabelledWindows
from tsforge.data.prepare import Preparation, Prepared, prepare
from tsforge.data.splits import Parts, split_rows, training_cutoffs
from tsforge.data.store import Store
from tsforge.data.windows import CutoffRanges, Cutoffs, Windows
from tsforge.errors import ArgumentError, FrameError
from tsforge.frame.frame import Frame
from tsforge.frame.labels import KEYS
from tsforge.frame.schema import list_names
from tsforge.losses.base import Loss
from tsforge.losses.cross_entropy import CrossEntropyLoss
from tsforge.losses.spec import make_loss
from tsforge.training.arguments import TrainArguments
from tsforge.training.fit import dtype_of
from tsforge.training.keys import key
from tsforge.training.tasks import Classification, Imputation, Task

STEPS = 96  # of a window, where nobody says


@dataclass(frozen=True)
class Posed:
    """What a network is trained with.

    Args:
        preparation: Fitted on training rows.
        prepared: All rows.
        train: Training windows.
        stop: Windows that choose the weights.
        loss: What an answer is judged by.
        classes: Of a classifier.
        codes: [series] the number of the class of each, -1 without one.
    """

    preparation: Preparation
    prepared: Prepared
    train: Windows
    stop: Windows
    loss: Loss
    classes: tuple[Any, ...] = ()
    codes: tuple[int, ...] = ()


def lookback_of(task: Task, input_size: int | None, store: Store) -> int:
    """Steps of a window: those stated, else 96, or for a class the longest series."""
    if input_size is not None:
        return input_size
    return int((store.ends - store.starts).max()) if isinstance(task, Classification) else STEPS


def reconstruction(
    task: Task, store: Store, arguments: TrainArguments, input_size: int, *, filled: bool, ids: bool
) -> Posed:
    """Windows that are asked for themselves; the last rows of each series, a window at least, choose the weights.

    Raises:
        FrameError: no series is long enough.
    """
    parts = split_rows(store, input_size, arguments.val_size, 0.0, 0)
    preparation = Preparation.fit(store, parts.train, arguments.scaler, arguments.scaler_scope)
    prepared = prepare(store, preparation, dtype=dtype_of(arguments.precision), ids=ids)
    index = training_cutoffs(parts, input_size, 0, arguments.short, store.ids)
    hidden = task.hidden if isinstance(task, Imputation) else 0.0
    train = HiddenWindows(prepared, index, input_size, filled=filled, hidden=hidden)
    seed = key(arguments.seed, "validation")
    stop = HiddenWindows(prepared, _held_back(parts, input_size), input_size, filled=filled, hidden=hidden, seed=seed)
    return Posed(preparation, prepared, train, stop, make_loss(arguments.loss))


def _held_back(parts: Parts, input_size: int) -> CutoffRanges:
    """Windows that lie in the held-back rows as a whole."""
    return CutoffRanges(parts.train + input_size - 1, parts.end)


def classification(
    task: Classification, frame: Frame, store: Store, arguments: TrainArguments, input_size: int, *, filled: bool,
    ids: bool,
) -> Posed:
    """One window of each labelled series; a share of those of each class chooses the weights.

    All series have one scaling: the level of a series may be what tells its class.

    Raises:
        FrameError: there are no such labels, or all are of one class.
        ArgumentError: the loss is another than cross entropy.
    """
    if arguments.loss != "mse":
        raise ArgumentError(f"loss={arguments.loss!r}: a classifier is trained with cross entropy; leave loss out.")
    labels = labels_of(frame, task.label)
    classes, codes = coded(labels, store)
    held = held_back(codes, store.ids, arguments.val_size, arguments.seed)
    train_ends = np.where((codes >= 0) & ~held, store.ends, store.starts)
    preparation = Preparation.fit(store, train_ends, arguments.scaler, "global")
    prepared = prepare(store, preparation, dtype=dtype_of(arguments.precision), ids=ids)
    ours, others = np.flatnonzero((codes >= 0) & ~held), np.flatnonzero(held)
    train, stop = (
        LabelledWindows(prepared, Cutoffs(series, store.ends[series] - 1), input_size, codes, filled=filled)
        for series in (ours, others)
    )
    loss = CrossEntropyLoss(torch.from_numpy(codes[ours]) if task.balanced else None, len(classes))
    return Posed(preparation, prepared, train, stop, loss, classes, tuple(codes.tolist()))


def labels_of(frame: Frame, label: str | None) -> pl.Series:
    """The label of each series, null where there is none.

    Raises:
        FrameError: the frame has no labels, or not this one, or a series has two.
    """
    if frame.labels is None:
        raise FrameError("The frame has no labels: give labels=, a column, or a table of unique_id and the class.")
    names = [name for name in frame.labels.columns if name not in KEYS]
    if label is None and len(names) > 1:
        raise FrameError(f"labels: there are {list_names(names)}; say which is the class, as in "
                         f"task={{'name': 'classification', 'label': {names[0]!r}}}.")
    name = names[0] if label is None else label
    if name not in names:
        raise FrameError(f"labels: there is no {name!r} among {list_names(names)}.")
    return frame.labels[name] if "ds" not in frame.labels.columns else _of_series(frame.labels, name)


def _of_series(labels: pl.DataFrame, name: str) -> pl.Series:
    """The label of each series out of one for each step."""
    found = labels.group_by("unique_id", maintain_order=True).agg(pl.col(name).drop_nulls().unique(maintain_order=True))
    several = found.filter(pl.col(name).list.len() > 1)
    if len(several):
        raise FrameError(f"labels: series {several[0, 'unique_id']!r} is {several[0, name].to_list()[:3]} in {name!r}, "
                         "and a class is of a whole series. Give one label for each.")
    return found[name].list.first()


def coded(labels: pl.Series, store: Store) -> tuple[tuple[Any, ...], np.ndarray]:
    """The classes in order, and [series] the number of that of each, -1 where there is none.

    Raises:
        FrameError: there are not two classes, or they are fractions.
    """
    if labels.dtype.is_float() and not (labels.drop_nulls() % 1 == 0).all():
        raise FrameError(f"labels: {labels.name!r} holds fractions, which are no classes.")
    labels = labels.cast(pl.Int64) if labels.dtype.is_float() else labels
    classes = tuple(labels.drop_nulls().unique().sort().to_list())
    if len(classes) < 2:
        raise FrameError(f"labels: {labels.name!r} is {list(classes)} in all series; wanted two classes or more.")
    codes = labels.replace_strict(list(classes), list(range(len(classes))), default=None, return_dtype=pl.Int64)
    return classes, codes.fill_null(-1).to_numpy()


def held_back(codes: np.ndarray, ids: pl.Series, val_size: Any, seed: int) -> np.ndarray:
    """[series] whether it is held back: of each class the share that comes first by (seed, name); an int is a count.

    A class with one series keeps it for the training.
    """
    known = int((codes >= 0).sum())
    share = 0.0 if not val_size else val_size if isinstance(val_size, float) else min(val_size / max(known, 1), 1.0)
    order = np.argsort([key(seed, "held back", name) for name in ids.to_list()], kind="stable")
    held = np.zeros(len(codes), dtype=bool)
    for code in range(int(codes.max(initial=-1)) + 1):
        of_class = order[codes[order] == code]
        held[of_class[: min(round(share * len(of_class)), len(of_class) - 1)]] = True
    return held
