"""Epochs out of steps: what an epoch's metrics are, of those of its batches."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xpnet.training.batches import Batches
from xpnet.types import Array, Metrics


def train_epochs(
    batches: Batches,
    n: int,
    advance: Callable[[int, Array | None, Callable[[], bool]], Metrics | None],
    interrupted: Callable[[], bool],
    queued: Callable[[], None],
) -> dict[str, np.ndarray] | None:
    """Train ``n`` epochs; return the metrics of those that count, or ``None`` if none does.

    Args:
        batches: the samples of each step.
        n: how many epochs.
        advance: trains so many steps on these rows, and returns their metrics; fewer, or ``None``,
            if it was interrupted.
        interrupted: whether to end after the step in hand.
        queued: called once all steps of all epochs are asked for, before anything is waited for.

    Returns:
        The metrics on the host, ``(epochs, …)``, the loss first.
    """
    host = batches.backend.to_host
    if batches.size is None:
        metrics = advance(n, None, interrupted)
        if metrics and metrics["loss"].shape[0] == n:
            queued()
        # By names, not as they come: JAX sorts a dict.
        return metrics and {name: host(metrics[name]) for name in _names(metrics)}
    parts: list[Metrics] = []
    for epochs, batch_rows in batches.batch_rows(n):
        rows = []
        for order in batch_rows:
            metrics = advance(order.shape[0], order, interrupted)
            if metrics is None:
                break
            done, steps = metrics["loss"].shape[0], order.shape[0]
            if done < steps:
                # Cut short: where batches run on through the epochs, whole ones are kept.
                epochs, each = done * epochs // steps, steps // epochs
                if len(batch_rows) > 1 or not epochs:
                    break
                metrics = {name: v[: epochs * each, ...] for name, v in metrics.items()}
            rows.append(metrics)
        if len(rows) < len(batch_rows):
            break
        shares = tuple(order.shape[1] / batches.samples for order in batch_rows)
        parts.append(batches.means(batches.backend.xp, rows, epochs=epochs, shares=shares))
        if interrupted():
            break
    if not parts:
        return None
    concat, whole = batches.backend.xp.concat, parts[0]
    if len(parts) > 1:
        whole = {name: concat([part[name] for part in parts], axis=0) for name in whole}
    if whole["loss"].shape[0] == n:
        queued()
    return {name: host(whole[name]) for name in _names(whole)}


def _names(metrics: Metrics) -> list[str]:
    return sorted(metrics, key=lambda name: (name != "loss", name))
