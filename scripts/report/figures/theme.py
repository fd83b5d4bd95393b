"""How the figures look, and how one drawing serves a light page, a dark page and a file.

Figures are drawn in the light colours. On the page every one of these becomes a CSS variable
of the same name, which the page sets for light and for dark.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure as Canvas

from xpnet.pictures import CLASS0, CLASS1

INK = "#1d2126"
MUTED = "#69707d"
GRID = "#dfe2e7"
PAPER = "#fefefe"
XOR = "#2360c0"
LINEAR = "#c0560b"
SETTINGS = (INK, "#6b4fc4", "#3c8a2e", "#a88600", "#c246b4")
"""Of the report's settings, in its order, in every plot and table of both pages: five colours that
no data set and no class has."""

COLOURS = {
    "ink": INK,
    "muted": MUTED,
    "grid": GRID,
    "paper": PAPER,
    "xor": XOR,
    "linear": LINEAR,
    "class0": CLASS0,
    "class1": CLASS1,
    **{f"setting{i}": colour for i, colour in enumerate(SETTINGS) if i},
}
"""The colours by the names of their CSS variables."""

WIDTH = 4.2
"""The inches of a figure that a phone shows across: its smallest letters are then of 10 pixels."""

SMALL = 9.5
"""The points of the smallest letters of a figure of that width."""

PIXELS = 160
"""How many pixels a PNG has to the inch."""

DATASET_COLOURS = {"xor": XOR, "linear": LINEAR}

_STYLE: dict[str, Any] = {
    "axes.edgecolor": MUTED,
    "axes.facecolor": "none",
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.7,
    "mathtext.fontset": "cm",
    "path.simplify_threshold": 0.3,
    "savefig.facecolor": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "xpnet",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
}


@dataclass(frozen=True)
class Figure:
    """A drawn figure: its number (or name), what it shows, and the drawing.

    Attributes:
        number: as in the report, ``"3.1"``; a short name for a figure of our own.
        caption: a sentence for the reader.
        canvas: the drawing.
        svg: the same as SVG, in the light colours.
        text: commands and what each printed, which the page shows as text; else empty.
    """

    number: str
    caption: str
    canvas: Canvas
    svg: str
    text: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """For files and anchors: ``figure-3-1``."""
        return f"figure-{self.number.replace('.', '-')}"

    @property
    def inline(self) -> str:
        """The drawing for a page: it follows the page's colours, its ids are its own."""
        svg = self.svg[self.svg.index("<svg") :]
        svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
        # Two decimals of a point are finer than any screen.
        svg = re.sub(r'\bd="[^"]*"', lambda m: re.sub(r"(\.\d\d)\d+", r"\1", m[0]), svg)
        svg = re.sub(r'\bid="', f'id="{self.name}-', svg)
        svg = re.sub(r'(href="|url\()#', rf"\1#{self.name}-", svg)
        for name, colour in COLOURS.items():
            svg = svg.replace(colour, f"var(--{name})")
        # The page gives the width; the drawing's own viewBox keeps its shape.
        label = html.escape(self.caption)
        return re.sub(
            r'<svg(.*?) width="\S+" height="\S+"',
            rf'<svg role="img" aria-label="{label}"\1',
            svg,
            count=1,
        )

    def save(self, folder: Path) -> None:
        """Write ``<name>.svg`` and ``<name>.png``."""
        (folder / f"{self.name}.svg").write_text(self.svg, encoding="utf-8")
        with style():
            self.canvas.savefig(folder / f"{self.name}.png", dpi=PIXELS, facecolor=PAPER)


@contextmanager
def style() -> Iterator[None]:
    """Draw as the report's page does."""
    with matplotlib.rc_context(_STYLE):
        yield


def finish(
    number: str, caption: str, canvas: Canvas, text: tuple[tuple[str, str], ...] = ()
) -> Figure:
    """Turn a drawing into a figure; call it inside `style`."""
    svg = io.StringIO()
    canvas.savefig(svg, format="svg", metadata={"Date": None, "Creator": None})
    return Figure(number, caption, canvas, svg.getvalue(), text)


def title(canvas: Canvas, heading: str, detail: str = "") -> None:
    """A heading at the top left, with a detail beside it."""
    written = canvas.text(0.012, 0.985, heading, va="top", ha="left", weight="bold", size=10)
    if detail:
        end = written.get_window_extent().transformed(canvas.transFigure.inverted()).x1
        canvas.text(end + 0.018, 0.985, detail, va="top", ha="left", color=MUTED, size=10)
