"""The layers over `Ball`, from their published formulas: value, and what they propagate back.

A layer is ``(kind, *numbers)``. At a kink whatever lies on either side within the radius is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.fuzz.balls import ULPS, Ball, constant, exact
from tests.fuzz.masks import kept_rate

Back = Callable[[Ball], tuple[Ball, list[Ball]]]
"""From the gradient of the output to that of the input, and those of the parameters."""


Path = tuple[int, ...]


@dataclass
class Kept:
    """What a pass has besides samples and parameters, and what it hands on.

    Attributes:
        state: that of the layers, in their order, ``(members, 1, features)`` each.
        mask: gives what `Dropout` keeps, by its path, the rows, the features and ``p``; ``None`` in
            inference.
        after: the state after it, filled as the layers are passed.
        common: how much of the radius of the last output all samples have in common.
    """

    state: Iterator[Ball]
    mask: Callable[[Path, int, int, float], np.ndarray] | None
    after: list[Ball] = field(default_factory=list)
    common: Any = 0.0


def forward(
    layers: list[tuple[Any, ...]], params: Iterator[Ball], x: Ball, kept: Kept, path: Path = ()
) -> tuple[Ball, Back]:
    """Several layers; each takes its parameters, ``(members, n, m)``, from those that are left."""
    backs: list[Back] = []
    for i, (kind, *numbers) in enumerate(layers, 1):
        common, kept.common = kept.common, 0.0
        if kind in ACTIVATIONS:
            x, back = _elementwise(x, *ACTIVATIONS[kind](x, *numbers))
        elif kind == "linear":
            x, back, kept.common = _linear(x, params)
        elif kind == "dropout":
            x, back = _dropout(x, kept, (*path, i, 1), *numbers)
        elif kind == "batchnorm":
            x, back = _batchnorm(x, params, kept, common, *numbers)
        elif kind == "residual":
            x, back = _residual(x, params, kept, (*path, i), *numbers)
        else:
            x, back = LAYERS[kind](x, params, *numbers)
        backs.append(back)

    def backward(dy: Ball) -> tuple[Ball, list[Ball]]:
        grads: list[Ball] = []
        for back in reversed(backs):
            dy, own = back(dy)
            grads = own + grads
        return dy, grads

    return x, backward


def _elementwise(x: Ball, y: Ball, slope: Ball | None) -> tuple[Ball, Back]:
    return y, lambda dy: (dy if slope is None else dy * slope, [])


# ---- elementwise: the value and the slope; None for 1


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _chosen(x: Ball, below: Ball, above: Ball, at: float = 0.0, own: bool = True) -> Ball:
    """``above`` from ``at`` on (behind it, if not its ``own``), ``below`` before; or between."""
    right = x.low >= at if own else x.low > at
    left = x.high < at if own else x.high <= at
    low, high = np.minimum(below.low, above.low), np.maximum(below.high, above.high)
    c = np.where(right, above.c, np.where(left, below.c, (low + high) / 2))
    r = np.where(right, above.r, np.where(left, below.r, (high - low) / 2))
    return Ball(x.format, c, np.where(np.isfinite(x.r), r, np.inf))


def _number(x: Ball, value: float, ulps: float = 1.0) -> Ball:
    return exact(x.format, np.full_like(x.c, value)).rounded(ulps)


def _leaky(x: Ball, slope: float) -> tuple[Ball, Ball]:
    y = x.monotone(lambda v: np.maximum(v, slope * v), 2.0)
    return y, _chosen(x, _number(x, slope, 2.0), _number(x, 1.0, 2.0))


def _hardtanh(x: Ball, low: float, high: float) -> tuple[Ball, Ball]:
    y = x.monotone(lambda v: np.clip(v, low, high), 1.0)
    none, one = _number(x, 0.0), _number(x, 1.0)
    below = _chosen(x, none, one, low, own=False)
    return y, _chosen(x, below, none, high)


def _softplus(x: Ball, beta: float) -> tuple[Ball, Ball]:
    scaled = x * beta
    y = scaled.monotone(lambda v: np.logaddexp(v, 0.0), ULPS + 2) / beta
    return y, scaled.monotone(sigmoid, ULPS + 2)


def _exponential(x: Ball, scale: float, alpha: float) -> tuple[Ball, Ball]:
    y = x.monotone(
        lambda v: np.where(v > 0, scale * v, alpha * np.expm1(np.minimum(v, 0))), ULPS + 3
    )
    slope = x.monotone(lambda v: alpha * np.exp(np.minimum(v, 0)), ULPS + 2)
    slope = slope.rounded(ULPS + 3, np.full_like(x.c, alpha))  # as y + α
    return y, _chosen(x, slope, _number(x, scale, 2.0), own=False)


def _gated(x: Ball, argument: Ball, rises: Ball) -> tuple[Ball, Ball]:
    """``x σ(v)``, whose slope is ``σ + x σ (1 − σ) v'``."""
    gate = argument.monotone(sigmoid, ULPS + 2)
    other = (-argument).monotone(sigmoid, ULPS + 2)
    # 1 − σ may be a difference, of which no digit is left before σ is exactly 1.
    other = other.rounded(ULPS + 3, np.where(other.high > x.format.u / 16, 1.0, other.high))
    y = x * gate
    return y, (y * other * rises + gate).rounded(4.0)


def _silu(x: Ball) -> tuple[Ball, Ball]:
    return _gated(x, x, _number(x, 1.0))


def _gelu(x: Ball) -> tuple[Ball, Ball]:
    a = math.sqrt(8 / math.pi)
    near = x.monotone(lambda v: np.clip(v, -64, 64), 0.0)  # beyond, σ is 0 or 1
    argument = near.monotone(lambda v: a * (v + 0.044715 * v**3), 6.0)
    return _gated(x, argument, (near * near * (3 * 0.044715) + 1.0) * a)


def _tanh(x: Ball) -> tuple[Ball, Ball]:
    y = x.monotone(np.tanh)
    return y, (1.0 - y * y).within(1.0)


def _sigmoid(x: Ball) -> tuple[Ball, Ball]:
    y = x.monotone(sigmoid, ULPS + 2)
    return y, y * (1.0 - y)


SELU = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717

ACTIVATIONS: dict[str, Any] = {
    "identity": lambda x: (x, None),
    "leaky": _leaky,
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "hardtanh": _hardtanh,
    "softplus": _softplus,
    "elu": lambda x, alpha: _exponential(x, 1.0, alpha),
    "selu": lambda x: _exponential(x, SELU[0], SELU[0] * SELU[1]),
    "silu": _silu,
    "gelu": _gelu,
}


# ---- the others


def turned(a: np.ndarray) -> np.ndarray:
    return np.swapaxes(a, -1, -2)


def _linear(x: Ball, params: Iterator[Ball]) -> tuple[Ball, Back, np.ndarray]:
    """With the radius that all samples have from the bias: whatever it is, it is theirs alike."""
    W, b = next(params), next(params)
    y = x @ W.map(turned) + b
    return y, lambda dy: (dy @ W, [dy.map(turned) @ x, dy.sum(-2)]), b.r


def _prelu(x: Ball, params: Iterator[Ball], count: int, init: float) -> tuple[Ball, Back]:
    weight = next(params)
    negative = -((-x).maximum(0.0))
    wide = weight + exact(x.format, np.zeros_like(x.c))
    slope = _chosen(x + exact(x.format, np.zeros_like(wide.c)), wide, _number(wide, 1.0))
    axes = -2 if count > 1 else (-2, -1)
    return x.maximum(0.0) + negative * weight, lambda dy: (
        dy * slope, [(dy * negative).sum(axes)]
    )  # fmt: skip


def softmax(z: Ball) -> Ball:
    """Moves by ``exp`` of twice what the logits do.

    Each ``z - max z`` is rounded, by ``u |z - max z|``, before its exponential is taken, which is
    then off by as much of itself; a sum of as many follows.
    """
    u, n = z.format.u, z.shape[-1]
    shifted = z.c - np.max(z.c, axis=-1, keepdims=True)
    p = np.exp(shifted)
    p = p / np.sum(p, axis=-1, keepdims=True)
    moved = np.max(z.r, axis=-1, keepdims=True)
    each = abs(shifted) * u
    spread = np.expm1(2 * moved) + (each + np.sum(p * each, -1, keepdims=True)) * 2
    # At most 1 off, however far the logits may move.
    found = Ball(z.format, p, np.fmin(p * (spread + (2 * ULPS + n + 4) * u), 1.0))
    reach = np.max(abs(shifted), axis=-1, keepdims=True) + 2 * moved
    return found.rounded(1.0).unless(~(reach <= z.format.largest))


def _softmax(x: Ball, params: Iterator[Ball]) -> tuple[Ball, Back]:
    y = softmax(x)
    return y, lambda dy: ((dy - (dy * y).sum(-1)) * y, [])


def _logsoftmax(x: Ball, params: Iterator[Ball]) -> tuple[Ball, Back]:
    """``x − max x − log Σ``: moves by twice what the logits do, as the loss of `expected` does."""
    u, n = x.format.u, x.shape[-1]
    shifted = x.c - np.max(x.c, axis=-1, keepdims=True)
    total = np.sum(np.exp(shifted), axis=-1, keepdims=True)
    moved, each = np.max(x.r, axis=-1, keepdims=True), abs(shifted) * u
    error = (2 * ULPS + n + 4) * u * (1 + np.log(total))
    error = error + np.sum(np.exp(shifted) / total * each, -1, keepdims=True)
    y = Ball(x.format, shifted - np.log(total), 2 * moved + 2 * each + error).rounded(2.0)
    p = softmax(x)
    y = y.unless(~np.isfinite(p.r))
    return y, lambda dy: (dy - p * dy.sum(-1), [])


def _mean(x: Ball, axis: int = -1) -> Ball:
    return x.sum(axis) / x.shape[axis]


def _inverse_root(var: Ball, eps: float) -> Ball:
    """``1 / √(var + ε)`` of what is no less than 0."""
    least = math.sqrt(eps) * (1 - 8 * var.format.u)
    return exact(var.format, 1.0).over((var + eps).sqrt(), least)


def _normal(distance: Ball, var: Ball, eps: float, axis: int = -1) -> tuple[Ball, Ball]:
    """``x̂``, which is at most the root of how many it is of, and what it was multiplied by."""
    scale = _inverse_root(var, eps)
    return (distance * scale).within(1.001 * math.sqrt(distance.shape[axis])), scale


def _layernorm(x: Ball, params: Iterator[Ball], features: int, eps: float) -> tuple[Ball, Back]:
    weight, bias = next(params), next(params)
    distance = x - _mean(x)
    normal, scale = _normal(distance, _mean(distance * distance), eps)

    def back(dy: Ball) -> tuple[Ball, list[Ball]]:
        d = dy * weight
        dx = (d - _mean(d) - normal * _mean(d * normal)) * scale
        return dx, [(dy * normal).sum(-2), dy.sum(-2)]

    return normal * weight + bias, back


def _rmsnorm(x: Ball, params: Iterator[Ball], features: int, eps: float) -> tuple[Ball, Back]:
    weight = next(params)
    normal, scale = _normal(x, _mean(x * x), eps)

    def back(dy: Ball) -> tuple[Ball, list[Ball]]:
        d = dy * weight
        return (d - normal * _mean(d * normal)) * scale, [(dy * normal).sum(-2)]

    return normal * weight, back


def _dropout(x: Ball, had: Kept, path: Path, p: float) -> tuple[Ball, Back]:
    if had.mask is None:
        return x, lambda dy: (dy, [])
    scale = constant(x.format, had.mask(path, *x.shape[-2:], p) / kept_rate(p))
    return x * scale, lambda dy: (dy * scale, [])


def _centred(x: Ball, common: Any) -> tuple[Ball, Ball]:
    """Mean and distance over the samples, of features however far from 0.

    What is off in all samples alike (``common``), the first mean among it, is gone from a distance
    of which the mean is taken off once more; left are the roundings of two differences, and those
    of a mean of the distances.
    """
    f, n = x.format, x.shape[-2]
    first = _mean(x, -2)
    distance = x.c - first.c
    rest = np.mean(distance, axis=-2, keepdims=True)
    size = abs(distance) + x.r + first.r
    size = np.where(np.isfinite(size), size, np.inf)
    own, mean_size = x.r - common, np.mean(size, axis=-2, keepdims=True)
    own = own + np.mean(own, axis=-2, keepdims=True)
    mean = Ball(f, first.c + rest, np.mean(x.r, axis=-2, keepdims=True))
    mean = mean.rounded(2.0, abs(first.c) + first.r).rounded(n + 2.0, mean_size)
    return mean, Ball(f, distance - rest, own).rounded(3.0, size).rounded(n + 2.0, mean_size)


def _followed(before: Ball, now: Ball, momentum: float) -> Ball:
    """``before + a (now − before)``, in whatever order: half a dozen roundings of both."""
    size = abs(before.c) + before.r + abs(now.c) + now.r
    c = before.c + momentum * (now.c - before.c)
    return Ball(before.format, c, (1 - momentum) * before.r + momentum * now.r).rounded(6.0, size)


def _batchnorm(
    x: Ball, params: Iterator[Ball], had: Kept, common: Any,
    features: int, momentum: float, eps: float,
) -> tuple[Ball, Back]:  # fmt: skip
    weight, bias = next(params), next(params)
    running_mean, running_var = next(had.state), next(had.state)
    if had.mask is None:
        y = (x - running_mean) * (weight * _inverse_root(running_var, eps)) + bias
        return y, lambda dy: (dy, [])
    n = x.shape[-2]
    mean, distance = _centred(x, common)
    var = _mean(distance * distance, -2)
    normal, scale = _normal(distance, var, eps, -2)
    unbiased = var * constant(x.format, n / (n - 1))
    had.after += [
        _followed(running_mean, mean, momentum), _followed(running_var, unbiased, momentum)
    ]  # fmt: skip

    def back(dy: Ball) -> tuple[Ball, list[Ball]]:
        d = dy * weight
        parts = d, _mean(d, -2), normal * _mean(d * normal, -2)
        # The weight may be multiplied by last: as many roundings of each part again.
        size = sum(abs(part.c) + part.r for part in parts)
        dx = (parts[0] - parts[1] - parts[2]).rounded(4.0, size) * scale
        return dx, [(dy * normal).sum(-2), dy.sum(-2)]

    return normal * weight + bias, back


def _residual(
    x: Ball, params: Iterator[Ball], kept: Kept, path: Path, layers: Any
) -> tuple[Ball, Back]:
    y, within = forward(layers, params, x, kept, path)

    def back(dy: Ball) -> tuple[Ball, list[Ball]]:
        dx, grads = within(dy)
        return dx + dy, grads

    kept.common = 0.0  # of the sum, x has its own
    return x + y, back


def _embedding(x: Ball, params: Iterator[Ball], count: int, length: int, ids: int) -> Any:
    weight = next(params)
    onehot = exact(x.format, x.c.reshape(len(x.c), -1, 1) == np.arange(count))
    rows = onehot @ weight

    def back(dy: Ball) -> tuple[Ball, list[Ball]]:
        flat = dy.map(lambda a: a.reshape(len(a), -1, length))
        return dy * 0.0, [onehot.map(turned) @ flat]

    return rows.map(lambda a: a.reshape(len(a), -1, ids * length)), back


LAYERS: dict[str, Any] = {
    "prelu": _prelu,
    "softmax": _softmax,
    "logsoftmax": _logsoftmax,
    "layernorm": _layernorm,
    "rmsnorm": _rmsnorm,
    "embedding": _embedding,
    "flatten": lambda x, params, *sizes: (x, lambda dy: (dy, [])),
}
