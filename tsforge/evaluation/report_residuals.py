"""The section of a report on what is left in the errors: their autocorrelation beside that of white noise.

In        a forecast frame with the truth as `y`
Cutoffs   With 8 windows or more: errors one step ahead at successive cutoffs, which a model that is right leaves white,
          whatever the distance of the cutoffs; and mean errors of windows, where windows do not overlap.
Steps     With fewer: errors at the steps of one window. Even a model that is right makes errors there that go together,
          so nothing is tested.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl

from tsforge.evaluation.forecasts import floats, models_of
from tsforge.evaluation.report_svg import MOST_MODELS, Panel, how_many, of_model, panels
from tsforge.evaluation.report_table import table
from tsforge.evaluation.residuals import LEAST, Layout, Pooled, lags_of, layout, ljung_box, long_enough, pooled

ALPHA = 0.05
MOST_ROWS = 200

Errors = Mapping[str, np.ndarray]  # model to [sequence, time]


@dataclass(frozen=True)
class Drawn:
    """Errors that make a sequence.

    Args:
        unit: Of the lags: "cutoffs" or "steps".
        what: The errors, in words.
        first: Of each model.
        means: Mean errors of windows, in cutoffs; empty where they are no sequence.
        caption: What is seen.
    """

    unit: str
    what: str
    first: Errors
    means: Errors
    caption: str


def residuals(forecasts: pl.DataFrame) -> str:
    """The section's HTML; empty where there is no truth.

    Args:
        forecasts: Forecast frame with `cutoff` and the truth as `y`, without sample paths.
    """
    if "sample" in forecasts.columns or not np.isfinite(floats(forecasts, "y")).any():
        return ""
    place = layout(forecasts)
    cubes = {model: place.errors(floats(forecasts, model)) for model in models_of(forecasts, [])}
    drawn = _over_cutoffs(place, cubes)
    if drawn is not None:
        return _pictures(drawn, list(cubes)) + _tests(drawn)
    drawn = _over_steps(cubes)
    if drawn is not None:
        return _pictures(drawn, list(cubes))
    return (f"<p>An autocorrelation needs errors at {LEAST} successive cutoffs or steps. There are {place.shape[1]:,} "
            f"windows of {place.shape[2]:,} steps.</p>")


def _over_cutoffs(place: Layout, cubes: Errors) -> Drawn | None:
    first = _kept({model: cube[:, :, 0] for model, cube in cubes.items()})
    if not first:
        return None
    alone = place.overlap or place.shape[2] == 1
    means = {} if alone else _kept({model: _mean(cubes[model]) for model in first})
    n = max(len(errors) for errors in first.values())
    left_out = f" {place.shape[0] - n:,} series with fewer than {LEAST} are left out." if n < place.shape[0] else ""
    hollow = (" Hollow: the mean error of each window, which is white too where a model is right, for windows do not "
              "overlap.") if means else ""
    return Drawn("cutoffs", "one step ahead at successive cutoffs", first, means, (
        "Filled: errors (truth minus forecast) one step ahead, at successive cutoffs; a lag is the distance of two "
        f"cutoffs. A model that is right leaves white noise; what stands out it could have used.{hollow}{left_out}"
    ))


def _over_steps(cubes: Errors) -> Drawn | None:
    first = _kept({model: cube.reshape(-1, cube.shape[2]) for model, cube in cubes.items()})
    if not first:
        return None
    return Drawn("steps", "at the steps of one window", first, {}, (
        "Errors (truth minus forecast) at the steps of one window, mean over windows: there are too few windows (below "
        f"{LEAST}) to look at errors one step ahead from cutoff to cutoff. Errors at neighbouring steps go together "
        "even where a model is right, so this shows how long an error lasts and is no test of the model."
    ))


def _kept(errors: Errors) -> dict[str, np.ndarray]:
    """Models with sequences that are long enough, and these sequences."""
    return {model: kept for model, each in errors.items() if len(kept := long_enough(each))}


def _mean(cube: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a window without any truth
        return np.nanmean(cube, axis=2)


def _pictures(drawn: Drawn, models: list[str]) -> str:
    n_lags = min(lags_of(errors)[0] for errors in [*drawn.first.values(), *drawn.means.values()])
    pictures, sequences = [], set()
    for place, model in enumerate(models[:MOST_MODELS]):
        found = pooled(drawn.first[model], n_lags) if model in drawn.first else None
        if found is None:
            continue
        means = pooled(drawn.means[model], n_lags) if model in drawn.means else None
        sequences.add(found.sequences)
        pictures.append(_picture(drawn, model, place, found, means))
    if not pictures:
        return "<p>The errors do not vary, so they have no autocorrelation.</p>"
    return panels(pictures, f"{drawn.caption} {_band_words(drawn, max(sequences))}{how_many(models)}")


def _band_words(drawn: Drawn, n: int) -> str:
    of = "windows" if drawn.unit == "steps" else "series and targets"
    band = "95 percent of white noise lies in the shaded band"
    if n == 1:
        return f"{band}, below 0 on average because the mean is taken off."
    return (f"Drawn is the mean over {n:,} {of}. {band} in one of them, and between the dashed lines in the mean of as "
            "many that are independent of each other; it is below 0 on average because each mean is taken off.")


def _picture(drawn: Drawn, model: str, place: int, found: Pooled, means: Pooled | None) -> str:
    lags = range(1, len(found.r) + 1)
    outside = int((np.abs(found.r - found.centre) > found.one).sum())
    told = ", ".join(f"{lag}: {r:.2f}".replace("-", "−") for lag, r in zip(lags, found.r, strict=True))
    panel = Panel(
        title=model, told=f"Autocorrelation of errors of {model} {drawn.what}, by lag: {told}. Outside the band of "
        f"white noise: {outside} of {len(lags)}.", x=f"lag ({drawn.unit})", y="autocorrelation",
        x_ends=(0, len(lags) + 1), y_ends=(-1, 1), x_ticks=_ticks(len(lags)), y_ticks=(-1, -0.5, 0, 0.5, 1), height=240,
    )
    parts = [*_band(panel, found), panel.line([(0, 0), (len(lags) + 1, 0)], "")]
    stems = [panel.line([(lag, 0), (lag, r)], 'stroke-width="2"') + panel.mark(place, lag, r)
             for lag, r in zip(lags, found.r.tolist(), strict=True)]
    if means is not None:
        stems += [panel.mark(place, lag + 0.3, r, hollow=True) for lag, r in zip(lags, means.r.tolist(), strict=True)]
    return panel.drawn([*parts, of_model(place, stems)])


def _band(panel: Panel, found: Pooled) -> Iterator[str]:
    lags = np.arange(1, len(found.r) + 1)
    edges = np.concatenate([[0.5], lags[1:] - 0.5, [len(lags) + 0.5]])  # each lag from a half before it on
    x = np.repeat(edges, 2)[1:-1].tolist()

    def stairs(values: np.ndarray) -> list[tuple[float, float]]:
        return list(zip(x, np.repeat(values, 2).tolist(), strict=True))

    yield panel.area([*stairs(found.centre + found.one), *reversed(stairs(found.centre - found.one))], 0.12)
    if found.sequences > 1:
        for side in (found.independent, -found.independent):
            yield panel.line(stairs(found.centre + side), 'stroke-dasharray="3 3" opacity="0.6"')


def _ticks(n_lags: int) -> range:
    step = max(1, -(-n_lags // 5))
    return range(step, n_lags + 1, step)


def _tests(drawn: Drawn) -> str:
    """Ljung-Box beside the pictures: Q and p of one sequence, of several the share in which it finds something."""
    rows: list[dict[str, Any]] = []
    for model, first in drawn.first.items():
        rows.append({"model": model, "errors": "one step ahead"} | _tested(first))
        if model in drawn.means:
            rows.append({"model": model, "errors": "mean of a window"} | _tested(drawn.means[model]))
    one = all(len(errors) == 1 for errors in drawn.first.values())
    more = ("" if one else f" Of white noise about one sequence in {1 / ALPHA:.0f} is found at p < {ALPHA}; series "
            "that move together are found together.")
    left_out = f" The first {MOST_ROWS} of {len(rows):,} rows are shown." if len(rows) > MOST_ROWS else ""
    caption = f"Ljung-Box: are the errors of a sequence white noise? A small p says that they are not.{more}{left_out}"
    frame = pl.DataFrame(rows[:MOST_ROWS], infer_schema_length=None)
    return table(escape(caption), frame.select(name for name in frame.columns if not frame[name].is_null().all()))


def _tested(errors: np.ndarray) -> dict[str, Any]:
    lags = lags_of(errors)[1]
    q, p = ljung_box(errors, lags)
    told: dict[str, Any] = {"cutoffs": int((~np.isnan(errors)).sum(axis=1).min()), "lags": lags}
    if len(errors) == 1:
        return told | {"Q": float(q[0]), "p": float(p[0]), f"p < {ALPHA}": None}
    return told | {"Q": None, "p": None, f"p < {ALPHA}": f"{int((p < ALPHA).sum()):,} of {int(np.isfinite(p).sum()):,}"}
