"""Softmax over the features, and its logarithm: outputs that are probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xpnet.layers.base import Backprop, Layer, Params
from xpnet.types import Array


@dataclass(frozen=True)
class Softmax(Layer):
    """``yⱼ = exp(xⱼ − max x) / Σₖ exp(xₖ − max x)`` over the features of each sample.

    Back-propagated: ``dx = y (dy − Σₖ dyₖ yₖ)``. Logits of any size are right; one of ``−∞`` gets
    the probability 0. Before `CrossEntropy` there is none, which has its own.
    """

    samplewise: ClassVar[bool] = True
    probabilities: ClassVar[bool] = True

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        y = self.apply(xp, params, x)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            if not need_dx:
                return None, ()
            return (dy - xp.sum(dy * y, axis=-1, keepdims=True)) * y, ()

        return y, backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        powers = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return powers / xp.sum(powers, axis=-1, keepdims=True)


@dataclass(frozen=True)
class LogSoftmax(Layer):
    """``yⱼ = xⱼ − log Σₖ exp xₖ`` over the features of each sample, by way of ``x − max x``.

    Back-propagated: ``dx = dy − exp(y) Σₖ dyₖ``. Before the loss `KL`; `CrossEntropy` has its own.
    """

    samplewise: ClassVar[bool] = True

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        y = self.apply(xp, params, x)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            if not need_dx:
                return None, ()
            return dy - xp.exp(y) * xp.sum(dy, axis=-1, keepdims=True), ()

        return y, backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        shifted = x - xp.max(x, axis=-1, keepdims=True)
        return shifted - xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
