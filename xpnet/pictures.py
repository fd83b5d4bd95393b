"""How a trained network is drawn; the only module of the library that needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

BLUE, ORANGE = "#2563a8", "#d9642c"
"""Class 0 and class 1: told apart by every kind of eye, and in grey."""

FIELD = LinearSegmentedColormap.from_list(
    "xpnet", ["#7fb0e0", "#cfe1f3", "#fbfaf7", "#f9dcc8", "#f0a679"]
)

DOUBT = LinearSegmentedColormap.from_list("xpnet-doubt", ["#fbfaf7", "#c9b8dd", "#5e3c99"])


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
        _plane(axes, low, high)
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


Members = Callable[[np.ndarray], Iterable[np.ndarray]]
"""Gives points ``(n, 2)`` the probabilities ``(some members, n)`` of class 1, in pieces."""


def ensemble(
    x: np.ndarray,
    y: np.ndarray,
    members: Members,
    stop: np.ndarray | None,
    epochs: int,
    title: str = "",
) -> Figure:
    """Draw what the members of an ensemble say together, where they disagree, when they stopped.

    Args:
        x: ``(samples, 2)``.
        y: ``(samples,)`` of 0 and 1.
        members: gives points the probabilities of the members.
        stop: ``(members,)``, the epoch of the stop, 0 for never; ``None`` if there was no goal. If
            all are 0 a line above says so.
        epochs: how many were trained.
        title: a line above.
    """
    if stop is not None and not stop.any():  # a panel of their own would be an empty one
        title += f"\nNone of {len(stop):,} members reaches the goal in {epochs:,} epochs"
        stop = None
    figure = Figure(figsize=(9.4 if stop is None else 14, 4.6), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2 if stop is None else 3)
    together, apart = panels[:2]
    low, high = _limits(x)
    a, b, points = _grid(low, high, 120)
    mean, against, count = _poll(members, points)
    _plane(together, low, high)
    _plane(apart, low, high)
    together.set_ylabel("$x_1$")
    together.set_title(f"Mean probability of {count:,} members")
    apart.set_title("Where they disagree")
    shade = _shade(together, mean.reshape(len(b), -1), low, high, FIELD, 1)
    levels = [v for v in (0.1, 0.25, 0.5, 0.75, 0.9) if mean.min() < v < mean.max()]
    if levels:
        lines = together.contour(
            a, b, mean.reshape(len(b), -1), levels=levels, colors="#333333",
            linewidths=[1.5 if v == 0.5 else 0.6 for v in levels], zorder=2,
        )  # fmt: skip
        together.clabel(lines, fmt="%g", fontsize=7)
    doubt = _shade(apart, against.reshape(len(b), -1), low, high, DOUBT, 0.5)
    for axes in (together, apart):
        scatter(axes, x, y)
    for axes, image, label in (
        (together, shade, "probability of class 1"),
        (apart, doubt, "share that votes against the majority"),
    ):
        bar = figure.colorbar(image, ax=axes, location="bottom", shrink=0.8, pad=0.02)
        bar.set_label(label)
        bar.outline.set_visible(False)
    if stop is not None:
        _stops(panels[2], stop, epochs)
    handles, labels = together.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    if title:
        figure.suptitle(title.strip(), fontsize=11, color="#444444")
    return figure


def _poll(members: Members, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """The mean probability at each point, the share of the smaller party, how many were asked."""
    total, votes, count = np.zeros(len(points)), np.zeros(len(points)), 0
    for piece in members(points):
        total += piece.sum(axis=0)
        votes += (piece > 0.5).sum(axis=0)
        count += len(piece)
    share = votes / count
    return total / count, np.minimum(share, 1 - share), count


def _stops(axes: Axes, stop: np.ndarray, epochs: int) -> None:
    """When the members stopped, some at least, on a logarithmic axis, and how many never did."""
    reached = stop[stop > 0]
    axes.set_title(f"Stops: {len(reached):,} of {len(stop):,} reach the goal")
    axes.set(xlabel="epoch", ylabel="members", xscale="log")
    first = int(reached.min())
    edges = np.geomspace(0.9 * first, max(1.1 * epochs, first + 1), 31)
    axes.hist(reached, bins=edges.tolist(), color=BLUE, edgecolor="white", linewidth=0.5)
    middle = np.quantile(np.where(stop > 0, stop, np.inf), 0.5, method="inverted_cdf")
    if np.isfinite(middle):
        axes.axvline(middle, color=ORANGE, label=f"median {middle:,.0f}")
        axes.legend(frameon=False)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color("#b8b8b8")
    axes.tick_params(color="#b8b8b8", labelcolor="#444444", which="both")


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
    a, b, grid = _grid(low, high, n)
    values = probability(grid).reshape(n, n)
    shade = _shade(axes, values, low, high, FIELD, 1)
    if values.min() < 0.5 < values.max():
        axes.contour(a, b, values, levels=[0.5], colors="#333333", linewidths=1.1, zorder=2)
    return shade


def _plane(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    """Make axes the plane of the points."""
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel="$x_0$")
    axes.set_box_aspect(1)
    axes.spines[:].set_color("#b8b8b8")
    axes.tick_params(color="#b8b8b8", labelcolor="#444444")


def _grid(low: np.ndarray, high: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both axes and the points ``(n * n, 2)`` of a grid between two corners."""
    a, b = np.linspace(low[0], high[0], n), np.linspace(low[1], high[1], n)
    return a, b, np.stack(np.meshgrid(a, b), axis=-1).reshape(-1, 2)


def _shade(
    axes: Axes,
    values: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    colours: LinearSegmentedColormap,
    most: float,
) -> Any:
    """Draw the values of a grid as shades, from 0 to ``most``."""
    return axes.imshow(
        values,
        extent=(low[0], high[0], low[1], high[1]),
        origin="lower",
        cmap=colours,
        vmin=0,
        vmax=most,
        interpolation="bilinear",
        aspect="auto",
        zorder=0,
    )


def _limits(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = x.min(axis=0), x.max(axis=0)
    # One extent for both axes, so that a single point, or points in a row, leave no empty one.
    margin = 0.08 * (max(float((high - low).max()), 0.0) or 1.0)
    return low - margin, high + margin
