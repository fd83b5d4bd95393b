"""The activation whose slope below 0 is trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.initializers import RNG
from xpnet.layers.base import Backprop, Layer, Params
from xpnet.types import Array


@dataclass(frozen=True)
class PReLU(Layer):
    """``y = x where x ≥ 0, weight · x elsewhere``; as of `LeakyReLU` the slope at 0 is 1.

    Back-propagated: ``dx = dy where x ≥ 0, weight · dy elsewhere``, ``dweight = Σ dy min(x, 0)``
    over the samples, and over the features if they share it (He et al. 2015).

    Args:
        num_parameters: the number of features, each with a weight of its own; or 1, one that all
            features share, however many.
        init: every weight before training.

    Raises:
        TypeError, ValueError: if ``num_parameters`` is no whole number of at least 1, or ``init``
            no finite number.
    """

    num_parameters: int = 1
    init: float = 0.25
    samplewise: ClassVar[bool] = True
    weights: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        count = checks.whole("num_parameters", self.num_parameters)
        object.__setattr__(self, "num_parameters", count)
        object.__setattr__(self, "init", checks.number("init", self.init))
        if count > 1:
            object.__setattr__(self, "in_features", count)
            object.__setattr__(self, "out_features", count)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (1, self.num_parameters)}

    def draw(self, rng: RNG) -> list[np.ndarray]:
        return [np.full((1, self.num_parameters), self.init)]

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        (weight,) = params
        negative = xp.minimum(x, 0.0)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            along = dy * negative
            axes = -2 if self.num_parameters > 1 else (-2, -1)
            grads = (xp.sum(along, axis=axes, keepdims=True),)
            if not need_dx:
                return None, grads
            # By arithmetic, as `where` would mispredict every second branch.
            positive = xp.astype(x >= 0, x.dtype)
            return (positive + (1 - positive) * weight) * dy, grads

        return xp.maximum(x, 0.0) + negative * weight, backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        return xp.maximum(x, 0.0) + xp.minimum(x, 0.0) * params[0]
