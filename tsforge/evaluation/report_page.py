"""The page of a report: its sections, tables, style and script. All text from outside is escaped here."""

import math
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import polars as pl

from tsforge.evaluation.metrics import METRICS
from tsforge.evaluation.report_table import figure, table

PROFILE_ROWS = 200
SERIES_ROWS = 50
COVERAGE = re.compile(r"coverage-(\d+(?:\.\d+)?)")
# Nothing is fetched, whatever a later plotly may try.
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


def page(
    title: str,
    summary: Mapping[str, str | int | float],
    profile: pl.DataFrame,
    data: Mapping[str, Any],
    scores: pl.DataFrame,
    embedded: str,
    plotly: str,
    ranks: str = "",
    dynamics: str = "",
    calibration: str = "",
    residuals: str = "",
    by_series: pl.DataFrame | None = None,
) -> str:
    """The whole page as text.

    Args:
        title, summary, profile, scores: As `write_report` takes them.
        data: What the plots show; the sentences beside them are made from it.
        embedded: `data` as JSON in which no `<` is left.
        plotly: The source of plotly.js.
        ranks: The section that ranks several models, in place of the learning curve.
        dynamics, calibration, residuals: Sections; an empty one is left out.
        by_series: As `write_report` takes it.
    """
    sections = {
        "run": ("What was run", _run(summary)),
        "ranks": ("Which differences are real", ranks),
        "profile": ("Data", _profile(profile)),
        "learning": ("Learning curve", "" if ranks else _learning(data["learning"])),
        "forecasts": ("Forecasts and truth", _forecasts(data)),
        "horizon": ("Error by step ahead", _horizon(data["horizon"])),
        "by-series": ("Error by series", "" if by_series is None else _by_series(by_series)),
        "calibration": ("Calibration", calibration),
        "residuals": ("Autocorrelation of errors", residuals),
        "dynamics": ("Attractors and the growth of errors", dynamics),
        "scores": ("Scores", "" if ranks and scores.is_empty() else _scores(scores)),
    }
    sections = {key: section for key, section in sections.items() if section[1]}
    links = "".join(f'<a href="#{key}">{heading}</a>' for key, (heading, _) in sections.items())
    body = "".join(
        f'<section id="{key}" aria-labelledby="h-{key}"><h2 id="h-{key}">{heading}</h2>{content}</section>\n'
        for key, (heading, content) in sections.items()
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{escape(title)}</h1><nav aria-label="Sections">{links}</nav></header>
<main>
<noscript><p>The plots need JavaScript; it stands in this file and fetches nothing.</p></noscript>
{body}</main>
<script type="application/json" id="report-data">{embedded}</script>
<script>{plotly}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def nominal(metric: str) -> float | None:
    """The share that `coverage-80` aims at; None for other metrics, of which the least or the highest is best."""
    match = COVERAGE.fullmatch(metric)
    return float(match[1]) / 100 if match else None


def _run(summary: Mapping[str, str | int | float]) -> str:
    rows = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in summary.items() if name != "recipe"
    )
    recipe = escape(str(summary["recipe"])) if "recipe" in summary else ""
    return f"<dl>{rows}</dl>" + (f"<details><summary>Recipe</summary><pre>{recipe}</pre></details>" if recipe else "")


def _profile(profile: pl.DataFrame) -> str:
    if profile.is_empty():
        return "<p>There are no data to describe.</p>"
    rows, missing = int(profile["rows"].sum()), int(profile["missing"].sum())
    totals = {
        "series": f"{profile['unique_id'].n_unique():,}",
        "targets": f"{profile['target'].n_unique():,}",
        "values": f"{rows:,}",
        "missing": f"{missing:,} ({100 * missing / max(1, rows):.3g} %)",
        "from": str(profile["first"].min()),
        "to": str(profile["last"].max()),
    }
    tiles = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in totals.items())
    shown = profile.head(PROFILE_ROWS).rename({"unique_id": "series"})
    left_out = "" if len(shown) == len(profile) else f" The first {len(shown)} of {len(profile):,} rows are shown."
    return f'<dl class="totals">{tiles}</dl>' + table(f"Each series and target.{left_out}", shown)


def _learning(learning: Mapping[str, Any]) -> str:
    if not any(line["x"] for line in learning["lines"].values()):
        return "<p>No training is recorded.</p>"
    shown = max(len(line["x"]) for line in learning["lines"].values())
    thinned = f" Of {learning['records']:,} records {shown:,} are drawn, evenly." if shown < learning["records"] else ""
    return figure("learning-plot", "Learning curve",
                  f"Loss by training step; below it the learning rate, where it was logged.{thinned}")


def _forecasts(data: Mapping[str, Any]) -> str:
    if not data["plots"]:
        return "<p>There are no forecasts to draw.</p>"
    shown = data["shown"]
    drawn, every = shown["plots"]
    if drawn == every:
        extent = f"All {every:,} forecasts can be chosen."
    else:
        extent = (
            f"{drawn:,} of {every:,} forecasts can be chosen, picked evenly: {_of(shown['series'], 'series')}, "
            f"{_of(shown['targets'], 'targets')}, and of each at most {_of(shown['cutoffs'], 'cutoffs')}."
        )
    levels = list(dict.fromkeys(band["level"] for band in reversed(data["bands"])))
    shade = f" Shaded: intervals at {' and '.join(levels)} percent." if levels else ""
    without = f" Not drawn: {', '.join(data['not_drawn'])}." if data["not_drawn"] else ""
    selects = "".join(
        f'<label for="choose-{name}">{name}<select id="choose-{name}"></select></label>'
        for name in ("series", "target", "cutoff")
    )
    caption = (
        f"The vertical line is the cutoff, the last time a model saw; up to {shown['past']:,} observations before it "
        f"are drawn. A value that is missing is a gap.{shade}{escape(without)}"
    )
    place = figure("forecast-plot", "Forecasts and truth", caption)
    return f'<p>{extent}</p><div class="choices">{selects}</div>{place}'


def _of(pair: Sequence[int], name: str) -> str:
    return f"{pair[0]:,} of {pair[1]:,} {name}"


def _horizon(horizon: Sequence[Mapping[str, Any]]) -> str:
    if not horizon:
        return "<p>No error by step was computed.</p>"
    options = "".join(f'<option value="{i}">{escape(metric["name"])}</option>' for i, metric in enumerate(horizon))
    select = f'<label for="choose-metric">metric<select id="choose-metric">{options}</select></label>'
    choices = f'<div class="choices">{select}</div>' if len(horizon) > 1 else ""
    return choices + figure("horizon-plot", "Error by step ahead",
                            "Over all series and the cutoffs above. Step 1 is the first after one.")


def _by_series(errors: pl.DataFrame) -> str:
    """A row per series (and target) and a column per model, the worst first: of many the rest is left out."""
    names = [name for name in ("unique_id", "target") if name in errors.columns]
    metric = errors["metric"][0]
    wide = errors.with_columns(pl.col("unique_id").cast(pl.String)).pivot(
        on="model", index=names, values="value", maintain_order=True
    )
    models = wide.columns[len(names) :]
    least = pl.min_horizontal(pl.col(models).fill_nan(None))
    shown = wide.sort(least, descending=True, nulls_last=True, maintain_order=True).head(SERIES_ROWS)
    left_out = f" The first {len(shown)} of {len(wide):,} rows are shown." if len(shown) < len(wide) else ""
    best = {(row, models[k]) for row, values in enumerate(shown.select(models).iter_rows())
            for k in _best(metric, values)}
    return table(escape(f"{metric} of each series over its cutoffs and steps; first the series on which even the best "
                        f"model is far off. Bold: the best of its row.{left_out}"),
                 shown.rename({"unique_id": "series"}), best)


def _scores(scores: pl.DataFrame) -> str:
    if scores.is_empty():
        return "<p>Nothing was scored.</p>"
    metrics = [name for name in scores.columns if name != "model"]
    best = {(row, name) for name in metrics for row in _best(name, scores[name].to_list())}
    coverage = "; for coverage the nearest to its level" if any(COVERAGE.fullmatch(name) for name in metrics) else ""
    highest = "".join(f"; of {name} the highest" for name in metrics if _most_is_best(name))
    bold = f" Bold: the best in its column (the lowest{coverage}{highest})." if best else ""
    return table(f"Each model over all series, cutoffs and steps.{bold}", scores.select("model", *metrics), best)


def _best(metric: str, values: Sequence[float | None]) -> list[int]:
    """Rows of the best value; none where there is nothing to compare it with."""
    aim = nominal(metric)
    known = {row: value for row, value in enumerate(values) if value is not None and math.isfinite(value)}
    sign = -1 if _most_is_best(metric) else 1
    distance = {row: sign * value if aim is None else abs(value - aim) for row, value in known.items()}
    return [row for row in distance if len(known) > 1 and distance[row] == min(distance.values())]


def _most_is_best(metric: str) -> bool:
    row = METRICS.get(metric.partition("(")[0])
    return row is not None and row.direction == "max"


STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfc; --ink: #1b1f24; --muted: #57606a; --rule: #dde1e6; --tint: #f3f5f7;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #cc79a7; --c4: #b8860b; --c5: #56b4e9;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #15181c; --ink: #e6e8ea; --muted: #9ba5af; --rule: #333a42; --tint: #1e2329;
    --c0: #56b4e9; --c1: #f08a4b; --c2: #2fc795; --c3: #dd94bb; --c4: #e6c84f; --c5: #9ab8ff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; max-width: 62rem; padding: 1.5rem clamp(0.9rem, 3vw, 2rem) 4rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { margin: 0; font-size: 1.75rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 2.75rem 0 0.75rem; padding-top: 1rem; border-top: 1px solid var(--rule); font-size: 1.2rem; }
p { margin: 0.5rem 0; max-width: 44rem; }
nav { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; margin-top: 0.6rem; font-size: 0.9rem; }
a { color: inherit; text-decoration-color: var(--muted); text-underline-offset: 0.2em; }
dl { display: grid; grid-template-columns: fit-content(14rem) 1fr; gap: 0.3rem 1.5rem; margin: 0; }
dt { color: var(--muted); overflow-wrap: anywhere; }
dd { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.totals { display: flex; flex-wrap: wrap; gap: 0.75rem 2.25rem; margin-bottom: 1rem; }
.totals dt { font-size: 0.85rem; }
.totals dd { font-size: 1.1rem; font-variant-numeric: tabular-nums; }
details { margin-top: 1rem; }
summary { cursor: pointer; }
pre { margin: 0.5rem 0 0; padding: 0.75rem 1rem; overflow-x: auto; background: var(--tint); font-size: 0.85rem; }
.scroll { max-height: 24rem; overflow: auto; border-bottom: 1px solid var(--rule); }
table { width: 100%; border-collapse: separate; border-spacing: 0; font-size: 0.9rem; }
caption { padding-bottom: 0.5rem; color: var(--muted); text-align: left; }
caption span { position: sticky; left: 0; display: inline-block; max-width: min(44rem, calc(100vw - 2rem)); }
th, td { padding: 0.3rem 0.75rem; border-bottom: 1px solid var(--rule); text-align: left; white-space: nowrap; }
th:first-child { padding-left: 0; }
thead th { position: sticky; top: 0; background: var(--paper); color: var(--muted); font-weight: 600; }
tbody th { font-weight: 400; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.choices { display: flex; flex-wrap: wrap; gap: 0.75rem 1.25rem; margin: 0.75rem 0; }
label { flex: 0 1 16rem; min-width: 0; color: var(--muted); font-size: 0.85rem; }
select { display: block; width: 100%; margin-top: 0.15rem; padding: 0.35rem; font: inherit; color: var(--ink);
  background: var(--tint); border: 1px solid var(--rule); border-radius: 4px; }
figure { margin: 0.5rem 0 0; }
figcaption { max-width: 44rem; color: var(--muted); font-size: 0.9rem; }
.plot { height: 24rem; }
.panels { display: flex; flex-wrap: wrap; gap: 0.75rem 1rem; margin: 0.5rem 0; }
.panels svg { max-width: 100%; height: auto; }
.keys { display: flex; flex-wrap: wrap; gap: 0.25rem 1.25rem; font-size: 0.9rem; }
.keys span { overflow-wrap: anywhere; }
.keys svg { vertical-align: -0.1rem; }
figure + .scroll { margin-top: 1rem; }
@media (max-width: 34rem) {
  dl:not(.totals) { display: block; }
  dd { margin-bottom: 0.4rem; }
  label { flex-basis: 100%; }
}
"""

# Plotly reads a little HTML in names, so `plain` hands it every name escaped.
SCRIPT = """
'use strict';
const data = JSON.parse(document.getElementById('report-data').textContent);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const plain = text => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
const colour = index => css(`--c${index % 6}`);
const faint = (hex, alpha) => `rgba(${[1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16)).join(',')},${alpha})`;
const dashes = ['solid', 'dash', 'dot', 'dashdot'];

// A line of few points has marks, a line of many has dashes: colour is never the only difference.
function line(x, y, name, index) {
  const marked = y.length <= 48 || y.includes(null);
  return {x, y, name, mode: marked ? 'lines+markers' : 'lines', marker: {size: 5, symbol: index % 8},
    line: {color: colour(index), width: 2, dash: marked ? 'solid' : dashes[index % 4]}, hovertemplate: '%{y:.5~g}'};
}

function draw(id, traces, more) {
  const axis = {gridcolor: css('--rule'), linecolor: css('--rule'), zeroline: false, automargin: true,
                title: {standoff: 8}};
  const layout = {
    paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', hovermode: 'x unified', showlegend: true,
    font: {family: getComputedStyle(document.body).fontFamily, size: 13, color: css('--ink')},
    hoverlabel: {bgcolor: css('--paper'), bordercolor: css('--rule'), font: {color: css('--ink')}},
    legend: {orientation: 'h', x: 0, xanchor: 'left', y: 1.02, yanchor: 'bottom'},
    modebar: {bgcolor: 'rgba(0,0,0,0)', color: css('--rule'), activecolor: css('--muted')},
    margin: {l: 48, r: 12, t: 36, b: 40}, ...more,
  };
  for (const name of ['xaxis', 'yaxis', 'yaxis2'])
    if (layout[name]) layout[name] = {...axis, ...layout[name], title: {...axis.title, ...layout[name].title}};
  Plotly.react(id, traces, layout, {
    responsive: true, displaylogo: false, displayModeBar: innerWidth > 640 ? 'hover' : false,
    // named one by one: among plotly's own is one that sends the chart to a server
    modeBarButtons: [['toImage'], ['zoom2d', 'pan2d', 'zoomIn2d', 'zoomOut2d', 'resetScale2d']],
  });
}

function drawLearning() {
  const {loss, val_loss: validation, learning_rate: rate} = data.learning.lines;
  const traces = [line(loss.x, loss.y, 'training loss', 0), line(validation.x, validation.y, 'validation loss', 1),
    {...line(rate.x, rate.y, 'learning rate', 2), yaxis: 'y2'}].filter(trace => trace.x.length);
  const known = [...loss.y, ...validation.y].filter(value => value !== null);
  const log = Math.min(...known) > 0 && Math.max(...known) > 100 * Math.min(...known);
  const split = rate.x.length > 0;
  draw('learning-plot', traces, {
    xaxis: {title: {text: 'step'}, anchor: split ? 'y2' : 'y'},
    yaxis: {title: {text: log ? 'loss (log scale)' : 'loss'}, type: log ? 'log' : 'linear',
      domain: [split ? 0.36 : 0, 1]},
    ...(split && {yaxis2: {title: {text: 'rate'}, domain: [0, 0.24], rangemode: 'tozero', nticks: 4}}),
  });
}

// One closed outline per run of steps without a gap.
function ribbon(x, lo, hi) {
  const outline = {x: [], y: []};
  let run = [];
  x.forEach((_, i) => {
    if (lo[i] !== null && hi[i] !== null) run.push(i);
    if (run.length && (lo[i] === null || hi[i] === null || i === x.length - 1)) {
      const back = [...run].reverse();
      outline.x.push(...run.map(j => x[j]), ...back.map(j => x[j]), x[run[0]], null);
      outline.y.push(...run.map(j => hi[j]), ...back.map(j => lo[j]), hi[run[0]], null);
      run = [];
    }
  });
  return outline;
}

function drawForecast(plot) {
  const bands = data.bands.map((band, i) => ({...ribbon(plot.x, plot.lo[i], plot.hi[i]), mode: 'lines', fill: 'toself',
    line: {width: plot.x.length > 1 ? 1 : 7, color: faint(colour(band.model), 0.15)},
    fillcolor: faint(colour(band.model), 0.15),
    legendgroup: `${band.model}`, showlegend: false, hoverinfo: 'skip', name: `${band.level} percent`}));
  const x = [...plot.past[0], ...plot.x], y = [...plot.past[1], ...plot.y];
  const observed = {x, y, name: 'observed', mode: x.length <= 150 || y.includes(null) ? 'lines+markers' : 'lines',
    line: {color: css('--ink'), width: 1.5}, marker: {size: 3.5}, legendrank: 1, hovertemplate: '%{y:.5~g}'};
  const points = plot.point.map((y, i) => ({...line(plot.x, y, plain(data.models[i]), i), legendgroup: `${i}`}));
  draw('forecast-plot', [...bands, ...points, observed], {
    xaxis: {type: data.time, title: {text: 'ds'}}, yaxis: {title: {text: plain(plot.key[1])}},
    shapes: [{type: 'line', x0: plot.cutoff, x1: plot.cutoff, yref: 'paper', y0: 0, y1: 1,
      line: {color: css('--muted'), width: 1, dash: 'dot'}}],
  });
}

function drawHorizon(metric) {
  const traces = metric.lines.map(({model, x, y}) => line(x, y, plain(data.models[model]), model));
  const level = {type: 'line', xref: 'paper', x0: 0, x1: 1, y0: metric.level, y1: metric.level,
    line: {color: css('--muted'), width: 1, dash: 'dot'}};
  draw('horizon-plot', traces, {
    xaxis: {title: {text: 'steps ahead'}},
    yaxis: {title: {text: plain(metric.name)}, rangemode: metric.level === null ? 'tozero' : 'normal'},
    shapes: metric.level === null ? [] : [level],
  });
}

const parts = ['series', 'target', 'cutoff'];
const selects = parts.map(part => document.getElementById(`choose-${part}`));
const metrics = document.getElementById('choose-metric');
const chosen = () => data.plots.find(plot => selects.every((select, i) => select.value === plot.key[i]));

// Each list offers what the ones before it leave; a choice that is not among it becomes the one at the same place.
function choose(wanted) {
  let left = data.plots;
  selects.forEach((select, i) => {
    const names = [...new Set(left.map(plot => plot.key[i]))];
    const place = Math.min(Math.max(select.selectedIndex, 0), names.length - 1);
    select.replaceChildren(...names.map(name => new Option(name, name)));
    select.value = names.includes(wanted[i]) ? wanted[i] : names[place];
    left = left.filter(plot => plot.key[i] === select.value);
  });
}

// The view is part of the address, so that it can be sent to someone.
function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  choose(parts.map(part => wanted.get(part)));
}
function toAddress() {
  const view = new URLSearchParams(parts.map((part, i) => [part, selects[i].value]));
  try { history.replaceState(null, '', `#${view}`); } catch { /* a page shown inside another has no address */ }
}

function drawAll() {
  if (document.getElementById('learning-plot')) drawLearning();
  if (data.plots.length) drawForecast(chosen());
  if (data.horizon.length) drawHorizon(data.horizon[metrics ? metrics.value : 0]);
}

if (data.plots.length) {
  fromAddress();
  for (const select of selects)
    select.addEventListener('change', () => {
      choose(selects.map(each => each.value));
      toAddress();
      drawForecast(chosen());
    });
  window.addEventListener('hashchange', () => { fromAddress(); drawForecast(chosen()); });
}
if (metrics) metrics.addEventListener('change', () => drawHorizon(data.horizon[metrics.value]));
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
drawAll();
"""
