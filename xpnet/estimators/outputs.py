"""What a trained estimator says of samples, and how right it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.backends import Backend
from xpnet.estimators.samples import is_sparse
from xpnet.layers.base import apply
from xpnet.training.step import layer_state_in
from xpnet.types import Array, Carry

TOGETHER, IN_CACHE = 1 << 22, 1 << 16
"""How many numbers the widest outputs of samples may be that are computed at once: as memory bears,
or, where operations run one by one on the host, as a cache has room for."""


def rows_at_once(backend: Backend, widest: int) -> int:
    """How many samples are computed at once, of so many outputs each in the widest layer."""
    most = IN_CACHE if backend.eager and backend.on_host else TOGETHER
    return max(1, most // widest)


def outputs_of(
    estimator: Any, backend: Backend, carry: Carry, x: Any, spread: bool = False
) -> tuple[Array, ...]:
    """Probabilities or values ``(samples, outputs)``, of members their mean; with their spread."""
    network, theta, xp = estimator._network, carry["theta"], backend.xp
    many = len(theta.shape) == 2
    views = network.layout.views(xp, theta)
    state = tuple(layer_state_in(network, carry).values())
    count = int(x.shape[0])
    widest = max(shape[-1] for shape in network.parameters().values())
    size = rows_at_once(backend, widest * (int(theta.shape[0]) if many else 1))
    parts = []
    with backend.context(network.layout.extent(None, min(size, count))):
        for start in range(0, count, size):
            rows = slice(start, min(start + size, count))
            if is_sparse(x):
                some = backend.asarray(x[rows].toarray(), backend.dtype_name(theta))
            else:
                some = x[rows, ...]
            found = estimator._meaning(xp, apply(network, xp, views, some, state))
            mean = xp.mean(found, axis=0) if many else found
            parts.append((mean, xp.std(found, axis=0)) if spread else (mean,))
        return tuple(
            p[0] if len(p) == 1 else xp.concat(p, axis=0) for p in zip(*parts, strict=True)
        )


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
