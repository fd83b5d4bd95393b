"""How a trained network is drawn; the only module of the library that needs matplotlib."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.colorbar import Colorbar
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

CLASS0, CLASS1 = "#0a7d80", "#b3245c"
"""Of the two classes, told apart by every kind of eye; of nothing else in any picture or page."""

FIRST, SECOND = "#3f4e68", "#bd8600"
"""Of training and validation, and of what is counted and its middle."""

FIELD = LinearSegmentedColormap.from_list(
    "xpnet", ["#7cb9ba", "#cbe3e2", "#fbfaf7", "#f0d0db", "#d98aa9"]
)

SHARE = LinearSegmentedColormap.from_list("xpnet-share", ["#fbfaf7", "#a5b0c2", FIRST])

DOUBT = LinearSegmentedColormap.from_list("xpnet-doubt", ["#fbfaf7", "#c9b8dd", "#5e3c99"])


def suffixes() -> list[str]:
    """The suffixes of the files that can be written."""
    return [f".{kind}" for kind in FigureCanvasBase.get_supported_filetypes()]


def prediction(
    x: np.ndarray,
    y: np.ndarray,
    probability: Callable[[np.ndarray], np.ndarray],
    title: str = "",
    figure: FigureBase | None = None,
) -> FigureBase:
    """Draw the ground truth beside the prediction and the field of probability behind it.

    Args:
        x: ``(samples, 2)``.
        y: ``(samples,)`` of 0 and 1.
        probability: gives points ``(n, 2)`` their probability ``(n,)`` of class 1.
        title: a line above.
        figure: where; ``None`` for one of its own.
    """
    figure = figure or _figure(9.4, 4.6)
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
    predicted.tick_params(left=False)  # they are those of the panel beside it
    _bar(predicted, shade, "probability of class 1", [0, 0.25, 0.5, 0.75, 1], beside=True)
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
    figure: FigureBase | None = None,
) -> FigureBase:
    """Draw what the members of an ensemble say together, where they disagree, when they stopped.

    Args:
        x: ``(samples, 2)``.
        y: ``(samples,)`` of 0 and 1.
        members: gives points the probabilities of the members.
        stop: ``(members,)``, the epoch of the stop, 0 for never; ``None`` if there was no goal. If
            all are 0 a line above says so.
        epochs: how many were trained.
        title: a line above.
        figure: where; ``None`` for one of its own.
    """
    if stop is not None and not stop.any():  # a panel of their own would be an empty one
        title += f"\nNone of {len(stop):,} members reaches the goal in {epochs:,} epochs"
        stop = None
    figure = figure or _figure(9.4 if stop is None else 13.4, 5)
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
    levels = (0.1, 0.25, 0.5, 0.75, 0.9)
    inside = [v for v in levels if mean.min() < v < mean.max()]
    if inside:
        together.contour(
            a, b, mean.reshape(len(b), -1), levels=inside, colors="#333333",
            linewidths=[1.5 if v == 0.5 else 0.6 for v in inside], zorder=2,
        )  # fmt: skip
    doubt = _shade(apart, against.reshape(len(b), -1), low, high, DOUBT, 0.5)
    for axes in (together, apart):
        scatter(axes, x, y)
    bar = _bar(together, shade, "probability of class 1, lines at the ticks", [0, *levels, 1])
    bar.ax.vlines(
        inside, 0, 1, colors="#333333", linewidths=[1.5 if v == 0.5 else 0.6 for v in inside]
    )
    _bar(apart, doubt, "share that votes against the majority", [0, 0.1, 0.2, 0.3, 0.4, 0.5])
    if stop is not None:
        _stops(panels[2], stop, epochs)
    handles, labels = together.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    if title:
        figure.suptitle(title.strip(), fontsize=11, color="#444444")
    return figure


class Curve(NamedTuple):
    """A number over an ``axis`` such as ``"epoch"``, each ``(points,)``.

    Of members it is the mean, and where most lie, of those that are still trained.
    """

    axis: str
    x: np.ndarray
    middle: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


def learning(
    curves: dict[str, dict[str, Curve]],
    best: tuple[str, float] | None = None,
    panel: Callable[[Axes], None] | None = None,
    title: str = "",
    figure: FigureBase | None = None,
) -> FigureBase:
    """Draw how numbers went on in training, each in a panel.

    Args:
        curves: by the number, such as ``"loss"``, and within by whose it is, ``"training"`` or
            ``"validation"``.
        best: an epoch that is marked, with what it is called.
        panel: draws one more.
        title: a line above.
        figure: where; ``None`` for one of its own.
    """
    count = len(curves) + (panel is not None)
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = figure or _figure(4.7 * columns, 4.4 * rows)
    panels = np.ravel(figure.subplots(rows, columns, squeeze=False)).tolist()
    for axes, (name, own) in zip(panels, curves.items(), strict=False):
        over_epochs(axes, name, own, best)
    for axes in panels[count:]:
        axes.remove()
    if panel is not None:
        panel(panels[count - 1])
    handles, labels = panels[0].get_legend_handles_labels()
    spread = any(curve.low is not None for own in curves.values() for curve in own.values())
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, frameon=False,
        title="means of the members still trained; shades hold 80 % of these" if spread else None,
    )  # fmt: skip
    if title:
        figure.suptitle(title, fontsize=11, color="#444444")
    return figure


def over_epochs(
    axes: Axes, name: str, curves: dict[str, Curve], best: tuple[str, float] | None = None
) -> None:
    """Draw a number over the epochs; on a logarithmic axis a loss that falls to a tenth and below.

    Args:
        axes: where.
        name: the number, such as ``"loss"``.
        curves: by whose it is, ``"training"`` or ``"validation"``.
        best: an epoch that is marked, with what it is called.
    """
    for whose, curve in curves.items():
        color = {"training": FIRST, "validation": SECOND}[whose]
        mark = "." if len(curve.x) == 1 else None  # a point alone is no line
        axes.set_xlabel(curve.axis)
        axes.plot(curve.x, curve.middle, color=color, linewidth=1.4, marker=mark, label=whose)
        if curve.low is not None and curve.high is not None:
            axes.fill_between(curve.x, curve.low, curve.high, color=color, alpha=0.18, linewidth=0)
    values = np.concatenate([part for c in curves.values() for part in c[2:] if part is not None])
    known = values[np.isfinite(values)]
    if name == "loss" and len(known) and 0 < 10 * known.min() < known.max():
        axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no epoch 2.5
    axes.set_title(name[0].upper() + name[1:].replace("_", " "))
    if best is not None:
        axes.axvline(best[1], color="#777777", linewidth=1, linestyle="--", label=best[0])
    _plain(axes)


def confusion(axes: Axes, matrix: np.ndarray, classes: Sequence[str] = ()) -> None:
    """Draw who is taken for whom: counts, and shades of the share among those of a class.

    Args:
        axes: where.
        matrix: ``(classes, classes)``, as `xpnet.metrics.confusion_matrix` has it.
        classes: their names; none for their numbers.
    """
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap=SHARE, vmin=0, vmax=1)
    size = 9 if len(matrix) > 4 else 12
    for (row, column), count in np.ndenumerate(matrix):
        if count:
            color = "white" if share[row, column] > 0.5 else "#222222"
            axes.text(column, row, f"{count}", ha="center", va="center", color=color, size=size)
    names = list(classes) or [str(k) for k in range(len(matrix))]
    axes.set_xticks(range(len(matrix)), names)
    axes.set_yticks(range(len(matrix)), names, rotation=90 if max(map(len, names)) > 3 else 0)
    for label in axes.get_yticklabels():
        label.set_verticalalignment("center")
    axes.set(xlabel="predicted", ylabel="true")
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor="#444444")


def calibration(axes: Axes, probability: np.ndarray, happened: np.ndarray) -> None:
    """Draw how often something happened over how likely it was said to be, and where both agree.

    Args:
        axes: where.
        probability: ``(samples,)``, what was said.
        happened: ``(samples,)``, whether it did. A point is of the samples of a tenth of all
            probabilities, if there are 5 at least; its line is as long as two standard errors to
            either side, from 0 to 1.
    """
    axes.plot([0, 1], [0, 1], color="#777777", linewidth=1, linestyle="--")
    tenth = np.minimum(np.floor(10 * probability), 9)
    groups = [tenth == k for k in range(10) if np.count_nonzero(tenth == k) >= 5]
    said = np.array([probability[group].mean() for group in groups])
    share = np.array([happened[group].mean() for group in groups])
    # Of what was said, since where none or all happened there seems to be no error at all.
    error = 2 * np.sqrt(said * (1 - said) / [np.count_nonzero(group) for group in groups])
    error = np.minimum(error, [share, 1 - share])  # no share is below 0, or above 1
    axes.errorbar(said, share, error, fmt="o", color=FIRST, markersize=4.5, linewidth=1.2)
    axes.set(xlabel="probability", xlim=(-0.03, 1.03), ylabel="how often it was so")
    axes.set_ylim(-0.03, 1.03)
    axes.set_title("Calibration")
    axes.set_box_aspect(1)
    _plain(axes)


def agreement(axes: Axes, y: np.ndarray, predicted: np.ndarray) -> None:
    """Draw predicted numbers over true ones, and the line on which they are the same."""
    low, high = (float(pick([pick(y), pick(predicted)])) for pick in (np.min, np.max))
    axes.plot([low, high], [low, high], color="#777777", linewidth=1, linestyle="--")
    axes.scatter(y, predicted, s=22, c=FIRST, edgecolors="white", linewidths=0.5)
    axes.set(xlabel="true", ylabel="predicted", title="Predicted and true")
    axes.set_box_aspect(1)
    _plain(axes)


def page(rows: Sequence[Callable[..., FigureBase]], title: str = "") -> Figure:
    """Draw one below the other what takes a ``figure``."""
    figure = _figure(9.4, 4.6 * len(rows))
    panels = 2
    parts: Any = figure.subfigures(len(rows), 1, squeeze=False)
    for draw, part in zip(rows, parts[:, 0], strict=True):
        draw(figure=part)
        panels = max(panels, sum(axes.get_label() != "<colorbar>" for axes in part.axes))
    figure.set_figwidth(4.7 * min(panels, 3))
    if title:
        figure.suptitle(title, fontsize=11, color="#444444")
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
    axes.set_box_aspect(1)  # as the planes beside it
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    first = int(reached.min())
    edges = np.geomspace(0.9 * first, max(1.1 * epochs, first + 1), 31)
    axes.hist(reached, bins=edges.tolist(), color=FIRST, edgecolor="white", linewidth=0.5)
    middle = np.quantile(np.where(stop > 0, stop, np.inf), 0.5, method="inverted_cdf")
    if np.isfinite(middle):
        axes.axvline(middle, color=SECOND, label=f"median {middle:,.0f}")
        axes.legend(frameon=False)
    if edges[-1] < 100 * edges[0]:  # powers of ten alone would be one or two
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    _plain(axes)


def scatter(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    """Draw the points of both classes, each with its colour and its mark."""
    for label, color, mark in ((0, CLASS0, "o"), (1, CLASS1, "^")):
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


def _figure(width: float, height: float) -> Figure:
    """A figure of its own, without pyplot: no window, no state that a program would share."""
    return Figure(figsize=(width, height), dpi=150, layout="constrained")


def _bar(
    axes: Axes, image: Any, label: str, ticks: Sequence[float], beside: bool = False
) -> Colorbar:
    """Say what the shades mean, below or beside axes and as long as these are."""
    place = (1.04, 0, 0.045, 1) if beside else (0, -0.24, 1, 0.05)
    bar = axes.figure.colorbar(
        image,
        cax=axes.inset_axes(place, label="<colorbar>"),
        ticks=ticks,
        orientation="vertical" if beside else "horizontal",
        format="%g",
    )
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(color="#b8b8b8", labelcolor="#444444")
    return bar


def _plain(axes: Axes) -> None:
    """Two axes, and no more of the frame."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[:].set_color("#b8b8b8")
    axes.tick_params(color="#b8b8b8", labelcolor="#444444", which="both")


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
