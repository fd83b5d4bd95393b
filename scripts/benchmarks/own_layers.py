"""Layers of somebody's own, as they come to mind: a power, a mean, a variance, nothing declared."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import xpnet as xn

ROOT = math.sqrt(2 / math.pi)


@dataclass(frozen=True)
class OwnGELU(xn.Layer):
    """The formula of the paper, and its derivative."""

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        t = xp.tanh(ROOT * (x + 0.044715 * x**3))

        def backprop(dy: Any, need_dx: bool = True) -> Any:
            inner = ROOT * (1 + 3 * 0.044715 * x**2)
            return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * inner), ()

        return 0.5 * x * (1 + t), backprop

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return 0.5 * x * (1 + xp.tanh(ROOT * (x + 0.044715 * x**3)))


@dataclass(frozen=True)
class OwnLayerNorm(xn.Layer):
    """By the library's mean and variance."""

    features: int

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (1, self.features), "bias": (1, self.features)}

    def draw(self, rng: Any) -> list[np.ndarray]:
        return [np.ones((1, self.features)), np.zeros((1, self.features))]

    def forward(self, xp: Any, params: Any, x: Any) -> Any:
        weight, bias = params
        mean = xp.mean(x, axis=-1, keepdims=True)
        std = xp.sqrt(xp.var(x, axis=-1, keepdims=True) + 1e-5)
        normal = (x - mean) / std

        def backprop(dy: Any, need_dx: bool = True) -> Any:
            d = dy * weight
            along = xp.mean(d * normal, axis=-1, keepdims=True)
            dx = (d - xp.mean(d, axis=-1, keepdims=True) - normal * along) / std
            sums = (xp.sum(a, axis=-2, keepdims=True) for a in (dy * normal, dy))
            return dx, tuple(sums)

        return normal * weight + bias, backprop

    def apply(self, xp: Any, params: Any, x: Any) -> Any:
        return self.forward(xp, params, x)[0]
