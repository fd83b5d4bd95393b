"""Dropout: some of the features of each sample left out of a training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from xpnet import checks
from xpnet.layers.base import Backprop, Layer, Params, State
from xpnet.noise import LANE, Stream, rate
from xpnet.types import Array


@dataclass(frozen=True)
class Dropout(Layer):
    """``y = x m / q`` in training, ``m`` being 1 with the probability ``q = 1 − p`` and else 0.

    In inference ``y = x``. Back-propagated: ``dx = dy m / q`` (Srivastava et al. 2014; scaled in
    training, so that the mean of ``y`` over the masks is ``x``). Each element of each sample has a
    mask of its own in every step, which follows from the seed of the noise, the layer, the step and
    the place in the batch alone: the same bits on every library.

    ``q`` is the nearest multiple of 2⁻¹⁶, and at least that, since a mask is made of 16 bits an
    element; the mean is exact, as the scale is that of the rate that is taken.

    Args:
        p: the probability that an element is left out, from 0 up to, but not, 1.

    Raises:
        TypeError, ValueError: if ``p`` is no such number.
    """

    p: float = 0.5
    samplewise: ClassVar[bool] = True
    draws: ClassVar[bool] = True
    passes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", checks.number("p", self.p, least=0, below=1))

    @property
    def kept(self) -> float:
        """``q``: the probability that an element is kept, as it is taken."""
        return max(rate(1 - self.p), 2.0**-LANE)

    def forward(  # type: ignore[override]
        self, xp: Any, params: Params, x: Array, state: State, noise: Stream
    ) -> tuple[Array, Backprop, State]:
        mask = xp.astype(noise.bernoulli(xp, self.kept, x), x.dtype)
        mask *= 1 / self.kept

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            return (dy * mask if need_dx else None), ()

        return x * mask, backprop, ()

    def apply(  # type: ignore[override]
        self, xp: Any, params: Params, x: Array, state: State
    ) -> Array:
        return x
