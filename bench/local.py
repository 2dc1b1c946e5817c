"""Local models over many series against the loop one would write by hand, the walk of trees against scikit-learn's, and
statistical models against statsforecast's, where that is installed.

    python bench/local.py [--series 200] [--forests 40] [--statistics 200] [--cash 6] [--rounds 3]

A comparison is a function that yields lines; `COMPARISONS` lists them.
"""

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV

import tsforge
from tsforge.errors import DataNotFoundError
from tsforge.local.arima import ARIMA
from tsforge.local.base import LocalModel
from tsforge.local.boosting import Boosting
from tsforge.local.ets import ETS
from tsforge.local.random_forest import RandomForest
from tsforge.local.ridge import PENALTIES
from tsforge.local.theta import Theta

H, LAGS, STEPS = 14, 14, 500


def daily(series: int) -> np.ndarray:
    """[series, time] of weekly patterns with noise."""
    rng, t = np.random.default_rng(0), np.arange(STEPS)
    phase, size = rng.uniform(0, 7, (series, 1)), rng.uniform(1, 10, (series, 1))
    return size * (5 + np.sin((t + phase) * 2 * np.pi / 7) + 0.3 * rng.normal(size=(series, STEPS)))


def long_table(values: np.ndarray) -> pl.DataFrame:
    """The long table of [series, time]."""
    ids = np.repeat([f"s{n:03}" for n in range(len(values))], values.shape[1])
    return pl.DataFrame({"unique_id": ids, "ds": np.tile(np.arange(values.shape[1]), len(values)), "y": values.ravel()})


def seconds_of(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Medians of several rounds; the works take turns, and the first round warms up."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if number:
                spent[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in spent.items()}


def plain_loop(make: Callable[[], RandomForestRegressor | RidgeCV], values: np.ndarray) -> np.ndarray:
    """[series, h]: a lag matrix, a fit and a recursive forecast of each series, in scikit-learn and nothing else."""
    forecasts = np.empty((len(values), H))
    for row, y in zip(forecasts, values, strict=True):
        loc, scale = y.mean(), y.std()
        windows = np.lib.stride_tricks.sliding_window_view((y - loc) / scale, LAGS + 1)
        found = make().fit(windows[:, -2::-1], windows[:, -1])
        seen = list((y[-LAGS:] - loc) / scale)
        for step in range(H):
            seen.append(found.predict(np.array(seen[: -LAGS - 1 : -1])[None])[0])
            row[step] = seen[-1] * scale + loc
    return forecasts


def lags_against_a_loop(options: argparse.Namespace) -> Iterator[str]:
    """Ridge and a forest: fit and predict of a frame, in one process and in as many as there are cores."""
    kinds = {
        "Ridge": (tsforge.Ridge, lambda: RidgeCV(PENALTIES), options.series),
        "RandomForest": (tsforge.RandomForest, lambda: RandomForestRegressor(
            100, max_features=1 / 3, min_samples_leaf=5, random_state=0), options.forests),
    }
    for name, (kind, make, series) in kinds.items():
        values = daily(series)
        table = long_table(values)
        models = {f"workers={n}": kind(h=H, lags=LAGS, val_size=0, workers=n) for n in (1, None)}
        ours = {label: lambda model=model, table=table: model.fit(table, freq="1i").predict()
                for label, model in models.items()}
        spent = seconds_of({"loop": lambda make=make, v=values: plain_loop(make, v), **ours}, options.rounds)
        gap = np.abs(models["workers=1"].predict()[name].to_numpy().reshape(series, H) - plain_loop(make, values)).max()
        ratios = "; ".join(f"{label} {spent[label] / spent['loop']:.2f} x" for label in ours)
        yield (f"  {name} on {LAGS} lags, {series} series of {STEPS}: {ratios} the plain loop "
               f"({1e3 * spent['loop'] / series:.1f} ms a series); forecasts differ by {gap:.0e} at most")


def walk_against_scikit_learn(options: argparse.Namespace) -> Iterator[str]:
    """The answers of one forest and one booster to few and to many rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(700, LAGS))
    y = x[:, 0] + np.sin(x[:, 1]) + rng.normal(size=len(x))
    forest, booster = RandomForest(1), Boosting(1)
    settings = {"max_depth": 3, "max_leaf_nodes": None, "min_samples_leaf": 5, "early_stopping": False}
    peers = {
        "forest": (forest, RandomForestRegressor(100, max_features=1 / 3, min_samples_leaf=5, random_state=0)),
        "booster": (booster, HistGradientBoostingRegressor(**settings)),
    }
    for name, (model, peer) in peers.items():
        learned = model.learn(x, y)
        peer.fit(x, y)
        for rows in (1, 56, 5000):
            z = rng.normal(size=(rows, LAGS))
            works = {"ours": lambda m=model, z=z, s=learned: m.answer(z, s), "theirs": lambda p=peer, z=z: p.predict(z)}
            spent = seconds_of(works, 10 * options.rounds)
            yield (f"  walk of a {name}, {rows} rows: {spent['ours'] / spent['theirs']:.2f} x predict of scikit-learn "
                   f"({1e3 * spent['theirs']:.2f} ms)")


def quarterly(series: int) -> np.ndarray:
    """[series, time] of 25 years: a trend, a season and a random walk each."""
    rng, t = np.random.default_rng(0), np.arange(100 + H)
    slope, size, phase = (rng.uniform(*span, (series, 1)) for span in ((-0.2, 0.4), (0, 8), (0, 4)))
    walk = rng.normal(size=(series, len(t))).cumsum(axis=1)
    return 100 + slope * t + size * np.sin((t + phase) * 2 * np.pi / 4) + walk + rng.normal(size=walk.shape)


def cash(series: int) -> np.ndarray:
    """[series, time] of NN5, missing steps carried forward; none where its files are not there."""
    try:
        frame = tsforge.load("nn5")
    except DataNotFoundError:
        return np.zeros((0, 0))
    columns = frame.table.pivot("unique_id", index="ds", values=frame.targets[0]).sort("ds").drop("ds")
    filled = columns.select(pl.all().fill_nan(None).forward_fill().backward_fill())
    return filled.to_numpy().T[:series]


def statistics_against_statsforecast(options: argparse.Namespace) -> Iterator[str]:
    """ARIMA, ETS and Theta of each series, and how far they are from what came after."""
    try:
        theirs: Any = import_module("statsforecast.models")
    except ImportError:
        yield "  statsforecast is not installed: ARIMA, ETS and Theta are not compared"
        return
    ours = {"ARIMA": ARIMA, "ETS": ETS, "Theta": Theta}
    for named, values, m in (("of 100 quarters", quarterly(options.statistics), 4), ("of NN5", cash(options.cash), 7)):
        for name, kind in ours.items():
            if len(values):
                peer = getattr(theirs, f"Auto{name}")(season_length=m)
                yield f"  {name}, {len(values)} series {named}: {compared(kind(H, season=m), peer, values)}"


def compared(model: LocalModel, peer: Any, values: np.ndarray) -> str:
    """Seconds of both, series by series in turn after two that warm up, and their mean absolute errors."""

    def ours(y: np.ndarray) -> np.ndarray:
        return model.forecast(y[:, None], np.array([len(y) - 1]), model.fit(y[:, None]))[0, :, 0]

    works: dict[str, Callable[..., np.ndarray]] = {"ours": ours, "theirs": lambda y: peer.forecast(y, H)["mean"]}
    spent, errors = dict.fromkeys(works, 0.0), {name: [] for name in works}
    for number, series in enumerate([*values[:2], *values]):
        past, truth = series[:-H].copy(), series[-H:]
        for name, work in works.items():
            start = time.perf_counter()
            forecast = work(past)
            if number >= 2:
                spent[name] += time.perf_counter() - start
                errors[name].append(float(np.abs(forecast - truth).mean()))
    ours_mean, theirs_mean = (statistics.fmean(each) for each in errors.values())
    nearer = sum(a < b for a, b in zip(errors["ours"], errors["theirs"], strict=True))
    return (f"{spent['ours'] / spent['theirs']:.2f} x {type(peer).__name__} of statsforecast "
            f"({1e3 * spent['theirs'] / len(values):.0f} ms a series); mean absolute error {ours_mean:.4g}, theirs "
            f"{theirs_mean:.4g}; ours is nearer in {nearer} of {len(values)}")


COMPARISONS = (walk_against_scikit_learn, lags_against_a_loop, statistics_against_statsforecast)


def main() -> None:
    parser = argparse.ArgumentParser(description="Local models against plain loops.")
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--forests", type=int, default=40)
    parser.add_argument("--statistics", type=int, default=200)
    parser.add_argument("--cash", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    logging.getLogger("tsforge").setLevel(logging.ERROR)
    print(f"fit and {H} steps ahead, medians of {options.rounds} rounds taken in turn")
    for comparison in COMPARISONS:
        for line in comparison(options):
            print(line, flush=True)


if __name__ == "__main__":
    main()
