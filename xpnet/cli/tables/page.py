"""``xpnet evaluate --page``: one page that needs no other file, of figures and pictures."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import xpnet as xn
from xpnet._optional import optional
from xpnet.callbacks import best_of, curves_of
from xpnet.metrics import confusion_matrix
from xpnet.tables.predicting import prepared

NAMES = {
    "accuracy": "accuracy", "log_loss": "log loss", "auc": "AUC",
    "r2": "R²", "mae": "mean absolute error", "rmse": "root mean square error",
}  # fmt: skip

COLOURS = {
    "#2563a8": "blue", "#d9642c": "orange", "#444444": "ink", "#777777": "muted",
    "#b8b8b8": "line", "#ffffff": "paper",
}  # fmt: skip
"""The colours of pictures, and the page's names of them, which it sets for light and dark."""

_STYLE = {"text.color": "#444444", "axes.labelcolor": "#444444", "svg.hashsalt": "xpnet",
          "font.family": "DejaVu Sans", "font.size": 10, "axes.titlesize": 11,
          "figure.facecolor": "none", "axes.facecolor": "none"}  # fmt: skip

Draw = Callable[[Any], None]


def page(
    model: xn.Model,
    name: str,
    data: str,
    true: np.ndarray,
    found: np.ndarray,
    figures: dict[str, float],
) -> str:
    """The page as a text.

    Args:
        model: the model, with its preparation.
        name: the name of its file.
        data: what it is judged by.
        true: the targets, as `Target.encode` gives them.
        found: what is predicted, as ``estimates`` gives it.
        figures: how well.

    Raises:
        ImportError: if matplotlib or jinja2 is not installed: ``pip install "xpnet[report]"``.
    """
    from xpnet.cli.tables.asking import described

    jinja2, _ = (optional(module, "the page") for module in ("jinja2", "matplotlib"))
    target = prepared(model)[1]
    classes = [str(one) for one in target.classes]
    matrix = None
    if classes:
        counts = np.asarray(confusion_matrix(true, found.argmax(axis=1), len(classes)))
        matrix = [
            {
                "name": own,
                "cells": [(count, count / max(1, row.sum())) for count in row.tolist()],
                "recall": row[i] / row.sum() if row.sum() else None,
            }
            for i, (own, row) in enumerate(zip(classes, counts, strict=True))
        ]
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    text: str = templates.get_template("page.html.j2").render(
        name=name,
        data=data,
        target=target.name,
        rows=len(true),
        figures=[(NAMES[key], value) for key, value in figures.items()],
        classes=classes,
        matrix=matrix,
        pictures=[
            (caption, _svg(f"figure-{i}", caption, draw))
            for i, (caption, draw) in enumerate(_pictures(model, true, found))
        ],
        lines=list(described(model)),
        summary=str(model.network.summary()),
        version=xn.__version__,
    )
    return text


def _pictures(model: xn.Model, true: np.ndarray, found: np.ndarray) -> Iterator[tuple[str, Draw]]:
    """What is drawn, and what is said below it."""
    from xpnet import pictures

    target, history = prepared(model)[1], model.history
    if len(target.classes) == 2:
        second = str(target.classes[1])
        yield (
            f"Calibration: of rows that are {second!r} with a probability, how many are. Lines are "
            "two standard errors.",
            lambda axes: pictures.calibration(axes, found[:, 1], true == 1),
        )
    elif target.classes:
        sure, right = found.max(axis=1), found.argmax(axis=1) == true
        yield (
            "Calibration: of predictions with a probability, how many are right. Lines are two "
            "standard errors.",
            lambda axes: pictures.calibration(axes, sure, right),
        )
    else:
        yield (
            f"Each row: {target.name!r} as it is and as it is predicted.",
            lambda axes: pictures.agreement(axes, true, found),
        )
    if history is None or not history.epochs:
        return
    who = (
        ""
        if model.members is None
        else f" The mean of {model.members} networks; shaded, where 80 % of them lie."
    )
    own = "" if target.classes else f" Of {target.name!r} brought to mean 0 and variance 1."
    for name, curves in curves_of(history).items():

        def draw(axes: Any, name: str = name, curves: Any = curves) -> None:
            pictures.over_epochs(axes, name, curves, best_of(history))
            axes.legend(facecolor="#ffffff", edgecolor="none", framealpha=0.85)

        yield f"{name.capitalize()} over the epochs of the training.{who}{own}", draw


def _svg(name: str, caption: str, draw: Draw) -> Any:
    """A picture as part of a page: its colours are the page's, its ids its own."""
    matplotlib = optional("matplotlib", "the page")
    from markupsafe import Markup
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.4, 3.5), layout="constrained")
        draw(figure.subplots())
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{name}-", svg)
    for colour, called in COLOURS.items():
        svg = svg.replace(colour, f"var(--{called})")
    label = escape(caption)
    return Markup(
        re.sub(
            r'<svg(.*?) width="\S+" height="\S+"',
            lambda found: f'<svg role="img" aria-label="{label}"{found[1]}',
            svg,
            count=1,
        )
    )
