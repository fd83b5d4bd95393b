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

from tests.fuzz.balls import ULPS, Ball, Format, constant, exact

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


def adadelta(
    theta: Ball, grad: Ball, s: State, lr: Any, rho: Any = 0.9, eps: Any = 1e-6,
    weight_decay: Any = 0.0, maximize: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    f, rest = theta.format, 1 - np.asarray(rho)
    grad = _signed(theta, grad, weight_decay, maximize)
    square = s.get("s", _zeros(theta)) * rho + grad * grad * _number(f, rest)
    before = s.get("u", _zeros(theta))
    least = np.sqrt(np.asarray(eps)) * (1 - 8 * f.u)
    # What is lost of g² is made up for by ε, which stands beside it.
    way = grad.over((square + eps).sqrt(), least).rounded(16.0)
    way = way.within((1 + 64 * f.u) / np.sqrt(rest)) * (before + eps).sqrt()
    after = before * rho + way * way * _number(f, rest)
    return theta - way * lr, {"s": square, "u": after}


def _series(s: State, b1: np.ndarray, ratio: np.ndarray) -> Any:
    """``Σ ratioᵏ`` so far; 0 / 0 where a mean is of the last gradient alone."""
    ratio = np.where(b1 == 0, 0.0, ratio)
    return s["series"] * ratio + 1 if "series" in s else 1 + 0 * b1


def adamax(
    theta: Ball, grad: Ball, s: State, lr: Any, betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8, weight_decay: Any = 0.0, maximize: bool = False, by_powers: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    f, t = theta.format, s.get("t", 0) + 1
    b1, b2 = (np.asarray(beta, dtype=np.float64) for beta in betas)
    grad = _signed(theta, grad, weight_decay, maximize)
    m = s.get("m", _zeros(theta)) * _number(f, b1) + grad * _number(f, 1 - b1)
    size = Ball(f, abs(grad.c), grad.r) + eps
    u = (s.get("u", _zeros(theta)) * _number(f, b2)).maximum(size)
    series = _series(s, b1, b1 / b2)  # |m| / u ≤ (1 − β₁) Σ (β₁ / β₂)ᵏ
    c1 = -np.expm1(_log(b1) * t)
    rate = constant(f, np.asarray(lr) / c1, 8.0 + (t / c1 if by_powers else 0.0))
    way = m.over(u, np.asarray(eps) * (1 - 8 * f.u)).rounded(4.0)
    way = way.within((1 - b1) * series * (1 + 64 * f.u))
    return theta - way * rate, {"m": m, "u": u, "series": series, "t": t}


def _moments(
    theta: Ball, grad: Ball, s: State, lr: Any, b1: np.ndarray, b2: np.ndarray,
    weight_decay: Any, decoupled: bool, maximize: bool,
) -> tuple[Ball, Ball, State, Any]:  # fmt: skip
    """``θ`` and ``g`` decayed, ``m`` and ``v``, and how large ``m / √v`` can be."""
    f = theta.format
    if decoupled:
        theta = theta - theta * _number(f, np.asarray(lr) * weight_decay).rounded(1.0)
        weight_decay = 0.0
    grad = _signed(theta, grad, weight_decay, maximize)
    m = s.get("m", _zeros(theta)) * _number(f, b1) + grad * _number(f, 1 - b1)
    v = s.get("v", _zeros(theta)) * _number(f, b2) + grad * grad * _number(f, 1 - b2)
    series = _series(s, b1, b1 * b1 / b2)
    after = {"m": m, "v": v, "series": series, "t": s.get("t", 0) + 1}
    return theta, grad, after, (1 - b1) * np.sqrt(series / (1 - b2))


def nadam(
    theta: Ball, grad: Ball, s: State, lr: Any, betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8, weight_decay: Any = 0.0, momentum_decay: Any = 4e-3,
    decoupled_weight_decay: bool = False, maximize: bool = False, by_powers: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    f = theta.format
    b1, b2 = (np.asarray(beta, dtype=np.float64) for beta in betas)
    theta, grad, after, most = _moments(
        theta, grad, s, lr, b1, b2, weight_decay, decoupled_weight_decay, maximize
    )
    t = after["t"]
    decay = np.asarray(momentum_decay) * np.log(0.96)
    now, then = (b1 * (1 - 0.5 * np.exp(decay * n)) for n in (t, t + 1))
    product = after["product"] = s.get("product", 1.0) * now
    c2 = -np.expm1(_log(b2) * t)
    # By so many roundings each 1 − … is off, which are of what is taken from 1; torch keeps the
    # product in float32.
    own = 2.0**30 if by_powers else ULPS + 8
    lost = [n * own * (t + 1) / (1 - n) for n in (now, product, product * then)]
    of_grad = constant(f, lr * ((1 - now) / (1 - product)), 16.0 + lost[0] + lost[1])
    of_m = constant(f, lr * (then / (1 - product * then)), 16.0 + own + lost[2])
    hat = after["v"] * constant(f, 1 / c2, 8.0 + (t / c2 if by_powers else 0.0))
    root = hat.sqrt()
    first = _quotient(grad, root, eps, np.sqrt(c2 / (1 - b2)))
    second = _quotient(after["m"], root, eps, most * np.sqrt(c2))
    return theta - first * of_grad - second * of_m, after


def radam(
    theta: Ball, grad: Ball, s: State, lr: Any, betas: tuple[Any, Any] = (0.9, 0.999),
    eps: Any = 1e-8, weight_decay: Any = 0.0, decoupled_weight_decay: bool = False,
    maximize: bool = False, by_powers: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    f = theta.format
    b1, b2 = (np.asarray(beta, dtype=np.float64) for beta in betas)
    theta, grad, after, most = _moments(
        theta, grad, s, lr, b1, b2, weight_decay, decoupled_weight_decay, maximize
    )
    t = after["t"]
    c1, c2 = -np.expm1(_log(b1) * t), -np.expm1(_log(b2) * t)
    limit = 2 / (1 - b2) - 1
    rho = limit - 2 * t * b2**t / c2
    known = rho > 5
    safe = np.where(known, rho, 6.0)
    ratio = np.abs((safe - 4) * (safe - 2) * limit / ((limit - 4) * (limit - 2) * safe))
    # ρₜ is known to some roundings of itself; by powers it is a difference of two like ρ∞.
    ulps = 32.0 + (t / c1 if by_powers else 0.0)
    lost = (64.0 + (8 * t * limit / c2 / safe if by_powers else 0.0)) * safe / (safe - 4)
    plain = after["m"] * constant(f, np.asarray(lr) / c1, ulps)
    way = _quotient(after["m"], after["v"].sqrt(), eps, most)
    way = way * constant(f, np.asarray(lr) / c1 * np.sqrt(ratio * c2), ulps + lost)
    step = way if np.all(known) else plain
    if np.any(known) and not np.all(known):
        step = way.where(known) + plain.where(~known)
    return theta - step, after


def rprop(
    theta: Ball, grad: Ball, s: State, lr: Any, etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50.0), maximize: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    f = theta.format
    grad = -grad if maximize else grad
    unknown = (grad.low <= 0) & (grad.high >= 0) & (grad.r > 0) | s.get("unknown", False)
    sign = np.where(unknown, 0.0, np.sign(grad.c))
    turned = sign * s.get("before", np.zeros_like(sign))
    size = s["size"] if "size" in s else _zeros(theta) + lr
    size = size * constant(f, np.select([turned > 0, turned < 0], etas[::-1], 1.0))
    size = -(-size.maximum(step_sizes[0])).maximum(-step_sizes[1])
    sign = np.where(turned < 0, 0.0, sign)
    after = {"before": sign, "size": size, "unknown": unknown}
    return (theta - size * exact(f, sign)).unless(unknown), after


def lion(
    theta: Ball, grad: Ball, s: State, lr: Any, betas: tuple[Any, Any] = (0.9, 0.99),
    weight_decay: Any = 0.0, maximize: bool = False,
) -> tuple[Ball, State]:  # fmt: skip
    f, m = theta.format, s.get("m", _zeros(theta))
    b1, b2 = (np.asarray(beta, dtype=np.float64) for beta in betas)
    grad = -grad if maximize else grad
    way = m * _number(f, b1) + grad * _number(f, 1 - b1)
    way = way.monotone(np.sign, 0.0)
    m = m * _number(f, b2) + grad * _number(f, 1 - b2)
    if _present(weight_decay):
        way = way + theta * weight_decay
    return theta - way * lr, {"m": m}


def clip_norm(grad: Ball, most: Any) -> Ball:
    """``g min(1, c / (‖g‖ + 1e-6))``, the norm of what is scaled to numbers up to 1."""
    f, largest = grad.format, np.max(abs(grad.c), axis=-1, keepdims=True)
    scale = np.where(largest > 0, largest, 1.0)
    part = grad * (1 / scale)
    length = (part * part).sum(-1).sqrt() * scale
    share = _number(f, most).over(length + 1e-6, 1e-6 * (1 - 8 * f.u))
    return (grad * -(-share).maximum(-1.0)).rounded(4.0)


def averaged(average: Ball | None, theta: Ball, decay: Any) -> Ball:
    """``ema + (1 − β) (θ − ema)``, which begins as the first ``θ``."""
    if average is None:
        return theta
    moved = theta - average
    return average + moved * _number(theta.format, 1 - np.asarray(decay))


def _log(beta: np.ndarray) -> np.ndarray:
    return np.where(beta > 0, np.log(np.where(beta > 0, beta, 1.0)), -np.inf)


UPDATES = {
    "SGD": sgd, "AdaGrad": adagrad, "RMSprop": rmsprop, "Adam": adam, "Adadelta": adadelta,
    "Adamax": adamax, "NAdam": nadam, "RAdam": radam, "Rprop": rprop, "Lion": lion,
}  # fmt: skip
BY_POWERS = ("Adam", "Adamax", "NAdam", "RAdam")
"""Whose corrections torch takes by powers."""
