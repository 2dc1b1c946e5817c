"""Backtests: forecasts after cutoffs inside the data, by models that never saw what comes later."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import narwhals.stable.v2 as nw
import numpy as np
import polars as pl
from sklearn.base import clone

from tsforge.errors import ArgumentError, FrameError, LeakError
from tsforge.evaluation.forecasts import BAND, KEYS
from tsforge.evaluation.intervals import check_levels, check_quantiles
from tsforge.forecaster import Forecaster, Levels
from tsforge.frame.canonical import to_polars
from tsforge.frame.check import read_times
from tsforge.frame.frame import Frame, as_frame

Align = Literal["time", "end"]


def backtest(
    models: Sequence[Forecaster] | Forecaster,
    frame: Any,
    *,
    n_windows: int = 1,
    step_size: int | None = None,
    refit: bool | int = False,
    level: Levels | None = None,
    quantiles: Levels | None = None,
    fit: bool = True,
    align: Align = "time",
    **roles: Any,
) -> Any:
    """Forecasts of several models after `n_windows` cutoffs, beside the truth.

    Models are cloned and fitted on rows up to the first cutoff, so what an earlier fit learned is never used.

    Args:
        models: Estimators; their columns have to have different names.
        frame: A table or Frame.
        n_windows: Cutoffs; the last one leaves `h` steps. On irregular rows the forecast starts from the last row at or
            before a cutoff, whose time stands in the column `cutoff`.
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
        ArgumentError: two models have one name or different `h`; an argument has a value that cannot work or does
            nothing.
        FrameError: the series are too short for the cutoffs.
    """
    several = list(models) if isinstance(models, Sequence) else [models]
    h = same_h(several)
    made = as_frame(frame, **roles)
    table = cutoffs_of(made, h, n_windows, h if step_size is None else step_size, align)
    forecasts = forecasts_at(several, made, table, refit=refit, level=level, quantiles=quantiles, fit=fit)
    return made.give_back(forecasts)


def forecasts_at(
    models: Sequence[Forecaster], frame: Frame, cutoffs: pl.DataFrame, *, refit: bool | int = False,
    level: Levels | None = None, quantiles: Levels | None = None, fit: bool = True,
) -> pl.DataFrame:
    """Forecasts after given cutoffs (`unique_id, cutoff, window`), in polars."""
    every = refit_every(refit, fit, len(cutoffs))
    asked = {"level": check_levels(level), "quantiles": check_quantiles(quantiles)}
    groups = groups_of(cutoffs, every) if fit else []
    tables = []
    for model in models:
        if fit:
            parts = [_fitted(model, frame, group).predict_at(frame, group.drop("window"), **asked) for group in groups]
        else:
            refuse_leak(model, cutoffs)
            parts = [model.predict_at(frame, cutoffs.drop("window"), **asked)]
        tables.append(pl.concat(parts))
    return side_by_side(tables)


def cutoffs_of(frame: Frame, h: int, n_windows: int, step_size: int, align: Align = "time") -> pl.DataFrame:
    """`unique_id, cutoff, window`: the last times that forecasts may see, window 0 the earliest.

    A series has those cutoffs that lie at or after its first row and before its last. One that lies between two steps
    of a series (weeks that start on another day), or between two irregular rows, is meant as the one before it. Of
    cutoffs between which an irregular series has no row only the first is there.

    Raises:
        ArgumentError: a count below 1.
        FrameError: no series reaches from the first cutoff to `h` steps after it.
    """
    _check_counts(n_windows=n_windows, step_size=step_size)
    if align not in ("time", "end"):
        raise ArgumentError(f"align={align!r}: wanted 'time' or 'end'.")
    spans = frame.spans()
    latest = pl.col("last").max() if align == "time" else pl.col("last")
    table = spans.with_columns(until=latest)[np.repeat(np.arange(len(spans)), n_windows)]
    window = np.tile(np.arange(n_windows), len(spans))
    cutoff = frame.grid.add(table["until"], window * step_size - (h + step_size * (n_windows - 1)))
    inside = (cutoff >= table["first"]) & (cutoff < table["last"])
    usable = pl.DataFrame({"unique_id": table["unique_id"], "cutoff": cutoff, "window": window}).filter(inside)
    if usable["window"].n_unique() < n_windows:
        raise FrameError(
            f"The series are {_too_short(h, n_windows, step_size)} For series that do not share a calendar there is "
            "align='end'."
        )
    return one_per_row(frame, usable) if frame.schema.irregular else usable


def one_per_row(frame: Frame, cutoffs: pl.DataFrame) -> pl.DataFrame:
    """Of cutoffs (`unique_id, cutoff, ...`) that follow the same row of their series, the earliest."""
    rows = frame.table.select("unique_id", "ds", row=pl.int_range(pl.len())).sort("ds")
    found = cutoffs.with_row_index("order").sort("cutoff", maintain_order=True).join_asof(
        rows, left_on="cutoff", right_on="ds", by="unique_id", strategy="backward", check_sortedness=False
    )
    return cutoffs[found.unique("row", keep="first")["order"].sort()]


class WindowSplit:
    """A splitter for scikit-learn: rows of a long table by time, across all series.

    Training rows lie at or before a cutoff; test rows are all rows up to `h` steps after it, of which `score` judges
    those after the training rows only.

    Args:
        h: Steps ahead.
        n_windows: Splits.
        step_size: Steps between cutoffs; None is `h`.
        roles: Keywords of `Frame`, for a table that needs some, as in `time_col="when"`.
    """

    def __init__(self, h: int, n_windows: int = 3, step_size: int | None = None, **roles: Any) -> None:
        self.h, self.n_windows, self.step_size, self.roles = h, n_windows, step_size, roles

    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Row positions of training and test, the earliest split first; rows may stand in any order.

        Raises:
            ArgumentError: a count below 1.
            FrameError: the table cannot be read, or no row lies before the first cutoff.
        """
        step = self.h if self.step_size is None else self.step_size
        _check_counts(h=self.h, n_windows=self.n_windows, step_size=step)
        frame = as_frame(X, **self.roles)
        table = frame.table if isinstance(X, Frame) else to_polars(X)[0]
        name = "ds" if isinstance(X, Frame) else frame.schema.time_col
        times, last = read_times(table[name], name), frame.table["ds"].max()
        for window in range(self.n_windows):
            back = self.h + step * (self.n_windows - 1 - window)
            ends = frame.grid.add(
                pl.Series([last, last], dtype=frame.table.schema["ds"]), np.array([-back, self.h - back])
            )
            train, test = (np.flatnonzero((times <= end).to_numpy()) for end in ends)
            if not len(train):
                raise FrameError(f"The series are {_too_short(self.h, self.n_windows, step)}")
            yield train, test

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


def check_column(name: str) -> str:
    """The name of a model's column.

    Raises:
        ArgumentError: a forecast frame calls another of its columns so.
    """
    if name in KEYS or BAND.fullmatch(name):
        raise ArgumentError(
            f"A model cannot be called {name!r}: a forecast frame has {', '.join(KEYS)} and columns that end in "
            "-lo-80, -hi-80 or -q-0.1 beside it. Give another alias=."
        )
    return name


def _check_counts(**counts: Any) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ArgumentError(f"{name}={value!r}: wanted a whole number, 1 or more.")


def _too_short(h: int, n_windows: int, step: int) -> str:
    return (
        f"too short for {n_windows} windows of h={h}, {step} steps apart: {h + step * (n_windows - 1) + 1} steps are "
        "needed. Take fewer windows or a smaller step."
    )


def refit_every(refit: bool | int, fit: bool, cutoffs: int) -> int:
    """After how many windows a model is fitted again.

    Raises:
        ArgumentError: `refit` is no number of windows, or says how often to fit what is not fitted.
    """
    if not isinstance(refit, int | np.integer) or (refit is not False and refit < 1):
        raise ArgumentError(f"refit={refit!r}: wanted False, True, or a number of cutoffs, 1 or more.")
    if refit is not False and not fit:
        raise ArgumentError(f"refit={refit!r} and fit=False exclude each other: models are fitted, or taken as given.")
    return cutoffs if refit is False else int(refit)


def same_h(models: Sequence[Forecaster]) -> int:
    """The horizon of models that can stand side by side.

    Raises:
        ArgumentError: there is none, one is no forecaster, two have one name, or their horizons differ.
    """
    if not models:
        raise ArgumentError("backtest needs at least one model.")
    for model in models:
        if isinstance(model, type) or not isinstance(model, Forecaster):
            raise ArgumentError(f"backtest: {model!r} is no forecaster; wanted such as tsforge.SeasonalNaive(h=24).")
    names = [check_column(model.name) for model in models]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ArgumentError(f"Two models are called {twice!r}: give one of them another alias=.")
    horizons = {model.name: model.h for model in models}
    if len(set(horizons.values())) > 1:
        raise ArgumentError(f"The models forecast different numbers of steps ({horizons}): give all the same h.")
    return models[0].h


def groups_of(cutoffs: pl.DataFrame, every: int) -> list[pl.DataFrame]:
    """The cutoffs that one fit answers, the earliest first."""
    windows = cutoffs["window"].unique().sort()
    return [cutoffs.filter(pl.col("window").is_in(windows.slice(start, every).implode()))
            for start in range(0, len(windows), every)]


def _fitted(model: Forecaster, frame: Frame, cutoffs: pl.DataFrame) -> Forecaster:
    """A clone that has seen the rows up to the first window of these cutoffs."""
    copied: Any = clone(model)
    return copied.fit(seen(frame, cutoffs))


def seen(frame: Frame, cutoffs: pl.DataFrame) -> Frame:
    """The rows that a fit for these cutoffs may see: those up to the first window."""
    return frame.up_to(cutoffs.filter(pl.col("window") == pl.col("window").min()).drop("window"))


def side_by_side(tables: list[pl.DataFrame]) -> pl.DataFrame:
    """Forecasts of one model each, on the rows of the first, with the truth last."""
    first = tables[0]
    keys = [name for name in ("unique_id", "ds", "target", "cutoff") if name in first.columns]
    truth = first["y"]
    out = first.drop("y")
    for table in tables[1:]:
        if not table.select(keys).equals(first.select(keys)):
            table = first.select(keys).join(table, on=keys, how="left", maintain_order="left")
        out = out.hstack(table.drop([*keys, "y"]))
    return out.with_columns(truth.alias("y"))


def refuse_leak(model: Forecaster, cutoffs: pl.DataFrame) -> None:
    """Raises LeakError where a cutoff lies before the end of what the model was fitted on."""
    known = model.trained_until().with_columns(pl.col("unique_id").cast(cutoffs.schema["unique_id"], strict=False))
    early = cutoffs.join(known, on="unique_id").filter(pl.col("cutoff") < pl.col("ds"))
    if len(early):
        first = early.row(0, named=True)
        raise LeakError(
            f"{model.name} was fitted on series {first['unique_id']!r} up to {first['ds']}, and the cutoff "
            f"{first['cutoff']} lies before that ({len(early)} such cutoffs): the score would be taken on rows it has "
            "seen. Score on later rows, or let backtest fit a clone (fit=True)."
        )
