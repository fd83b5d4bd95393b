"""NAdam: Adam with Nesterov's momentum."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from xpnet.optimizers.base import decayed, zeros
from xpnet.optimizers.betas import WithBetas, correction, moments
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array

DECAY = math.log(0.96)
"""Of the momentum's approach to β₁, as Dozat has it."""


@dataclass(frozen=True, eq=False, repr=False)
class NAdam(WithBetas):
    """Adam with Nesterov's momentum (Dozat 2016), as ``torch.optim.NAdam``.

    ``m ← β₁ m + (1 − β₁) g``, ``v ← β₂ v + (1 − β₂) g²``, ``d = √(v / (1 − β₂ᵗ)) + ε``,
    ``μₜ = β₁ (1 − ½ · 0.96^(t ψ))``, ``Πₜ = μ₁ ⋯ μₜ``,
    ``θ ← θ − lr (1 − μₜ) / (1 − Πₜ) · g / d − lr μₜ₊₁ / (1 − Πₜ₊₁) · m / d``.

    Args:
        lr: the learning rate, at least 0.
        betas: ``(β₁, β₂)``, each from 0 and below 1.
        eps: ``ε``, at least 0.
        weight_decay: ``λ``, at least 0.
        momentum_decay: ``ψ``, at least 0.
        decoupled_weight_decay: ``θ ← θ − lr λ θ`` before, instead of ``g ← g + λ θ``.
        maximize: climb instead.
    """

    derived = ("1 - beta1", "1 - beta2", "log beta2")

    lr: Number = 2e-3
    betas: tuple[Number, Number] = (0.9, 0.999)
    eps: Number = 1e-8
    weight_decay: Number = 0.0
    momentum_decay: Number = 4e-3
    decoupled_weight_decay: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "eps", "weight_decay", "momentum_decay", least=0)
        self._require_betas()
        self._require_switches("decoupled_weight_decay", "maximize")

    def init_state(self, xp: Any, theta: Array) -> State:
        # The product of all μ so far, one a member.
        return {**zeros(xp, theta, ["m", "v"]), "product": xp.ones_like(theta[..., :1])}

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h = self.given(state)
        theta, grad = decayed(h, theta, grad, self.decoupled_weight_decay, self.maximize)
        m, v = moments(h, state, grad)
        t = xp.astype(state["step"], theta.dtype)
        decay = h.momentum_decay * DECAY
        now, after = (h.beta1 * (1 - 0.5 * xp.exp(decay * n)) for n in (t, t + 1))
        product = state["product"] * now
        d = xp.sqrt(v / correction(xp, h.log_of("beta2"), t))
        d += h.eps
        of_grad = h.lr * ((1 - now) / (1 - product))
        of_m = h.lr * (after / (1 - product * after))
        theta = theta - of_grad * (grad / d) - of_m * (m / d)
        return theta, {**state, "m": m, "v": v, "product": product}
