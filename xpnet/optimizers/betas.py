"""What optimizers with two moments share: ``betas``, and the correction of a mean that is young."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from xpnet.checks import shown
from xpnet.optimizers.base import Optimizer
from xpnet.optimizers.hyperparameters import Hyperparameters, Number, State, check_number
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class WithBetas(Optimizer):
    """An optimizer whose field ``betas`` is a pair of numbers, found in a step as ``h.beta1``."""

    def _require_betas(self) -> None:
        betas: Any = vars(self)["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            raise TypeError(f"betas must be a pair of numbers, not {shown(betas)}.")
        found = [check_number(f"betas[{i}]", b, least=0, below=1) for i, b in enumerate(betas)]
        object.__setattr__(self, "betas", tuple(found))

    @property
    def beta1(self) -> Number:
        """``β₁``."""
        return vars(self)["betas"][0]

    @property
    def beta2(self) -> Number:
        """``β₂``."""
        return vars(self)["betas"][1]

    def hyperparameters(self) -> dict[str, Number]:
        return {**super().hyperparameters(), "beta1": self.beta1, "beta2": self.beta2}

    def template(self, operands: Collection[str]) -> Optimizer:
        blank = super().template(operands)
        betas = self.beta1, self.beta2
        kept = (math.nan if f"beta{i}" in operands else beta for i, beta in enumerate(betas, 1))
        object.__setattr__(blank, "betas", tuple(kept))
        return blank


def moments(h: Hyperparameters, state: State, grad: Array) -> tuple[Array, Array]:
    """The next ``m ← β₁ m + (1 − β₁) g`` and ``v ← β₂ v + (1 − β₂) g²``."""
    m, v = state["m"], state["v"]
    m *= h.beta1
    m += h.one_minus("beta1") * grad
    v *= h.beta2
    v += h.one_minus("beta2") * grad * grad
    return m, v


def correction(xp: Any, log_beta: Number, t: Array) -> Array:
    """``1 − βᵗ``, by way of ``expm1`` since float32 would lose half its digits for β near 1."""
    return -xp.expm1(log_beta * t)
