"""The activations: elementwise, without parameters."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnet import _checks
from xpnet.layers.base import Array, Backprop, Layer, Params


class Activation(Layer):
    """An elementwise function: ``dx = f'(x) · dy``, with no parameters to give gradients of."""

    @abstractmethod
    def value(self, xp: Any, x: Array) -> Array:
        """``f(x)``, as a new array."""

    @abstractmethod
    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        """``f(x)``, and a function that gives ``f'(x)`` from what is cheapest to keep."""

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        y, slope = self.value_and_slope(xp, x)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            return (slope() * dy if need_dx else None), ()

        return y, backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        return self.value(xp, x)


@dataclass(frozen=True)
class Identity(Layer):
    """``f(x) = x``."""

    samplewise: ClassVar[bool] = True

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        return x, lambda dy, need_dx=True: (dy if need_dx else None, ())

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        return x


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """``f(x) = x where x ≥ 0, a x elsewhere``; ``f'(0) = 1`` (report, figure 2.1).

    Args:
        negative_slope: ``a``, from 0 to 1.
    """

    negative_slope: float = 0.01
    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("negative_slope",)

    def __post_init__(self) -> None:
        slope = _checks.number("negative_slope", self.negative_slope, least=0, most=1)
        object.__setattr__(self, "negative_slope", slope)

    def value(self, xp: Any, x: Array) -> Array:
        # The larger of the two, since a ≤ 1; `where` would mispredict every second branch.
        return xp.maximum(x, self.negative_slope * x)

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        slope = xp.astype(x >= 0, x.dtype)  # 1 or 0, and by arithmetic 1 or a
        slope *= 1 - self.negative_slope
        slope += self.negative_slope
        return slope * x, lambda: slope


@dataclass(frozen=True)
class ReLU(Activation):
    """``f(x) = max(x, 0)``; ``f'(0) = 1``: the positive side (report, figure 2.2)."""

    samplewise: ClassVar[bool] = True

    def value(self, xp: Any, x: Array) -> Array:
        return xp.maximum(x, 0.0)

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        dtype = x.dtype
        positive = x >= 0  # a byte an element, where x itself would be four or eight
        return xp.maximum(x, 0.0), lambda: xp.astype(positive, dtype)


@dataclass(frozen=True)
class Sigmoid(Activation):
    """``f(x) = 1 / (1 + e⁻ˣ)``, ``f' = f (1 − f)`` (report, figure 2.3)."""

    samplewise: ClassVar[bool] = True
    probabilities: ClassVar[bool] = True

    def value(self, xp: Any, x: Array) -> Array:
        # Not in place: automatic differentiation, with which it is tested, keeps what exp returned.
        return 1 / (xp.exp(-x) + 1)

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        y = self.value(xp, x)
        return y, lambda: y * (1 - y)


@dataclass(frozen=True)
class Tanh(Activation):
    """``f(x) = tanh x``, ``f' = 1 − f²``."""

    samplewise: ClassVar[bool] = True

    def value(self, xp: Any, x: Array) -> Array:
        return xp.tanh(x)

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        y = self.value(xp, x)
        return y, lambda: 1 - y * y


ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "identity": Identity,
}
"""The activations by the names of the command line."""
