"""The section of a report on dynamics: attractors in delay coordinates, and how errors grow with Lyapunov time.

In        a forecast frame of free runs with one cutoff a series; lags and Lyapunov times of its series
Out       inline SVG, each picture with the sentence that is read aloud in its place
Colour    the truth has that of the text, a forecast one that is legible on light and dark
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np
import polars as pl

SIDE, PAD = 190, 10  # of a square picture, and the room around what is drawn
WIDTH, HEIGHT, LEFT, BOTTOM = 400, 280, 56, 40  # of the error growth, for a phone too, and the room for its axes
COLOURS = ("#3b82c4", "#d9822b", "#2f9e6e", "#b0567d", "#8a6fd1", "#8b8b35")
MOST_SYSTEMS = 6
BINS = 30


def dynamics(
    forecasts: pl.DataFrame, models: Sequence[str], lags: Mapping[str, int], lyapunov_steps: Mapping[str, float]
) -> str:
    """The section's HTML.

    Args:
        forecasts: `unique_id, ds, y` and a column per model.
        models: Those that are drawn; attractors are of the first.
        lags: Steps between the two coordinates, of each series.
        lyapunov_steps: Steps of one Lyapunov time; series without are not in the error growth.
    """
    systems = forecasts["unique_id"].unique(maintain_order=True).to_list()
    chosen = [systems[i] for i in np.unique(np.linspace(0, len(systems) - 1, MOST_SYSTEMS).round().astype(int))]
    pictures = "".join(
        _attractor(str(name), part, models[0], lags[str(name)])
        for (name,), part in forecasts.filter(pl.col("unique_id").is_in(pl.Series(chosen).implode()))
        .group_by("unique_id", maintain_order=True)
    )
    shown = f"{len(chosen)} of {len(systems)} series, evenly chosen" if len(chosen) < len(systems) else "Every series"
    model = f"<span style='color:{COLOURS[0]}'>{escape(models[0])}</span>"
    caption = (f"{shown}: the value against the value a lag earlier (the first zero of the autocorrelation), over the "
               f"forecast steps. Thin: the truth; {model}: the forecast.")
    attractors = (f'<figure><div style="display:flex;flex-wrap:wrap;gap:12px">{pictures}</div>'
                  f"<figcaption>{caption}</figcaption></figure>")
    growth = error_growth(forecasts, models, lyapunov_steps)
    return attractors + (_growth(growth) if growth else "")


def error_growth(
    forecasts: pl.DataFrame, models: Sequence[str], lyapunov_steps: Mapping[str, float]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each model, Lyapunov times since the cutoff and the median over series of |error| over the sd of the truth.

    Times are cut into 30 bins up to the longest that half of the series reach.
    """
    parts = {str(name): part for (name,), part in forecasts.group_by("unique_id", maintain_order=True)}
    known = {name: part for name, part in parts.items() if 0 < lyapunov_steps.get(name, 0) < np.inf}
    if not known:
        return {}
    times = {name: np.arange(1, len(part) + 1) / lyapunov_steps[name] for name, part in known.items()}
    edges = np.linspace(0, float(np.median([own[-1] for own in times.values()])), BINS + 1)
    found = {}
    for model in models:
        table = np.full((len(known), BINS), np.nan)
        for row, (name, part) in zip(table, known.items(), strict=True):
            y = part["y"].to_numpy()
            error = np.abs(part[model].to_numpy() - y) / (np.nanstd(y) or 1.0)
            place = np.digitize(times[name], edges) - 1
            for bin_ in np.unique(place[(place < BINS) & np.isfinite(error)]):
                row[bin_] = error[(place == bin_) & np.isfinite(error)].mean()
        there = np.isfinite(table).any(axis=0)
        found[model] = ((edges[:-1] + edges[1:])[there] / 2, np.nanmedian(table[:, there], axis=0))
    return found


def _attractor(name: str, part: pl.DataFrame, model: str, lag: int) -> str:
    y, forecast = (part[column].to_numpy().astype(float) for column in ("y", model))
    low, high = float(np.nanmin(y)), float(np.nanmax(y))
    reach = (high - low) or 1.0

    def path(values: np.ndarray) -> str:
        inside = np.clip(values, low - reach / 4, high + reach / 4)
        place = PAD + (SIDE - 2 * PAD) * (inside - low + reach / 4) / (1.5 * reach)
        pairs = zip(place[:-lag], SIDE - place[lag:], strict=True)
        return " ".join(f"{x:.1f},{z:.1f}" for x, z in pairs if np.isfinite(x) and np.isfinite(z))

    told = escape(f"{name} in delay coordinates, lag {lag}: the truth and the forecast of {model}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" viewBox="0 0 {SIDE} {SIDE + 18}" '
        f'width="{SIDE}" style="max-width:45%;height:auto" fill="none" stroke-linejoin="round">'
        f'<polyline points="{path(y)}" stroke="currentColor" stroke-width="0.8" opacity="0.7"/>'
        f'<polyline points="{path(forecast)}" stroke="{COLOURS[0]}" stroke-width="1.4"/>'
        f'<text x="{SIDE / 2:.0f}" y="{SIDE + 12}" text-anchor="middle" font-size="12" fill="currentColor">'
        f"{escape(name)}, lag {lag}</text></svg>"
    )


def _growth(growth: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> str:
    longest = max(float(x[-1]) for x, _ in growth.values())
    lines = "".join(_line(x, y, longest, COLOURS[k % len(COLOURS)]) for k, (x, y) in enumerate(growth.values()))
    keys = " ".join(f"<span style='color:{COLOURS[k % len(COLOURS)]}'>■ {escape(name)}</span>"
                    for k, name in enumerate(growth))
    told = escape("Error growth. " + "; ".join(
        f"{name}: {y[0]:.2g} at first, {y[-1]:.2g} at {x[-1]:.2g} Lyapunov times" for name, (x, y) in growth.items()
    ))
    drawn = (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{told}" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" style="max-width:100%;height:auto" fill="none"><title>Error growth</title>'
        f'{"".join(_axes(longest))}{lines}</svg>'
    )
    return (f"<figure>{drawn}<figcaption>{keys}<br>Median over series of |error| in standard deviations of the truth, "
            "against Lyapunov times after the cutoff.</figcaption></figure>")


def _x(time: float, longest: float) -> float:
    return LEFT + (WIDTH - LEFT - PAD) * time / longest


def _y(error: float) -> float:
    decades = np.clip(np.log10(max(error, 1e-4)), -4, 1)
    return float(PAD + (HEIGHT - BOTTOM - PAD) * (1 - decades) / 5)


def _line(x: np.ndarray, y: np.ndarray, longest: float, colour: str) -> str:
    points = " ".join(f"{_x(float(a), longest):.1f},{_y(float(b)):.1f}" for a, b in zip(x, y, strict=True))
    return f'<polyline points="{points}" stroke="{colour}" stroke-width="2"/>'


def _axes(longest: float) -> Iterator[str]:
    words = 'font-size="12" fill="currentColor"'
    for power in range(-4, 2):
        at = _y(10.0**power)
        yield f'<line x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - PAD}" y2="{at:.1f}" stroke="currentColor" opacity="0.15"/>'
        yield f'<text x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end" {words}>{10.0**power:g}</text>'
    for k in range(6):
        time = longest * k / 5
        place = f'x="{_x(time, longest):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle"'
        yield f"<text {place} {words}>{time:.2g}</text>"
    centre = f'x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle"'
    yield f"<text {centre} {words}>Lyapunov times after the cutoff</text>"
    middle = f'x="14" y="{HEIGHT / 2:.0f}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2:.0f})"'
    yield f"<text {middle} {words}>error in sd</text>"
