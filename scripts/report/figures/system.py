"""Figures 1.1 to 2.4: the network, the data, the activations, Adam."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas

from report.figures.theme import (
    CLASS0,
    CLASS1,
    GRID,
    INK,
    MUTED,
    PAPER,
    SMALL,
    WIDTH,
    Figure,
    finish,
    style,
    title,
)
from report.runs import OurRun
from xpnet import LeakyReLU, ReLU, Sigmoid
from xpnet.layers import Layer


def figures(xor: OurRun, linear: OurRun) -> list[Figure]:
    """The figures of the first two chapters."""
    return [
        network("1.1", xor),
        datasets("1.2", xor, linear),
        activation("2.1", LeakyReLU(), "LeakyReLU", (-3, 3)),
        activation("2.2", ReLU(), "ReLU", (-3, 3)),
        activation("2.3", Sigmoid(), "Sigmoid", (-6, 6)),
        adam("2.4"),
    ]


# ---- the network


def network(number: str, run: OurRun) -> Figure:
    """The network, its connections as strong as they are after training."""
    matrices = [w for name, w in run.weights.items() if name.endswith("W")]
    columns = [matrices[0].shape[1], *(w.shape[0] for w in matrices)]
    with style():
        canvas = Canvas(figsize=(WIDTH, 2.9))
        axes = canvas.add_axes((0, 0, 1, 1))
        axes.set_xlim(-0.62, len(columns) - 0.38)
        axes.set_ylim(-2.72, 2.2)
        axes.axis("off")
        strongest = max(float(np.abs(w).max()) for w in matrices)
        for k, w in enumerate(matrices):
            for i, y_in in enumerate(_rows(columns[k])):
                for j, y_out in enumerate(_rows(columns[k + 1])):
                    strength = float(w[j, i]) / strongest
                    axes.plot(
                        [k, k + 1], [y_in, y_out], color=CLASS1 if strength > 0 else CLASS0,
                        lw=0.4 + 3.2 * abs(strength), zorder=1, solid_capstyle="butt",
                    )  # fmt: skip
        _nodes(axes, columns)
        return finish(
            number,
            "The network: two inputs, two hidden layers of four units, one output. Drawn with the "
            "weights that our base run on xor ended with: the thicker, the larger; "
            "pink where positive, teal where negative.",
            canvas,
        )


def _rows(count: int) -> list[float]:
    return [(count - 1) / 2 - i for i in range(count)]


def _nodes(axes: Axes, columns: list[int]) -> None:
    last = len(columns) - 1
    names = ["input", *(f"hidden {k}" for k in range(1, last)), "output"]
    below = ["$x$", *["LeakyReLU"] * (last - 1), "sigmoid"]
    for k, count in enumerate(columns):
        for i, y in enumerate(_rows(count)):
            axes.plot(
                k, y, "o", markersize=23, markerfacecolor=PAPER, markeredgecolor=INK,
                markeredgewidth=1.1, zorder=2,
            )  # fmt: skip
            label = f"$x_{i}$" if k == 0 else (r"$\hat{y}$" if k == last else f"$h_{i}$")
            axes.text(k, y - 0.02, label, ha="center", va="center", size=11, zorder=3)
        axes.text(k, -2.12, names[k], ha="center", va="center", weight="bold", size=SMALL)
        axes.text(k, -2.46, below[k] if k else "two coordinates", ha="center", va="center",
                  color=MUTED, size=SMALL)  # fmt: skip


# ---- the data


def scatter(axes: Axes, x: np.ndarray, y: np.ndarray, size: float) -> None:
    """Points of two classes, told apart by colour and by shape."""
    labels = y[:, 0] > 0.5
    for mask, colour, marker in ((~labels, CLASS0, "o"), (labels, CLASS1, "^")):
        axes.scatter(
            x[mask, 0], x[mask, 1], s=size, c=colour, marker=marker, edgecolors=PAPER,
            linewidths=0.6, zorder=3, clip_on=False,
        )  # fmt: skip


def datasets(number: str, xor: OurRun, linear: OurRun) -> Figure:
    """Both data sets, side by side."""
    with style():
        canvas = Canvas(figsize=(WIDTH, 2.45))
        for left, run in ((0.06, linear), (0.555, xor)):
            axes = canvas.add_axes((left, 0.11, 0.43, 0.76))
            axes.grid()
            scatter(axes, run.x, run.y, size=26)
            axes.set_xlim(-0.05, 1.05)
            axes.set_ylim(-0.05, 1.05)
            axes.set_aspect("equal")
            axes.set_xticks([0, 0.5, 1])
            axes.set_yticks([0, 0.5, 1])
            axes.tick_params(length=0)
            axes.spines[["left", "bottom"]].set_visible(False)
            axes.set_title(
                run.printed.dataset, loc="left", size=10, weight="bold", color=INK, pad=7
            )
            axes.set_title(f"{len(run.x)} points", loc="right", size=SMALL, color=MUTED, pad=7)
        return finish(
            number,
            "The two data sets, x₀ to the right and x₁ upwards. Circles are class 0, "
            "triangles class 1.",
            canvas,
        )


# ---- the activations


def activation(number: str, layer: Layer, name: str, span: tuple[float, float]) -> Figure:
    """A function and its derivative, both asked of the library's own layer."""
    x = np.linspace(*span, 601)
    y, backprop = layer.forward(np, (), x)
    slope = np.asarray(backprop(np.ones_like(x))[0])
    with style():
        canvas = Canvas(figsize=(3.6, 2.9))
        title(canvas, name)
        axes = canvas.add_axes((0.09, 0.1, 0.88, 0.72))
        axes.axhline(0, color=MUTED, lw=0.7)
        axes.axvline(0, color=MUTED, lw=0.7)
        axes.plot(x, y, color=INK, lw=2, label="$f(x)$")
        # A jump is no slope: the derivative breaks off where the layer's does.
        jumps = np.flatnonzero(np.abs(np.diff(slope)) > 0.5) + 1
        for k, part in enumerate(np.split(np.arange(len(x)), jumps)):
            axes.plot(
                x[part], slope[part], color=MUTED, lw=2, dashes=(4, 1.6),
                label=None if k else "$f'(x)$",
            )  # fmt: skip
        axes.grid(color=GRID)
        axes.set_axisbelow(True)
        axes.set_xlim(*span)
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, borderaxespad=0.1,
            borderpad=0.1, handlelength=2, fontsize=11,
        )  # fmt: skip
        return finish(number, f"{name} and its derivative, as the layer computes them.", canvas)


# ---- Adam

ADAM: tuple[tuple[int, str, str], ...] = (
    (0, r"$\mathbf{input}$  $\gamma,\ (\beta_1, \beta_2),\ \epsilon,\ \lambda,\ \theta_0,\ f$", ""),
    (0, r"$m_0 \leftarrow 0,\quad v_0 \leftarrow 0,\quad v^{\max}_0 \leftarrow 0$", "start"),
    (0, r"$\mathbf{for}\ t = 1, 2, \ldots\ \mathbf{do}$", ""),
    (1, r"$g_t \leftarrow \nabla f_t(\theta_{t-1})$", r"$-\nabla f_t$ to maximize"),
    (1, r"$\mathbf{if}\ \lambda \neq 0:\quad g_t \leftarrow g_t + \lambda\,\theta_{t-1}$",
     "weight decay"),
    (1, r"$m_t \leftarrow \beta_1\, m_{t-1} + (1 - \beta_1)\, g_t$", "mean"),
    (1, r"$v_t \leftarrow \beta_2\, v_{t-1} + (1 - \beta_2)\, g_t^2$", "mean square"),
    (1, r"$v^{\max}_t \leftarrow \max(v^{\max}_{t-1},\ v_t)\ "
        r"\mathbf{if}\ \mathrm{amsgrad}\ \mathbf{else}\ v_t$", "AMSGrad"),
    (1, r"$\hat{m}_t \leftarrow m_t\, /\, (1 - \beta_1^{\,t})$", "bias, taken out"),
    (1, r"$\hat{v}_t \leftarrow v^{\max}_t\, /\, (1 - \beta_2^{\,t})$", ""),
    (1, r"$\theta_t \leftarrow \theta_{t-1} - \gamma\ \hat{m}_t\, /\, "
        r"(\sqrt{\hat{v}_t} + \epsilon)$", "step"),
    (0, r"$\mathbf{return}\ \theta_t$", ""),
)  # fmt: skip
"""Indentation, line and remark of each line of the algorithm."""


def adam(number: str) -> Figure:
    """Adam as pseudo-code, typeset."""
    line, top = 0.305, 0.5
    height = top + len(ADAM) * line + 0.1
    width = 4.6
    with style():
        canvas = Canvas(figsize=(width, height))
        title(canvas, "Adam", "as xpnet takes a step")
        axes = canvas.add_axes((0, 0, 1, 1))
        axes.set_xlim(0, width)
        axes.set_ylim(height, 0)
        axes.axis("off")
        axes.plot([0.07, width - 0.07], [0.36, 0.36], color=INK, lw=1.2)
        axes.plot([0.07, width - 0.07], [height - 0.05] * 2, color=INK, lw=1.2)
        loop = [i for i, (indent, _, _) in enumerate(ADAM) if indent]
        axes.plot(
            [0.53, 0.53], [top + loop[0] * line, top + (loop[-1] + 1) * line], color=GRID, lw=1.2
        )
        for i, (indent, code, remark) in enumerate(ADAM):
            y = top + (i + 0.5) * line
            axes.text(0.27, y, str(i + 1), ha="right", va="center", size=10, color=MUTED)
            axes.text(0.43 + 0.27 * indent, y, code, ha="left", va="center", size=12)
            axes.text(width - 0.08, y, remark, ha="right", va="center", size=10, color=MUTED)
        return finish(
            number,
            "Adam with weight decay λ, AMSGrad and maximize as options; the report uses none of "
            "the three.",
            canvas,
        )
