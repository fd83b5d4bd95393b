"""Sums, means, variances and quantiles over samples, as good in float32, whoever adds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from xpnet.types import Array

ROWS = 256
"""How many rows are added one by one: NumPy adds those of several columns so, however many, and at
a million has lost three digits of float32."""


def total(xp: Any, values: Array, keepdims: bool = False) -> Array:
    """The sum over the samples, of ``(..., samples, features)``: of sums of 256, and so on."""
    while values.shape[-2] > ROWS:
        count, features = values.shape[-2] // ROWS, values.shape[-1]
        whole = values[..., : count * ROWS, :]
        sums = xp.sum(xp.reshape(whole, (*values.shape[:-2], count, ROWS, features)), axis=-2)
        if count * ROWS < values.shape[-2]:
            rest = xp.sum(values[..., count * ROWS :, :], axis=-2, keepdims=True)
            sums = xp.concat([sums, rest], axis=-2)
        values = sums
    return xp.sum(values, axis=-2, keepdims=keepdims)


Total = Callable[..., Array]
"""What adds up values over the samples as `total` does, or over those of all ranks."""


def mean_and_variance(
    xp: Any, x: Array, weight: Array | None, total: Total = total
) -> tuple[Array, Array, Array]:
    """Of each feature ``(..., 1, features)``: mean, mean of squares about it, whether it varies.

    Args:
        xp: the namespace.
        x: ``(..., samples, features)``.
        weight: ``(..., samples, 1)``, or ``None``; samples of weight 0 are not looked at.
        total: what adds up.

    Returns:
        The third is false where rounding alone could make the variance of a constant: 4 units in
        the last place of the mean. A variance that is not finite varies.
    """
    share = xp.ones_like(x[..., :1]) if weight is None else weight
    if weight is not None:
        x = xp.where(weight > 0, x, xp.zeros_like(x))
    whole = total(xp, share, keepdims=True)

    def mean_of(values: Array) -> Array:
        return total(xp, values * share, keepdims=True) / whole

    mean = mean_of(x)
    mean = mean + mean_of(x - mean)  # of what the first leaves over
    distance = x - mean
    var = mean_of(distance * distance)
    return mean, var, ~(var <= (4 * xp.finfo(x.dtype).eps * mean) ** 2)


def quantiles(
    xp: Any, x: Array, weight: Array | None, levels: Sequence[float]
) -> tuple[Array, ...]:
    """For each level ``q`` that of each feature, ``(..., 1, features)``.

    It is the least value of which at least a share ``q`` of the weights lies at or below it, and
    the middle between it and the next one, where that is just ``q``:
    ``numpy.quantile(method="averaged_inverted_cdf")``. So a weight of 2 is the same as having the
    sample twice, and one of 0 as not having it, also for the levels 0 and 1.

    Args:
        xp: the namespace.
        x: ``(..., samples, features)``.
        weight: ``(..., samples, 1)``, or ``None``.
        levels: from 0 to 1.
    """
    n = x.shape[-2]
    if weight is None:
        x = xp.sort(x, axis=-2)
        places = [(_up(q, n) - 1, _down(q, n)) for q in levels]
        pairs = [[min(max(i, 0), n - 1) for i in pair] for pair in places]
        return tuple(x[..., i : i + 1, :] / 2 + x[..., j : j + 1, :] / 2 for i, j in pairs)
    x, weight = x + xp.zeros_like(weight), weight + xp.zeros_like(x)
    order = xp.argsort(x, axis=-2)
    x = xp.take_along_axis(x, order, axis=-2)
    below = xp.cumulative_sum(xp.take_along_axis(weight, order, axis=-2), axis=-2)
    below = below / below[..., -1:, :]
    near = 4 * math.sqrt(n) * xp.finfo(x.dtype).eps  # what sums of n weights may be off
    top = n - 1

    def at(places: Array) -> Array:
        i = xp.sum(xp.astype(places, xp.int32), axis=-2, keepdims=True, dtype=xp.int32)
        i = xp.astype(xp.minimum(i, xp.full_like(i, top)), order.dtype)
        return xp.take_along_axis(x, i, axis=-2)

    found = []
    for q in levels:
        # Of 0 and 1 the ends that have a weight.
        low = at(below < q - near if q > near else below <= near)
        high = at(below <= q + near if q < 1 - near else below < q - near)
        found.append(low / 2 + high / 2)
    return tuple(found)


def _up(q: float, n: int) -> int:
    """``⌈q n⌉``, but for rounding."""
    return math.ceil(q * n - 1e-9 * n)


def _down(q: float, n: int) -> int:
    """``⌊q n⌋``, but for rounding."""
    return math.floor(q * n + 1e-9 * n)
