"""Adadelta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.optimizers.base import Optimizer, signed, zeros
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012), as ``torch.optim.Adadelta``.

    ``s ← ρ s + (1 − ρ) g²``, ``d = √(u + ε) / √(s + ε) · g``, ``u ← ρ u + (1 − ρ) d²``,
    ``θ ← θ − lr d``.

    Args:
        lr: the learning rate, at least 0.
        rho: ``ρ``, from 0 and below 1.
        eps: ``ε``, inside both roots, at least 0.
        weight_decay: ``λ`` of ``g ← g + λ θ``, at least 0.
        maximize: climb instead.
    """

    derived = ("1 - rho",)

    lr: Number = 1.0
    rho: Number = 0.9
    eps: Number = 1e-6
    weight_decay: Number = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "eps", "weight_decay", least=0)
        self._require("rho", least=0, below=1)
        self._require_switches("maximize")

    def init_state(self, xp: Any, theta: Array) -> State:
        return zeros(xp, theta, ["s", "u"])

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h = self.given(state)
        rest = h.one_minus("rho")
        grad = signed(grad, theta, h.weight_decay, self.maximize)
        s, u = state["s"], state["u"]
        s *= h.rho
        s += rest * grad * grad
        d = xp.sqrt(u + h.eps)
        d /= xp.sqrt(s + h.eps)
        d *= grad
        u *= h.rho
        u += rest * d * d
        return theta - h.lr * d, {**state, "s": s, "u": u}
