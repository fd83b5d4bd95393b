"""A vector for each of a number of things: words, categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.initializers import RNG
from xpnet.layers.base import Backprop, Layer, Params
from xpnet.types import Array


@dataclass(frozen=True)
class Embedding(Layer):
    """Rows of ``weight``, whose numbers, the ids, ``x`` holds: ``y = [weight[x₁], weight[x₂], …]``.

    ``x`` holds whole numbers from 0 to ``num_embeddings − 1`` in the floats that networks take,
    ``(..., samples, in_features)``; ``y`` is ``(..., samples, in_features · embedding_dim)``. It is
    the first layer, or behind `Flatten`.

    The array API standard has no addition by index, so both ways are matrix products with ones and
    zeros: ``y = onehot(x) weight``, ``dweight = onehot(x)ᵀ dy``. They take memory for ``samples ·
    in_features · num_embeddings`` numbers: it is for hundreds or thousands of things.

    `fit` looks at all values of ``x`` before it trains; ``value_and_grad`` and ``model(x)`` do
    where they lie on the host. Elsewhere an id that there is not has a vector of zeros.

    Args:
        num_embeddings: how many things there are.
        embedding_dim: the length of their vectors, drawn from ``N(0, 1)``.
        in_features: how many ids a sample has.

    Raises:
        TypeError, ValueError: if one is no whole number of at least 1.
    """

    num_embeddings: int
    embedding_dim: int
    in_features: int = 1
    samplewise: ClassVar[bool] = True
    weights: ClassVar[tuple[str, ...]] = ("weight",)
    first: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("num_embeddings", "embedding_dim", "in_features"):
            object.__setattr__(self, name, checks.whole(name, getattr(self, name)))
        object.__setattr__(self, "out_features", self.in_features * self.embedding_dim)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"weight": (self.num_embeddings, self.embedding_dim)}

    def draw(self, rng: RNG) -> list[np.ndarray]:
        return [np.asarray(rng.normal(0.0, 1.0, (self.num_embeddings, self.embedding_dim)))]

    def check_input(self, backend: Any, x: Array) -> None:
        xp = backend.xp
        right = (x >= 0) & (x < self.num_embeddings) & (xp.floor(x) == x)
        if not bool(xp.all(right)):
            wrong = backend.to_host(x).ravel()[np.argmin(backend.to_host(right).ravel())]
            raise ValueError(
                f"x must hold ids for {self!r}, whole numbers from 0 to "
                f"{self.num_embeddings - 1}, not {wrong:.6g}."
            )

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        (weight,) = params
        onehot = self._onehot(xp, weight, x)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            # Of an id there is no derivative.
            dx = xp.zeros_like(dy[..., : self.in_features]) if need_dx else None
            flat = xp.reshape(dy, (*dy.shape[:-2], onehot.shape[-2], self.embedding_dim))
            return dx, (onehot.mT @ flat,)

        return self._vectors(xp, onehot @ weight), backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        (weight,) = params
        return self._vectors(xp, self._onehot(xp, weight, x) @ weight)

    def _onehot(self, xp: Any, weight: Array, x: Array) -> Array:
        """``(..., samples · ids, num_embeddings)``, of the members of ``x`` alone."""
        one = weight[(*(0,) * (len(weight.shape) - 2), slice(None), slice(0, 1))]
        # The numbers of the rows, counted where the weights are: no layer knows of devices.
        numbers = xp.cumulative_sum(xp.ones_like(one), axis=-2) - 1
        ids = xp.reshape(x, (*x.shape[:-2], x.shape[-2] * self.in_features, 1))
        return xp.astype(ids == numbers.mT, x.dtype)

    def _vectors(self, xp: Any, rows: Array) -> Array:
        """The vectors of a sample's ids, one behind the other."""
        samples = rows.shape[-2] // self.in_features
        return xp.reshape(rows, (*rows.shape[:-2], samples, self.out_features))
