"""The growth of a step's cost, drawn: four panels on log-log axes, the bends marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.growth import AXES, Line
from benchmarks.problems import Unavailable, require

COLOURS = {
    "xpnet on numpy: runner": "#1f6fb4",
    "xpnet on torch: runner": "#d9541e",
    "xpnet on jax: runner": "#2b8a3e",
    "xpnet on cupy: runner": "#8a3ea8",
}
PEER = "#555555"


def draw(lines: dict[str, dict[str, Line]], path: Path) -> None:
    """Write the plot, in the format that the name of ``path`` asks for.

    Raises:
        Unavailable: without matplotlib.
    """
    try:
        matplotlib = require("matplotlib")
    except Unavailable as error:
        raise Unavailable(f"no plot: {error}") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    for panel, (axis, of_axis) in zip(axes.flat, lines.items(), strict=False):
        for name, line in of_axis.items():
            colour = COLOURS.get(name, PEER)
            milliseconds = np.array(line.seconds) * 1e3
            style = "-o" if name in COLOURS else "--s"
            label = name.removesuffix(": runner")
            panel.plot(line.values, milliseconds, style, color=colour, markersize=4, label=label)
            if line.bend is not None:
                at = np.interp(np.log(line.bend), np.log(line.values), np.log(milliseconds))
                panel.plot(line.bend, np.exp(at), "D", color=colour, markersize=9, fillstyle="none")
                panel.annotate(
                    f"{line.bend:,.0f}",
                    (line.bend, np.exp(at)),
                    xytext=(4, -12),
                    textcoords="offset points",
                    color=colour,
                    fontsize=8,
                )
        panel.set(xscale="log", yscale="log", xlabel=axis, ylabel="ms a step")
        panel.set_title(f"{axis}: {AXES[axis][0]}", fontsize=10)
        panel.grid(True, which="major", alpha=0.3)
        panel.legend(fontsize=7)
    figure.suptitle("Time of a training step; a diamond where the line bends")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)
