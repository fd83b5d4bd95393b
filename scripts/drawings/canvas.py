"""Boxes of text and arrows, on a page measured in inches."""

from __future__ import annotations

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, PAPER = "#1b1f24", "#f6f8fa"
DOWN, UP = "#0b5cad", "#b3541e"
LINE = 0.185
"""How high a line of text is."""


class Canvas:
    """A page, ``(0, 0)`` at its lower left."""

    def __init__(self, width: float, height: float) -> None:
        matplotlib.rcParams["svg.hashsalt"] = "xpnet"  # the same file every time
        self.figure: Figure = pyplot.figure(figsize=(width, height))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.axis("off")

    def box(
        self,
        x: float,
        top: float,
        width: float,
        title: str,
        lines: list[str],
        colour: str = DOWN,
        mono: bool = False,
    ) -> float:
        """Draw a box with its upper left at ``(x, top)``; return where its bottom is."""
        height = LINE * (len(lines) + 1) + 0.22
        shape = FancyBboxPatch(
            (x, top - height),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=PAPER,
            edgecolor=colour,
            linewidth=1.2,
        )
        self.axes.add_patch(shape)
        self.text(x + 0.12, top - 0.2, title, colour, weight="bold")
        family = "monospace" if mono else "sans-serif"
        for i, line in enumerate(lines, 1):
            self.text(x + 0.12, top - 0.2 - LINE * i, line, INK, family=family, size=8)
        return top - height

    def text(
        self, x: float, y: float, text: str, colour: str = INK, size: float = 9, **more: object
    ) -> None:
        """Write a line, from its left."""
        self.axes.text(x, y, text, color=colour, fontsize=size, va="center", **more)

    def arrow(
        self, start: tuple[float, float], end: tuple[float, float], colour: str, label: str = ""
    ) -> None:
        """Draw an arrow, with a label at the right of its middle."""
        style = {"arrowstyle": "-|>", "mutation_scale": 11, "color": colour, "linewidth": 1.3}
        self.axes.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))
        if label:
            x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
            self.text(x + 0.08, y, label, colour, size=8, style="italic")
