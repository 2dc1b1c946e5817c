"""Sample paths as tables: forecasts of models that make paths, what is read off them, and series of their own.

A path draws from a generator that is keyed by (seed, unique_id, cutoff): it is the same whatever is forecast beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.store import Store
from tsforge.data.windows import Windows, forecast_frame
from tsforge.errors import ArgumentError, CapabilityError
from tsforge.estimators.fitted import Fitted
from tsforge.frame.schema import Schema
from tsforge.models import MODELS
from tsforge.models.base import Model
from tsforge.training.keys import key
from tsforge.training.sampling import generated, sampled

PATHS = 1000  # of a window, from which intervals are read


@dataclass(frozen=True)
class Sampler:
    """What makes the paths of windows.

    Args:
        network: A model with `samples` on its card.
        windows: Windows without targets.
        seeds: One for each.
        accelerator: Where it is done.
    """

    network: Model
    windows: Windows
    seeds: Sequence[int]
    accelerator: str

    def paths(self, n: int) -> np.ndarray:
        """[window, n, h, channel], scaled."""
        return np.concatenate([part for _, part in self._parts(n)]).astype(np.float64)

    def quantiles(self, levels: Sequence[float]) -> np.ndarray:
        """[level, window, h, channel] of `PATHS` paths each, scaled."""
        parts = [np.quantile(part.astype(np.float64), levels, axis=1) for _, part in self._parts(PATHS)]
        return np.concatenate(parts, axis=1)

    def _parts(self, n: int) -> Any:
        return sampled(self.network, self.windows, n, self.seeds, self.accelerator)


def seeds_of(seed: int, store: Store, series: np.ndarray, rows: np.ndarray) -> list[int]:
    """A seed for each window, of its series and its cutoff."""
    ids, stamps = store.ids.to_list(), store.stamps(series, rows).to_list()
    return [key(seed, "paths", ids[s], stamp) for s, stamp in zip(series, stamps, strict=True)]


def path_frame(
    name: str, paths: np.ndarray, store: Store, series: np.ndarray, rows: np.ndarray
) -> pl.DataFrame:
    """`unique_id, ds, (target,) sample, name` of paths [window, n, h, channel] in the user's units."""
    windows, n, h, channels = paths.shape
    every = paths.reshape(windows * n, h, channels)
    table = forecast_frame(store, np.repeat(series, n), np.repeat(rows, n), {name: every})
    numbers = np.repeat(np.tile(np.arange(n), windows), h * channels)
    at = table.columns.index(name)
    return table.insert_column(at, pl.Series("sample", numbers))


def generated_frame(fitted: Fitted, n: int, length: int, seed: int, accelerator: str) -> pl.DataFrame:
    """`unique_id` "path-0", ..., `ds` 0, 1, ... and the targets, in the user's units."""
    assert isinstance(fitted.predictor, Model)
    seeds = [key(seed, "generate", number) for number in range(n)]
    paths, series = generated(fitted.predictor, length, seeds, accelerator)
    loc, scale = fitted.preparation.targets.of(series)
    paths = paths.astype(np.float64) * scale[:, None] + loc[:, None]
    keys = {"unique_id": [f"path-{number}" for number in range(n) for _ in range(length)],
            "ds": np.tile(np.arange(length), n)}
    names = channel_names(fitted.schema)
    return pl.DataFrame(keys | {name: paths[..., c].ravel() for c, name in enumerate(names)})


def channel_names(schema: Schema) -> list[str]:
    """The targets; where series are channels, `unique_id/target`, or the series alone where there is one target."""
    if not schema.channels_from:
        return list(schema.targets)
    one = len(schema.targets) == 1
    return [f"{i}" if one else f"{i}/{target}" for i in schema.channel_ids for target in schema.targets]


def check_count(what: str, n: Any) -> int:
    """A whole number of 1 or more.

    Raises:
        ArgumentError: it is none.
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ArgumentError(f"{what}={n!r}: wanted a whole number, 1 or more.")
    return int(n)


def no_paths(asked: str, title: str) -> CapabilityError:
    """The error for paths of a model that makes none: names those that do."""
    able = [network.__name__ for network in map(MODELS.__getitem__, MODELS) if network.samples]
    return CapabilityError(
        f"{asked}: {title} makes no sample paths; {', '.join(able)} {'does' if len(able) == 1 else 'do'}. "
        "Its intervals are predict(level=[80]), its quantiles predict(quantiles=[0.1, 0.9])."
    )
