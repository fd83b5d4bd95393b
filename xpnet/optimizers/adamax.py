"""Adamax: Adam by the infinity norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.optimizers.base import signed, zeros
from xpnet.optimizers.betas import WithBetas, correction
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class Adamax(WithBetas):
    """Adamax (Kingma and Ba 2015, section 7.1), as ``torch.optim.Adamax``.

    ``m ← β₁ m + (1 − β₁) g``, ``u ← max(β₂ u, |g| + ε)``, ``θ ← θ − lr / (1 − β₁ᵗ) · m / u``.

    Args:
        lr: the learning rate, at least 0.
        betas: ``(β₁, β₂)``, each from 0 and below 1.
        eps: ``ε``, at least 0.
        weight_decay: ``λ`` of ``g ← g + λ θ``, at least 0.
        maximize: climb instead.
    """

    derived = ("1 - beta1", "log beta1")

    lr: Number = 2e-3
    betas: tuple[Number, Number] = (0.9, 0.999)
    eps: Number = 1e-8
    weight_decay: Number = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "eps", "weight_decay", least=0)
        self._require_betas()
        self._require_switches("maximize")

    def init_state(self, xp: Any, theta: Array) -> State:
        return zeros(xp, theta, ["m", "u"])

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h = self.given(state)
        grad = signed(grad, theta, h.weight_decay, self.maximize)
        m = state["m"]
        m *= h.beta1
        m += h.one_minus("beta1") * grad
        u = xp.maximum(h.beta2 * state["u"], xp.abs(grad) + h.eps)
        t = xp.astype(state["step"], theta.dtype)
        rate = h.lr / correction(xp, h.log_of("beta1"), t)
        return theta - rate * (m / u), {**state, "m": m, "u": u}
