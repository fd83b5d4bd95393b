"""Networks that share their weights: the layers of TabM (Gorishniy et al. 2024, arXiv:2410.24210).

``k`` networks, the submodels, lie beside one another in the features: ``(..., samples, k · n)`` are
the ``n`` features of the first one, those of the second, and so on. Layers that compute each number
by itself (activations, `Dropout`) need not know of it, and what comes last is judged by an
`xpnet.EnsembleLoss`. Members, the leading axes, are another matter, and may be there as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.initializers import RNG, Initializer, KaimingUniform
from xpnet.layers.base import Backprop, Layer, Params
from xpnet.types import Array


def uniform() -> Initializer:
    """``U(−r, r)`` with ``r = 1 / √in``, as PyTorch draws its layers."""
    return KaimingUniform(negative_slope=math.sqrt(5))


@dataclass(frozen=True)
class Repeat(Layer):
    """``y = [x, x, …]``, ``k`` times: the same samples for each of ``k`` submodels.

    Back-propagated: ``dx`` is the sum of the parts of ``dy``.

    Args:
        features: the number of features of ``x``, ``(..., samples, features)``.
        k: how many submodels there are.

    Raises:
        TypeError, ValueError: if one is no whole number of at least 1.
    """

    features: int
    k: int
    samplewise: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("features", "k"):
            object.__setattr__(self, name, checks.whole(name, getattr(self, name)))
        object.__setattr__(self, "in_features", self.features)
        object.__setattr__(self, "out_features", self.k * self.features)

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            if not need_dx:
                return None, ()
            return xp.sum(xp.reshape(dy, (*dy.shape[:-1], self.k, self.features)), axis=-2), ()

        return self.apply(xp, params, x), backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        return xp.concat([x] * self.k, axis=-1)


class _Ensemble(Layer):
    """What both layers of ``k`` submodels share: their arguments."""

    fan_in: int
    fan_out: int
    k: int
    weight_init: Initializer
    bias_init: Initializer

    def __post_init__(self) -> None:
        for name in ("fan_in", "fan_out", "k"):
            object.__setattr__(self, name, checks.whole(name, getattr(self, name)))
        for name in ("weight_init", "bias_init"):
            wanted = "an initializer such as HeNormal()"
            checks.instance(name, getattr(self, name), Initializer, wanted)
        object.__setattr__(self, "in_features", self.k * self.fan_in)
        object.__setattr__(self, "out_features", self.k * self.fan_out)


@dataclass(frozen=True)
class LinearBatchEnsemble(_Ensemble):
    """``yᵢ = ((xᵢ ∘ rᵢ) Wᵀ) ∘ sᵢ + bᵢ`` for the submodels ``i``, which share ``W``.

    ``∘`` multiplies element by element (BatchEnsemble, Wen et al. 2020, arXiv:2002.06715). The
    samples of all submodels go through one product. Back-propagated, with ``zᵢ = xᵢ ∘ rᵢ``,
    ``hᵢ = zᵢ Wᵀ``, ``dhᵢ = dyᵢ ∘ sᵢ`` and ``dzᵢ = dhᵢ W``: ``dW = Σᵢ dhᵢᵀ zᵢ``,
    ``drᵢ = Σ dzᵢ ∘ xᵢ``, ``dsᵢ = Σ dyᵢ ∘ hᵢ``, ``dbᵢ = Σ dyᵢ``, ``dxᵢ = dzᵢ ∘ rᵢ``.

    Args:
        fan_in: the number of features of each submodel; ``x`` is ``(..., samples, k · fan_in)``.
        fan_out: that of its outputs; ``y`` is ``(..., samples, k · fan_out)``.
        k: how many submodels there are.
        first_init: how ``r`` begins: as ``"ones"``, which ``s`` always does, or, where submodels
            have to part, in the first layer, ``"signs"`` at random, or ``"normal"``, from
            ``N(0, 1)``, as TabM does behind embeddings.
        groups: how many features beside one another begin with the same number, such as the lengths
            of embeddings; ``()`` for each its own.
        weight_init: how ``W`` is drawn.
        bias_init: how ``b`` is drawn, once for all submodels.

    Raises:
        TypeError, ValueError: if a size is no whole number of at least 1, or ``groups`` are not
            ``fan_in`` together.
    """

    fan_in: int
    fan_out: int
    k: int
    first_init: str = "ones"
    groups: tuple[int, ...] = ()
    weight_init: Initializer = field(default_factory=uniform)
    bias_init: Initializer = field(default_factory=uniform)
    samplewise: ClassVar[bool] = True
    weights: ClassVar[tuple[str, ...]] = ("W",)

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.one_of("first_init", self.first_init, ("ones", "signs", "normal"))
        groups = tuple(checks.whole(f"groups[{i}]", n) for i, n in enumerate(self.groups))
        object.__setattr__(self, "groups", groups)
        if groups and sum(groups) != self.fan_in:
            raise ValueError(
                f"groups must be the {self.fan_in} features of fan_in together, not {sum(groups)}."
            )

    def parameters(self) -> dict[str, tuple[int, ...]]:
        outputs = (self.k, self.fan_out)
        return {
            "W": (self.fan_out, self.fan_in),
            "r": (self.k, self.fan_in),
            "s": outputs,
            "b": outputs,
        }

    def draw(self, rng: RNG) -> list[np.ndarray]:
        fans = self.fan_in, self.fan_out
        W = self.weight_init.draw(rng, (self.fan_out, self.fan_in), *fans)
        b = self.bias_init.draw(rng, (1, self.fan_out), *fans)
        r = np.ones((self.k, self.fan_in))
        if self.first_init != "ones":
            groups = self.groups or (1,) * self.fan_in
            drawn = rng.normal(0.0, 1.0, (self.k, len(groups)))
            drawn = np.where(drawn < 0, -1.0, 1.0) if self.first_init == "signs" else drawn
            r = np.repeat(drawn, groups, axis=-1)
        return [W, r, np.ones((self.k, self.fan_out)), np.repeat(b, self.k, axis=0)]

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        W, r, s, b = params
        row_r, row_s = _row(xp, r), _row(xp, s)
        z = _rows(xp, x * row_r, self.k)
        h = self._beside(xp, z @ W.mT)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            dh = _rows(xp, dy * row_s, self.k)
            dz = self._beside(xp, dh @ W)
            grads = (
                dh.mT @ z,
                xp.reshape(xp.sum(dz * x, axis=-2), r.shape),
                xp.reshape(xp.sum(dy * h, axis=-2), s.shape),
                xp.reshape(xp.sum(dy, axis=-2), b.shape),
            )
            return (dz * row_r if need_dx else None), grads

        return h * row_s + _row(xp, b), backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        W, r, s, b = params
        y = self._beside(xp, _rows(xp, x * _row(xp, r), self.k) @ W.mT)
        y *= _row(xp, s)
        y += _row(xp, b)
        return y

    def _beside(self, xp: Any, rows: Array) -> Array:
        """``(..., samples · k, n)`` as ``(..., samples, k · n)``."""
        shape = (*rows.shape[:-2], rows.shape[-2] // self.k, self.k * rows.shape[-1])
        return xp.reshape(rows, shape)


def _rows(xp: Any, x: Array, k: int) -> Array:
    """``(..., samples, k · n)`` as ``(..., samples · k, n)``: a row a submodel."""
    return xp.reshape(x, (*x.shape[:-2], x.shape[-2] * k, x.shape[-1] // k))


def _row(xp: Any, array: Array) -> Array:
    """``(..., k, n)`` as ``(..., 1, k · n)``."""
    return xp.reshape(array, (*array.shape[:-2], 1, array.shape[-2] * array.shape[-1]))


@dataclass(frozen=True)
class LinearEnsemble(_Ensemble):
    """``yᵢ = xᵢ Wᵢᵀ + bᵢ`` for the submodels ``i``, each with a ``W`` of its own: as TabM ends.

    Back-propagated as `Linear` is: ``dWᵢ = dyᵢᵀ xᵢ``, ``dbᵢ = Σ dyᵢ``, ``dxᵢ = dyᵢ Wᵢ``.

    Args:
        fan_in: the number of features of each submodel; ``x`` is ``(..., samples, k · fan_in)``.
        fan_out: that of its outputs; ``y`` is ``(..., samples, k · fan_out)``.
        k: how many submodels there are.
        weight_init: how each ``Wᵢ`` is drawn, ``W`` being ``(k · fan_out, fan_in)``.
        bias_init: how ``b`` is drawn, after it.

    Raises:
        TypeError, ValueError: if a size is no whole number of at least 1.
    """

    fan_in: int
    fan_out: int
    k: int
    weight_init: Initializer = field(default_factory=uniform)
    bias_init: Initializer = field(default_factory=uniform)
    samplewise: ClassVar[bool] = True
    weights: ClassVar[tuple[str, ...]] = ("W",)

    def parameters(self) -> dict[str, tuple[int, ...]]:
        return {"W": (self.out_features, self.fan_in), "b": (1, self.out_features)}  # type: ignore[dict-item]

    def draw(self, rng: RNG) -> list[np.ndarray]:
        fans = self.fan_in, self.fan_out
        shapes = self.parameters()
        return [
            self.weight_init.draw(rng, shapes["W"], *fans),
            self.bias_init.draw(rng, shapes["b"], *fans),
        ]

    def forward(self, xp: Any, params: Params, x: Array) -> tuple[Array, Backprop]:
        W, _ = params
        each = self._split(xp, W)

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            columns = self._split(xp, dy.mT)
            dW = columns @ self._split(xp, x.mT).mT
            grads = (
                xp.reshape(dW, (*dW.shape[:-3], self.out_features, self.fan_in)),
                xp.sum(dy, axis=-2, keepdims=True),
            )
            return (self._joined(xp, each.mT @ columns) if need_dx else None), grads

        return self.apply(xp, params, x), backprop

    def apply(self, xp: Any, params: Params, x: Array) -> Array:
        W, b = params
        return self._joined(xp, self._split(xp, W) @ self._split(xp, x.mT)) + b

    def _split(self, xp: Any, rows: Array) -> Array:
        """``(..., k · n, m)`` as ``(..., k, n, m)``."""
        shape = (*rows.shape[:-2], self.k, rows.shape[-2] // self.k, rows.shape[-1])
        return xp.reshape(rows, shape)

    def _joined(self, xp: Any, columns: Array) -> Array:
        """``(..., k, n, samples)`` as ``(..., samples, k · n)``."""
        rows = columns.shape[-3] * columns.shape[-2]
        return xp.reshape(columns, (*columns.shape[:-3], rows, columns.shape[-1])).mT
