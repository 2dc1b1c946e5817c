"""Networks of stations: MFMGCN, which hears them together, beside models of each station.

    python bench/stations.py [--data beijing new_york wave] [--steps 400] [--seeds 0 1 2]

12 hours ahead from 24; temperature in the units of the files. `wave` is simulated: a front that moves along a ring of
12 stations, in the shape of a Weather2K table, so that what comes is at a neighbour already. The controls of MFMGCN
have no graph between stations, or graphs and no coordinates.
"""

import argparse
from typing import Any

import numpy as np
import polars as pl

import tsforge

BEIJING = {"Aotizhongxin": [39.982, 116.397], "Changping": [40.217, 116.230], "Dingling": [40.292, 116.220],
           "Huairou": [40.328, 116.628]}  # public coordinates, which the files do not have
NEW_YORK = {"EWR": [40.6925, -74.1687], "JFK": [40.6398, -73.7789], "LGA": [40.7772, -73.8726]}
RING = {f"s{k:02}": [30 + 2 * np.sin(k * np.pi / 6), 110 + 2 * np.cos(k * np.pi / 6)] for k in range(12)}
H, LOOKBACK, WINDOWS, APART = 12, 24, 60, 43  # hours between windows, so that all hours of the day are begun at


def wave(steps: int = 4000, seed: int = 0) -> pl.DataFrame:
    """Noise that is carried from each station of the ring to the next in one step, damped, with a little of its own."""
    draw = np.random.default_rng(seed)
    x = np.zeros((steps, len(RING)))
    for t in range(1, steps):
        x[t] = 0.95 * np.roll(x[t - 1], 1) + 0.3 * draw.standard_normal(len(RING))
    ds = pl.datetime_range(pl.datetime(2020, 1, 1), pl.datetime(2020, 1, 1) + pl.duration(hours=steps - 1), "1h",
                           eager=True)
    return pl.concat([pl.DataFrame({"unique_id": [name] * steps, "ds": ds, "t": x[:, k]})
                      for k, name in enumerate(RING)])


def frames_of(data: str) -> tuple[tsforge.Frame, tsforge.Frame, list[list[float]]]:
    """One series a station; all stations as channels; where they are, in the order of their names."""
    if data == "wave":
        table, roles = wave(), {"targets": ["t"], "freq": "1h", "season": 24}
        together = tsforge.Frame(table, channels_from="unique_id", **roles)
        return tsforge.Frame(table, **roles), together, list(RING.values())
    source, where, own = {
        "beijing": ("beijing_air", BEIJING, {"targets": ["TEMP"], "stations": list(BEIJING)}),
        "new_york": ("nyc_weather", NEW_YORK, {"targets": ["temp"]}),
    }[data]
    apart = tsforge.load(source, **own).without_covariates()
    together = tsforge.load(source, **own, channels_from="unique_id").without_covariates()
    return apart, together, [where[name] for name in sorted(where)]


def errors(model: Any, frame: tsforge.Frame) -> tuple[float, float]:
    """Mean absolute and root mean squared error over the last windows; fitted once, on what lies before them."""
    table = tsforge.backtest([model], frame, n_windows=WINDOWS, step_size=APART)
    scores = tsforge.evaluate(table, ["mae", "rmse"], by=())
    return tuple(scores.filter(pl.col("metric") == name)["value"][0] for name in ("mae", "rmse"))


def measure(data: str, steps: int, seeds: list[int]) -> None:
    apart, together, where = frames_of(data)
    print(f"\n{data}\n\n| model | MAE | RMSE |\n| --- | --- | --- |")
    naive = errors(tsforge.SeasonalNaive(h=H), apart)
    print(f"| SeasonalNaive | {naive[0]:.3f} | {naive[1]:.3f} |")
    common = {"h": H, "input_size": LOOKBACK, "max_steps": steps, "loss": "mae", "batch_size": 32,
              "validate_every": 100, "schedule": "cosine", "threads": 1}
    rate = {"learning_rate": 5e-3}
    graph = common | rate | {"hidden": 32}
    models = {
        "DLinear": (tsforge.DLinear, common | rate, apart),
        "TimesNet": (tsforge.TimesNet, common | {"learning_rate": 1e-3, "d_model": 16, "d_ff": 16, "top_k": 2,
                                                 "num_kernels": 3}, apart),
        "MFMGCN": (tsforge.MFMGCN, graph | {"coordinates": where}, together),
        "MFMGCN, no coordinates": (tsforge.MFMGCN, graph, together),
        "MFMGCN, no graphs": (tsforge.MFMGCN, graph | {"dynamic": False, "quantile": 1.0}, together),
    }
    for name, (made, arguments, frame) in models.items():
        found = np.array([errors(made(seed=seed, **arguments), frame) for seed in seeds])
        mean, spread = found.mean(0), found.std(0, ddof=int(len(seeds) > 1))
        print(f"| {name} | {mean[0]:.3f} ± {spread[0]:.3f} | {mean[1]:.3f} ± {spread[1]:.3f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["beijing", "new_york", "wave"])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = parser.parse_args()
    for data in given.data:
        measure(data, given.steps, given.seeds)


if __name__ == "__main__":
    main()
