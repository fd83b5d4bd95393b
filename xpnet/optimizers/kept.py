"""What a step keeps of a gradient for somebody else to go by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet.optimizers.base import Optimizer
from xpnet.optimizers.hyperparameters import State
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class KeptGradient(Optimizer):
    """Moves nothing, and keeps the gradient in its state: ``θ ← θ``, ``grad ← g``.

    With it a training step is the loss and its gradient, run as all steps are.
    """

    def init_state(self, xp: Any, theta: Array) -> State:
        return {"grad": xp.zeros_like(theta)}

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        return theta, {**state, "grad": grad}
