"""The fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.initializers import RNG, HeNormal, Initializer
from xpnet.layers.base import Backprop, Layer, Params
from xpnet.types import Array


@dataclass(frozen=True, repr=False)
class Linear(Layer):
    """``y = x Wᵀ + b`` with ``W`` of shape ``(out, in)`` and ``b`` of shape ``(1, out)``.

    Back-propagated: ``dW = dyᵀ x``, ``db = Σ_samples dy``, ``dx = dy W`` (report, chapter 2).

    Args:
        in_features: the number of features of ``x``, ``(..., samples, in_features)``.
        out_features: the number of features of ``y``, ``(..., samples, out_features)``.
        weight_init: how ``W`` is drawn; by default as the report does.
        bias_init: how ``b`` is drawn, after ``W``; by default as the report does.

    Raises:
        TypeError, ValueError: if a size is no whole number of at least 1.
    """

    in_features: int
    out_features: int
    weight_init: Initializer = field(default_factory=HeNormal)
    bias_init: Initializer = field(default_factory=HeNormal)
    samplewise: ClassVar[bool] = True
    weights: ClassVar[tuple[str, ...]] = ("W",)

    def __post_init__(self) -> None:
        for name in ("in_features", "out_features"):
            if getattr(self, name) is None:  # as `Layer` has it, where nothing was given
                raise TypeError(
                    f"Linear needs {name}, a whole number of at least 1, as in Linear(2, 4)."
                )
            object.__setattr__(self, name, checks.whole(name, getattr(self, name)))
        for name in ("weight_init", "bias_init"):
            wanted = "an initializer such as HeNormal()"
            checks.instance(name, getattr(self, name), Initializer, wanted)

    def __repr__(self) -> str:
        shapes = self.parameters()
        return f"<Linear W: {shapes['W']} b: {shapes['b']}>"

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"W": (self.out_features, self.in_features), "b": (1, self.out_features)}

    def draw(self, rng: RNG) -> list[np.ndarray]:
        fans = self.in_features, self.out_features
        shapes = self.parameters()
        return [
            self.weight_init.draw(rng, shapes["W"], *fans),
            self.bias_init.draw(rng, shapes["b"], *fans),
        ]

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        W, _ = params

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            dx = dy @ W if need_dx else None
            return dx, (dy.mT @ x, xp.sum(dy, axis=-2, keepdims=True))

        return self.apply(xp, params, x), backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        W, b = params
        y = x @ W.mT
        y += b  # in place: a second full-length array would cost its page faults
        return y
