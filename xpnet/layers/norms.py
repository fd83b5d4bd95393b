"""Normalization of each sample over its features, and what all norms have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.initializers import RNG
from xpnet.layers.base import Backprop, Layer, Params
from xpnet.types import Array


class Norm(Layer):
    """What all norms have: features, an ``eps``, and a ``weight`` and ``bias`` of each feature."""

    features: int
    eps: float
    weights: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        features = checks.whole("features", self.features)
        for name in ("features", "in_features", "out_features"):
            object.__setattr__(self, name, features)
        object.__setattr__(self, "eps", checks.number("eps", self.eps, least=0))

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (1, self.features), "bias": (1, self.features)}

    def draw(self, rng: RNG) -> list[np.ndarray]:
        return [np.ones((1, self.features)), np.zeros((1, self.features))]


@dataclass(frozen=True)
class LayerNorm(Norm):
    """``y = x̂ · weight + bias``, over the features ``x̂ = (x − mean x) / √(var x + ε)``.

    The variance is the mean of squares (Ba, Kiros and Hinton 2016). Back-propagated, with ``d = dy
    · weight``: ``dx = (d − mean d − x̂ mean(d x̂)) / √(var x + ε)``, ``dweight = Σ_samples dy x̂``,
    ``dbias = Σ_samples dy``. Kept are ``x̂`` and a number a sample.

    Where the squares of a sample are beyond the dtype, as above 1.8e19 in float32, ``x̂`` is 0 (in
    PyTorch 0 or NaN): no pass over ``x`` is spent on what `Standardize` is to have scaled.

    Args:
        features: the number of features of ``x``, ``(..., samples, features)``.
        eps: ``ε``, at least 0.

    Raises:
        TypeError, ValueError: if ``features`` is no whole number of at least 1, or ``eps`` below 0.
    """

    features: int
    eps: float = 1e-5
    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("eps",)

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        weight, bias = params
        normal, scale = self._normal(xp, x)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            along = dy * normal
            sums = (_sum(xp, along), _sum(xp, dy))
            if not need_dx:
                return None, sums
            d = dy * weight
            mean = xp.mean(d, axis=-1, keepdims=True)
            slope = xp.mean(along * weight, axis=-1, keepdims=True)
            return (d - mean - normal * slope) * scale, sums

        return normal * weight + bias, backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        weight, bias = params
        return self._normal(xp, x)[0] * weight + bias

    def _normal(self, xp: Any, x: Array) -> tuple[Array, Array]:
        """``x̂``, and what it was multiplied by."""
        distance = x - xp.mean(x, axis=-1, keepdims=True)
        variance = xp.mean(distance * distance, axis=-1, keepdims=True)
        scale = 1 / xp.sqrt(variance + self.eps)
        return distance * scale, scale


@dataclass(frozen=True)
class RMSNorm(Norm):
    """``y = x̂ · weight``, over the features of each sample ``x̂ = x / √(mean x² + ε)``.

    (Zhang and Sennrich 2019.) Back-propagated, with ``d = dy · weight``:
    ``dx = (d − x̂ mean(d x̂)) / √(mean x² + ε)``, ``dweight = Σ_samples dy x̂``.
    Where ``x²`` is beyond the dtype ``x̂`` is 0, as of `LayerNorm`.

    Args:
        features: the number of features of ``x``, ``(..., samples, features)``.
        eps: ``ε``, at least 0. (PyTorch's default is that of the dtype, 1.2e-7 or 2.2e-16.)

    Raises:
        TypeError, ValueError: if ``features`` is no whole number of at least 1, or ``eps`` below 0.
    """

    features: int
    eps: float = 1e-5
    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("eps",)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (1, self.features)}

    def draw(self, rng: RNG) -> list[np.ndarray]:
        return [np.ones((1, self.features))]

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        (weight,) = params
        normal, scale = self._normal(xp, x)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            along = dy * normal
            sums = (_sum(xp, along),)
            if not need_dx:
                return None, sums
            slope = xp.mean(along * weight, axis=-1, keepdims=True)
            return (dy * weight - normal * slope) * scale, sums

        return normal * weight, backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        return self._normal(xp, x)[0] * params[0]

    def _normal(self, xp: Any, x: Array) -> tuple[Array, Array]:
        """``x̂``, and what it was multiplied by."""
        scale = 1 / xp.sqrt(xp.mean(x * x, axis=-1, keepdims=True) + self.eps)
        return x * scale, scale


def _sum(xp: Any, values: Array) -> Array:
    """Over the samples: the gradient of what each of them is multiplied by, or has added."""
    return xp.sum(values, axis=-2, keepdims=True)
