"""Accuracy and loss over the epochs, a curve per data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from report.figures.theme import DATASET_COLOURS, PAPER, WIDTH, Figure, finish, style, title
from report.runs import OurRun

SIZE = (WIDTH, 3.0)


def limits(quantity: str, runs: Sequence[OurRun]) -> tuple[float, float]:
    """A common vertical range, so that the two settings of a comparison can be compared."""
    values = np.concatenate([getattr(run, quantity) for run in runs])
    values = values[np.isfinite(values)]
    if quantity == "accuracy":
        return min(0.4, float(values.min()) - 0.03), 1.03
    return 0.0, float(values.max()) * 1.06


def figure(
    number: str, quantity: str, runs: Sequence[OurRun], vertical: tuple[float, float]
) -> Figure:
    """The curves of the runs of one setting."""
    setting = runs[0].printed.setting
    with style():
        canvas = Canvas(figsize=SIZE)
        title(canvas, quantity.capitalize(), setting.name)
        axes = canvas.add_axes((0.095, 0.145, 0.86, 0.69))
        for run in runs:
            _curve(axes, run, getattr(run, quantity))
        axes.set_ylim(*vertical)
        axes.set_xlim(left=0)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.yaxis.set_major_locator(MultipleLocator(0.1 if quantity == "accuracy" else 0.2))
        axes.grid(axis="y")
        axes.tick_params(length=0)
        axes.spines["left"].set_visible(False)
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=2, borderaxespad=0.1,
            borderpad=0.1, handlelength=1.2, columnspacing=1.4,
        )  # fmt: skip
        return finish(number, f"{quantity.capitalize()} over the epochs: {setting.name}.", canvas)


def _curve(axes: Axes, run: OurRun, values: np.ndarray) -> None:
    """One curve and, where it ends, the mark of its stop."""
    dataset = run.printed.dataset
    colour = DATASET_COLOURS[dataset]
    end = f"stops at {run.stop:,}" if run.stop else f"no stop in {len(values):,}"
    epochs = np.arange(1, len(values) + 1)
    axes.plot(epochs, values, color=colour, label=f"{dataset}, {end}", clip_on=False)
    axes.plot(
        epochs[-1:], values[-1:], "o", color=colour, markersize=6.5, markeredgecolor=PAPER,
        markeredgewidth=1.2, clip_on=False, zorder=5,
    )  # fmt: skip
