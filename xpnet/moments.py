"""Sums, means and variances over samples that keep their digits in float32, whoever adds."""

from __future__ import annotations

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


def mean_and_variance(xp: Any, x: Array, weight: Array | None) -> tuple[Array, Array, Array]:
    """Of each feature ``(..., 1, features)``: mean, mean of squares about it, whether it varies.

    Args:
        xp: the namespace.
        x: ``(..., samples, features)``.
        weight: ``(..., samples, 1)``, or ``None``; samples of weight 0 are not looked at.

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
