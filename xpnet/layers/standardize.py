"""Features brought to mean 0 and variance 1, by statistics that travel with the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.layers.base import Backprop, Layer, Params, State
from xpnet.moments import Total, mean_and_variance, total
from xpnet.noise import Stream
from xpnet.types import Array


@dataclass(frozen=True)
class Standardize(Layer):
    """``y = (x − mean) / scale``, a feature at a time; ``dx = dy / scale``.

    ``mean`` and ``scale``, the root of the mean of squares about it, are those of the samples that
    `fit` trains on, with their weights, as ``sklearn.preprocessing.StandardScaler`` has them: state
    of the layer, which no step changes, and which goes wherever the model goes. A feature that is
    constant has the scale 1. By hand ``init_state(like=x, x=x)`` takes them; without ``x`` it is as
    if there were no layer. It is the first layer, or behind `Flatten`.

    Args:
        features: the number of features of ``x``, ``(..., samples, features)``.

    Raises:
        TypeError, ValueError: if it is no whole number of at least 1.
    """

    features: int
    samplewise: ClassVar[bool] = True
    first: ClassVar[bool] = True
    summed: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", checks.whole("features", self.features))
        object.__setattr__(self, "in_features", self.features)
        object.__setattr__(self, "out_features", self.features)

    def state(self) -> dict[str, tuple[int, ...]]:
        return {"mean": (1, self.features), "scale": (1, self.features)}

    def initial_state(self) -> list[np.ndarray]:
        return [np.zeros((1, self.features)), np.ones((1, self.features))]

    def statistics(self, xp: Any, x: Array, weight: Array | None, total: Total = total) -> State:
        mean, var, varies = mean_and_variance(xp, x, weight, total)
        return mean, xp.where(varies, xp.sqrt(var), xp.ones_like(var))

    def forward(  # type: ignore[override]  # the long form
        self, xp: Any, params: Params, x: Array, state: State, noise: Stream | None
    ) -> tuple[Array, Backprop, State]:
        mean, scale = state

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            return (dy / scale if need_dx else None), ()

        return (x - mean) / scale, backprop, state

    def apply(  # type: ignore[override]
        self, xp: Any, params: Params, x: Array, state: State
    ) -> Array:
        mean, scale = state
        return (x - mean) / scale
