"""The contract: what a shard is, how cutoffs are divided into shards, and the one function that does a shard."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import polars as pl
import torch
from threadpoolctl import threadpool_limits

from tsforge.estimators.base import Estimator
from tsforge.frame.canonical import to_polars
from tsforge.frame.frame import Frame

FEWEST, MOST, PARTS = 16, 4096, 32  # windows of a shard, at least and at most; shards that a fit should come to


@dataclass(frozen=True)
class Shard:
    """One part of the work, in words and numbers alone: it crosses processes as JSON.

    Args:
        key: Its name; shards in the order of their keys make up the table.
        artifact: The folder of a fitted model, in the work folder or a whole path.
        series: First series and the one after the last, in the order of the frame.
        windows: First window and the one after the last; None forecasts after the end of the data.
        level: Percents of intervals.
        quantiles: Levels of single quantiles.
        h: Fewer steps than the model was made for, of forecasts after the end of the data.
    """

    key: str
    artifact: str
    series: tuple[int, int]
    windows: tuple[int, int] | None
    level: tuple[float | int, ...] = ()
    quantiles: tuple[float | int, ...] = ()
    h: int | None = None

    @classmethod
    def read(cls, words: dict[str, Any]) -> "Shard":
        """The inverse of `asdict`, after JSON has made lists of its tuples."""
        plain: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in words.items()}
        return cls(**plain)


def run_shard(
    shard: Shard, model: Estimator, frame: Frame | None, cutoffs: pl.DataFrame | None, future: Any = None
) -> pl.DataFrame:
    """The forecasts of a shard: a function of its arguments and of nothing else.

    Args:
        shard: What is asked.
        model: The artifact, opened.
        frame: The series of the shard; None takes those of the rows that the model keeps of its training.
        cutoffs: `unique_id, cutoff` of these series in these windows; None after the end of the data.
        future: What is known ahead of these series.
    """
    with one_thread():
        if cutoffs is not None:
            assert frame is not None
            return model.predict_at(frame, cutoffs, level=shard.level, quantiles=shard.quantiles)
        if frame is None:
            model = _narrowed(model, ids_known(model)[slice(*shard.series)])
        forecasts = model.predict(frame, h=shard.h, future=future, level=shard.level, quantiles=shard.quantiles)
        return to_polars(forecasts)[0]


def ids_known(model: Any) -> pl.Series:
    """The series after which a fitted model forecasts when it is given no other rows."""
    members = members_of(model)
    return ids_known(members[0]) if members else model.fitted_.context.ids


def members_of(model: Any) -> Sequence[Any]:
    """The fitted models that an ensemble is made of; of other models none."""
    return getattr(model.fitted_, "members", ())


def _narrowed(model: Any, ids: pl.Series) -> Any:
    """The fitted model, which keeps the last rows of these series alone."""
    made, members = copy(model), members_of(model)
    if members:
        made.fitted_ = replace(model.fitted_, members=[_narrowed(member, ids) for member in members])
    else:
        kept = model.fitted_.context.rows(pl.col("unique_id").is_in(ids.implode()))
        made.fitted_ = replace(model.fitted_, context=kept)
    return made


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch and BLAS: sums split over threads end in other digits, and workers have other numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def shard_size(windows: int) -> int:
    """Windows of a shard, from the number of all: the same whatever the workers, and so are the shards."""
    return max(FEWEST, min(MOST, windows // PARTS))


def divide(
    cutoffs: pl.DataFrame, ids: pl.Series, known: pl.Series, size: int
) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Ranges of series and windows, in the order of the forecasts, of about `size` windows each.

    The windows of one series stay together, unless it has more than `size` and the model knows it: a series that is
    new to a model is scaled or fitted by what lies before its first cutoff, so all its cutoffs have to be there.

    Args:
        cutoffs: `unique_id, cutoff, window` that one fit answers.
        ids: All series of the frame.
        known: Series that the model was fitted on.
        size: Windows of a shard.
    """
    per_series = cutoffs.group_by("unique_id").agg(pl.col("window").sort())
    windows = ids.to_frame().join(per_series, on="unique_id", how="left", maintain_order="left")["window"].to_list()
    divisible = ids.is_in(known.cast(ids.dtype, strict=False).implode()).to_list()
    low, high = int(cutoffs["window"].min()), int(cutoffs["window"].max()) + 1  # pyright: ignore[reportArgumentType]
    begin = count = 0
    for series, mine in enumerate(windows):
        many = len(mine or ())
        if many > size and divisible[series]:
            if count:
                yield (begin, series), (low, high)
            yield from (((series, series + 1), edges) for edges in pairwise([*mine[::size], high]))
            begin, count = series + 1, 0
        elif count + many >= size:
            yield (begin, series + 1), (low, high)
            begin, count = series + 1, 0
        else:
            count += many
    if count:
        yield (begin, len(windows)), (low, high)
