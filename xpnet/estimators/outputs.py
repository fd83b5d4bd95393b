"""What a trained estimator says of samples, and how right it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.backends import Backend
from xpnet.estimators.samples import is_sparse
from xpnet.in_parts import in_parts, rows_at_once
from xpnet.layers.base import apply
from xpnet.training.step import layer_state_in
from xpnet.types import Array, Carry


def outputs_of(
    estimator: Any, backend: Backend, carry: Carry, x: Any, spread: bool = False
) -> tuple[Array, ...]:
    """Probabilities or values ``(samples, outputs)``, of members their mean; with their spread."""
    network, theta, xp = estimator._network, carry["theta"], backend.xp
    many = len(theta.shape) == 2
    views = network.layout.views(xp, theta)
    state = tuple(layer_state_in(network, carry).values())
    members = int(theta.shape[0]) if many else None
    count, size = int(x.shape[0]), rows_at_once(backend, network, members)

    def of(rows: slice) -> tuple[Array, ...]:
        if is_sparse(x):
            some = backend.asarray(x[rows].toarray(), backend.dtype_name(theta))
        else:
            some = x[rows, ...]
        found = estimator._meaning(xp, apply(network, xp, views, some, state))
        mean = xp.mean(found, axis=0) if many else found
        return (mean, xp.std(found, axis=0)) if spread else (mean,)

    with backend.context(network.layout.extent(None, min(size, count))):
        return in_parts(backend, count, size, of)


def accuracy(
    found: np.ndarray, target: np.ndarray, weight: np.ndarray | None, exclusive: bool
) -> float:
    """The share of samples of which all is right, as ``sklearn.metrics.accuracy_score``.

    Args:
        found, target: ``(samples, outputs)``.
        weight: ``(samples,)`` or ``None``.
        exclusive: whether a sample is of one class alone.
    """
    if not np.isfinite(found).all():
        return float("nan")
    if exclusive:
        hits = found.argmax(axis=1) == target.argmax(axis=1)
    else:
        hits = ((found > 0.5) == target).all(axis=1)
    return float(np.average(hits, weights=weight))


def r2(found: np.ndarray, target: np.ndarray, weight: np.ndarray | None) -> float:
    """``1 − Σ (y − ŷ)² / Σ (y − ȳ)²``, the mean over outputs, as ``sklearn.metrics.r2_score``."""
    if not np.isfinite(found).all():
        return float("nan")
    mean = np.average(target, axis=0, weights=weight)
    w = np.ones(len(target)) if weight is None else weight
    left, all_of_it = (w @ np.square(target - of) for of in (found, mean))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(all_of_it > 0, 1 - left / all_of_it, np.where(left > 0, 0.0, 1.0))
    return float(ratio.mean())
