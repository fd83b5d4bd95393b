"""The losses: one number a member, and the gradient with respect to the network's output.

Each is a mean over the samples (and outputs): ``L = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ``, with ``w = 1`` unless
``sample_weight`` says otherwise, so that a weight of 2 is the same as having the sample twice.

Like a layer, a loss hands back its own backprop: ``forward`` returns the value and a function of
no arguments that gives ``dL/d output``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import _checks, backends

Array = Any


class Loss(ABC):
    """A loss of ``output`` of shape ``(..., samples, outputs)`` against targets ``y``.

    Shapes: ``y`` is as ``output`` (or without the member axes); ``sample_weight`` is
    ``(..., samples)``; the value has the shape of the member axes, ``()`` for one network.
    Labels are taken for what they should be (0 and 1, classes, one-hot): to look at them would make
    a GPU wait in every step, so that `fit` alone does, once.
    """

    def __call__(self, output: Array, y: Array, sample_weight: Array | None = None) -> Array:
        """Return the value of the loss.

        Raises:
            TypeError, ValueError: if shapes, dtypes, libraries or devices do not fit.
        """
        _checks.given(output=output, y=y)
        backend = backends.of(output, y, sample_weight, names=("output", "y", "sample_weight"))
        if len(output.shape) < 2:
            raise ValueError(
                f"output must have the shape (..., samples, outputs), not {_plain(output.shape)}."
            )
        if not backend.xp.isdtype(output.dtype, "real floating"):
            raise TypeError(f"output must be of floats, not {output.dtype}.")
        with backend.context():
            target = self.prepare(backend, output.shape, y, output.dtype)
            weight = prepare_weight(backend, sample_weight, output.shape, output.dtype)
            return self.forward(backend.xp, output, target, weight)[0]

    samplewise: ClassVar[bool] = False
    """Whether the loss is a mean over samples, each by itself, so that a batch may be split over
    threads. Every class says so for itself, as a layer does."""

    @property
    def splits(self) -> bool:
        """Whether this very class declares itself ``samplewise``."""
        return bool(vars(type(self)).get("samplewise", False))

    # ---- the mathematics, inside a step

    @abstractmethod
    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        """Return the value and the function that gives its gradient, for prepared targets."""

    def accuracy(self, xp: Any, output: Array, target: Array) -> Array:
        """The share of samples that are predicted rightly; only where ``classifies``."""
        raise TypeError(f"{self!r} is a loss of regression and has no accuracy.")

    classifies: bool = False
    """Whether the loss tells classes apart, so that there is an accuracy."""

    # ---- what the output means

    def probabilities(self, xp: Any, output: Array) -> Array:
        """The output as probabilities; only where ``classifies``."""
        raise TypeError(f"{self!r} is a loss of regression and has no probabilities.")

    def predict(self, xp: Any, output: Array) -> Array:
        """The output as a prediction: the class where ``classifies``, else the output itself."""
        return output

    # ---- the boundary

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        """Return ``y`` as ``forward`` wants it, once, before any step; checks shape and dtype."""
        if _plain(y.shape) not in _shapes(shape):
            hint = ""
            if _plain(y.shape) in _shapes(shape[:-1], own=1):  # one number a sample
                if shape[-1] == 1:
                    rows = ":" if len(y.shape) == 1 else "..."
                    hint = f"; use y[{rows}, None] for a single output"
                elif self.classifies:
                    hint = "; for classes, one a sample, the loss is CrossEntropy()"
            raise ValueError(
                f"y must have the shape {_either(_shapes(shape))} of the network's output, "
                f"not {_plain(y.shape)}{hint}."
            )
        _check_real(backend, y)
        return y if y.dtype == dtype else backend.xp.astype(y, dtype)

    def check_output(self, backend: backends.Backend, compute: Callable[[], Array]) -> None:
        """Look at the output for some samples, where need be (once, before training)."""

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> None:
        """Look at the values of ``y`` (waits for the device: once, before training)."""


def _plain(shape: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in shape)


def _shapes(shape: tuple[int, ...], own: int = 2) -> tuple[tuple[int, ...], ...]:
    """The shapes that fit an output of ``shape``: with its member axes, and without."""
    return _plain(shape), _plain(shape)[len(shape) - own :]


def _either(shapes: tuple[tuple[int, ...], ...]) -> str:
    """The shapes of `_shapes`, the shared one first; once, if they are one."""
    return " or ".join(map(str, dict.fromkeys(reversed(shapes))))


def _check_real(backend: backends.Backend, y: Array) -> None:
    if not backend.xp.isdtype(y.dtype, ("bool", "integral", "real floating")):
        raise TypeError(f"y must hold real numbers, not {y.dtype}.")


def prepare_weight(
    backend: backends.Backend, weight: Array | None, shape: tuple[int, ...], dtype: Any
) -> Array | None:
    """Return ``sample_weight`` of shape ``(..., samples)`` as ``(..., samples, 1)``, or raise."""
    if weight is None:
        return None
    if _plain(weight.shape) not in _shapes(shape[:-1], own=1):
        wanted = _either(_shapes(shape[:-1], own=1))
        raise ValueError(
            f"sample_weight must have the shape {wanted} of the samples, "
            f"not {_plain(weight.shape)}."
        )
    if not backend.xp.isdtype(weight.dtype, ("bool", "integral", "real floating")):
        raise TypeError(f"sample_weight must hold real numbers, not {weight.dtype}.")
    return backend.xp.astype(weight, dtype)[..., None]


def _integers(xp: Any) -> Any:
    """The library's own integers: int64, but for JAX without its 64-bit mode."""
    return xp.__array_namespace_info__().default_dtypes()["integral"]


def _share(xp: Any, output: Array, weight: Array | None) -> Any:
    """What one element's loss counts for in the mean: a number, or ``(..., samples, 1)``."""
    if weight is None:
        return 1 / (output.shape[-2] * output.shape[-1])
    # A batch whose weights are all 0 contributes nothing, rather than 0/0.
    total = xp.maximum(xp.sum(weight, axis=-2, keepdims=True), 1e-30)
    return weight / (total * output.shape[-1])


def _total(xp: Any, losses: Array, share: Any) -> Array:
    """``Σ share · losses`` over samples and outputs."""
    if isinstance(share, float):
        return xp.sum(losses, axis=(-2, -1)) * share
    return xp.sum(losses * share, axis=(-2, -1))


def _right(xp: Any, hits: Array, dtype: Any) -> Array:
    """The share of ``True`` in ``hits`` over samples and outputs."""
    count = xp.count_nonzero(hits, axis=(-2, -1))
    # Divided, not multiplied by the inverse: 49 · (1/49) is not 1, and 1 is what a goal is.
    return xp.astype(count, dtype) / (hits.shape[-2] * hits.shape[-1])


class _Binary(Loss):
    """What the two binary cross entropies share: labels 0 and 1, and a threshold."""

    classifies = True
    threshold: float

    def accuracy(self, xp: Any, output: Array, target: Array) -> Array:
        return _right(xp, (output > self.threshold) == (target > 0.5), output.dtype)

    def predict(self, xp: Any, output: Array) -> Array:
        return xp.astype(output > self.threshold, _integers(xp))

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> None:
        xp = backend.xp
        if not xp.isdtype(y.dtype, "bool") and not bool(xp.all((y == 0) | (y == 1))):
            values = backend.to_host(y).ravel()
            wrong = values[(values != 0) & (values != 1)][0]
            raise ValueError(f"y must hold the labels 0 and 1 alone, not {wrong}.")


@dataclass(frozen=True)
class BCE(_Binary):
    """Binary cross entropy on probabilities ``p``, with the report's ``ε`` inside both logarithms.

    ``ℓ = −[y log(p + ε) + (1 − y) log(1 − p + ε)]``,
    ``dℓ/dp = −[y / (p + ε) − (1 − y) / (1 − p + ε)]`` (report, chapter 2).

    Args:
        eps: ``ε``, at least 0.
    """

    samplewise: ClassVar[bool] = True
    eps: float = 1e-3
    threshold = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", _checks.number("eps", self.eps, least=0))

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        # For labels 0 and 1, ±(p − (1 − y)) is the probability of the right one: p or 1 − p. What
        # is no probability, from a network without a sigmoid, becomes NaN as in the formula.
        q = output - (1 - target)
        sign = 2 * target - 1
        q *= sign
        q += self.eps
        share = _share(xp, output, weight)
        return _total(xp, xp.log(q), share) * -1, lambda: sign / q * (share * -1)

    def check_output(self, backend: backends.Backend, compute: Callable[[], Array]) -> None:
        xp, output = backend.xp, compute()
        if not bool(xp.all((output >= 0) & (output <= 1))):
            low, high = (float(backend.to_host(f(output))) for f in (xp.min, xp.max))
            raise ValueError(
                f"loss {self!r} needs outputs from 0 to 1, not from {low:.3g} to {high:.3g}; end "
                "the network with Sigmoid(), or use BCEWithLogits()."
            )

    def probabilities(self, xp: Any, output: Array) -> Array:
        return output


@dataclass(frozen=True)
class BCEWithLogits(_Binary):
    """Binary cross entropy on logits ``z``: ``ℓ = log(1 + e⁻ᵘ)``, the margin ``u = (2y − 1) z``.

    ``dℓ/dz = −(2y − 1) / (1 + eᵘ) = σ(z) − y``. Nothing overflows into the value, nor is any
    digit lost, for logits of either sign and any size.
    """

    samplewise: ClassVar[bool] = True
    threshold = 0.0

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        sign = 1 - 2 * target
        against = sign * output  # −u
        share = _share(xp, output, weight)
        value = _total(xp, xp.logaddexp(against, xp.zeros_like(against)), share)

        def backprop() -> Array:
            d = xp.exp(-against)
            d += 1
            return sign / d * share

        return value, backprop

    def probabilities(self, xp: Any, output: Array) -> Array:
        return 1 / (1 + xp.exp(-output))


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross entropy on logits ``z``: ``ℓ = log Σⱼ exp zⱼ − z_y``.

    ``dℓ/dz = softmax(z) − onehot(y)``.

    ``y`` holds classes ``0 … outputs − 1``, as integers of shape ``(..., samples)`` or one-hot of
    shape ``(..., samples, outputs)``. Stable for logits of any size.
    """

    samplewise: ClassVar[bool] = True
    classifies = True

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        onehot = xp.astype(target, output.dtype)
        share = _share(xp, output[..., :1], weight)
        shifted = output - xp.max(output, axis=-1, keepdims=True)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=-1, keepdims=True)
        chosen = xp.sum(onehot * shifted, axis=-1, keepdims=True)

        def backprop() -> Array:
            d = powers / total
            d -= onehot
            d *= share
            return d

        return _total(xp, xp.log(total) - chosen, share), backprop

    def accuracy(self, xp: Any, output: Array, target: Array) -> Array:
        right = xp.argmax(output, axis=-1, keepdims=True) == xp.argmax(
            xp.astype(target, output.dtype), axis=-1, keepdims=True
        )
        return _right(xp, right, output.dtype)

    def probabilities(self, xp: Any, output: Array) -> Array:
        powers = xp.exp(output - xp.max(output, axis=-1, keepdims=True))
        return powers / xp.sum(powers, axis=-1, keepdims=True)

    def predict(self, xp: Any, output: Array) -> Array:
        return xp.argmax(output, axis=-1)

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        """The one-hot form in bool, a byte an element; ``forward`` casts it batch by batch."""
        xp, outputs = backend.xp, shape[-1]
        if outputs < 2:
            raise ValueError(
                f"loss CrossEntropy() needs an output a class, at least 2, not {outputs}; for two "
                "classes and one output, use BCEWithLogits()."
            )
        _check_real(backend, y)
        if self._holds_classes(backend, shape, y):
            if outputs > xp.iinfo(y.dtype).max:
                y = xp.astype(y, _integers(xp))
            return y[..., None] == xp.arange(outputs, dtype=y.dtype, device=backend.device)
        if _plain(y.shape) in _shapes(shape):
            return xp.astype(y, xp.bool)
        hint = ""
        if _plain(y.shape) in _shapes(shape[:-1], own=1):
            hint = f"; use {backend.cast('y', y, 'int64')}"
        elif _plain(y.shape) in _shapes((*shape[:-1], 1)):
            hint = "; use y[..., 0]"
        raise ValueError(
            f"y must hold integer classes of shape {_either(_shapes(shape[:-1], own=1))} or be "
            f"one-hot of shape {_either(_shapes(shape))}, not {y.dtype} of shape {_plain(y.shape)}"
            f"{hint}."
        )

    @staticmethod
    def _holds_classes(backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        # Integers of shape (n, n) for n members, samples and outputs could be either: classes.
        fits = _plain(y.shape) in _shapes(shape[:-1], own=1)
        return fits and bool(backend.xp.isdtype(y.dtype, "integral"))

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> None:
        xp, outputs = backend.xp, shape[-1]
        if self._holds_classes(backend, shape, y):
            low, high = int(backend.to_host(xp.min(y))), int(backend.to_host(xp.max(y)))
            if low < 0 or high >= outputs:
                raise ValueError(
                    f"y must hold classes from 0 to {outputs - 1}, as many as the network has "
                    f"outputs, not {low} to {high}."
                )
            return
        if xp.isdtype(y.dtype, "bool"):
            y = xp.astype(y, xp.int8)
        ones = xp.count_nonzero(y == 1, axis=-1)
        if not bool(xp.all((y == 0) | (y == 1)) & xp.all(ones == 1)):
            rows = np.reshape(backend.to_host(y), (-1, outputs))
            wrong = rows[np.any((rows != 0) & (rows != 1), -1) | (np.sum(rows == 1, -1) != 1)][0]
            raise ValueError(
                f"y must be one-hot, a single 1 in every row and 0 elsewhere, not {wrong.tolist()}."
            )


@dataclass(frozen=True)
class MSE(Loss):
    """Mean squared error: ``ℓ = (output − y)²``, ``dℓ/d output = 2 (output − y)``."""

    samplewise: ClassVar[bool] = True

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        share = _share(xp, output, weight)
        return _total(xp, r * r, share), lambda: r * (2 * share)


@dataclass(frozen=True)
class Huber(Loss):
    """Huber (1964), with ``r = output − y``: ``ℓ = r²/2``, and ``δ (|r| − δ/2)`` for ``|r| > δ``.

    With ``c`` the residual cut to ``[−δ, δ]``, both are ``ℓ = c (r − c/2)``, and ``dℓ/dr = c``.

    Args:
        delta: ``δ``, above 0.
    """

    samplewise: ClassVar[bool] = True
    delta: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", _checks.number("delta", self.delta, above=0))

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        c = xp.minimum(xp.maximum(r, -self.delta), self.delta)
        share = _share(xp, output, weight)
        return _total(xp, c * (r - 0.5 * c), share), lambda: c * share
