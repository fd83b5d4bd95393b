"""AdaGrad."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet import checks
from xpnet.optimizers.base import Optimizer, signed
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class AdaGrad(Optimizer):
    """AdaGrad (Duchi et al. 2011), as ``torch.optim.Adagrad``.

    ``s ← s + g²``, ``θ ← θ − lr / (1 + (t − 1) η) · g / (√s + ε)``.

    Args:
        lr: the learning rate, at least 0.
        lr_decay: ``η``, at least 0.
        weight_decay: ``λ``, at least 0.
        initial_accumulator_value: what ``s`` starts from, at least 0.
        eps: ``ε``, at least 0.
        maximize: climb instead.
    """

    lr: Number = 1e-2
    lr_decay: Number = 0.0
    weight_decay: Number = 0.0
    initial_accumulator_value: float = 0.0
    eps: Number = 1e-10
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "lr_decay", "weight_decay", "eps", least=0)
        start = checks.number("initial_accumulator_value", self.initial_accumulator_value, least=0)
        object.__setattr__(self, "initial_accumulator_value", start)
        self._require_switches("maximize")

    def init_state(self, xp: Any, theta: Array) -> State:
        return {"s": xp.zeros_like(theta) + self.initial_accumulator_value}

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h = self.given(state)
        grad = signed(grad, theta, h.weight_decay, self.maximize)
        s = state["s"]
        s += grad * grad
        d = xp.sqrt(s)
        d += h.eps
        d = grad / d
        d *= h.lr / (1 + h.lr_decay * xp.astype(state["step"] - 1, theta.dtype))
        return theta - d, {**state, "s": s}
