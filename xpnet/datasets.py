"""The two data sets of the report, made on the host in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xpnet import checks
from xpnet.initializers import RNG, generator


def linear(n: int = 100, seed: int | RNG | None = None) -> tuple[np.ndarray, np.ndarray]:
    """``n`` points uniform on the unit square: class 0 where ``x₀ > x₁``, else 1.

    Returns:
        ``x`` of shape ``(n, 2)`` and ``y`` of shape ``(n, 1)``, float64.
    """
    x = generator(seed).uniform(0, 1, (checks.whole("n", n), 2))
    return x, (x[:, :1] <= x[:, 1:]).astype(float)


def xor(n: int = 21, seed: int | RNG | None = None) -> tuple[np.ndarray, np.ndarray]:
    """21 points on the diagonals of the unit square, class 0 on the rising, 1 on the falling one.

    Points follow one another as in the report: ``(0.1 i, 0.1 i)``, then ``(0.1 i, 1 − 0.1 i)``,
    the centre only once. Nothing is random and their number is fixed: the arguments are there so
    that both data sets are called alike.

    Raises:
        TypeError, ValueError: if ``n`` is not 21, or ``seed`` not ``None``: they change nothing.
    """
    if checks.whole("n", n) != 21:
        raise ValueError(f"n must be 21 for xor, whose points are fixed, not {checks.shown(n)}.")
    if seed is not None:
        found = checks.shown(seed)
        raise ValueError(f"seed must be None for xor, whose points are fixed, not {found}.")
    x, y = [], []
    for i in range(11):
        x.append([0.1 * i, 0.1 * i])
        y.append([0.0])
        if i != 5:
            x.append([0.1 * i, 1 - 0.1 * i])
            y.append([1.0])
    return np.array(x), np.array(y)


DATASETS: dict[str, Callable[[int, int | RNG | None], tuple[np.ndarray, np.ndarray]]] = {
    "linear": linear,
    "xor": xor,
}
"""The data sets by the names of the command line."""
