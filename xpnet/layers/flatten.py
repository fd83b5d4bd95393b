"""Samples of several axes, such as pictures, as rows of features."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnet import checks
from xpnet.layers.base import Backprop, Layer, Params
from xpnet.types import Array


@dataclass(frozen=True, init=False)
class Flatten(Layer):
    """Takes samples of several axes: ``x`` of shape ``(..., samples, *shape)``.

    `Sequential` reshapes them, once and in C order, where a network whose first layer this is gets
    its data: in `fit`, ``value_and_grad`` and ``model(x)``. Within a step they are flat already,
    and it hands on what it gets. ``x`` that is flat is taken as well; what ends in ``shape`` counts
    as not flat. The sizes are declared so that axes of a sample can be told from members.

    Args:
        shape: the sizes of a sample, one by one: ``Flatten(28, 28)``.

    Raises:
        TypeError, ValueError: if there are none, or one is no whole number of at least 1.
    """

    shape: tuple[int, ...]
    samplewise: ClassVar[bool] = True
    first: ClassVar[bool] = True

    def __init__(self, *shape: int) -> None:
        if not shape:
            raise TypeError("Flatten needs the sizes of a sample, as in Flatten(28, 28), not none.")
        sizes = tuple(checks.whole("each size, as in Flatten(28, 28),", size) for size in shape)
        object.__setattr__(self, "shape", sizes)
        object.__setattr__(self, "in_features", math.prod(sizes))
        object.__setattr__(self, "out_features", math.prod(sizes))

    def __repr__(self) -> str:
        return f"Flatten({', '.join(map(str, self.shape))})"

    def flat(self, xp: Any, x: Array) -> Array:
        """``x`` as ``(..., samples, features)``, if it is of samples of this shape."""
        own = len(self.shape)
        lead = tuple(x.shape[:-own])
        if own == 1 or len(lead) not in (1, 2) or tuple(x.shape[-own:]) != self.shape:
            return x
        return xp.reshape(x, (*lead, math.prod(self.shape)))

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        return x, lambda dy, need_dx=True: (dy if need_dx else None, ())

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        return x
