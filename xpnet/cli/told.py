"""What is said of a run at its end: of one network a line, of an ensemble a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import xpnet as xn


def ending(goal: float | None, history: xn.History) -> str:
    """The first line of the end of a network alone: how it came to it."""
    if history.stop:
        return f"[INFO]: Accuracy reaches {goal}. Early stop at epoch {history.stop}."
    if history.exhausted:
        return (
            f"[INFO]: No improvement in validation since epoch {history.best_epoch}. "
            f"Early stop at epoch {history.exhausted}."
        )
    name, values = "accuracy", history.accuracy
    if values is None and len(history.loss):
        name, values = "loss", history.loss
    last = "none" if values is None else f"{values[-1]:.6f}"
    if history.diverged:
        value = f"is {history.loss[-1]}"
        if history.diverged > history.epochs:  # with the last update, which no loss is recorded of
            value = "became NaN or infinite"
        why = f"The loss {value} at epoch {history.diverged}, where training stops"
    elif history.interrupted or history.stopped:
        why = f"{'Interrupted' if history.interrupted else 'Stopped'} after epoch {history.epochs}"
    elif goal is None:
        return f"[INFO]: Trained for {history.epochs} epochs. Last {name}: {last}."
    else:
        why = f"The goal of {goal} is not reached in {history.epochs} epochs"
    return f"[WARNING]: {why}. Last {name}: {last}."


def summary(goal: float | None, history: xn.History) -> str:
    """The first line of the end of an ensemble."""
    stop, diverged = np.asarray(history.stop), np.asarray(history.diverged)
    arrived, lost = np.count_nonzero(stop), np.count_nonzero(diverged)
    ended = "Interrupted: " if history.interrupted else "Stopped: " if history.stopped else ""
    text = (
        f"{ended}{arrived} of {len(stop)} members "
        f"({arrived / len(stop):.1%}) reach the accuracy {goal} within {history.epochs} epochs."
        if goal is not None
        else f"{ended}{len(stop)} members are trained for {history.epochs} epochs at most."
    )
    if lost:
        text += f" The loss of {lost} became NaN or infinite, which ended their training."
    level = "INFO" if arrived or (goal is None and not lost) else "WARNING"
    return f"[{level}]: {text} Distribution over the members:"


def distribution(history: xn.History) -> str:
    """A table: quartiles of the stops, and of loss and accuracy as they were at the end."""
    rows = []
    for name, epochs, told in (
        ("stop", history.stop, history.acc_goal is not None),
        ("best epoch", history.best_epoch, history.val_loss is not None),
    ):
        if told:
            epochs = np.asarray(epochs)
            rows.append((name, np.where(epochs > 0, epochs, np.inf), "{:.0f}"))
    for name, values in (("loss", history.loss), ("accuracy", history.accuracy)):
        if values is not None and len(values):
            rows.append((f"last {name}", _last(values), "{:.6f}"))
    lines = [f"{'':13}" + "".join(f"{h:>12}" for h in ("min", "25 %", "median", "75 %", "max"))]
    for name, values, form in rows:
        known = values[~np.isnan(values)]
        # Without a mean of two neighbours: half of "never" is no epoch.
        quartiles = (
            np.quantile(known, np.linspace(0, 1, 5), method="inverted_cdf") if len(known) else []
        )
        cells = ("never" if np.isinf(q) else form.format(q) for q in quartiles)
        lines.append(f"{name:13}" + "".join(f"{cell:>12}" for cell in cells))
    return "\n".join(lines)


Figures = dict[str, dict[str, Any]]
"""What `Model.evaluate` says of the samples, by what they are for."""


def figures(found: Figures, samples: dict[str, int], best: int | None) -> str:
    """A table: loss, accuracy and their kind, on the samples by what they are for.

    Args:
        found: the numbers; of an ensemble each ``(members,)``.
        samples: how many samples there are.
        best: the best member of an ensemble, of which there is a row, and one of the mean.
    """
    rows: list[tuple[str, str, Sequence[float]]] = []
    for use, numbers in found.items():
        values, count = list(numbers.values()), f"{samples[use]}"
        if best is None:
            rows.append((use, count, values))
        else:
            rows.append((f"{use}, member {best}", count, [v[best] for v in values]))
            rows.append((f"{use}, mean of {len(values[0])}", "", [v.mean() for v in values]))
    cells = [["", "samples", *next(iter(found.values()))]]
    cells += [[head, count, *(f"{value:.6f}" for value in row)] for head, count, row in rows]
    first, *others = (max(map(len, column)) for column in zip(*cells, strict=True))
    widths = [max(12, width + 2) for width in others]
    return "\n".join(
        f"{head:{first}}" + "".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True))
        for head, *row in cells
    )


def confusion(matrix: np.ndarray, classes: Sequence[str]) -> str:
    """A table: how many of each class (row) are taken for each (column), and the recall."""
    first = max(len(name) for name in ("true", *classes))
    width = max(len(text) for text in (*classes, str(matrix.max()))) + 2
    lines = [f"{'true':{first}}" + "".join(f"{name:>{width}}" for name in classes) + "   recall"]
    for name, row in zip(classes, matrix, strict=True):
        counts = "".join(f"{count or '.':>{width}}" for count in row.tolist())
        recall = f"{row[len(lines) - 1] / row.sum():9.4f}" if row.sum() else f"{'none':>9}"
        lines.append(f"{name:{first}}{counts}{recall}")
    return "\n".join(lines)


def _last(values: np.ndarray) -> np.ndarray:
    """The last entry of each member: before the NaN of those that were trained no longer."""
    there = ~np.isnan(values)
    row = len(values) - 1 - there[::-1].argmax(axis=0)
    return np.asarray(np.take_along_axis(values, row[None], axis=0)[0])
