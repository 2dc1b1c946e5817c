"""The published forecasts of the chaos benchmark, as a forecast frame.

Source    Gilpin (2021), "Chaos as an interpretable benchmark for forecasting and data-driven modelling",
          arXiv:2110.05266; https://github.com/williamgilpin/dysts, before commit cbb86f6. Apache-2.0.
Frame     unique_id the system (66), ds step number, cutoff the last step that was fitted, y the truth, then one column
          for each of 16 models under its published name and " (published)"
Differs   The last step of each forecast is left out, as it is in the published scores.
"""

import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from tsforge.data.places import find_data
from tsforge.errors import ArgumentError, FrameError

SUFFIX = " (published)"
BEST = f"NBEATSModel{SUFFIX}"  # of the 16, by median sMAPE


def published_forecasts(points: int = 15, *, path: str | Path | None = None) -> pl.DataFrame:
    """Forecasts of the last two of twelve periods, 29 or 199 steps of each system.

    Args:
        points: Points of a period, 15 or 100.
        path: The user's own file of the same layout.

    Raises:
        ArgumentError: nothing is published for so many points.
        DataNotFoundError: the file is not in the data folder, or is not the published one.
        FrameError: the file has another layout.
    """
    if points not in (15, 100):
        raise ArgumentError(f"points={points!r}: forecasts are published for 15 and for 100 points of a period.")
    relative = f"dysts/results_test_univariate__pts_per_period_{points}__periods_12.json.gz"
    place = find_data("dysts_benchmark", relative, path)
    try:
        results = json.loads(gzip.decompress(place.read_bytes()))
        return pl.concat((_system(name, results[name], points) for name in sorted(results)), how="diagonal")
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError, AttributeError,
            pl.exceptions.PolarsError) as error:
        raise FrameError(f"{place} holds no published forecasts: {error}.") from error


def _system(name: str, result: dict[str, Any], points: int) -> pl.DataFrame:
    truth = np.ravel(np.asarray(result["values"], dtype=np.float64))
    models = {
        f"{model}{SUFFIX}": np.ravel(np.asarray(found["prediction"], dtype=np.float64))[: len(truth)]
        for model, found in sorted(result.items()) if model != "values"
    }
    steps = pl.int_range(10 * points, 10 * points + len(truth), eager=True, dtype=pl.Int64)
    return pl.DataFrame({"ds": steps, **models, "y": truth}).select(
        pl.lit(name).alias("unique_id"), "ds", pl.lit(10 * points - 1, pl.Int64).alias("cutoff"), *models, "y"
    )
