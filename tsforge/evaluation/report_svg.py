"""Small plots of a page as inline SVG: narrow enough for a phone at their own size, in the colours of the page.

Colour    text and axes have that of the page's text; a model has that which it has in the other plots, `--c0` to `--c5`
Marks     each model has its own, so that colour is never the only difference
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from tsforge.evaluation.metrics import Number

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 320, 54, 12, 34, 46
LONGEST = 38  # letters of a title
COLOURS = 6
MARKS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "M-3.6-3.6h7.2v7.2h-7.2z", "M0-5.2L5.2 0L0 5.2L-5.2 0z",
    "M-1.6-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z", "M0-5L5 4H-5z", "M0 5L5-4H-5z",
    "M-5 0L4-5V5z", "M5 0L-4-5V5z",
)
MOST_MODELS = len(MARKS)  # that are drawn


@dataclass(frozen=True)
class Panel:
    """A plot with linear axes.

    Args:
        title: Above it.
        told: What it shows, in words: read aloud in its place.
        x, y: What the axes show, with the unit.
        x_ends, y_ends: The least and the greatest value of each axis.
        x_ticks, y_ticks: Where numbers stand.
        height: In units of the picture, which is 320 wide.
    """

    title: str
    told: str
    x: str
    y: str
    x_ends: tuple[Number, Number]
    y_ends: tuple[Number, Number]
    x_ticks: Sequence[Number]
    y_ticks: Sequence[Number]
    height: int = 260

    def across(self, x: Number) -> float:
        """From the left edge."""
        low, high = self.x_ends
        return LEFT + (WIDTH - LEFT - RIGHT) * (x - low) / (high - low)

    def down(self, y: Number) -> float:
        """From the upper edge; what lies outside the axis is at its end."""
        low, high = self.y_ends
        return TOP + (self.height - TOP - BOTTOM) * (high - min(max(y, low), high)) / (high - low)

    def line(self, points: Iterable[tuple[Number, Number]], style: str) -> str:
        """A line through points in the units of the axes."""
        places = " ".join(f"{self.across(x):.1f},{self.down(y):.1f}" for x, y in points)
        return f'<polyline points="{places}" fill="none" stroke="currentColor" {style}/>'

    def area(self, points: Iterable[tuple[Number, Number]], opacity: Number) -> str:
        """A filled outline."""
        places = " ".join(f"{self.across(x):.1f},{self.down(y):.1f}" for x, y in points)
        return f'<polygon points="{places}" fill="currentColor" opacity="{opacity:g}"/>'

    def mark(self, model: int, x: Number, y: Number, *, hollow: bool = False) -> str:
        """The mark of a model at a place in the units of the axes."""
        place = f"translate({self.across(x):.1f} {self.down(y):.1f})"
        return f'<g transform="{place}">{_shape(model, hollow=hollow)}</g>'

    def drawn(self, parts: Iterable[str]) -> str:
        """The whole picture."""
        return (
            f'<svg role="img" aria-label="{escape(self.told)}" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
            f'height="{self.height}" font-size="12"><title>{escape(self.title)}</title>'
            f"{''.join(self._axes())}{''.join(parts)}</svg>"
        )

    def _axes(self) -> Iterable[str]:
        for y in self.y_ticks:
            yield self.line([(self.x_ends[0], y), (self.x_ends[1], y)], 'opacity="0.15"')
            yield _words(LEFT - 6, self.down(y) + 4, "end", f"{y:g}".replace("-", "−"))
        for x in self.x_ticks:
            yield _words(self.across(x), self.height - BOTTOM + 17, "middle", f"{x:g}")
        title = self.title if len(self.title) <= LONGEST else f"{self.title[: LONGEST - 1]}…"
        yield _words(LEFT, 18, "start", title, 'font-weight="600"')
        yield _words((LEFT + WIDTH - RIGHT) / 2, self.height - 8, "middle", self.x)
        middle = (TOP + self.height - BOTTOM) / 2
        yield _words(12, middle, "middle", self.y, f'transform="rotate(-90 12 {middle:.1f})"')


def panels(drawn: Iterable[str], caption: str, keys: str = "") -> str:
    """Pictures side by side, as many as there is room for; below them what they show, already escaped."""
    return f'<figure>{keys}<div class="panels">{"".join(drawn)}</div><figcaption>{caption}</figcaption></figure>'


def legend(models: Sequence[str]) -> str:
    """Names of models with their colours and marks."""
    return '<p class="keys">' + "".join(
        f'<span><svg aria-hidden="true" viewBox="-7 -7 14 14" width="14" height="14">{_coloured(n, _shape(n))}</svg> '
        f"{escape(name)}</span>" for n, name in enumerate(models[:MOST_MODELS])
    ) + "</p>"


def of_model(model: int, parts: Iterable[str]) -> str:
    """Parts of a picture in the colour of a model."""
    return _coloured(model, "".join(parts))


def how_many(models: Sequence[str]) -> str:
    """A sentence where not all models are drawn."""
    return f" The first {MOST_MODELS} of {len(models)} models are drawn." if len(models) > MOST_MODELS else ""


def _coloured(model: int, inside: str) -> str:
    return f'<g style="color:var(--c{model % COLOURS})">{inside}</g>'


def _shape(model: int, *, hollow: bool = False) -> str:
    fill = 'fill="var(--paper)" stroke="currentColor" stroke-width="1.5"' if hollow else 'fill="currentColor"'
    return f'<path d="{MARKS[model % len(MARKS)]}" {fill}/>'


def _words(x: Number, y: Number, anchor: str, text: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="currentColor" {more}>{escape(text)}</text>'
