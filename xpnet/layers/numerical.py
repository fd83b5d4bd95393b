"""Numbers as vectors: each feature by several functions of it, with weights of its own.

Within them arrays have the samples last, ``(..., features, components, samples)``: then one product
of matrices a feature gives the vectors, and nothing is copied to be brought into order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.initializers import RNG
from xpnet.layers.base import Backprop, Layer, Params, State
from xpnet.moments import quantiles
from xpnet.noise import Stream
from xpnet.types import Array


class _Numerical(Layer):
    """What both embeddings share: sizes, and the way in and out."""

    features: int
    embedding_dim: int

    def _check(self, least: int) -> None:
        object.__setattr__(self, "features", checks.whole("features", self.features))
        dim = checks.whole("embedding_dim", self.embedding_dim, least=least)
        object.__setattr__(self, "embedding_dim", dim)
        object.__setattr__(self, "in_features", self.features)
        object.__setattr__(self, "out_features", self.features * dim)

    @staticmethod
    def _in(x: Array) -> Array:
        """``(..., samples, features)`` as ``(..., features, 1, samples)``."""
        return x.mT[..., None, :]

    def _out(self, xp: Any, y: Array) -> Array:
        """``(..., features, embedding_dim, samples)`` as ``(..., samples, out_features)``."""
        return xp.reshape(y, (*y.shape[:-3], self.out_features, y.shape[-1])).mT

    def _back(self, xp: Any, dy: Array) -> Array:
        """The inverse of `_out`."""
        shape = (*dy.shape[:-2], self.features, self.embedding_dim, dy.shape[-2])
        return xp.reshape(dy.mT, shape)

    def _of_each(self, xp: Any, W: Array) -> Array:
        """``(..., features · rows, columns)`` as a matrix a feature."""
        rows = W.shape[-2] // self.features
        return xp.reshape(W, (*W.shape[:-2], self.features, rows, W.shape[-1]))

    @staticmethod
    def _of_all(xp: Any, dW: Array) -> Array:
        """The inverse of `_of_each`."""
        return xp.reshape(dW, (*dW.shape[:-3], dW.shape[-3] * dW.shape[-2], dW.shape[-1]))


@dataclass(frozen=True)
class PiecewiseLinearEmbedding(_Numerical):
    """``yⱼ = xⱼ wⱼ + bⱼ + Wⱼ e(xⱼ)``, the vector of feature ``j``, with ``e`` piecewise linear.

    ``e_t = min(max((x − a_t) / (a_{t+1} − a_t), 0), 1)`` tells how much of bin ``t`` lies below
    ``x`` (Gorishniy et al. 2022, arXiv:2203.05556; as in TabM, with a linear part beside it, which
    alone goes on beyond the first and the last bin). ``y`` is ``[y₁, y₂, …]``.

    The edges ``a`` are quantiles of the samples that `fit` trains on, with their weights: state of
    the layer (``low`` and the ``slope`` of each bin), as that of `Standardize`. Where quantiles are
    equal, the bin has none of ``e``; as long as there are no samples, there is one from 0 to 1. It
    is the first of the layers with parameters, behind `Standardize` or `RobustScale`, if any.

    Back-propagated: ``dWⱼ = Σ dyⱼ eᵀ``, ``dwⱼ = Σ dyⱼ xⱼ``, ``dbⱼ = Σ dyⱼ``, and
    ``dxⱼ = wⱼᵀ dyⱼ + e'ᵀ Wⱼᵀ dyⱼ``.

    Args:
        features: the number of features of ``x``, ``(..., samples, features)``.
        embedding_dim: the length of their vectors; ``w`` and ``b`` are drawn from
            ``U(−r, r)``, ``r = 1 / √embedding_dim``, and ``W`` is 0 at first.
        bins: how many there are of each feature.

    Raises:
        TypeError, ValueError: if one is no whole number of at least 1.
    """

    features: int
    embedding_dim: int = 16
    bins: int = 48
    samplewise: ClassVar[bool] = True
    first: ClassVar[bool] = True
    weights: ClassVar[tuple[str, ...]] = ("weight", "W")

    def __post_init__(self) -> None:
        self._check(1)
        object.__setattr__(self, "bins", checks.whole("bins", self.bins))

    def parameters(self) -> dict[str, tuple[int, ...]]:
        one = (self.features, self.embedding_dim)
        return {"weight": one, "bias": one, "W": (math.prod(one), self.bins)}

    def draw(self, rng: RNG) -> list[np.ndarray]:
        weight, bias, W = self.parameters().values()
        r = 1 / math.sqrt(self.embedding_dim)
        drawn = [np.asarray(rng.uniform(-r, r, shape)) for shape in (weight, bias)]
        return [*drawn, np.zeros(W)]

    def state(self) -> dict[str, tuple[int, ...]]:
        return {"low": (self.features, self.bins), "slope": (self.features, self.bins)}

    def initial_state(self) -> list[np.ndarray]:
        one = np.zeros((self.features, self.bins))
        one[:, 0] = 1
        return [np.zeros_like(one), one]

    def statistics(self, xp: Any, x: Array, weight: Array | None) -> State:
        levels = [t / self.bins for t in range(self.bins + 1)]
        edges = xp.concat(quantiles(xp, x, weight, levels), axis=-2).mT
        low, high = edges[..., :-1], edges[..., 1:]
        width = xp.where(high > low, high - low, xp.ones_like(low))
        return low, xp.astype(high > low, x.dtype) / width

    def forward(  # type: ignore[override]  # the long form
        self, xp: Any, params: Params, x: Array, state: State, noise: Stream | None
    ) -> tuple[Array, Backprop, State]:
        weight, _, W = params
        numbers, each, slope = self._in(x), self._of_each(xp, W), state[1][..., None]
        along = self._along(numbers, state)
        pieces = xp.minimum(xp.maximum(along, 0.0), 1.0)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            dy = self._back(xp, dy)
            grads = (
                xp.sum(dy * numbers, axis=-1),
                xp.sum(dy, axis=-1),
                self._of_all(xp, dy @ pieces.mT),
            )
            if not need_dx:
                return None, grads
            inside = xp.astype((along > 0) & (along < 1), x.dtype)
            dx = xp.sum((each.mT @ dy) * inside * slope, axis=-2)
            dx += xp.sum(dy * weight[..., None], axis=-2)
            return dx.mT, grads

        return self._vectors(xp, params, numbers, pieces), backprop, state

    def apply(  # type: ignore[override]
        self, xp: Any, params: Params, x: Array, state: State
    ) -> Array:
        numbers = self._in(x)
        pieces = xp.minimum(xp.maximum(self._along(numbers, state), 0.0), 1.0)
        return self._vectors(xp, params, numbers, pieces)

    @staticmethod
    def _along(numbers: Array, state: State) -> Array:
        """How far along each bin they are, 0 at its beginning and 1 at its end."""
        low, slope = state
        return (numbers - low[..., None]) * slope[..., None]

    def _vectors(self, xp: Any, params: Params, numbers: Array, pieces: Array) -> Array:
        weight, bias, W = params
        y = self._of_each(xp, W) @ pieces
        return self._out(xp, y + numbers * weight[..., None] + bias[..., None])


@dataclass(frozen=True)
class PeriodicEmbedding(_Numerical):
    """``yⱼ = [xⱼ, Wⱼ cos(2π cⱼ xⱼ + φⱼ) + bⱼ]``, the vector of feature ``j``; all are trained.

    The "PBLD" embedding of RealMLP (Holzmüller et al. 2024, arXiv:2407.04491), after the periodic
    one of Gorishniy et al. (2022, arXiv:2203.05556), which has a sine and a cosine where this has a
    cosine with a phase, and hands on ``x`` itself as well. ``y`` is ``[y₁, y₂, …]``. It wants
    features of about the size 1, as `Standardize` and `RobustScale` make them.

    Back-propagated, with ``z = 2π c x + φ`` and ``dz = −sin(z) Wᵀ dy``: ``dW = Σ dy cos(z)ᵀ``,
    ``db = Σ dy``, ``dφ = Σ dz``, ``dc = 2π Σ dz x``, ``dx = dy₁ + 2π cᵀ dz``.

    Args:
        features: the number of features of ``x``, ``(..., samples, features)``.
        embedding_dim: the length of their vectors, at least 2.
        frequencies: how many there are of each feature.
        sigma: ``c`` is drawn from ``N(0, sigma²)``, ``φ`` from ``U(−π, π)``, ``W`` and ``b`` from
            ``U(−r, r)``, ``r = 1 / √frequencies``.

    Raises:
        TypeError, ValueError: if a size is no such whole number, or ``sigma`` not above 0.
    """

    features: int
    embedding_dim: int = 4
    frequencies: int = 16
    sigma: float = 0.1
    samplewise: ClassVar[bool] = True
    weights: ClassVar[tuple[str, ...]] = ("W",)

    def __post_init__(self) -> None:
        self._check(2)
        object.__setattr__(self, "frequencies", checks.whole("frequencies", self.frequencies))
        object.__setattr__(self, "sigma", checks.number("sigma", self.sigma, above=0))

    def parameters(self) -> dict[str, tuple[int, ...]]:
        waves, made = (self.features, self.frequencies), self.embedding_dim - 1
        return {
            "frequency": waves,
            "phase": waves,
            "W": (self.features * made, self.frequencies),
            "bias": (self.features, made),
        }

    def draw(self, rng: RNG) -> list[np.ndarray]:
        frequency, phase, W, bias = self.parameters().values()
        r = 1 / math.sqrt(self.frequencies)
        return [
            np.asarray(rng.normal(0.0, self.sigma, frequency)),
            np.asarray(rng.uniform(-math.pi, math.pi, phase)),
            np.asarray(rng.uniform(-r, r, W)),
            np.asarray(rng.uniform(-r, r, bias)),
        ]

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        frequency, _, W, _ = params
        numbers, each = self._in(x), self._of_each(xp, W)
        z = self._angles(params, numbers)
        waves = xp.cos(z)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            dy = self._back(xp, dy)
            made = dy[..., 1:, :]
            dz = (each.mT @ made) * -xp.sin(z)
            grads = (
                (2 * math.pi) * xp.sum(dz * numbers, axis=-1),
                xp.sum(dz, axis=-1),
                self._of_all(xp, made @ waves.mT),
                xp.sum(made, axis=-1),
            )
            if not need_dx:
                return None, grads
            dx = (2 * math.pi) * xp.sum(dz * frequency[..., None], axis=-2) + dy[..., 0, :]
            return dx.mT, grads

        return self._vectors(xp, params, numbers, waves), backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        numbers = self._in(x)
        return self._vectors(xp, params, numbers, xp.cos(self._angles(params, numbers)))

    @staticmethod
    def _angles(params: Params, numbers: Array) -> Array:
        frequency, phase, *_ = params
        return numbers * ((2 * math.pi) * frequency)[..., None] + phase[..., None]

    def _vectors(self, xp: Any, params: Params, numbers: Array, waves: Array) -> Array:
        _, _, W, bias = params
        y = self._of_each(xp, W) @ waves
        y += bias[..., None]
        if len(numbers.shape) < len(y.shape):  # samples that the members share
            numbers = numbers + xp.zeros_like(y[..., :1, :])
        return self._out(xp, xp.concat([numbers, y], axis=-2))
