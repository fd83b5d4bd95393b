"""Layers whose input is added to what they give."""

from __future__ import annotations

from typing import Any

from xpnet import checks
from xpnet.layers.base import Layer, Params, State
from xpnet.layers.chain import Chain
from xpnet.noise import Stream
from xpnet.types import Array


class Residual(Chain):
    """``y = x + f(x)``, with ``f`` one layer or several, one after another (He et al. 2016).

    Back-propagated: ``dx = dy + df(dy)``, and the gradients of the layers. It is one layer of the
    network that it is in; its own have numbers in it, as in `Sequential`: ``model[2][0].W``.

    Args:
        layers: which give as many features as they want.

    Raises:
        TypeError: if one is no layer.
        ValueError: if there is none, their features do not fit, or one must be the first of all.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*layers)
        if self.leaves[0].first:
            raise ValueError(
                f"{checks.shown(self.leaves[0])} must be before Residual, not within it: it reads "
                "the samples as they are given."
            )
        if self.in_features is None:
            self.in_features = self.out_features
        if self.out_features != self.in_features:
            raise ValueError(
                f"{checks.shown(self)} must give as many features as it wants, for their sum: "
                f"{self.in_features}, not {self.out_features}."
            )

    def forward(
        self,
        xp: Any,
        params: Params,
        x: Array,
        state: State = (),
        noise: Stream | None = None,
    ) -> Any:
        y, backprop, *after = super().forward(xp, params, x, state, noise)

        def backprop_both(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            dx, grads = backprop(dy, need_dx)
            return None if dx is None else dx + dy, grads

        return x + y, backprop_both, *after

    def apply(self, xp: Any, params: Params, x: Array, state: State = ()) -> Array:
        return x + super().apply(xp, params, x, state)

    @property
    def gives_probabilities(self) -> bool:
        return False
