"""A page of figures that a library has made for plotly, in the style of the other reports, and without a network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import polars as pl

from tsforge.evaluation.report import plotly_script, write_page
from tsforge.evaluation.report_page import POLICY, STYLE
from tsforge.evaluation.report_table import table


@dataclass(frozen=True)
class Figure:
    """A figure.

    Args:
        key: Its place in the page, a word.
        heading: Of its section.
        caption: What it shows.
        json: The figure, as plotly writes it.
    """

    key: str
    heading: str
    caption: str
    json: str


def figures_page(
    path: Path, *, title: str, summary: Mapping[str, object], tables: Mapping[str, pl.DataFrame],
    figures: Sequence[Figure],
) -> Path:
    """Writes one HTML file: words, tables, then figures.

    Args:
        path: The file.
        title: Its heading.
        summary: Names and values.
        tables: By caption.
        figures: What is drawn.

    Raises:
        ArgumentError: plotly is not installed.
    """
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in summary.items())
    sections = [("run", "What was run", f"<dl>{told}</dl>")]
    sections += [(f"table{n}", name, table(escape(name), frame)) for n, (name, frame) in enumerate(tables.items())]
    sections += [(f.key, f.heading, _place(f)) for f in figures]
    links = "".join(f'<a href="#{key}">{escape(heading)}</a>' for key, heading, _ in sections)
    body = "".join(f'<section id="{key}" aria-labelledby="h-{key}"><h2 id="h-{key}">{escape(heading)}</h2>{content}'
                   "</section>\n" for key, heading, content in sections)
    data = ",".join(f'"{f.key}":{f.json}' for f in figures).replace("<", "\\u003c")
    write_page(path, f"""<!doctype html>
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
<script type="application/json" id="report-data">{{{data}}}</script>
<script>{plotly_script()}</script>
<script>{SCRIPT}</script>
</body>
</html>
""")
    return path


def _place(figure: Figure) -> str:
    caption = escape(figure.caption)
    return (f'<figure><div id="plot-{figure.key}" class="plot" role="img" aria-label="{caption}"></div>'
            f"<figcaption>{caption}</figcaption></figure>")


SCRIPT = """
'use strict';
const figures = JSON.parse(document.getElementById('report-data').textContent);
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function draw() {
  const axis = {gridcolor: css('--rule'), linecolor: css('--rule'), zerolinecolor: css('--rule'), automargin: true};
  for (const [key, {data, layout}] of Object.entries(figures)) {
    const axes = Object.fromEntries(Object.keys(layout).filter(name => /^[xy]axis/.test(name))
      .concat(['xaxis', 'yaxis']).map(name => [name, {...layout[name], ...axis}]));
    Plotly.react(`plot-${key}`, data, {
      ...layout, ...axes, template: undefined, title: undefined, width: undefined, height: undefined,
      paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', margin: {l: 56, r: 24, t: 40, b: 56},
      font: {family: getComputedStyle(document.body).fontFamily, size: 13, color: css('--ink')},
      legend: {orientation: 'h', x: 0, xanchor: 'left', y: 1.02, yanchor: 'bottom'},
    }, {
      responsive: true, displaylogo: false, displayModeBar: innerWidth > 640 ? 'hover' : false,
      // named one by one: among plotly's own is one that sends the chart to a server
      modeBarButtons: [['toImage'], ['zoom2d', 'pan2d', 'zoomIn2d', 'zoomOut2d', 'resetScale2d']],
    });
  }
}

draw();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
"""
