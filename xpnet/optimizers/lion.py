"""Lion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.optimizers.base import signed, zeros
from xpnet.optimizers.betas import WithBetas
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class Lion(WithBetas):
    """Lion (Chen et al. 2023, "Symbolic discovery of optimization algorithms", algorithm 2).

    ``c = β₁ m + (1 − β₁) g``, ``θ ← θ − lr (sign(c) + λ θ)``, ``m ← β₂ m + (1 − β₂) g``. Every
    parameter goes ``lr`` a step: a third to a tenth of Adam's rate, and three to ten times its λ.

    Args:
        lr: the learning rate, at least 0.
        betas: ``(β₁, β₂)``, each from 0 and below 1.
        weight_decay: ``λ``, at least 0.
        maximize: climb instead.
    """

    derived = ("1 - beta1", "1 - beta2")

    lr: Number = 1e-4
    betas: tuple[Number, Number] = (0.9, 0.99)
    weight_decay: Number = 0.0
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "weight_decay", least=0)
        self._require_betas()
        self._require_switches("maximize")

    def init_state(self, xp: Any, theta: Array) -> State:
        return zeros(xp, theta, ["m"])

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h = self.given(state)
        grad = signed(grad, theta, 0.0, self.maximize)
        m = state["m"]
        way = xp.sign(h.beta1 * m + h.one_minus("beta1") * grad)
        m *= h.beta2
        m += h.one_minus("beta2") * grad
        after = theta - h.lr * (way + h.weight_decay * theta)
        return after, {**state, "m": m}
