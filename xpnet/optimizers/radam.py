"""RAdam: Adam that knows how little its first second moments say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.optimizers.base import decayed, zeros
from xpnet.optimizers.betas import WithBetas, correction, moments
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array

BERNOULLI = (-1 / 12, 1 / 720, -1 / 30240, 1 / 1209600, -1 / 47900160, 691 / 1307674368000)
"""``−B₂ₖ / (2k)!``, of the series of `_series`."""
SMALL = 0.3
"""Up to where the series is exact in float64: its next term is below 2⁻⁵³ of the first."""


@dataclass(frozen=True, eq=False, repr=False)
class RAdam(WithBetas):
    """Rectified Adam (Liu et al. 2020), as ``torch.optim.RAdam``.

    ``m`` and ``v`` as of Adam, ``m̂ = m / (1 − β₁ᵗ)``, ``ρ∞ = 2 / (1 − β₂) − 1``,
    ``ρₜ = ρ∞ − 2 t β₂ᵗ / (1 − β₂ᵗ)``. Where ``ρₜ > 5``,
    ``θ ← θ − lr r m̂ √(1 − β₂ᵗ) / (√v + ε)`` with
    ``r² = (ρₜ − 4)(ρₜ − 2) ρ∞ / ((ρ∞ − 4)(ρ∞ − 2) ρₜ)``; before, ``θ ← θ − lr m̂``.

    Args:
        lr: the learning rate, at least 0.
        betas: ``(β₁, β₂)``, each from 0 and below 1.
        eps: ``ε``, at least 0.
        weight_decay: ``λ``, at least 0.
        decoupled_weight_decay: ``θ ← θ − lr λ θ`` before, instead of ``g ← g + λ θ``.
        maximize: climb instead.
    """

    derived = ("1 - beta1", "log beta1", "1 - beta2", "log beta2")

    lr: Number = 1e-3
    betas: tuple[Number, Number] = (0.9, 0.999)
    eps: Number = 1e-8
    weight_decay: Number = 0.0
    decoupled_weight_decay: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "eps", "weight_decay", least=0)
        self._require_betas()
        self._require_switches("decoupled_weight_decay", "maximize")

    def init_state(self, xp: Any, theta: Array) -> State:
        return zeros(xp, theta, ["m", "v"])

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h = self.given(state)
        theta, grad = decayed(h, theta, grad, self.decoupled_weight_decay, self.maximize)
        m, v = moments(h, state, grad)
        t = xp.astype(state["step"], theta.dtype)
        log_beta2 = h.log_of("beta2")
        limit = 2 / h.one_minus("beta2") - 1
        rho = _length(xp, log_beta2, limit, t)
        ratio = (rho - 4) * (rho - 2) / rho / ((limit - 4) * (limit - 2) / limit)
        known = rho > 5
        root = xp.sqrt(xp.where(known, ratio * correction(xp, log_beta2, t), xp.ones_like(rho)))
        rate = h.lr / correction(xp, h.log_of("beta1"), t)
        d = xp.sqrt(v)
        d += h.eps
        step = rate * m * xp.where(known, root / d, xp.ones_like(d))
        return theta - step, {**state, "m": m, "v": v}


def _length(xp: Any, log_beta: Number, limit: Number, t: Array) -> Array:
    """``ρₜ``: how many gradients a mean of this β has seen after ``t``.

    With ``a = −log β`` and ``u = a t`` it is ``ρ∞ − 2t / (eᵘ − 1)``, the difference of two large
    numbers, of which float32 keeps nothing behind the comma for β near 1. By
    ``u / (eᵘ − 1) = 1 − u/2 − u S(u)`` it is ``t + 2t S(u) − 2 S(a)``.
    """
    u = -log_beta * t
    early = t + 2 * t * _series(u) - 2 * _series(-log_beta)
    return xp.where(u < SMALL, early, limit - 2 * t / xp.expm1(u))


def _series(u: Number) -> Number:
    """``S(u) = (1 − u / (eᵘ − 1)) / u − ½`` for small ``u``, by Bernoulli's numbers."""
    square, found = u * u, BERNOULLI[-1]
    for factor in BERNOULLI[-2::-1]:
        found = found * square + factor
    return u * found
