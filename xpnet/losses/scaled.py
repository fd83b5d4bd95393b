"""A loss, its value and its gradient each times a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnet import backends, checks
from xpnet.losses.base import Loss
from xpnet.losses.share import Share
from xpnet.types import Array


@dataclass(frozen=True)
class Scaled(Loss):
    """``value · L``, with the gradient ``slope · dL``: reported is not what is descended.

    So scikit-learn halves squared errors, and reports their mean over the outputs, but descends
    their sum. There is no accuracy, which a step would compute.

    Args:
        loss: ``L``, one that declares itself samplewise.
        value, slope: the two numbers, above 0.
    """

    samplewise: ClassVar[bool] = True
    loss: Loss
    value: float = 1.0
    slope: float = 1.0

    def __post_init__(self) -> None:
        checks.instance("loss", self.loss, Loss, "a loss such as MSE()")
        for name in ("value", "slope"):
            number = checks.number(name, getattr(self, name), above=0)
            object.__setattr__(self, name, number)

    @property
    def is_samplewise(self) -> bool:
        return self.loss.is_samplewise

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        value, backprop = self.loss.forward(xp, output, target, share)
        value = value if self.value == 1 else value * self.value
        return value, backprop if self.slope == 1 else lambda: backprop() * self.slope

    def predict(self, xp: Any, output: Array) -> Array:
        return self.loss.predict(xp, output)

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        return self.loss.prepare(backend, shape, y, dtype)

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        return self.loss.check_values(backend, shape, y)
