"""What training must give: forward, loss, backward over `Ball`, from the published formulas alone.

Arrays have a leading axis of members, of one where there are none. Nothing of xpnet is used but the
parameters that training begins with. At a kink (ReLU at 0, Huber at δ, the threshold of a class)
whatever lies on either side within the radius is allowed for: a slope that is 0 or 1 is ½ ± ½.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.fuzz import layers as own
from tests.fuzz.balls import ULPS, Ball, concat, constant, exact
from tests.fuzz.cases import Layers, shapes
from tests.fuzz.layers import sigmoid, softmax


def forward(
    layers: Layers, theta: Ball, x: Ball, kept: own.Kept
) -> tuple[Ball, Callable[..., Any]]:
    """The output, and a function from its gradient to that of ``theta``."""
    params, start = [], 0
    for n, m in shapes(layers):
        piece = theta[:, start : start + n * m]
        params.append(piece.map(lambda a, n=n, m=m: a.reshape(-1, n, m)))
        start += n * m
    y, back = own.forward(layers, iter(params), x, kept)

    def backward(dy: Ball) -> Ball:
        grads = back(dy)[1]
        return concat([grad.map(lambda a: a.reshape(len(a), -1)) for grad in grads], -1)

    return y, backward


# ---- losses: of each element, and its gradient


def _bce(p: Ball, t: np.ndarray, eps: float) -> tuple[Ball, Ball]:
    q1, q0 = p + eps, 1.0 - p + eps
    sides = [(q1.log(), 1.0 / q1, t), (q0.log(), -(1.0 / q0), 1 - t)]
    terms = [((-log * t).where(t != 0), (-d * t).where(t != 0)) for log, d, t in sides]
    (l1, d1), (l0, d0) = terms
    return l1 + l0, d1 + d0


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0.0)


def _bce_with_logits(z: Ball, t: np.ndarray) -> tuple[Ball, Ball]:
    l1, l0 = (-z).monotone(_softplus, ULPS + 2), z.monotone(_softplus, ULPS + 2)
    d1, d0 = -(-z).monotone(sigmoid, ULPS + 2), z.monotone(sigmoid, ULPS + 2)
    hard = (t == 0) | (t == 1)
    value = (l1 * t).where(t != 0) + (l0 * (1 - t)).where(t != 1)
    grad = (d1 * t).where(t != 0) + (d0 * (1 - t)).where(t != 1)
    # Of soft labels both may be written as a difference from t: softplus(z) - t z, and σ(z) - t.
    size = np.where(hard, 0.0, abs(z.c) + z.r + 1)
    soft = np.where(hard, 0.0, 1.0)
    return value.rounded(4.0, np.maximum(size, abs(value.c))), grad.rounded(
        4.0, np.maximum(soft, abs(grad.c))
    )


def _cross_entropy(z: Ball, t: np.ndarray) -> tuple[Ball, Ball]:
    """``log Σ exp z - Σ t z`` moves by at most twice what the logits do; softmax by ``exp`` of it.

    Each ``z - max z`` is rounded, by ``u |z - max z|``, before its exponential is taken, which
    is then off by as much of itself; a sum of as many follows.
    """
    u, n = z.format.u, z.shape[-1]
    shifted = z.c - np.max(z.c, axis=-1, keepdims=True)
    total = np.sum(np.exp(shifted), axis=-1, keepdims=True)
    moved = np.max(z.r, axis=-1, keepdims=True)
    each, probabilities = abs(shifted) * u, softmax(z)
    p = np.exp(shifted) / total
    value = np.sum(t * (np.log(total) - shifted), axis=-1, keepdims=True)
    own = np.sum(t * abs(shifted), axis=-1, keepdims=True) * (n + 2) * u
    log_error = (2 * ULPS + n + 4) * u * (1 + np.log(total)) + np.sum(p * each, -1, keepdims=True)
    value = Ball(z.format, value, 2 * moved + own + log_error)
    # Probabilities as targets sum to 1 but for rounding, by which formulas differ.
    grad = (probabilities - exact(z.format, t)).rounded(n + 2, p)
    grad = Ball(z.format, grad.c, np.where(np.isfinite(moved), np.minimum(grad.r, 2.5), np.inf))
    unknown = ~np.all(np.isfinite(probabilities.r), axis=-1, keepdims=True)
    return value.unless(unknown).rounded(1.0), grad.unless(unknown)


def _mse(output: Ball, t: np.ndarray) -> tuple[Ball, Ball]:
    r = output - exact(output.format, t)
    return r * r, r * 2.0


def _quantile(output: Ball, t: np.ndarray, q: float) -> tuple[Ball, Ball]:
    r = output - exact(output.format, t)
    c = abs(r.c) / 2 + (0.5 - q) * r.c
    value = Ball(r.format, c, r.r * max(q, 1 - q)).rounded(4.0, abs(r.c) + r.r)
    return value, r.monotone(lambda v: 0.5 * np.sign(v) + (0.5 - q), 2.0)


def _l1(output: Ball, t: np.ndarray) -> tuple[Ball, Ball]:
    r = output - exact(output.format, t)
    return Ball(r.format, abs(r.c), r.r), r.monotone(np.sign, 0.0)


def _huber(output: Ball, t: np.ndarray, delta: float) -> tuple[Ball, Ball]:
    r = output - exact(output.format, t)
    low = np.where((r.low <= 0) & (r.high >= 0), 0.0, np.minimum(abs(r.low), abs(r.high)))
    high = np.maximum(abs(r.low), abs(r.high))

    def value(a: np.ndarray) -> np.ndarray:
        c = np.minimum(a, delta)
        return c * (a - c / 2)

    c = value(abs(r.c))
    radius = np.maximum(value(high) - c, c - value(low))
    found = Ball(r.format, c, np.where(np.isfinite(r.r), radius, np.inf)).rounded(6.0)
    return found, r.monotone(lambda v: np.clip(v, -delta, delta), 1.0).within(delta * 1.001)


def _hinge(z: Ball, t: np.ndarray) -> tuple[Ball, Ball]:
    sign = exact(z.format, 2.0 * t - 1)
    short = 1.0 - z * sign
    return short.maximum(0.0), short.monotone(lambda v: np.where(v > 0, 1.0, 0.0), 0.0) * -sign


def _poisson(z: Ball, t: np.ndarray) -> tuple[Ball, Ball]:
    rate, y = z.monotone(np.exp), exact(z.format, t)
    return rate - y * z, rate - y


def _kl(output: Ball, t: np.ndarray) -> tuple[Ball, Ball]:
    t = np.broadcast_to(t, np.broadcast_shapes(t.shape, output.shape))
    y = exact(output.format, t)
    logs = exact(output.format, np.log(np.where(t > 0, t, 1.0))).rounded(ULPS)
    each = (y * (logs - output)).where(t != 0)
    return each.sum(-1), -y


def elementwise(loss: tuple[Any, ...], output: Ball, t: np.ndarray) -> tuple[Ball, Ball]:
    """The loss and gradient of each element, before they are weighed."""
    kind, *numbers = loss
    functions: dict[str, Any] = {
        "BCE": _bce, "BCEWithLogits": _bce_with_logits, "CrossEntropy": _cross_entropy,
        "MSE": _mse, "Huber": _huber, "L1": _l1, "Quantile": _quantile,
        "Hinge": _hinge, "Poisson": _poisson, "KL": _kl,
    }  # fmt: skip
    found: tuple[Ball, Ball] = functions[kind](output, t, *numbers)
    return found


def relative(format: Any, weight: np.ndarray) -> Ball:
    """``w / mean(w)`` over all samples: of any scale, since the largest is divided by first."""
    largest = np.max(weight, axis=-1, keepdims=True)
    w = weight / largest
    w = w / np.mean(w, axis=-1, keepdims=True)
    return exact(format, w[..., None]).rounded(weight.shape[-1] + 8.0).where(weight[..., None] > 0)


def accuracy(kind: str, output: Ball, t: np.ndarray, w: np.ndarray | None) -> np.ndarray:
    """The least and the greatest share of right predictions, ``(2, members)``."""
    if kind == "CrossEntropy":
        n, truth = output.shape[-1], np.argmax(t, axis=-1)[..., None]
        other = np.arange(n) != truth
        own_low = np.sum(np.where(other, 0.0, output.low), axis=-1)
        own_high = np.sum(np.where(other, 0.0, output.high), axis=-1)
        right = own_low > np.max(np.where(other, output.high, -np.inf), axis=-1)
        wrong = own_high < np.max(np.where(other, output.low, -np.inf), axis=-1)
        right, wrong = right[..., None], wrong[..., None]
    else:
        threshold = 0.5 if kind == "BCE" else 0.0
        over, under = output.low > threshold, output.high <= threshold
        right = np.where(t > 0.5, over, under)
        wrong = np.where(t > 0.5, under, over)
    share = 1.0 if w is None else w
    most, least = (np.mean(share * miss, axis=(-2, -1)) for miss in (~right, wrong))
    return np.stack([1 - most, 1 - least])


def step(
    layers: Layers, loss: tuple[Any, ...], theta: Ball, x: Ball, t: np.ndarray,
    weight: Ball | None, kept: own.Kept,
) -> tuple[Ball, np.ndarray | None, Callable[[], Ball]]:  # fmt: skip
    """The loss ``(members,)``, the accuracy as `accuracy` gives it, the gradient of ``theta``."""
    output, backward = forward(layers, theta, x, kept)
    each, slope = elementwise(loss, output, t)
    count = output.shape[-2] * (1 if loss[0] in ("CrossEntropy", "KL") else output.shape[-1])
    if weight is None:
        share = constant(theta.format, 1 / count)
    else:
        share = (weight * (1 / count)).rounded(2.0)
        keep = weight.c > 0  # a sample of weight 0 counts for nothing, whatever its loss
        each, slope = each.where(keep), slope.where(keep)
    value = (each.sum((-2, -1)) * 0.0) + (each * share).sum((-2, -1))  # neither sum may overflow
    rate = None
    if loss[0] in ("BCE", "BCEWithLogits", "Hinge", "CrossEntropy"):
        w = None if weight is None else weight.c
        rate = accuracy(loss[0], output, t, w)
    return value.map(lambda a: a[:, 0, 0]), rate, lambda: backward(slope * share)
