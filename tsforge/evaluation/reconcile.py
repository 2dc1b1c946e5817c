"""Reconciliation: forecasts of series and of their totals that add up.

Frame     forecast frame, totals -> {total: [series]}  ->  forecast frame of all totals and series, the totals first
Formula   y~ = S P y^ with S = [A; I], A [total, series] of zeros and ones. Bottom-up: P = [0 I]. MinT:
          P = [0 I] - [0 I] W C' (C W C')^-1 C with C = [I -A]: the same as (S' W^-1 S)^-1 S' W^-1, without W^-1.
          W is the covariance of residuals, its correlations shrunk towards 0 by
          lambda = sum_{i != j} Var(r_ij) / sum_{i != j} r_ij^2, cut to [0, 1].
Source    Wickramasuriya, Athanasopoulos & Hyndman (2019), "Optimal forecast reconciliation for hierarchical and grouped
          time series through trace minimization", JASA 114; Schafer & Strimmer (2005), "A shrinkage approach to
          large-scale covariance matrix estimation", SAGMB 4(1).
Missing   A forecast that is missing makes the totals over it missing, and by MinT all of its step.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tsforge.errors import ArgumentError, suggest
from tsforge.evaluation.evaluate import like
from tsforge.evaluation.forecasts import KEYS, bands, floats
from tsforge.evaluation.scale import as_eager, require_columns

log = logging.getLogger("tsforge")
METHODS = ("bottom_up", "mint_shrink")
FEWEST = 3  # residuals of which a covariance can say something


@dataclass(frozen=True)
class Hierarchy:
    """Totals and the series they are sums of.

    Args:
        totals: Names, in the order that was given.
        bottom: Names of the series, in the order of the frame.
        sums: [total, bottom] of zeros and ones.
    """

    totals: list[Any]
    bottom: list[Any]
    sums: np.ndarray

    @property
    def ids(self) -> list[Any]:
        """All names, the totals first."""
        return [*self.totals, *self.bottom]


def reconcile(
    forecasts: Any, totals: Mapping[Any, Sequence[Any]], *, method: str = "bottom_up", residuals: Any = None,
) -> Any:
    """Forecasts of all levels of a hierarchy, whose totals are the sums of their series.

    Each model, target and cutoff is reconciled by itself. Intervals and quantiles are left out: those of a sum are not
    the sums of those of its parts.

    Args:
        forecasts: Forecast frame of `predict` or a backtest; polars, pandas or another eager frame narwhals reads. By
            "mint_shrink" it holds forecasts of the totals too; by "bottom_up" those are not read.
        totals: The hierarchy or grouping: `{"north": ["a", "b"], "all": ["a", "b", "c"]}`; series, not other totals.
        method: "bottom_up" (a total is the sum of the forecasts of its series) or "mint_shrink" (all forecasts are
            weighed by how their errors went together; the totals' forecasts correct those of the series).
        residuals: For "mint_shrink": a backtest of the same models over all levels, with the truth as `y`. Of it those
            steps count that lie before the first step of a forecast and hold all series.

    Returns:
        Frame of the kind that was given: the keys, one column per model, and `y` where there was one.

    Raises:
        ArgumentError: a name of the hierarchy is not in the frame or a series of the frame is in no total, a step lacks
            a series, residuals are missing or too few, or an argument has a value that cannot work.
    """
    if method not in METHODS:
        raise ArgumentError(f"method={method!r}: wanted one of {', '.join(METHODS)}.{suggest(str(method), METHODS)}")
    if (residuals is None) != (method == "bottom_up"):
        raise ArgumentError("residuals= does nothing by bottom_up: leave it out." if residuals is not None else
                            "mint_shrink needs residuals=, a backtest of the same models over all levels.")
    table, models = _checked(forecasts)
    hierarchy = _hierarchy(table["unique_id"].unique(maintain_order=True), totals, totals_too=method == "mint_shrink")
    keys, values = _wide(table, [*models, *(["y"] if "y" in table.columns else [])], hierarchy)
    known = np.arange(len(hierarchy.ids)) >= (0 if method == "mint_shrink" else len(hierarchy.totals))
    _check_complete(keys, values["present"], known, hierarchy)
    made = {name: values[name] for name in values if name == "y"}
    for model in models:
        made[model] = _bottom_up(values[model], hierarchy)
        for rows, errors in _with_errors(keys, residuals, model, hierarchy) if method == "mint_shrink" else ():
            made[model][rows] = mint(values[model][rows], hierarchy.sums, shrunk_covariance(errors))
    if "y" in made:  # the truth of a total that has no rows of its own
        own = values["present"] > 0
        made["y"] = np.where(own, made["y"], _bottom_up(made["y"], hierarchy))
    return like(forecasts, _long(keys, made, hierarchy, table))


def mint(forecasts: np.ndarray, sums: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Coherent forecasts [step, total + bottom] nearest to those given, by the covariance of their errors.

    Args:
        forecasts: [step, total + bottom].
        sums: [total, bottom] which series each total sums.
        covariance: [total + bottom, total + bottom].
    """
    n = len(sums)
    constraints = np.hstack([np.eye(n), -sums])
    spread = covariance @ constraints.T
    between = constraints @ spread
    width = np.sqrt(np.diag(between))
    width = np.outer(*[np.where(width > 0, width, 1.0)] * 2)  # so that no small total falls under the cut of the pinv
    gain = spread[n:] @ (np.linalg.pinv(between / width, hermitian=True) / width)  # [bottom, total]
    bottom = forecasts[:, n:] - forecasts @ constraints.T @ gain.T
    return np.hstack([bottom @ sums.T, bottom])


def shrunk_covariance(errors: np.ndarray) -> np.ndarray:
    """The covariance [series, series] of errors [observation, series], its correlations shrunk towards 0.

    The shrinkage is that of Schafer & Strimmer (2005) for their target D: a diagonal of unequal variances.
    """
    n = len(errors)
    centred = errors - errors.mean(axis=0)
    covariance = centred.T @ centred / (n - 1)
    sd = np.sqrt(np.diag(covariance))
    x = np.divide(centred, sd, out=np.zeros_like(centred), where=sd > 0)
    mean = x.T @ x / n
    apart = ~np.eye(len(sd), dtype=bool)
    variance = ((x**2).T @ x**2 - n * mean**2)[apart].sum() / (n * (n - 1))
    square = (mean[apart] ** 2).sum()
    share = min(max(variance / square, 0.0), 1.0) if square > 0 else 1.0
    return np.where(apart, (1 - share) * covariance, covariance)


def _checked(forecasts: Any) -> tuple[pl.DataFrame, list[str]]:
    """The frame, and its columns of point forecasts."""
    table = as_eager(forecasts, "forecasts")
    require_columns(table, ("unique_id", "ds"), "forecasts", "Rename or add them")
    if "sample" in table.columns:
        raise ArgumentError("forecasts holds sample paths: reconcile their mean or median.")
    banded = [name for name, _ in bands(table.columns)]
    models = [name for name in table.columns if name not in (*KEYS, *banded)]
    if not models or not all(table.schema[name].is_numeric() for name in models):
        raise ArgumentError(f"forecasts has the columns {table.columns}: wanted one of numbers per model.")
    if banded:
        log.info(f"Intervals and quantiles do not add up and are left out: {', '.join(banded)}.")
    return table, models


def _hierarchy(ids: pl.Series, totals: Mapping[Any, Sequence[Any]], *, totals_too: bool) -> Hierarchy:
    there = ids.to_list()
    if not totals:
        raise ArgumentError("totals is empty: wanted names of totals and their series, as {'all': ['a', 'b']}.")
    parts = {}
    for total, members in totals.items():
        if isinstance(members, str) or not len(members) or len({*members}) < len(members):
            raise ArgumentError(f"totals[{total!r}] = {members!r}: wanted a list of series, each of them once.")
        nested = next((name for name in members if name in totals), None)
        if nested is not None:
            raise ArgumentError(f"totals[{total!r}] names {nested!r}, which is a total itself: name its series.")
        parts[total] = [*members]
    named = {name for members in parts.values() for name in members}
    absent = [name for name in (*(parts if totals_too else ()), *sorted(named, key=str)) if name not in there]
    if absent:
        raise ArgumentError(f"The hierarchy names {absent[0]!r}, of which there is no forecast ({len(absent)} such "
                            f"names).{suggest(str(absent[0]), map(str, there))}")
    loose = [name for name in there if name not in named and name not in parts]
    if loose:
        raise ArgumentError(f"The series {loose[0]!r} is in no total ({len(loose)} such series): name it in one, or "
                            "leave its rows out.")
    bottom = [name for name in there if name in named]
    place = {name: number for number, name in enumerate(bottom)}
    sums = np.zeros((len(parts), len(bottom)))
    for row, members in enumerate(parts.values()):
        sums[row, [place[name] for name in members]] = 1
    return Hierarchy([*parts], bottom, sums)


def _wide(table: pl.DataFrame, columns: Sequence[str], hierarchy: Hierarchy) -> tuple[pl.DataFrame, dict]:
    """Keys without the series, in the order they come; of each column [key, id], NaN where missing, and `present`.

    `present` counts the rows.
    """
    keys = table.select(name for name in ("ds", "target", "cutoff") if name in table.columns)
    distinct = keys.unique(maintain_order=True)
    numbers = keys.join(distinct.with_row_index("key"), on=keys.columns, how="left", maintain_order="left")
    place = {name: number for number, name in enumerate(hierarchy.ids)}
    at = numbers["key"].to_numpy(), np.array([place[name] for name in table["unique_id"].to_list()], dtype=np.int64)
    shape = (len(distinct), len(place))
    values = {name: np.full(shape, np.nan) for name in columns}
    for name in columns:
        values[name][at] = floats(table, name)
    present = np.zeros(shape, dtype=np.int64)
    np.add.at(present, at, 1)
    return distinct, values | {"present": present}


def _check_complete(keys: pl.DataFrame, present: np.ndarray, known: np.ndarray, hierarchy: Hierarchy) -> None:
    wrong = np.argwhere((present > 1) | ((present == 0) & known))
    if len(wrong):
        key, number = wrong[0]
        step = ", ".join(f"{name} {value}" for name, value in keys.row(int(key), named=True).items())
        raise ArgumentError(f"At {step} there are {present[key, number]} rows of {hierarchy.ids[number]!r}, wanted one "
                            f"({len(wrong)} such steps): all series need a forecast of the same steps.")


def _bottom_up(values: np.ndarray, hierarchy: Hierarchy) -> np.ndarray:
    bottom = values[:, len(hierarchy.totals) :]
    # A product with NaN would make every total missing, also those that the series is not part of.
    totals = np.stack([bottom[:, row > 0].sum(axis=1) for row in hierarchy.sums], axis=1)
    return np.hstack([totals, bottom])


def _with_errors(
    keys: pl.DataFrame, residuals: Any, model: str, hierarchy: Hierarchy,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(which keys, errors [observation, id]) of each target and cutoff: errors of steps before the first forecast."""
    table = as_eager(residuals, "residuals")
    split = [name for name in ("target", "cutoff") if name in keys.columns]
    require_columns(table, ["unique_id", "ds", "y", model, *(name for name in split if name == "target")], "residuals",
                    "Give a backtest of the same models")
    table = table.filter(pl.col("unique_id").is_in(pl.Series(hierarchy.ids, dtype=table.schema["unique_id"]).implode()))
    at, values = _wide(table, ["y", model], hierarchy)
    errors = values["y"] - values[model]
    whole = ~np.isnan(errors).any(axis=1)
    numbered = keys.with_row_index("key")
    for group in numbered.partition_by(split, maintain_order=True) if split else [numbered]:
        first = group["ds"].min()
        mine = whole & (at["ds"].cast(keys.schema["ds"]) < first).to_numpy()
        if "target" in split:
            mine &= (at["target"] == group["target"][0]).to_numpy()
        if mine.sum() < FEWEST:
            raise ArgumentError(
                f"residuals holds {mine.sum()} steps of {model} before {first} at which all {len(hierarchy.ids)} "
                f"series and totals have a truth and a forecast, wanted {FEWEST} or more: backtest all levels on "
                "earlier windows, or on more."
            )
        yield group["key"].to_numpy(), errors[mine]


def _long(
    keys: pl.DataFrame, columns: Mapping[str, np.ndarray], hierarchy: Hierarchy, like_table: pl.DataFrame
) -> pl.DataFrame:
    """Rows by id and key, with the columns in the order of the given frame."""
    n, many = len(keys), len(hierarchy.ids)
    dtype = like_table.schema["unique_id"]
    try:
        ids = pl.Series("unique_id", hierarchy.ids, dtype=dtype)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise ArgumentError(f"totals has names that do not go into unique_id, which is {dtype} ({error}).") from None
    made = keys[np.tile(np.arange(n), many)].with_columns(
        ids.gather(np.repeat(np.arange(many), n)),
        *(pl.Series(name, values.T.ravel(), nan_to_null=name == "y") for name, values in columns.items()),
    )
    return made.select(name for name in like_table.columns if name in made.columns)
