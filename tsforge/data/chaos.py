"""Chaos: trajectories of a `dysts` system; the coordinates are the channels of a series.

Source    Gilpin (2021), "Chaos as an interpretable benchmark for forecasting and data-driven modelling",
          arXiv:2110.05266. Generated, not downloaded.
Frame     unique_id "Lorenz", or "Lorenz-0", "Lorenz-1", ...   ds step number   x, y, z, x3, x4, ... coordinates
Units     ds: 1/pts_per_period of the system's dominant period; one iteration of a map.
          coordinates: the system's own, dimensionless.
Differs   dysts integrates flows by Radau to 1e-12; here by LSODA to 1e-10: the same for some periods, and quick.
          Every trajectory starts 1 % away from the start that dysts gives and drops a transient of 10 periods
          (100 iterations). dysts returns delay systems as 10 delayed copies of one coordinate; here it is the one.
"""

import io
import json
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from functools import cache, cached_property
from importlib.metadata import version
from numbers import Integral, Real
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.cache import cached
from tsforge.data.places import find_bundled
from tsforge.errors import ArgumentError, UnknownNameError, suggest

SOLVER = {"method": "LSODA", "rtol": 1e-10, "atol": 1e-12}
TRANSIENT = {"flows": 10, "maps": 100}  # periods of a flow, iterations of a map
SPREAD = 0.01  # of starts, relative to each coordinate


class Chaos(Adapter):
    """Any flow or map of dysts, the same numbers for the same arguments.

    Args:
        system: Name of the flow or map, as dysts writes it; "DuffingMap" is the map that shares its name with a flow.
        n: Steps of a trajectory.
        pts_per_period: Steps of a period, for flows; a map steps by iterations.
        trajectories: Series, each from its own start.
        noise: Sd of the observational noise, relative to the sd of each coordinate.
        seed: Chooses starts and noise.

    Raises:
        UnknownNameError: dysts has no such system.
        ArgumentError: a number is out of range, or (when the table is made) the trajectory leaves every bound.
    """

    def __init__(
        self, *, system: str = "Lorenz", n: int = 4_000, pts_per_period: int = 100, trajectories: int = 1,
        noise: float = 0.0, seed: int = 0,
    ) -> None:
        if system not in systems():
            raise UnknownNameError(f"dysts has no system named {system!r}.{suggest(system, systems())}")
        for name, value, least in (
            ("n", n, 2), ("pts_per_period", pts_per_period, 1), ("trajectories", trajectories, 1), ("seed", seed, 0),
        ):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise ArgumentError(f"{name}={value!r}: wanted a whole number of at least {least}.")
        if not isinstance(noise, Real) or not 0 <= noise < math.inf:
            raise ArgumentError(f"noise={noise!r}: wanted a share of the sd of a coordinate, 0 or more.")
        self.system, self.n, self.pts_per_period = system, int(n), int(pts_per_period)
        self.trajectories, self.noise, self.seed = int(trajectories), float(noise), int(seed)

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the coordinates, out of the cache where they have been made before."""
        return self._table

    def roles(self) -> dict[str, Any]:
        season = self.pts_per_period if systems()[self.system][0] == "flows" else 1
        return {"targets": self.table().columns[2:], "freq": "1i", "season": season}

    @cached_property
    def _table(self) -> pl.DataFrame:
        arguments = [self.system, self.n, self.pts_per_period, self.trajectories, self.noise, self.seed]
        return cached("chaos", self.system, [arguments, SOLVER, TRANSIENT, SPREAD, version("dysts")], self._generate)

    def _generate(self) -> pl.DataFrame:
        names = [f"{self.system}-{i}" for i in range(self.trajectories)] if self.trajectories > 1 else [self.system]
        return pl.concat(self._series(i, name) for i, name in enumerate(names))

    def _series(self, index: int, name: str) -> pl.DataFrame:
        start, observed = (np.random.default_rng([self.seed, index, purpose]) for purpose in (0, 1))
        path = integrate(self.system, self.n, self.pts_per_period, start)  # [n, coordinate]
        if path is None or not np.isfinite(path).all():
            raise ArgumentError(
                f"system={self.system!r}, seed={self.seed}: trajectory {index} leaves every bound within {self.n} "
                "steps. Choose another seed=, or a smaller n=."
            )
        path = path + self.noise * path.std(axis=0) * observed.standard_normal(path.shape)
        columns = dict(zip(coordinates(path.shape[1]), path.T, strict=True))
        return pl.DataFrame({"unique_id": [name] * self.n, "ds": np.arange(self.n, dtype=np.int64)} | columns)


@cache
def systems() -> dict[str, tuple[str, str]]:
    """The name of every system -> its module and class in dysts, which is slow to import and is not imported."""
    files = ("data/chaotic_attractors.json", "data/discrete_maps.json")
    flows, maps = (json.loads(find_bundled("dysts", file).read_text(encoding="utf-8")) for file in files)
    undefined = {"EndCap", "Zaslavskii", "ZeraouliaSprott"}  # described there, but dysts has no such class
    named = {name if name not in flows else f"{name}Map": ("maps", name) for name in maps if name not in undefined}
    return {name: ("flows", name) for name in flows} | named


def integrate(system: str, n: int, pts_per_period: int, rng: np.random.Generator) -> np.ndarray | None:
    """`n` steps [n, coordinate] from a start that `rng` moves, after a transient; None where the solver gives up."""
    module, name = systems()[system]
    with quiet():
        from dysts import flows, maps  # slow: only who generates pays
        from dysts.base import DynSysDelay

        made = getattr(flows if module == "flows" else maps, name)()
        width = np.where(made.ic == 0, 1, np.abs(made.ic))
        made.ic = made.ic + SPREAD * width * rng.standard_normal(made.ic.shape)
        total = n + TRANSIENT[module] * (pts_per_period if module == "flows" else 1)
        if module == "maps":
            path = made.make_trajectory(total)
        elif isinstance(made, DynSysDelay):
            made.dt = made.period / pts_per_period * (total - 1) / total  # it divides total * dt into total - 1 steps
            path = made.make_trajectory(total, resample=False, embedding_dim=1)
        else:
            made.dt = made.period / pts_per_period
            path = made.make_trajectory(total, resample=False, **SOLVER)
    return None if path is None else np.asarray(path, dtype=np.float64).reshape(total, -1)[-n:]


@contextmanager
def quiet() -> Iterator[None]:
    """dysts warns and prints on its way, and seeds numpy's global generator: none of it is left behind."""
    state = np.random.get_state()  # noqa: NPY002 - the global state is what has to be put back
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            np.random.set_state(state)  # noqa: NPY002


def coordinates(count: int) -> list[str]:
    """x, y, z, then x3, x4, ..."""
    return [*"xyz", *(f"x{i}" for i in range(3, count))][:count]
