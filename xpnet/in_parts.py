"""Predictions of many samples, some at a time: what estimators and tables ask a network in."""

from __future__ import annotations

from collections.abc import Callable

from xpnet.backends import Backend
from xpnet.network import Sequential
from xpnet.types import Array

TOGETHER, IN_CACHE = 1 << 22, 1 << 16
"""How many numbers the widest outputs of samples may be that are computed at once: as memory bears,
or, where operations run one by one on the host, as a cache has room for."""


def rows_at_once(backend: Backend, network: Sequential, members: int | None) -> int:
    """How many samples are computed at once, by the widest layer of all members together."""
    widest = max(network.in_features or 1, *(leaf.out_features or 1 for leaf in network.leaves))
    most = IN_CACHE if backend.eager and backend.on_host else TOGETHER
    return max(1, most // (widest * (members or 1)))


def in_parts(
    backend: Backend, count: int, size: int, of: Callable[[slice], tuple[Array, ...]]
) -> tuple[Array, ...]:
    """What is said ``of`` so many rows, ``size`` at a time: arrays with the samples first."""
    parts = [of(slice(start, min(start + size, count))) for start in range(0, count, size)]
    return tuple(
        p[0] if len(p) == 1 else backend.xp.concat(p, axis=0) for p in zip(*parts, strict=True)
    )
