"""Features brought to a middle of 0 and a spread of 1, whatever a few of them are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.layers.base import Backprop, Layer, Params, State
from xpnet.moments import quantiles
from xpnet.noise import Stream
from xpnet.types import Array

FAR = 1e9
"""From how many times the clip on nothing tells a number from the clip: its square is finite."""


@dataclass(frozen=True)
class RobustScale(Layer):
    """``y = z / √(1 + (z / c)²)`` with ``z = (x − median) / spread``, a feature at a time.

    Of RealMLP (Holzmüller et al. 2024, arXiv:2407.04491): scaled by quartiles, which outliers do
    not move, and clipped smoothly into ``(−c, c)``. Back-propagated:
    ``dx = dy (1 + (z / c)²)^(−3/2) / spread``.

    ``median`` and ``spread``, the distance of the quartiles, are those of the samples that `fit`
    trains on, with their weights: state of the layer, as that of `Standardize`. Where the quartiles
    are equal, the spread is half of that from the least to the greatest; where these are, too, 1.
    It comes before all layers with parameters.

    Args:
        features: the number of features of ``x``, ``(..., samples, features)``.
        clip: ``c``, above 0; ``None`` for no clipping, ``y = z``.

    Raises:
        TypeError, ValueError: if one is none of these.
    """

    features: int
    clip: float | None = 3.0
    samplewise: ClassVar[bool] = True
    first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", checks.whole("features", self.features))
        if self.clip is not None:
            object.__setattr__(self, "clip", checks.number("clip", self.clip, above=0))
        object.__setattr__(self, "in_features", self.features)
        object.__setattr__(self, "out_features", self.features)

    def state(self) -> dict[str, tuple[int, ...]]:
        return {"median": (1, self.features), "spread": (1, self.features)}

    def initial_state(self) -> list[np.ndarray]:
        return [np.zeros((1, self.features)), np.ones((1, self.features))]

    def statistics(self, xp: Any, x: Array, weight: Array | None) -> State:
        least, low, median, high, most = quantiles(xp, x, weight, (0, 0.25, 0.5, 0.75, 1))
        half = most / 2 - least / 2
        spread = xp.where(high > low, high - low, half)
        return median, xp.where(spread > 0, spread, xp.ones_like(spread))

    def forward(  # type: ignore[override]  # the long form
        self, xp: Any, params: Params, x: Array, state: State, noise: Stream | None
    ) -> tuple[Array, Backprop, State]:
        median, spread = state
        z = self._scaled(xp, x, median, spread)
        root = None if self.clip is None else self._root(xp, z)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            if not need_dx:
                return None, ()
            return (dy if root is None else dy / (root * root * root)) / spread, ()

        return (z if root is None else z / root), backprop, state

    def apply(  # type: ignore[override]
        self, xp: Any, params: Params, x: Array, state: State
    ) -> Array:
        median, spread = state
        z = self._scaled(xp, x, median, spread)
        return z if self.clip is None else z / self._root(xp, z)

    def _scaled(self, xp: Any, x: Array, median: Array, spread: Array) -> Array:
        z = (x - median) / spread
        if self.clip is None:
            return z
        most = self.clip * FAR
        return xp.minimum(xp.maximum(z, -most), most)

    def _root(self, xp: Any, z: Array) -> Array:
        part = z * (1 / self.clip)  # type: ignore[operator]  # asked before
        return xp.sqrt(1 + part * part)
