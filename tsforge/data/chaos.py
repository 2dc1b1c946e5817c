"""Chaos: trajectories of `dysts` systems; the coordinates of a system are the channels of a series.

Source    Gilpin (2021), "Chaos as an interpretable benchmark for forecasting and data-driven modelling",
          arXiv:2110.05266. Generated, not downloaded.
Frame     unique_id "Lorenz", or "Lorenz-0", "Lorenz-1", ...   ds step number   x, y, z, x3, x4, ... coordinates
          of several systems: y, one coordinate of each
Units     ds: 1/pts_per_period of the system's dominant period; one iteration of a map.
          coordinates: the system's own, dimensionless.
Differs   dysts integrates flows by Radau to 1e-12; here by LSODA to 1e-10: the same for some periods, and quick.
          Every trajectory starts 1 % away from the start that dysts gives and drops a transient of 10 periods
          (100 iterations). dysts returns delay systems as 10 delayed copies of one coordinate; here it is the one.
"""

import io
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from functools import cached_property
from importlib.metadata import version
from numbers import Integral, Real
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.cache import cached
from tsforge.data.systems import chosen, coordinates, metadata, systems
from tsforge.data.workers import cores, counting, share_out
from tsforge.errors import ArgumentError, TsforgeError

SOLVER = {"method": "LSODA", "rtol": 1e-10, "atol": 1e-12}
TRANSIENT = {"flows": 10, "maps": 100}  # periods of a flow, iterations of a map
SPREAD = 0.01  # of starts, relative to each coordinate
MANY = 8  # systems from which on new processes, each of which imports dysts, are quicker
WORKER = "from tsforge.data.chaos import serve; serve()"


class Chaos(Adapter):
    """Any flows and maps of dysts, the same numbers for the same arguments.

    Args:
        system: Name of the flow or map, as dysts writes it; "DuffingMap" is the map that shares its name with a flow.
            Several as `["Lorenz", "Rossler"]` or "Lorenz+Rossler"; "flows", "maps" and "all" are groups.
        n: Steps of a trajectory.
        pts_per_period: Steps of a period, for flows; a map steps by iterations.
        trajectories: Series of each system, each from its own start.
        noise: Sd of the observational noise, relative to the sd of each coordinate.
        seed: Chooses starts and noise.
        coordinate: The one coordinate that becomes the target `y`. None: of one system all of them, under their own
            names; of several systems the first, as in the univariate benchmark.
        workers: Processes that make several systems; None takes one for each core from 8 systems on. The numbers do
            not depend on it.

    Raises:
        UnknownNameError: dysts has no such system.
        ArgumentError: a number is out of range, a system lacks the coordinate, or (when the table is made) a trajectory
            leaves every bound.
    """

    def __init__(
        self, *, system: str | Sequence[str] = "Lorenz", n: int = 4_000, pts_per_period: int = 100,
        trajectories: int = 1, noise: float = 0.0, seed: int = 0, coordinate: str | None = None,
        workers: int | None = None,
    ) -> None:
        self.systems = chosen(system)
        for name, value, least in (
            ("n", n, 2), ("pts_per_period", pts_per_period, 1), ("trajectories", trajectories, 1), ("seed", seed, 0),
            ("workers", 1 if workers is None else workers, 1),
        ):
            if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
                raise ArgumentError(f"{name}={value!r}: wanted a whole number of at least {least}.")
        if not isinstance(noise, Real) or not 0 <= noise < math.inf:
            raise ArgumentError(f"noise={noise!r}: wanted a share of the sd of a coordinate, 0 or more.")
        self.n, self.pts_per_period, self.trajectories = int(n), int(pts_per_period), int(trajectories)
        self.noise, self.seed, self.workers = float(noise), int(seed), workers
        self.coordinate = "x" if coordinate is None and len(self.systems) > 1 else coordinate
        for system in self.systems if self.coordinate is not None else ():
            if self.coordinate not in metadata(system).coordinates:
                raise ArgumentError(
                    f"coordinate={coordinate!r}: {system} has {', '.join(metadata(system).coordinates)}. "
                    "Choose one that every system has."
                )

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the coordinates, out of the cache where they have been made before."""
        return self._table

    def roles(self) -> dict[str, Any]:
        flows = any(systems()[system][0] == "flows" for system in self.systems)
        return {"targets": self.table().columns[2:], "freq": "1i", "season": self.pts_per_period if flows else 1}

    @cached_property
    def _table(self) -> pl.DataFrame:
        missing = [system for system in self.systems if not self._is_made(system)]
        with counting("systems", len(missing)) as done:
            workers = min(self.workers or (cores() if len(missing) >= MANY else 1), len(missing))
            if workers > 1:
                share_out(WORKER, [self._arguments(system) for system in missing], workers, done)
                missing = []
            tables = []
            for system in self.systems:
                tables.append(self._made(system))
                if system in missing:
                    done()
        if self.coordinate is None:
            return tables[0]
        return pl.concat(table.select("unique_id", "ds", pl.col(self.coordinate).alias("y")) for table in tables)

    def _arguments(self, system: str) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("n", "pts_per_period", "trajectories", "noise", "seed")}
        return {"system": system, **own}

    def _is_made(self, system: str) -> bool:
        def absent() -> pl.DataFrame:
            raise LookupError

        try:
            self._made(system, absent)
        except LookupError:
            return False
        return True

    def _made(self, system: str, make: Callable[[], pl.DataFrame] | None = None) -> pl.DataFrame:
        recipe = [list(self._arguments(system).values()), SOLVER, TRANSIENT, SPREAD, version("dysts")]
        return cached("chaos", system, recipe, make or (lambda: self._generate(system)))

    def _generate(self, system: str) -> pl.DataFrame:
        names = [f"{system}-{i}" for i in range(self.trajectories)] if self.trajectories > 1 else [system]
        return pl.concat(self._series(system, i, name) for i, name in enumerate(names))

    def _series(self, system: str, index: int, name: str) -> pl.DataFrame:
        start, observed = (np.random.default_rng([self.seed, index, purpose]) for purpose in (0, 1))
        path = integrate(system, self.n, self.pts_per_period, start)  # [n, coordinate]
        if path is None or not np.isfinite(path).all():
            raise ArgumentError(
                f"system={system!r}, seed={self.seed}: trajectory {index} leaves every bound within {self.n} "
                "steps. Choose another seed=, or a smaller n=."
            )
        path = path + self.noise * path.std(axis=0) * observed.standard_normal(path.shape)
        columns = dict(zip(coordinates(path.shape[1]), path.T, strict=True))
        return pl.DataFrame({"unique_id": [name] * self.n, "ds": np.arange(self.n, dtype=np.int64)} | columns)


def serve() -> None:
    """What a worker does: each line of standard input is the arguments of a Chaos, whose table it puts into the cache.

    A system that fails is made again, and fails again, where its error has a reader.
    """
    for line in sys.stdin:
        with suppress(TsforgeError):
            Chaos(**json.loads(line)).table()
        print("done", flush=True)


def integrate(system: str, n: int, pts_per_period: int, rng: np.random.Generator) -> np.ndarray | None:
    """`n` steps [n, coordinate] from a start that `rng` moves, after a transient; None where the solver gives up."""
    module, name = systems()[system]
    with quiet():
        with _without_numba():
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
def _without_numba() -> Iterator[None]:
    """dysts compiles its equations where numba is installed, which rounds otherwise: numbers would depend on what is
    installed, and the solver stalls on the corner of StickSlipOscillator.
    """
    there = sys.modules.get("numba")
    sys.modules["numba"] = None  # pyright: ignore[reportArgumentType]
    try:
        yield
    finally:
        del sys.modules["numba"]
        if there is not None:
            sys.modules["numba"] = there


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
