"""DystsBenchmark: the precomputed series of the chaos benchmark, for comparison with its published forecasts.

Source    Gilpin (2021), "Chaos as an interpretable benchmark for forecasting and data-driven modelling",
          arXiv:2110.05266; https://github.com/williamgilpin/dysts, before commit cbb86f6. Apache-2.0.
Frame     unique_id the system, 133 (train) or 68 (test)   ds step number, 0 to 179 or 1,199
          univariate: y the first coordinate   multivariate: x, y, z, x3, ... the 3 to 10 coordinates
Units     ds: a 15th or a 100th of the system's dominant period.   coordinates: the system's own, dimensionless.
"""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.adapter import Adapter
from tsforge.data.places import find_data
from tsforge.data.systems import coordinates, split_names
from tsforge.errors import ArgumentError, FrameError, UnknownNameError, suggest
from tsforge.frame.frame import Frame
from tsforge.frame.split import Split

WORDS = {"part": ("train", "test"), "variables": ("univariate", "multivariate"), "pts_per_period": (15, 100)}
LAYOUT = '{"Lorenz": {"dt": 0.1, "time": [...], "values": [...]}, ...}'


class DystsBenchmark(Adapter):
    """Twelve periods of each system. Train and test part start apart; models are tuned on one and scored on the other.

    The published split holds of every series: ten periods are fitted, two are forecast in one go.

    Args:
        part: "train" or "test".
        variables: "univariate" (one target, `y`) or "multivariate" (all coordinates).
        pts_per_period: 15 or 100; multivariate series have 15.
        system: One or several systems (`["Lorenz", "Rossler"]` or "Lorenz+Rossler"); None takes all.
        dimension: Only systems of this many coordinates. The coordinates of a multivariate frame are its channels, so
            all its systems need the same number of them: one that is not there is no missing value.
        path: The user's own file of the same layout.

    Raises:
        ArgumentError: a word or a number is none of these, or (when the table is made) multivariate systems differ in
            the number of their coordinates.
        UnknownNameError: the file has no such system (when the table is made).
    """

    published = Split(train=150, val=0, test=30)  # with 15 points of a period

    def __init__(
        self, *, part: str = "test", variables: str = "univariate", pts_per_period: int = 15,
        system: str | Sequence[str] | None = None, dimension: int | None = None, path: str | Path | None = None,
    ) -> None:
        given = {"part": part, "variables": variables, "pts_per_period": pts_per_period}
        for name, value in given.items():
            if value not in WORDS[name]:
                raise ArgumentError(f"{name}={value!r}: wanted {' or '.join(map(repr, WORDS[name]))}.")
        if variables == "multivariate" and pts_per_period == 100 and path is None:
            raise ArgumentError("pts_per_period=100: multivariate series are published with 15 points of a period.")
        if dimension is not None and (variables == "univariate" or not dimension >= 1):
            raise ArgumentError(f"dimension={dimension!r}: wanted coordinates, with variables='multivariate'.")
        self.part, self.variables, self.pts_per_period, self.dimension = part, variables, pts_per_period, dimension
        self.names = None if system is None else split_names(system)
        self.path = path

    def table(self) -> pl.DataFrame:
        """`unique_id`, `ds` and the targets, null where the file has no number.

        Raises:
            DataNotFoundError: the file is not in the data folder, or is not the published one.
            FrameError: the file has another layout.
        """
        return self._table

    def roles(self) -> dict[str, Any]:
        return {"targets": self.table().columns[2:], "freq": "1i", "season": self.pts_per_period}

    def frame(self, **roles: Any) -> Frame:
        """The checked frame, with the published split at its number of points of a period."""
        made, points = super().frame(**roles), self.pts_per_period
        return made.with_split(Split(train=10 * points, val=0, test=2 * points)) if made.split else made

    @cached_property
    def _table(self) -> pl.DataFrame:
        relative = f"dysts/{self.part}_{self.variables}__pts_per_period_{self.pts_per_period}__periods_12.json.gz"
        path = find_data("dysts_benchmark", relative, self.path)
        series = self._chosen(read_series(path), path)
        names = ["y"] if self.variables == "univariate" else coordinates(next(iter(series.values())).shape[1])
        if any(values.shape[1] != len(names) for values in series.values()):
            raise FrameError(f"{path}: a univariate series has one number for each step, and one here has several.")
        return pl.concat(
            pl.DataFrame(values, schema=names, nan_to_null=True).select(
                pl.lit(system).alias("unique_id"), pl.int_range(pl.len(), dtype=pl.Int64).alias("ds"), *names
            )
            for system, values in series.items()
        )

    def _chosen(self, series: dict[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
        for name in self.names or ():
            if name not in series:
                raise UnknownNameError(f"{path} has no system named {name!r}.{suggest(name, series)}")
        series = {name: series[name] for name in self.names or series}
        widths = Counter(values.shape[1] for values in series.values())
        if self.dimension is not None:
            series = {name: values for name, values in series.items() if values.shape[1] == self.dimension}
        elif self.variables == "multivariate" and len(widths) > 1:
            counts = ", ".join(f"{count} of {width}" for width, count in sorted(widths.items()))
            raise ArgumentError(
                f"variables='multivariate': these systems differ in their number of coordinates ({counts}), and a "
                "frame has the same channels for every series. Choose them by system= or dimension=."
            )
        if not series:
            raise ArgumentError(f"dimension={self.dimension}: the systems have {', '.join(map(str, sorted(widths)))}.")
        return series


def read_series(path: Path) -> dict[str, np.ndarray]:
    """The values [time, coordinate] of each system in a file of dysts, JSON or gzipped JSON.

    Raises:
        FrameError: the file cannot be read as such.
    """
    content = path.read_bytes()
    try:
        read = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
        series = {str(system): np.asarray(stated["values"], dtype=np.float64) for system, stated in read.items()}
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError) as error:
        raise FrameError(f"{path} is no file of dysts, which is JSON as {LAYOUT}: {error}.") from error
    wrong = next((system for system, values in series.items() if values.ndim not in (1, 2) or not values.size), None)
    if wrong is not None or not series:
        raise FrameError(f"{path} is no file of dysts, which is JSON as {LAYOUT}: {wrong or 'it'} has no values.")
    return {system: values.reshape(len(values), -1) for system, values in series.items()}
