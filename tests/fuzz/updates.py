"""The optimizers over `Ball`: the formulas of ``torch.optim``, and how far rounding can lead.

Where a step divides by the size of what it multiplies, as Adam does, an interval of the gradient
that reaches over 0 says nothing of the quotient. There the inequality of Cauchy and Schwarz does:
``m = (1 - β₁) Σ β₁ᵏ g`` and ``v = (1 - β₂) Σ β₂ᵏ g²`` over the same gradients give
``|m| / √v ≤ (1 - β₁) √(Σ (β₁² / β₂)ᵏ / (1 - β₂))``, however wide they are. What is lost where
``g²`` is too small for the format is at most ``√tiny`` in ``√v``, which is divided by ``ε``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.fuzz.balls import Ball, Format, constant, exact

State = dict[str, Any]


def _zeros(theta: Ball) -> Ball:
    return exact(theta.format, np.zeros(theta.shape))


def _number(format: Format, value: Any) -> Ball:
    """A number, or one a member, ``(members, 1)``."""
    return constant(format, value)


def _present(value: Any) -> bool:
    return np.ndim(value) > 0 or value != 0


def _signed(theta: Ball, grad: Ball, weight_decay: Any, maximize: bool) -> Ball:
    grad = -grad if maximize else grad
    return grad + theta * weight_decay if _present(weight_decay) else grad


def _quotient(m: Ball, root: Ball, eps: Any, most: Any) -> Ball:
    """``m / (root + ε)`` of at most ``most`` besides what ``ε`` makes of an underflow."""
    f = m.format
    d = m.over(root + eps, np.asarray(eps) * (1 - 8 * f.u))
    lost = np.where(np.asarray(eps) > 0, np.sqrt(f.tiny) / np.maximum(eps, f.tiny), np.inf)
    # Written otherwise (the corrections folded into one number), it takes a dozen roundings more.
    return d.rounded(16.0).within(most * (1 + 64 * f.u) + most * lost)


def sgd(
    theta: Ball, grad: Ball, s: State, lr: Any, momentum: Any = 0.0, dampening: float = 0.0,
    weight_decay: Any = 0.0, nesterov: bool = False, maximize: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    grad = _signed(theta, grad, weight_decay, maximize)
    if not _present(momentum):
        return theta - grad * lr, s
    if "v" in s:
        v = s["v"] * momentum + grad * _number(theta.format, 1 - dampening)
    else:
        v = grad
    return theta - (grad + v * momentum if nesterov else v) * lr, {"v": v}


def adagrad(
    theta: Ball, grad: Ball, s: State, lr: Any, lr_decay: Any = 0.0, weight_decay: Any = 0.0,
    initial_accumulator_value: float = 0.0, eps: Any = 1e-10, maximize: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    t = s.get("t", 0)
    grad = _signed(theta, grad, weight_decay, maximize)
    total = s.get("s", _zeros(theta) + initial_accumulator_value) + grad * grad
    d = _quotient(grad, total.sqrt(), eps, 1.0)
    rate = constant(theta.format, np.asarray(lr) / (1 + t * np.asarray(lr_decay)), 4.0)
    return theta - d * rate, {"s": total, "t": t + 1}


def rmsprop(
    theta: Ball, grad: Ball, s: State, lr: Any, alpha: Any = 0.99, eps: Any = 1e-8,
    weight_decay: Any = 0.0, momentum: Any = 0.0, centered: bool = False, maximize: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    rest = _number(theta.format, 1 - np.asarray(alpha))
    grad = _signed(theta, grad, weight_decay, maximize)
    square = s.get("s", _zeros(theta)) * alpha + grad * grad * rest
    after: State = {"s": square}
    if centered:
        before = s.get("mean", _zeros(theta))
        # α ḡ + (1 - α) g may be written ḡ + (1 - α) (g - ḡ): rounded as its terms are.
        mean = (before * alpha + grad * rest).rounded(2.0, abs(before.c) + abs(grad.c))
        after["mean"] = mean
        root = (square - mean * mean).sqrt()
        d = grad.over(root + eps, np.asarray(eps) * (1 - 8 * theta.format.u)).rounded(4.0)
    else:
        d = _quotient(grad, square.sqrt(), eps, 1 / np.sqrt(1 - np.asarray(alpha)))
    if _present(momentum):
        d = after["v"] = s.get("v", _zeros(theta)) * momentum + d
    return theta - d * lr, after


def adam(
    theta: Ball, grad: Ball, s: State, lr: Any, betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8, weight_decay: Any = 0.0, amsgrad: bool = False, maximize: bool = False,
    decoupled_weight_decay: bool = False, by_powers: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    f, t = theta.format, s.get("t", 0) + 1
    b1, b2 = (np.asarray(beta, dtype=np.float64) for beta in betas)
    if decoupled_weight_decay:
        theta = theta - theta * _number(f, np.asarray(lr) * weight_decay).rounded(1.0)
        weight_decay = 0.0
    grad = _signed(theta, grad, weight_decay, maximize)
    m = s.get("m", _zeros(theta)) * _number(f, b1) + grad * _number(f, 1 - b1)
    v = s.get("v", _zeros(theta)) * _number(f, b2) + grad * grad * _number(f, 1 - b2)
    after: State = {"m": m, "v": v, "t": t}
    if amsgrad:
        v = after["v_max"] = s["v_max"].maximum(v) if "v_max" in s else v.maximum(0.0)
    # Σ (β₁² / β₂)ᵏ so far; 0 / 0 where a mean is of the last gradient alone.
    ratio = np.where(b1 == 0, 0.0, b1 * b1 / np.where(b1 == 0, 1.0, b2))
    series = after["series"] = s["series"] * ratio + 1 if "series" in s else 1 + 0 * b1
    c1, c2 = -np.expm1(_log(b1) * t), -np.expm1(_log(b2) * t)
    most = (1 - b1) / c1 * np.sqrt(series / (1 - b2) * c2)
    # `by_powers` is torch's way: 1 - βᵗ as a difference has lost digits to βᵗ, `expm1` has not.
    ulps = [8.0 + (t / c if by_powers else 0.0) for c in (c1, c2)]
    hat, hat2 = m * constant(f, 1 / c1, ulps[0]), v * constant(f, 1 / c2, ulps[1])
    root = hat2.sqrt()
    return theta - _quotient(hat, root, eps, most) * lr, after


def _log(beta: np.ndarray) -> np.ndarray:
    return np.where(beta > 0, np.log(np.where(beta > 0, beta, 1.0)), -np.inf)


UPDATES = {"SGD": sgd, "AdaGrad": adagrad, "RMSprop": rmsprop, "Adam": adam}
