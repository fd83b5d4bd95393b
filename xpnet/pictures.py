"""How a trained network is drawn; the only module of the library that needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

BLUE, ORANGE = "#2563a8", "#d9642c"
"""Class 0 and class 1: told apart by every kind of eye, and in grey."""

FIELD = LinearSegmentedColormap.from_list(
    "xpnet", ["#7fb0e0", "#cfe1f3", "#fbfaf7", "#f9dcc8", "#f0a679"]
)


def suffixes() -> list[str]:
    """The suffixes of the files that can be written."""
    return [f".{kind}" for kind in FigureCanvasBase.get_supported_filetypes()]


def prediction(
    x: np.ndarray,
    y: np.ndarray,
    probability: Callable[[np.ndarray], np.ndarray],
    title: str = "",
) -> Figure:
    """Draw the ground truth beside the prediction and the field of probability behind it.

    Args:
        x: ``(samples, 2)``.
        y: ``(samples,)`` of 0 and 1.
        probability: gives points ``(n, 2)`` their probability ``(n,)`` of class 1.
        title: a line above.
    """
    # A Figure of its own, without pyplot: no window, no state that a program would share.
    figure = Figure(figsize=(9.4, 4.6), dpi=150, layout="constrained")
    truth, predicted = figure.subplots(1, 2, sharex=True, sharey=True)
    low, high = _limits(x)
    guess = probability(x) > 0.5
    right = guess == (y > 0.5)
    for axes in (truth, predicted):
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x_0$")
        axes.set_box_aspect(1)
        axes.spines[:].set_color("#b8b8b8")
        axes.tick_params(color="#b8b8b8", labelcolor="#444444")
    truth.set_ylabel("$x_1$")
    truth.set_title("Ground truth")
    predicted.set_title(f"Prediction ({np.count_nonzero(right)} of {len(y)} right)")
    scatter(truth, x, y)
    shade = field(predicted, probability, low, high)
    scatter(predicted, x, guess)
    if not right.all():
        predicted.scatter(
            x[~right, 0],
            x[~right, 1],
            s=150,
            facecolors="none",
            edgecolors="#111111",
            linewidths=1.4,
            label="predicted wrong",
            zorder=4,
        )
    bar = figure.colorbar(shade, ax=[truth, predicted], ticks=[0, 0.25, 0.5, 0.75, 1], pad=0.02)
    bar.set_label("probability of class 1")
    bar.outline.set_visible(False)
    handles, labels = predicted.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    if title:
        figure.suptitle(title, fontsize=11, color="#444444")
    return figure


def scatter(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the points of both classes, each with its colour and its mark."""
    for label, color, mark in ((0, BLUE, "o"), (1, ORANGE, "^")):
        chosen = x[(y > 0.5) == label]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=46,
            c=color,
            marker=mark,
            edgecolors="white",
            linewidths=0.8,
            label=f"class {label}",
            zorder=3,
        )


def field(
    axes: Axes,
    probability: Callable[[np.ndarray], np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    n: int = 240,
) -> Any:
    """Draw the probability of class 1 between two corners, and the line where it is one half."""
    a, b = np.linspace(low[0], high[0], n), np.linspace(low[1], high[1], n)
    grid = np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)
    values = probability(grid).reshape(n, n)
    shade = axes.imshow(
        values,
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        cmap=FIELD,
        vmin=0,
        vmax=1,
        interpolation="bilinear",
        aspect="auto",
        zorder=0,
    )
    if values.min() < 0.5 < values.max():
        axes.contour(a, b, values, levels=[0.5], colors="#333333", linewidths=1.1, zorder=2)
    return shade


def _limits(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = x.min(axis=0), x.max(axis=0)
    # One extent for both axes, so that a single point, or points in a row, leave no empty one.
    margin = 0.08 * (max(float((high - low).max()), 0.0) or 1.0)
    return low - margin, high + margin
