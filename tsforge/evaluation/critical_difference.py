"""The critical-difference diagram of a ranking, as inline SVG.

In        what `ranking` returned
Out       one <svg> element: an axis of mean ranks, a line from each model's rank to its name, a bar over each group of
          models that are not shown to differ, the critical difference as a ruler
Colour    `currentColor` only, so it is readable wherever the page's text is, dark or light; nothing is fetched
Source    Demšar (2006), JMLR 7, figure 1.
"""

from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor
from typing import Any

import polars as pl

from tsforge.errors import ArgumentError
from tsforge.evaluation.metrics import Number
from tsforge.evaluation.scale import as_eager, require_columns

WIDTH, AXIS, ROW, LONGEST, LETTER = 260, 62, 20, 22, 8.4  # of the axis; its y; of a name; a name's letters; of a letter


def critical_difference_diagram(ranked: Any, title: str = "Mean ranks") -> str:
    """Draw a ranking.

    Args:
        ranked: What `ranking` returned.
        title: Of the diagram; the sentence after it, read aloud instead of the picture, gives the ranks and groups.

    Returns:
        An `<svg>` element that scales down to the width of its container.

    Raises:
        ArgumentError: a column of `ranking` is missing, or there is no row.
    """
    table = as_eager(ranked, "ranked")
    columns = ("model", "mean_rank", "group", "critical_difference", "p_friedman", "blocks")
    require_columns(table, columns, "ranked", "Give what ranking(...) returned")
    if table.is_empty():
        raise ArgumentError("ranked has no row: give what ranking(...) returned.")
    table = table.sort("mean_rank", maintain_order=True)
    names, ranks = [str(name) for name in table["model"]], table["mean_rank"].to_list()
    groups = _groups(table["group"].to_list())
    cd = float(table["critical_difference"][0])
    margin = 16 + LETTER * min(LONGEST, max(map(len, names)))
    low, high = floor(min(ranks)), max(ceil(max(ranks)), floor(min(ranks)) + 1, ceil(floor(min(ranks)) + cd))
    place = _Scale(margin, low, high)
    first_name = AXIS + 22 + 9 * len(groups)
    height = first_name + ROW * ceil(len(names) / 2)
    parts = [*_axis(place, low, high), *_ruler(place, low, cd), *_bars(place, ranks, groups),
             *_names(place, names, ranks, first_name)]
    width = 2 * margin + WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(_told(title, table, names, groups))}" '
        f'viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" style="max-width:100%;height:auto" fill="none" '
        f'stroke="currentColor" font-family="system-ui, sans-serif" font-size="14"><title>{escape(title)}</title>\n'
        + "\n".join(parts) + "\n</svg>"
    )


class _Scale:
    """Mean rank to the distance from the left edge."""

    def __init__(self, margin: float, low: int, high: int) -> None:
        self.margin, self.low, self.high = margin, low, high

    def __call__(self, rank: Number) -> float:
        return self.margin + WIDTH * (rank - self.low) / (self.high - self.low)


def _groups(numbers: Sequence[str]) -> list[tuple[int, int]]:
    """The first and the last place of each group of two models or more."""
    members: dict[str, list[int]] = {}
    for place, text in enumerate(numbers):
        for number in text.split():
            members.setdefault(number, []).append(place)
    return [(places[0], places[-1]) for places in members.values() if len(places) > 1]


def _axis(place: _Scale, low: int, high: int) -> Iterator[str]:
    yield _line(place(low), AXIS, place(high), AXIS)
    yield _text(place(high), 14, "end", "mean rank")
    step = ceil((high - low) / 10)
    for rank in range(low, high + 1, step):
        yield _line(place(rank), AXIS, place(rank), AXIS - 6)
        yield _text(place(rank), AXIS - 11, "middle", str(rank))


def _ruler(place: _Scale, low: int, cd: float) -> Iterator[str]:
    left, right, y = place(low), place(low + cd), 22
    yield _line(left, y, right, y)
    yield from (_line(x, y - 4, x, y + 4) for x in (left, right))
    yield _text(left, y - 8, "start", f"critical difference {cd:.2f}")


def _bars(place: _Scale, ranks: Sequence[float], groups: Sequence[tuple[int, int]]) -> Iterator[str]:
    for row, (first, last) in enumerate(groups):
        y = AXIS + 11 + 9 * row
        yield _line(place(ranks[first]) - 3, y, place(ranks[last]) + 3, y, width=4)


def _names(place: _Scale, names: Sequence[str], ranks: Sequence[float], top: int) -> Iterator[str]:
    """The better half to the left, from the outside in; the rest to the right: so no line crosses a name."""
    left = ceil(len(names) / 2)
    for n, (name, rank) in enumerate(zip(names, ranks, strict=True)):
        y = top + ROW * (n if n < left else len(names) - 1 - n)
        edge, anchor = (place.margin - 8, "end") if n < left else (place.margin + WIDTH + 8, "start")
        yield f'<polyline points="{place(rank):.1f},{AXIS} {place(rank):.1f},{y:.1f} {edge:.1f},{y:.1f}"/>'
        shown = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        yield _text(edge + (-5 if n < left else 5), y + 5, anchor, shown, name)


def _line(x1: Number, y1: Number, x2: Number, y2: Number, width: int = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke-width="{width}"/>'


def _text(x: Number, y: Number, anchor: str, text: str, whole: str | None = None) -> str:
    title = "" if whole is None or whole == text else f"<title>{escape(whole)}</title>"
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" stroke="none">'
            f"{escape(text)}{title}</text>")


def _told(title: str, table: pl.DataFrame, names: Sequence[str], groups: Sequence[tuple[int, int]]) -> str:
    ranks = ", ".join(f"{name} {rank:.2f}" for name, rank in zip(names, table["mean_rank"], strict=True))
    alike = "; ".join(", ".join(names[first : last + 1]) for first, last in groups) or "none"
    return (f"{title}. Mean ranks over {table['blocks'][0]} groups, 1 is best: {ranks}. Critical difference "
            f"{table['critical_difference'][0]:.2f}, Friedman p {table['p_friedman'][0]:.3g}. Not shown to differ: "
            f"{alike}.")
