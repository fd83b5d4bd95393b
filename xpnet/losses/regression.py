"""Losses of regression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnet import checks
from xpnet.losses.base import Loss
from xpnet.losses.share import Share
from xpnet.types import Array


@dataclass(frozen=True)
class MSE(Loss):
    """Mean squared error: ``ℓ = (output − y)²``, ``dℓ/d output = 2 (output − y)``."""

    samplewise: ClassVar[bool] = True

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        each = share.each(output.shape[-1])
        return share.mean(xp, r * r), lambda: r * (2 * each)


@dataclass(frozen=True)
class Huber(Loss):
    """Huber (1964), with ``r = output − y``: ``ℓ = r²/2``, and ``δ (|r| − δ/2)`` for ``|r| > δ``.

    With ``c`` the residual cut to ``[−δ, δ]``, both are ``ℓ = c (r − c/2)``, and ``dℓ/dr = c``.

    Args:
        delta: ``δ``, above 0.
    """

    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("delta",)
    delta: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", checks.number("delta", self.delta, above=0))

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        c = xp.minimum(xp.maximum(r, -self.delta), self.delta)
        each = share.each(output.shape[-1])
        return share.mean(xp, c * (r - 0.5 * c)), lambda: c * each
