"""The activations: elementwise, without parameters."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnet import checks
from xpnet.layers.base import Backprop, Layer, Params
from xpnet.types import Array


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
    passes: ClassVar[bool] = True

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
        slope = checks.number("negative_slope", self.negative_slope, least=0, most=1)
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


@dataclass(frozen=True)
class HardTanh(Activation):
    """``f(x) = min(max(x, min_val), max_val)``; ``f' = 1`` between them, 0 elsewhere and at both.

    Args:
        min_val: the least value.
        max_val: the greatest value, above ``min_val``.
    """

    min_val: float = -1.0
    max_val: float = 1.0
    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("min_val", "max_val")

    def __post_init__(self) -> None:
        low = checks.number("min_val", self.min_val)
        object.__setattr__(self, "min_val", low)
        object.__setattr__(self, "max_val", checks.number("max_val", self.max_val, above=low))

    def value(self, xp: Any, x: Array) -> Array:
        return xp.minimum(xp.maximum(x, self.min_val), self.max_val)

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        dtype = x.dtype
        between = (x > self.min_val) & (x < self.max_val)  # a byte an element
        return self.value(xp, x), lambda: xp.astype(between, dtype)


@dataclass(frozen=True)
class Softplus(Activation):
    """``f(x) = log(1 + exp(β x)) / β``, ``f' = 1 / (1 + exp(−β x))``.

    To rounding for every ``x``: there is no threshold from which on it is taken for ``x``.

    Args:
        beta: ``β``, above 0.
    """

    beta: float = 1.0
    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("beta",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "beta", checks.number("beta", self.beta, above=0))

    def value(self, xp: Any, x: Array) -> Array:
        scaled = x * self.beta
        return xp.logaddexp(scaled, xp.zeros_like(scaled)) / self.beta

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        return self.value(xp, x), lambda: 1 / (xp.exp(x * -self.beta) + 1)


class _Exponential(Activation):
    """``f(x) = s x where x > 0, α (eˣ − 1) elsewhere``; ``f' = s, and f + α elsewhere``."""

    @property
    @abstractmethod
    def numbers(self) -> tuple[float, float]:
        """``s`` and ``α``, which nobody asks for their values."""

    def value(self, xp: Any, x: Array) -> Array:
        return self._parts(xp, x)[0]

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        y, negative = self._parts(xp, x)
        scale, alpha = self.numbers

        def slope() -> Array:
            # By arithmetic, as `where` would mispredict every second branch.
            positive = xp.astype(x > 0, x.dtype)
            return (negative + alpha) * (1 - positive) + positive * scale

        return y, slope

    def _parts(self, xp: Any, x: Array) -> tuple[Array, Array]:
        """``f(x)``, and what it is of the negative ones."""
        scale, alpha = self.numbers
        negative = xp.expm1(xp.minimum(x, 0.0)) * alpha
        return xp.maximum(x, 0.0) * scale + negative, negative


@dataclass(frozen=True)
class ELU(_Exponential):
    """``f(x) = x where x > 0, α (eˣ − 1) elsewhere``; ``f' = 1, and f + α elsewhere``.

    (Clevert, Unterthiner and Hochreiter 2016.)

    Args:
        alpha: ``α``, at least 0.
    """

    alpha: float = 1.0
    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("alpha",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "alpha", checks.number("alpha", self.alpha, least=0))

    @property
    def numbers(self) -> tuple[float, float]:
        return 1.0, self.alpha


@dataclass(frozen=True)
class SELU(_Exponential):
    """``f(x) = s x where x > 0, s α (eˣ − 1) elsewhere``, with ``s`` and ``α`` such that a signal
    of mean 0 and variance 1 keeps them (Klambauer et al. 2017).
    """

    samplewise: ClassVar[bool] = True

    scale: ClassVar[float] = 1.0507009873554804934193349852946
    alpha: ClassVar[float] = 1.6732632423543772848170429916717

    @property
    def numbers(self) -> tuple[float, float]:
        return self.scale, self.scale * self.alpha


@dataclass(frozen=True)
class SiLU(Activation):
    """``f(x) = x σ(x)`` with ``σ(x) = 1 / (1 + e⁻ˣ)``, ``f' = σ + f (1 − σ)``; also named swish.

    (Elfwing, Uchibe and Doya 2017.)
    """

    samplewise: ClassVar[bool] = True

    def value(self, xp: Any, x: Array) -> Array:
        return x * (1 / (xp.exp(-x) + 1))

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        gate = 1 / (xp.exp(-x) + 1)
        y = x * gate
        return y, lambda: y * (1 - gate) + gate


@dataclass(frozen=True)
class GELU(Activation):
    """``f(x) = ½ x (1 + tanh u)`` with ``u = √(2/π) (x + 0.044715 x³)``.

    The approximation by a tanh of ``x Φ(x)``, from which it is at most 5e-4 away (Hendrycks and
    Gimpel 2016). The error function itself is not in the array API standard, and rational
    approximations of it to rounding take some sixty operations for each number, ten times as many.

    Args:
        approximate: ``"tanh"``; PyTorch's ``"none"`` is refused, so that nobody gets this for it.
    """

    approximate: str = "tanh"
    samplewise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.approximate != "tanh":
            raise ValueError(
                f"approximate must be 'tanh', not {checks.shown(self.approximate)}, since the "
                "error function is not in the array API standard."
            )

    # ½ (1 + tanh u) is σ(2u), without digits lost below 0, and 2u = x (a + b x²).
    _a: ClassVar[float] = 2 * math.sqrt(2 / math.pi)
    _b: ClassVar[float] = 2 * math.sqrt(2 / math.pi) * 0.044715
    # From |x| = 64 on σ is 0 or 1 in float64 too, and x³ need not overflow.
    _most: ClassVar[float] = 64.0**2

    def value(self, xp: Any, x: Array) -> Array:
        return x * self._parts(xp, x)[0]

    def value_and_slope(self, xp: Any, x: Array) -> tuple[Array, Callable[[], Array]]:
        gate, square = self._parts(xp, x)
        y = x * gate

        def slope() -> Array:
            return y * (1 - gate) * (square * (3 * self._b) + self._a) + gate

        return y, slope

    def _parts(self, xp: Any, x: Array) -> tuple[Array, Array]:
        """``σ(2u)``, and ``x²``."""
        square = xp.minimum(x * x, self._most)
        return 1 / (xp.exp((square * -self._b - self._a) * x) + 1), square


ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "leaky_relu": LeakyReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "hardtanh": HardTanh,
    "softplus": Softplus,
    "elu": ELU,
    "selu": SELU,
    "silu": SiLU,
    "gelu": GELU,
    "identity": Identity,
}
"""The activations by the names of the command line."""
