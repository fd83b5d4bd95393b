"""RMSprop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet import checks
from xpnet.optimizers.base import Optimizer, signed, zeros
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class RMSprop(Optimizer):
    """RMSprop (Hinton 2012), as ``torch.optim.RMSprop``.

    ``s ← α s + (1 − α) g²``, ``d = g / (√s + ε)``; centered: ``√(s − ḡ²)`` with
    ``ḡ ← α ḡ + (1 − α) g``; with momentum ``v ← μ v + d``; ``θ ← θ − lr d`` (or ``lr v``).

    Args:
        lr: the learning rate, at least 0.
        alpha: ``α``, from 0 and below 1.
        eps: ``ε``, at least 0.
        weight_decay: ``λ``, at least 0.
        momentum: ``μ``, at least 0.
        centered: divide by the standard deviation of the gradient.
        maximize: climb instead.
    """

    derived = ("1 - alpha",)

    lr: Number = 1e-2
    alpha: Number = 0.99
    eps: Number = 1e-8
    weight_decay: Number = 0.0
    momentum: Number = 0.0
    centered: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "eps", "weight_decay", "momentum", least=0)
        self._require("alpha", least=0, below=1)
        self._require_switches("centered", "maximize")

    @property
    def _has_momentum(self) -> bool:
        return checks.is_array(self.momentum) or self.momentum != 0

    def init_state(self, xp: Any, theta: Array) -> State:
        names = ["s", *["mean"] * self.centered, *["v"] * self._has_momentum]
        return zeros(xp, theta, names)

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h = self.given(state)
        rest = h.one_minus("alpha")
        grad = signed(grad, theta, h.weight_decay, self.maximize)
        s = state["s"]
        s *= h.alpha
        s += rest * grad * grad
        state = {**state, "s": s}
        if self.centered:
            mean = state["mean"]
            mean += rest * (grad - mean)
            state["mean"] = mean
            # A variance: where it is nothing but rounding, it must not become negative.
            d = xp.sqrt(xp.maximum(s - mean * mean, 0.0))
        else:
            d = xp.sqrt(s)
        d += h.eps
        d = grad / d
        if self._has_momentum:
            v = state["v"]
            v *= h.momentum
            v += d
            state["v"] = v
            return theta - h.lr * v, state
        d *= h.lr
        return theta - d, state
