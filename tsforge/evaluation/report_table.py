"""Tables and figures of a page. All text from outside is escaped here."""

import math
from collections.abc import Collection
from html import escape

import polars as pl


def figure(name: str, title: str, caption: str) -> str:
    """A place for a plot, and what it shows; both are read aloud in its place."""
    return (f'<figure><div id="{name}" class="plot" role="img" aria-label="{title}. {caption}"></div>'
            f"<figcaption>{caption}</figcaption></figure>")


def table(caption: str, frame: pl.DataFrame, best: Collection[tuple[int, str]] = ()) -> str:
    """A table that scrolls by itself; its first column heads the rows, cells (row, column) of `best` are bold."""
    kinds = {name: ' class="number"' if dtype.is_numeric() else "" for name, dtype in frame.schema.items()}
    head = "".join(f'<th scope="col"{kinds[name]}>{escape(name)}</th>' for name in frame.columns)
    body = []
    for row, record in enumerate(frame.iter_rows(named=True)):
        cells = {name: escape(text(value)) for name, value in record.items()}
        cells |= {name: f"<strong>{cell}</strong>" for name, cell in cells.items() if (row, name) in best}
        first, *others = frame.columns
        body.append(
            f'<tr><th scope="row"{kinds[first]}>{cells[first]}</th>'
            + "".join(f"<td{kinds[name]}>{cells[name]}</td>" for name in others) + "</tr>\n"
        )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}"><table>'
        f"<caption><span>{caption}</span></caption>"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{''.join(body)}</tbody></table></div>"
    )


def text(value: object) -> str:
    """A cell: a dash where there is no value."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    return number(value) if isinstance(value, float) else str(value)


def number(value: float) -> str:
    """Four significant digits, as 0.01230, 12.30 or 12,350; with an exponent below 0.001 and from ten million on."""
    if value == 0 or math.isinf(value):
        return f"{value:g}".replace("-", "−")
    exponent = int(f"{value:.3e}".split("e")[1])  # after rounding: 9.9999 counts as 10
    if not -4 < exponent < 7:
        return f"{value:.3e}".replace("-", "−")
    return f"{round(value, 3 - exponent):,.{max(0, 3 - exponent)}f}".replace("-", "−")
