"""What is fitted on training rows before a network sees them, and a store brought to scaled tensors with it."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from tsforge.data.rows import CalendarRows, ReadRows, Rows, ScaledRows, SideBySide
from tsforge.data.store import Store
from tsforge.errors import FrameError
from tsforge.frame.schema import list_names
from tsforge.layers.stable_hash import mix, stable_hash
from tsforge.scaling import CHUNK, Scaling, blocks, fit_scaling

log = logging.getLogger("tsforge")


@dataclass(frozen=True)
class StaticCoding:
    """Static columns as numbers (standardised over the training series) and codes (0 is a value unseen in training)."""

    numeric: dict[str, tuple[float, float]]  # name -> mean, sd
    categories: dict[str, list[str]]  # name -> values, coded from 1

    @classmethod
    def fit(cls, static: pl.DataFrame) -> "StaticCoding":
        """The coding of a table with one row per series."""
        numeric, categories = {}, {}
        for name in static.columns[1:]:
            column = static[name]
            if column.dtype.is_numeric():
                observed = _numbers(column).drop_nulls().to_numpy()[:, None]
                fit = fit_scaling(observed, np.array([0]), np.array([len(observed)]), "standard")
                numeric[name] = (float(fit.loc[0, 0]), float(fit.scale[0, 0]))
            else:
                categories[name] = column.cast(pl.String).drop_nulls().unique().sort().to_list()
        return cls(numeric, categories)

    @classmethod
    def read(cls, plain: Mapping[str, Any]) -> "StaticCoding":
        """The coding that `dataclasses.asdict` and JSON made plain."""
        return cls({name: (mean, sd) for name, (mean, sd) in plain["numeric"].items()}, dict(plain["categories"]))

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Codes of each category, 0 included."""
        return tuple(len(values) + 1 for values in self.categories.values())

    def numbers(self, static: pl.DataFrame) -> np.ndarray | None:
        """[series, s]; a missing number is the mean."""
        if not self.numeric:
            return None
        columns = [(_numbers(static[name]).fill_null(mean) - mean) / sd for name, (mean, sd) in self.numeric.items()]
        return np.stack([column.to_numpy() for column in columns], axis=1)

    def codes(self, static: pl.DataFrame) -> np.ndarray | None:
        """[series, k] of integers."""
        if not self.categories:
            return None
        coded = []
        for name, values in self.categories.items():
            codes = {value: code for code, value in enumerate(values, start=1)}
            column = static[name].cast(pl.String).replace_strict(codes, default=0, return_dtype=pl.Int64)
            coded.append(column.fill_null(0).to_numpy())
        return np.stack(coded, axis=1)

    def ids(self, static: pl.DataFrame) -> list[Tensor]:
        """[series] stable hashes of each category; nothing is looked up, so a value unseen in training has its own."""
        return [_hashes(static[name].cast(pl.String)) for name in self.categories]


@dataclass(frozen=True)
class Preparation:
    """Scalings and codings fitted on training rows; with the series they belong to."""

    ids: pl.Series
    scaler: str | None
    scope: str
    targets: Scaling
    past: Scaling | None
    future: Scaling | None
    static: StaticCoding | None

    @classmethod
    def fit(cls, store: Store, train_ends: np.ndarray, scaler: str | None, scope: str) -> "Preparation":
        """Looks at the rows of each series before `train_ends`, nothing else; says what is constant there."""

        def scaling(values: np.ndarray | Rows | None) -> Scaling | None:
            return None if values is None else fit_scaling(values, store.starts, train_ends, scaler, scope)

        static = None if store.static is None else StaticCoding.fit(store.static)
        targets = scaling(store.values)
        assert targets is not None
        if targets.constant:
            what = "targets" if scope == "global" else "targets of series"
            log.info("%d of %d %s are constant in training; in scaling their width counts as 1.", targets.constant,
                     targets.scale.size, what)
        _notice_missing(store)
        return cls(store.ids, scaler, scope, targets, scaling(store.past), scaling(store.future), static)

    def series_in(self, ids: pl.Series) -> np.ndarray:
        """The training row of each of these series, -1 where it was not there."""
        if ids.dtype == self.ids.dtype and ids.equals(self.ids):
            return np.arange(len(ids))
        known = pl.DataFrame({"unique_id": self.ids, "row": np.arange(len(self.ids))})
        asked = pl.DataFrame({"unique_id": ids.cast(self.ids.dtype, strict=False)})  # another kind of name is unseen
        found = asked.join(known, on="unique_id", how="left", maintain_order="left")["row"]
        return found.fill_null(-1).to_numpy(writable=True)


@dataclass(frozen=True)
class Prepared:
    """Scaled tensors over the rows of a store, and the way back to the user's units.

    Missing targets are 0 under a false mask; missing covariates are 0, the place of their scaling. Rows of a block are
    scaled when windows are gathered: of each batch then its mask is known, of all rows none.
    """

    starts: np.ndarray
    ends: np.ndarray  # with the rows ahead, which are masked in the targets
    values: Tensor | ScaledRows  # [row, channel]
    mask: Tensor | None  # [row, channel]; None where rows are scaled as they are read
    complete: bool
    past: Tensor | ReadRows | None
    future: Tensor | ReadRows | None  # covariates known ahead, then calendar features
    static_numeric: Tensor | None
    static_categorical: Tensor | None
    times: np.ndarray | None
    known: Tensor  # [series] row in the training key table, -1 where unseen
    loc: np.ndarray  # [series, channel]
    scale: np.ndarray
    static_ids: Tensor | None = None  # [series, i] hashes of its name and of its categories, where they are asked for

    @property
    def widths(self) -> dict[str, Any]:
        """The data-given arguments of a network."""
        return {
            "in_channels": self.values.shape[1],
            "past_covariates": 0 if self.past is None else self.past.shape[1],
            "future_covariates": 0 if self.future is None else self.future.shape[1],
            "static_numeric": 0 if self.static_numeric is None else self.static_numeric.shape[1],
        }

    def observed(self, rows: np.ndarray) -> np.ndarray:
        """[window, step, channel] of scaled targets in float64, NaN where missing."""
        if isinstance(self.values, ScaledRows):
            values, mask = (part.numpy() for part in self.values.take(torch.from_numpy(rows), rows.shape[1]))
        else:
            assert self.mask is not None
            values, mask = self.values.numpy()[rows], self.mask.numpy()[rows]
        return np.where(mask, values.astype(np.float64), np.nan)


def prepare(
    store: Store, fitted: Preparation, *, dtype: torch.dtype = torch.float32, until: np.ndarray | None = None,
    ids: bool = False,
) -> Prepared:
    """Scales a store. A series unseen in training is scaled by its own rows before `until` (its data, unless told).

    Raises:
        FrameError: the frame lacks static columns that the model was fitted with.
    """
    known = fitted.series_in(store.ids)
    until = store.ends if until is None else until

    def per_series(values: np.ndarray | Rows, fit: Scaling) -> Scaling:
        loc, scale = (part.copy() for part in fit.of(np.maximum(known, 0)))
        unseen = np.flatnonzero(known < 0)
        if len(unseen) and fitted.scope == "series":
            own = fit_scaling(values, store.starts[unseen], until[unseen], fitted.scaler, "series")
            loc[unseen], scale[unseen] = own.of(np.arange(len(unseen)))
        return Scaling(loc, scale)

    def covariates(values: np.ndarray | Rows | None, fit: Scaling | None) -> list[Tensor | ScaledRows]:
        if values is None or fit is None:
            return []
        scaled = _scaled(store, values, per_series(values, fit), dtype)
        return [scaled.nan_to_num_(0.0) if isinstance(scaled, Tensor) else scaled]

    own = per_series(store.values, fitted.targets)
    values, mask = _scaled(store, store.values, own, dtype), None
    if isinstance(values, Tensor):
        mask = ~torch.isnan(values)
        values.nan_to_num_(0.0)
    past, future = covariates(store.past, fitted.past), covariates(store.future, fitted.future)
    numbers, codes = _static(store, fitted.static)
    return Prepared(
        starts=store.starts, ends=store.offsets[1:], values=values, mask=mask,
        complete=mask is not None and bool(mask.all()), past=past[0] if past else None,
        future=_with_calendar(future, store.calendar, dtype),
        static_numeric=None if numbers is None else torch.from_numpy(numbers).to(dtype),
        static_categorical=None if codes is None else torch.from_numpy(codes),
        static_ids=_ids(store, fitted.static) if ids else None,
        times=store.times, known=torch.from_numpy(known), loc=own.loc, scale=own.scale,
    )


def _with_calendar(
    future: list[Tensor | ScaledRows], calendar: np.ndarray | CalendarRows | None, dtype: torch.dtype,
) -> Tensor | ReadRows | None:
    """Covariates known ahead, then features of the calendar, as one."""
    parts: list[Any] = [*future]
    if calendar is not None:
        parts.append(calendar.to(dtype) if isinstance(calendar, CalendarRows) else torch.from_numpy(calendar).to(dtype))
    if len(parts) < 2:
        return parts[0] if parts else None
    return torch.cat(parts, dim=1) if isinstance(parts[0], Tensor) else SideBySide(parts)


def _scaled(store: Store, values: np.ndarray | Rows, scaling: Scaling, dtype: torch.dtype) -> Tensor | ScaledRows:
    """Scaled in float64, a block of rows at a time, and only then rounded to `dtype`."""
    if isinstance(values, Rows):
        return ScaledRows(values, scaling, dtype)
    out = torch.empty(values.shape, dtype=dtype)
    for block in blocks(store.starts, len(values)):
        centred = values[block.rows] - block.spread(scaling.loc)
        out[block.rows] = torch.from_numpy(centred / block.spread(scaling.scale))
    return out


def _notice_missing(store: Store) -> None:
    for names, values in ((store.schema.past, store.past), (store.schema.future, store.future)):
        count = 0 if values is None else sum(
            int(np.isnan(values[low : low + CHUNK]).sum()) for low in range(0, len(values), CHUNK)
        )
        if count:
            log.info("%d values of the covariates %s are missing; scaled, they count as 0.", count, list_names(names))


def _numbers(column: pl.Series) -> pl.Series:
    """As floats with one kind of missing.

    Raises:
        FrameError: there is text in it.
    """
    numbers = column.cast(pl.Float64, strict=False).fill_nan(None)
    text = column.filter(numbers.is_null() & column.is_not_null()) if column.dtype == pl.String else []
    if len(text):
        raise FrameError(f"static: {column.name!r} was numeric in training, and here it holds {text[0]!r}: mend it.")
    return numbers


def _ids(store: Store, coding: StaticCoding | None) -> Tensor:
    """[series, i] hashes of the name of each series and of its categories."""
    categories = [] if coding is None or store.static is None else coding.ids(store.static)
    return torch.stack([_hashes(store.ids), *categories], dim=1)


def _hashes(column: pl.Series) -> Tensor:
    """[row] the stable hash of each value; that of a word which stands in many rows is made once."""
    if column.dtype.is_integer():
        return mix(torch.from_numpy(column.cast(pl.Int64, wrap_numerical=True).to_numpy(writable=True)))
    words = column.cast(pl.String)
    known = {word: stable_hash(word) for word in words.unique()}
    return torch.tensor([known[word] for word in words], dtype=torch.int64)


def _static(store: Store, coding: StaticCoding | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    if coding is None:
        return None, None
    given = () if store.static is None else store.static.columns
    absent = [name for name in (*coding.numeric, *coding.categories) if name not in given]
    if absent or store.static is None:
        raise FrameError(f"static: the model was fitted with the column {absent[0]!r}, which this frame does not have.")
    return coding.numbers(store.static), coding.codes(store.static)
