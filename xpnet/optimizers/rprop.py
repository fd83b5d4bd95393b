"""Rprop."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from xpnet import checks
from xpnet.optimizers.base import Optimizer, signed, zeros
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.optimizers.schedules import Schedule
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class Rprop(Optimizer):
    """Resilient propagation (Riedmiller and Braun 1993), as ``torch.optim.Rprop``.

    By the signs of the gradient alone, for full batches. Each parameter has a step ``Δ``, which
    grows while its gradient keeps its sign and shrinks when it turns: ``Δ ← min(η⁺ Δ, Δmax)`` where
    ``g g' > 0``; ``Δ ← max(η⁻ Δ, Δmin)`` and ``g ← 0`` where ``g g' < 0``; ``g'`` is the gradient
    of the step before. ``θ ← θ − sign(g) Δ``.

    Args:
        lr: the first ``Δ``, at least 0; not a schedule.
        etas: ``(η⁻, η⁺)``, with ``0 < η⁻ < 1 < η⁺``.
        step_sizes: ``(Δmin, Δmax)``, above 0.
        maximize: climb instead.
    """

    lr: Number = 1e-2
    etas: tuple[float, float] = (0.5, 1.2)
    step_sizes: tuple[float, float] = (1e-6, 50.0)
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", least=0)
        if isinstance(self.lr, Schedule):
            raise TypeError(
                f"lr must be a number, or one a member, not the schedule {checks.shown(self.lr)}: "
                "Rprop begins with it and finds its steps by itself."
            )
        etas, sizes = self._pair("etas"), self._pair("step_sizes")
        if not etas[0] < 1 < etas[1]:
            raise ValueError(f"etas must be one below 1 and one above, not {etas}.")
        if sizes[0] > sizes[1]:
            raise ValueError(f"step_sizes must be the least and the greatest, not {sizes}.")
        object.__setattr__(self, "etas", etas)
        object.__setattr__(self, "step_sizes", sizes)
        self._require_switches("maximize")

    def _pair(self, name: str) -> tuple[float, float]:
        pair = getattr(self, name)
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise TypeError(f"{name} must be a pair of numbers, not {checks.shown(pair)}.")
        first, second = (checks.number(f"{name}[{i}]", v, above=0) for i, v in enumerate(pair))
        return first, second

    def init_state(self, xp: Any, theta: Array) -> State:
        return zeros(xp, theta, ["before", "size"])

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        grad = signed(grad, theta, 0.0, self.maximize)
        turned = xp.sign(grad) * xp.sign(state["before"])
        one, (shrunk, grown) = xp.ones_like(theta), self.etas
        factor = xp.where(turned > 0, grown * one, xp.where(turned < 0, shrunk * one, one))
        first = xp.astype(state["step"] == 1, theta.dtype)  # whose sizes are zeros as yet
        size = (state["size"] + first * self.given(state).lr) * factor
        size = xp.minimum(xp.maximum(size, self.step_sizes[0]), self.step_sizes[1])
        grad = xp.where(turned < 0, xp.zeros_like(grad), grad)
        return theta - xp.sign(grad) * size, {**state, "before": grad, "size": size}
