"""Backtests: forecasts after cutoffs inside the data, by models that never saw what comes later."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from sklearn.base import clone

from tsforge.errors import ArgumentError, FrameError, LeakError
from tsforge.forecaster import Forecaster
from tsforge.frame.canonical import to_polars
from tsforge.frame.frame import Frame, as_frame

Align = Literal["time", "end"]


def backtest(
    models: Sequence[Forecaster] | Forecaster,
    frame: Any,
    *,
    n_windows: int = 1,
    step_size: int | None = None,
    refit: bool | int = False,
    level: Sequence[float | int] | None = None,
    quantiles: Sequence[float | int] | None = None,
    fit: bool = True,
    align: Align = "time",
    **roles: Any,
) -> Any:
    """Forecasts of several models after `n_windows` cutoffs, beside the truth.

    Models are cloned and fitted on rows up to the first cutoff, so what an earlier fit learned is never used.

    Args:
        models: Estimators; their columns have to have different names.
        frame: A table or Frame.
        n_windows: Cutoffs; the last one leaves `h` steps.
        step_size: Steps between cutoffs; None is `h`.
        refit: False fits once, True at every cutoff, k at every k-th.
        level: Percents of intervals.
        quantiles: Levels of single quantiles.
        fit: False scores fitted models as they are.
        align: "time": a cutoff is one time for all series, so no model sees another series' future. "end": cutoffs are
            counted from the end of each series, for series that do not share a calendar.
        roles: Keywords of `Frame` for a plain table.

    Returns:
        `unique_id, ds, (target,) cutoff,` columns of each model, `y`; in the kind of table that came in.

    Raises:
        LeakError: with `fit=False`, a cutoff lies before the end of what a model was fitted on.
        ArgumentError: two models have one name or different `h`; an argument has a value that cannot work.
        FrameError: the series are too short for the cutoffs.
    """
    several = [models] if isinstance(models, Forecaster) else list(models)
    h = _same_h(several)
    made = as_frame(frame, **roles)
    table = cutoffs_of(made, h, n_windows, h if step_size is None else step_size, align)
    forecasts = forecasts_at(several, made, table, refit=refit, level=level, quantiles=quantiles, fit=fit)
    return made.give_back(forecasts)


def forecasts_at(
    models: Sequence[Forecaster], frame: Frame, cutoffs: pl.DataFrame, *, refit: bool | int = False,
    level: Sequence[float | int] | None = None, quantiles: Sequence[float | int] | None = None, fit: bool = True,
) -> pl.DataFrame:
    """Forecasts after given cutoffs (`unique_id, cutoff, window`), in polars."""
    every = len(cutoffs) if refit is False else int(refit)
    if every < 1:
        raise ArgumentError(f"refit={refit!r}: wanted False, True, or a number of cutoffs, 1 or more.")
    tables = []
    for model in models:
        parts = []
        fitted = model
        for number, group in enumerate(_windows(cutoffs)):
            if fit and number % every == 0:
                copied: Any = clone(model)
                fitted = copied.fit(_up_to(frame, group))
            if not fit:
                _refuse_leak(model, group)
            parts.append((fitted, group))
        tables.append(_together(frame, parts, tuple(level or ()), tuple(quantiles or ())))
    return _side_by_side(tables)


def cutoffs_of(frame: Frame, h: int, n_windows: int, step_size: int, align: Align = "time") -> pl.DataFrame:
    """`unique_id, cutoff, window`: the last times that forecasts may see, window 0 the earliest.

    Raises:
        ArgumentError: a count below 1.
        FrameError: no series reaches from the first cutoff to `h` steps after it.
    """
    for name, value in (("n_windows", n_windows), ("step_size", step_size)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ArgumentError(f"{name}={value!r}: wanted a whole number, 1 or more.")
    if align not in ("time", "end"):
        raise ArgumentError(f"align={align!r}: wanted 'time' or 'end'.")
    spans = frame.table.group_by("unique_id", maintain_order=True).agg(
        first=pl.col("ds").first(), last=pl.col("ds").last()
    )
    if align == "time":
        spans = spans.with_columns(last=pl.lit(spans["last"].max()))
    back = np.array([h + step_size * (n_windows - 1 - w) for w in range(n_windows)])
    many = len(spans)
    table = pl.DataFrame({
        "unique_id": spans["unique_id"].gather(np.repeat(np.arange(many), n_windows)),
        "cutoff": frame.grid.add(spans["last"].gather(np.repeat(np.arange(many), n_windows)), -np.tile(back, many)),
        "window": np.tile(np.arange(n_windows), many),
    })
    own = frame.table.group_by("unique_id").agg(first=pl.col("ds").first(), end=pl.col("ds").last())
    usable = table.join(own, on="unique_id", maintain_order="left").filter(
        (pl.col("cutoff") >= pl.col("first")) & (pl.col("cutoff") < pl.col("end"))
    ).select("unique_id", "cutoff", "window")
    if usable["window"].n_unique() < n_windows:
        raise FrameError(
            f"The series are too short for {n_windows} windows of h={h}, {step_size} steps apart: "
            f"{h + step_size * (n_windows - 1) + 1} steps are needed. Take fewer windows or a smaller step; for series "
            "that do not share a calendar, align='end'."
        )
    return usable


class WindowSplit:
    """A splitter for scikit-learn: rows of a long table by time, across all series.

    Training rows lie at or before a cutoff; test rows are all rows up to `h` steps after it, of which `score` judges
    those after the training rows only.

    Args:
        h: Steps ahead.
        n_windows: Splits.
        step_size: Steps between cutoffs; None is `h`.
    """

    def __init__(self, h: int, n_windows: int = 3, step_size: int | None = None) -> None:
        self.h, self.n_windows, self.step_size = h, n_windows, step_size

    def split(self, X: Any, y: Any = None, groups: Any = None, **roles: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row positions of training and test, the earliest split first; rows may stand in any order."""
        frame = as_frame(X, **roles)
        table, _ = to_polars(frame.table if isinstance(X, Frame) else X)
        times = _stamps(table, frame)
        last = frame.table["ds"].max()
        for window in range(self.n_windows):
            back = self.h + (self.step_size or self.h) * (self.n_windows - 1 - window)
            ends = frame.grid.add(
                pl.Series([last, last], dtype=frame.table.schema["ds"]), np.array([-back, self.h - back])
            )
            yield np.flatnonzero((times <= ends[0]).to_numpy()), np.flatnonzero((times <= ends[1]).to_numpy())

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Number of splits."""
        return self.n_windows


def forecasts_to_nixtla(forecasts: Any) -> Any:
    """A forecast frame with several targets as one with `unique_id` = "series/target", as utilsforecast reads it."""
    table = nw.from_native(forecasts, eager_only=True)
    if "target" not in table.columns:
        return forecasts
    joined = nw.concat_str([nw.col("unique_id").cast(nw.String), nw.col("target").cast(nw.String)], separator="/")
    return table.with_columns(joined.alias("unique_id")).drop("target").to_native()


def _stamps(table: pl.DataFrame, frame: Frame) -> pl.Series:
    from tsforge.frame.check import read_times

    name = frame.schema.time_col if frame.schema.time_col in table.columns else "ds"
    return read_times(table[name], name)


def _same_h(models: Sequence[Forecaster]) -> int:
    if not models:
        raise ArgumentError("backtest needs at least one model.")
    names = [model.name for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArgumentError(f"Two models are called {twice!r}: give one of them another alias=.")
    horizons = {model.name: model.h for model in models}
    if len(set(horizons.values())) > 1:
        raise ArgumentError(f"The models forecast different numbers of steps ({horizons}): give all the same h.")
    return models[0].h


def _windows(cutoffs: pl.DataFrame) -> list[pl.DataFrame]:
    return [
        part.drop("window")
        for part in cutoffs.sort("window", maintain_order=True).partition_by("window", maintain_order=True)
    ]


def _up_to(frame: Frame, cutoffs: pl.DataFrame) -> Frame:
    if cutoffs["cutoff"].n_unique() == 1:  # all series up to one time, also those that are not scored
        return frame.rows(pl.col("ds") <= cutoffs[0, "cutoff"])
    ends = frame.table.select("unique_id").join(cutoffs, on="unique_id", how="left", maintain_order="left")["cutoff"]
    return frame.rows((frame.table["ds"] <= ends).fill_null(False))


def _together(
    frame: Frame, parts: list[tuple[Forecaster, pl.DataFrame]], level: tuple, quantiles: tuple
) -> pl.DataFrame:
    """One call for all cutoffs that one fitted model answers."""
    tables = []
    for model in dict.fromkeys(id(fitted) for fitted, _ in parts):
        fitted = next(f for f, _ in parts if id(f) == model)
        cutoffs = pl.concat([group for f, group in parts if id(f) == model])
        tables.append(fitted.predict_at(frame, cutoffs, level=level, quantiles=quantiles))
    return pl.concat(tables) if len(tables) > 1 else tables[0]


def _side_by_side(tables: list[pl.DataFrame]) -> pl.DataFrame:
    first = tables[0]
    keys = [name for name in ("unique_id", "ds", "target", "cutoff") if name in first.columns]
    truth = first["y"]
    out = first.drop("y")
    for table in tables[1:]:
        if not table.select(keys).equals(first.select(keys)):
            table = first.select(keys).join(table, on=keys, how="left", maintain_order="left")
        out = out.hstack(table.drop([*keys, "y"]))
    return out.with_columns(truth.alias("y"))


def _refuse_leak(model: Forecaster, cutoffs: pl.DataFrame) -> None:
    early = cutoffs.join(model.trained_until(), on="unique_id").filter(pl.col("cutoff") < pl.col("ds"))
    if len(early):
        first = early.row(0, named=True)
        raise LeakError(
            f"{model.name} was fitted on series {first['unique_id']!r} up to {first['ds']}, and the cutoff "
            f"{first['cutoff']} lies before that ({len(early)} such cutoffs): the score would be taken on rows it has "
            "seen. Score on later rows, or let backtest fit a clone (fit=True)."
        )
