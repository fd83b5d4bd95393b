"""What is said of a run at its end: of one network a line, of an ensemble a table."""

from __future__ import annotations

import numpy as np

import xpnet as xn


def ending(goal: float, history: xn.History) -> str:
    """The first line of the end of a network alone."""
    if history.stop:
        return (
            f"[INFO]: Accuracy reaches {goal}. Early stop at epoch {history.stop}. "
            "Final prediction:"
        )
    last = "none" if history.accuracy is None else f"{history.accuracy[-1]:.6f}"
    if history.diverged:
        value = f"is {history.loss[-1]}"
        if history.diverged > history.epochs:  # with the last update, which no loss is recorded of
            value = "became NaN or infinite"
        why = f"The loss {value} at epoch {history.diverged}, where training stops"
    elif history.interrupted or history.stopped:
        why = f"{'Interrupted' if history.interrupted else 'Stopped'} after epoch {history.epochs}"
    else:
        why = f"The goal of {goal} is not reached in {history.epochs} epochs"
    return f"[WARNING]: {why}. Last accuracy: {last}. Final prediction:"


def summary(goal: float, history: xn.History) -> str:
    """The first line of the end of an ensemble."""
    stop, diverged = np.asarray(history.stop), np.asarray(history.diverged)
    arrived, lost = np.count_nonzero(stop), np.count_nonzero(diverged)
    ended = "Interrupted: " if history.interrupted else "Stopped: " if history.stopped else ""
    text = (
        f"{ended}{arrived} of {len(stop)} members "
        f"({arrived / len(stop):.1%}) reach the accuracy {goal} within {history.epochs} epochs."
    )
    if lost:
        text += f" The loss of {lost} became NaN or infinite, which ended their training."
    level = "INFO" if arrived else "WARNING"
    return f"[{level}]: {text} Distribution over the members:"


def distribution(history: xn.History) -> str:
    """A table: quartiles of the stops, and of loss and accuracy as they were at the end."""
    stop = np.asarray(history.stop)
    rows = [("stop", np.where(stop > 0, stop, np.inf), "{:.0f}")]
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


def _last(values: np.ndarray) -> np.ndarray:
    """The last entry of each member: before the NaN of those that were trained no longer."""
    there = ~np.isnan(values)
    row = len(values) - 1 - there[::-1].argmax(axis=0)
    return np.asarray(np.take_along_axis(values, row[None], axis=0)[0])
