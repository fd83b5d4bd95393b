"""Two figures that the report does not have: all stops at a glance, and what a network learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, NullFormatter

from report.figures.system import scatter
from report.figures.theme import (
    CLASS0,
    CLASS1,
    DATASET_COLOURS,
    GRID,
    INK,
    MUTED,
    PAPER,
    SETTINGS,
    WIDTH,
    Figure,
    finish,
    style,
)
from report.runs import OurRun, grid

SHIFT = {"xor": -0.13, "linear": 0.17}


def stops(runs: Sequence[OurRun]) -> Figure:
    """The epoch at which each run stopped, ours on the printed one."""
    settings = list(dict.fromkeys(run.printed.setting for run in runs))
    with style():
        canvas = Canvas(figsize=(WIDTH, 4.3))
        axes = canvas.add_axes((0.02, 0.08, 0.95, 0.85))
        ticks = [100, 1000, 10000]
        for i, setting in enumerate(settings):
            axes.plot(69, i - 0.36, "s", color=SETTINGS[i], markersize=5, markeredgewidth=0)
            axes.text(76, i - 0.36, setting.name, color=INK, va="center")
            axes.vlines(ticks, i - 0.22, i + 0.4, color=GRID, lw=0.8, zorder=0)  # not the names
        for run in runs:
            _stop(axes, settings.index(run.printed.setting), run)
        axes.set_xscale("log")
        axes.set_xlim(66, 16000)
        axes.set_ylim(len(settings) - 0.55, -0.62)
        axes.set_yticks([])
        axes.set_xticks(ticks)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(length=0, which="both")
        axes.spines[["left", "bottom"]].set_visible(False)
        _key(axes)
        return finish(
            "stops",
            "The epoch at which each run reaches an accuracy of 1.0, on a logarithmic scale.",
            canvas,
        )


def _stop(axes: Axes, row: int, run: OurRun) -> None:
    colour = DATASET_COLOURS[run.printed.dataset]
    y = row + SHIFT[run.printed.dataset] + 0.04
    axes.plot(
        run.printed.stop, y, "o", markersize=10.5, markerfacecolor=PAPER, markeredgecolor=colour,
        markeredgewidth=1.3,
    )  # fmt: skip
    if run.stop is not None:
        axes.plot(run.stop, y, "o", markersize=6, color=colour, markeredgewidth=0)
        if run.stop != run.printed.stop:
            axes.plot([run.stop, run.printed.stop], [y, y], color=colour, lw=0.8, zorder=0)


def _key(axes: Axes) -> None:
    for dataset, colour in DATASET_COLOURS.items():
        axes.plot([], [], "o", color=colour, markeredgewidth=0, markersize=6, label=dataset)
    axes.plot([], [], "o", color=MUTED, markeredgewidth=0, markersize=6, label="ours")
    axes.plot(
        [], [], "o", markerfacecolor="none", markeredgecolor=MUTED, markersize=10, label="printed"
    )
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.005, 1.0), ncols=4, borderaxespad=0.2,
        borderpad=0.1, handletextpad=0.3, columnspacing=1.6,
    )  # fmt: skip


def learned(run: OurRun) -> Figure:
    """The probability field of a trained network behind the points that it was trained on."""
    printed = run.printed
    first, second = grid()
    levels = np.linspace(0, 1, 11)
    # Each class has its colour, the paler the less certain: half a field is drawn with each.
    shades = [(CLASS0, 1 - 2 * p) if p < 0.5 else (CLASS1, 2 * p - 1) for p in levels[:-1] + 0.05]
    with style():
        canvas = Canvas(figsize=(2.3, 2.3))
        axes = canvas.add_axes((0.01, 0.01, 0.98, 0.98))
        axes.contourf(
            first, second, run.field, levels=levels,
            colors=[(colour, 0.45 * alpha) for colour, alpha in shades], extend="neither",
        )  # fmt: skip
        if run.field.min() < 0.5 < run.field.max():
            axes.contour(first, second, run.field, levels=[0.5], colors=[INK], linewidths=1.1)
        scatter(axes, run.x, run.y, size=24 if printed.dataset == "linear" else 34)
        axes.set_xlim(-0.1, 1.1)
        axes.set_ylim(-0.1, 1.1)
        axes.set_aspect("equal")
        axes.axis("off")
        setting = printed.setting
        key = f"{setting.optim}-{setting.activation}-{setting.lr_text}-{setting.dim_hidden}"
        return finish(
            f"learned-{printed.dataset}-{key.replace('_', '-')}",
            f"{printed.dataset}, {setting.name}",
            canvas,
        )
