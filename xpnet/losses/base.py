"""The losses: one number a member, and the gradient with respect to the network's output.

Each is a mean over the samples (and outputs): ``L = Σᵢ wᵢ ℓᵢ / Σᵢ wᵢ``, with ``w = 1`` unless
``sample_weight`` says otherwise, so that a weight of 2 is the same as having the sample twice, and
one of 0 the same as not having it, whatever its loss.

The weights are those of the whole data: they are divided by their mean once, before any step, so
that a part of the samples (a batch, the share of a thread) adds ``Σ wᵢ ℓᵢ / n`` for its ``n``
samples, and the mean of the parts is the weighted mean of the whole.

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
    """

    def __call__(
        self,
        output: Array,
        y: Array,
        sample_weight: Array | None = None,
        check: bool | None = None,
    ) -> Array:
        """Return the value of the loss.

        Args:
            output: ``(..., samples, outputs)``.
            y: the targets.
            sample_weight: ``(..., samples)``, at least 0.
            check: whether to look at the values of ``y`` and ``sample_weight``; ``None`` for only
                where they lie on the host, since elsewhere the device is waited for.

        Raises:
            TypeError, ValueError: if shapes, dtypes, libraries, devices or values do not fit.
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
            if looks(backend, check):
                self.check_order(backend, output, y)
            target, weight = prepare(
                backend, self, output.shape, y, sample_weight, output.dtype, check
            )
            return evaluate(self, backend.xp, output, target, weight)[0]

    samplewise: ClassVar[bool] = False
    """Whether the loss is a mean over samples, each by itself, so that a batch may be split over
    threads. Every class says so for itself, as a layer does."""

    hyperparameters: ClassVar[tuple[str, ...]] = ()
    """As of a layer."""

    @property
    def splits(self) -> bool:
        """Whether this very class declares itself ``samplewise``."""
        return bool(vars(type(self)).get("samplewise", False))

    # ---- the mathematics, inside a step

    @abstractmethod
    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        """Return the value and the function that gives its gradient.

        Args:
            xp: the namespace.
            output: ``(..., samples, outputs)``.
            target: as `prepare` made it.
            weight: ``None``, or ``(..., samples, 1)``, relative to a mean of 1 over the whole data:
                each element counts for ``weight / (samples · outputs)``, and is not divided by the
                sum of the weights that are here.
        """

    def hits(self, xp: Any, output: Array, target: Array) -> Array:
        """Which are predicted rightly, as truth values; only where ``classifies``."""
        raise TypeError(f"{self!r} is a loss of regression and has no accuracy.")

    def accuracy(self, xp: Any, output: Array, target: Array, weight: Array | None = None) -> Array:
        """The share of samples that are predicted rightly; only where ``classifies``.

        Weighted as the loss is. Of parts it is what adds up to the whole, and so may be below 0.
        """
        hits = self.hits(xp, output, target)
        count = hits.shape[-2] * hits.shape[-1]
        if weight is None:
            # Divided, not multiplied by the inverse: 49 · (1/49) is not 1, and 1 is what a goal is.
            right = xp.count_nonzero(hits, axis=(-2, -1))
            return xp.astype(right, output.dtype) / count
        # By what is missed, so that all right is exactly 1, however the weights are rounded.
        missed = (1 - xp.astype(hits, output.dtype)) * weight
        return 1 - xp.sum(missed, axis=(-2, -1)) / count

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
        """Return ``y`` as ``forward`` wants it, once, before any step; checks shape and dtype.

        Of the losses that tell classes apart: labels as truth values, probabilities as floats.
        """
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
        if y.dtype == dtype:
            return y
        _check_real(backend, y)
        return backend.xp.astype(y, dtype)

    def check_output(self, backend: backends.Backend, compute: Callable[[], Array]) -> None:
        """Look at the output for some samples, where need be (once, before training)."""

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        """Look at the values of ``y`` (waits for the device: once, before training).

        Returns:
            Whether they are labels alone, and no probabilities between them.

        Raises:
            ValueError: if they are not what the loss wants.
        """
        return False

    def check_order(self, backend: backends.Backend, output: Array, y: Array) -> None:
        """Raise if ``output`` and ``y`` have changed places, where their values tell."""


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
        raise TypeError(f"y must hold real numbers, not {y.dtype}; use {backend.coded('y', y)}.")


def looks(backend: backends.Backend, check: bool | None) -> bool:
    """Whether values are looked at: as ``check`` says, or where nothing is waited for."""
    return backend.on_host if check is None else _checks.switch("check", check)


def prepare(
    backend: backends.Backend,
    loss: Loss,
    shape: tuple[int, ...],
    y: Array,
    sample_weight: Array | None,
    dtype: Any,
    check: bool | None = None,
) -> tuple[Array, Array | None]:
    """Targets and weights as a step wants them, for an output of ``shape`` and ``dtype``.

    Raises:
        TypeError, ValueError: if a shape or a dtype does not fit, or, where they are looked at
            (see `looks`), a value.
    """
    target = loss.prepare(backend, shape, y, dtype)
    weight = prepare_weight(backend, sample_weight, shape, dtype)
    if looks(backend, check):
        if loss.check_values(backend, shape, y) and target.dtype != backend.xp.bool:
            target = target == 1
        if sample_weight is not None:
            _check_weight(backend, sample_weight)
    return target, weight


def prepare_weight(
    backend: backends.Backend, weight: Array | None, shape: tuple[int, ...], dtype: Any
) -> Array | None:
    """``sample_weight`` of ``(..., samples)`` as ``(..., samples, 1)``, relative to a mean of 1.

    Raises:
        TypeError, ValueError: if its shape or dtype does not fit.
    """
    if weight is None:
        return None
    xp = backend.xp
    if _plain(weight.shape) not in _shapes(shape[:-1], own=1):
        wanted = _either(_shapes(shape[:-1], own=1))
        raise ValueError(
            f"sample_weight must have the shape {wanted} of the samples, "
            f"not {_plain(weight.shape)}."
        )
    if not xp.isdtype(weight.dtype, ("bool", "integral", "real floating")):
        cure = backend.cast("sample_weight", weight)
        raise TypeError(f"sample_weight must hold real numbers, not {weight.dtype}; use {cure}.")
    if not xp.isdtype(weight.dtype, "real floating"):
        weight = xp.astype(weight, dtype)
    # By the greatest first, so that weights of any scale have a sum; by its root, twice, since JAX
    # takes the inverse, and the inverse of the greatest numbers for 0.
    greatest = xp.max(weight, axis=-1, keepdims=True)
    root = xp.sqrt(xp.where(greatest > 0, greatest, xp.ones_like(greatest)))
    weight = weight / root / root
    mean = xp.mean(weight, axis=-1, keepdims=True)
    weight = weight / xp.where(mean > 0, mean, xp.ones_like(mean))
    return xp.astype(weight, dtype)[..., None]


def _check_weight(backend: backends.Backend, weight: Array) -> None:
    xp = backend.xp
    if xp.isdtype(weight.dtype, "bool"):
        weight = xp.astype(weight, xp.int8)
    least = xp.min(weight)
    if not bool(least >= 0):  # NaN is neither
        raise ValueError(
            f"sample_weight must be at least 0 everywhere, not {float(backend.to_host(least)):.6g}."
        )
    if xp.isdtype(weight.dtype, "real floating") and not bool(xp.all(xp.isfinite(weight))):
        raise ValueError("sample_weight must hold finite numbers, but one is infinite.")
    if not bool(xp.all(xp.max(weight, axis=-1) > 0)):
        raise ValueError("sample_weight must be above 0 for at least one sample.")


def without(backend: backends.Backend, x: Array, weight: Array | None) -> Array:
    """``x`` with zeros for samples of weight 0: 0 times what overflows there would be NaN.

    Not where members have weights of their own, but share ``x``: it would be copied for each.
    """
    if weight is None or len(weight.shape) > len(x.shape):
        return x
    return backend.xp.where(weight > 0, x, backend.xp.zeros_like(x))


def evaluate(
    loss: Loss, xp: Any, output: Array, target: Array, weight: Array | None
) -> tuple[Array, Callable[[], Array]]:
    """`Loss.forward`, where a sample of weight 0 counts for nothing, whatever its loss."""
    if weight is not None:
        counts = weight > 0
        output = xp.where(counts, output, xp.zeros_like(output))
        target = xp.where(counts, target, xp.zeros_like(target))
    return loss.forward(xp, output, target, weight)


def _integers(xp: Any) -> Any:
    """The library's own integers: int64, but for JAX without its 64-bit mode."""
    return xp.__array_namespace_info__().default_dtypes()["integral"]


def _share(output: Array, weight: Array | None) -> Any:
    """What one element's loss counts for in the mean: a number, or ``(..., samples, 1)``."""
    share = 1 / (output.shape[-2] * output.shape[-1])
    return share if weight is None else weight * share


def _total(xp: Any, losses: Array, share: Any) -> Array:
    """``Σ share · losses`` over samples and outputs."""
    if isinstance(share, float):
        return xp.sum(losses, axis=(-2, -1)) * share
    return xp.sum(losses * share, axis=(-2, -1))


def _where_any(xp: Any, factor: Array, values: Array) -> Array:
    """``values`` where ``factor`` is not 0, and 0 elsewhere: 0 times infinity counts as 0 here."""
    return xp.where(factor == 0, xp.zeros_like(values), values)


def _first_but(backend: backends.Backend, y: Array, right: Array) -> str:
    """The first value of ``y`` that is not ``right``, for a message."""
    return f"{backend.to_host(y).ravel()[np.argmin(backend.to_host(right).ravel())]:.6g}"


def _truth(backend: backends.Backend, y: Array) -> Array:
    """Labels 0 and 1 as truth values."""
    return y if y.dtype == backend.xp.bool else y == 1


class _Binary(Loss):
    """What the two binary cross entropies share: targets from 0 to 1, and a threshold.

    Labels, 0 and 1, are prepared as truth values, for which there are shorter ways; any other
    targets are probabilities, as label smoothing, mixing and distillation make them.
    """

    classifies = True
    threshold: float

    def hits(self, xp: Any, output: Array, target: Array) -> Array:
        labels = target if target.dtype == xp.bool else target > 0.5
        return (output > self.threshold) == labels

    def predict(self, xp: Any, output: Array) -> Array:
        return xp.astype(output > self.threshold, _integers(xp))

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        target = super().prepare(backend, shape, y, dtype)
        if y.dtype == dtype or backend.xp.isdtype(y.dtype, "real floating"):
            return target
        return _truth(backend, y)

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        xp = backend.xp
        if y.dtype == xp.bool or bool(xp.all((y == 0) | (y == 1))):
            return True
        inside = (y >= 0) & (y <= 1)
        if not bool(xp.all(inside)):
            raise ValueError(
                "y must hold the labels 0 and 1, or probabilities between them, "
                f"not {_first_but(backend, y, inside)}"
                f"{'; use (y + 1) / 2 for labels −1 and 1' if bool(xp.all(abs(y) == 1)) else ''}."
            )
        return False

    def check_order(self, backend: backends.Backend, output: Array, y: Array) -> None:
        xp = backend.xp
        labels = (output == 0) | (output == 1)
        if bool(xp.all(labels)) and bool(xp.any(output == 0) & xp.any(output == 1)):
            host = backend.to_host(y)
            if not np.all((host == 0) | (host == 1)):
                raise ValueError(
                    "output must come before y, and holds nothing but labels 0 and 1, which y "
                    f"does not: write loss(output, y), not loss(y, output), for {self!r}."
                )


@dataclass(frozen=True)
class BCE(_Binary):
    """Binary cross entropy on probabilities ``p``, with the report's ``ε`` inside both logarithms.

    ``ℓ = −[y log(p + ε) + (1 − y) log(1 − p + ε)]``,
    ``dℓ/dp = −[y / (p + ε) − (1 − y) / (1 − p + ε)]`` (report, chapter 2), for labels ``y`` of 0
    and 1, or probabilities between them.

    Args:
        eps: ``ε``, at least 0.
    """

    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("eps",)
    eps: float = 1e-3
    threshold = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", _checks.number("eps", self.eps, least=0))

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        share = _share(output, weight)
        if target.dtype != xp.bool:
            return self._soft(xp, output, target, share)
        # For labels 0 and 1, ±(p − (1 − y)) is the probability of the right one: p or 1 − p. What
        # is no probability, from a network without a sigmoid, becomes NaN as in the formula.
        target = xp.astype(target, output.dtype)
        q = output - (1 - target)
        sign = 2 * target - 1
        q *= sign
        q += self.eps
        return _total(xp, xp.log(q), share) * -1, lambda: sign / q * (share * -1)

    def _soft(
        self, xp: Any, output: Array, target: Array, share: Any
    ) -> tuple[Array, Callable[[], Array]]:
        other = 1 - target
        p, q = output + self.eps, 1 - output + self.eps
        losses = _where_any(xp, target, target * xp.log(p))
        losses = losses + _where_any(xp, other, other * xp.log(q))

        def backprop() -> Array:
            return (_where_any(xp, other, other / q) - _where_any(xp, target, target / p)) * share

        return _total(xp, losses, share) * -1, backprop

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
    digit lost, for logits of either sign and any size. For probabilities ``y`` between the labels
    0 and 1 it is ``ℓ = y log(1 + e⁻ᶻ) + (1 − y) log(1 + eᶻ)``.
    """

    samplewise: ClassVar[bool] = True
    threshold = 0.0

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        share = _share(output, weight)
        if target.dtype != xp.bool:
            return self._soft(xp, output, target, share)
        sign = 1 - 2 * xp.astype(target, output.dtype)
        against = sign * output  # −u
        value = _total(xp, xp.logaddexp(against, xp.zeros_like(against)), share)

        def backprop() -> Array:
            d = xp.exp(-against)
            d += 1
            return sign / d * share

        return value, backprop

    @staticmethod
    def _soft(
        xp: Any, output: Array, target: Array, share: Any
    ) -> tuple[Array, Callable[[], Array]]:
        other, zeros = 1 - target, xp.zeros_like(output)
        losses = _where_any(xp, target, target * xp.logaddexp(-output, zeros))
        losses = losses + _where_any(xp, other, other * xp.logaddexp(output, zeros))

        def backprop() -> Array:
            return (other / (1 + xp.exp(-output)) - target / (1 + xp.exp(output))) * share

        return _total(xp, losses, share), backprop

    def probabilities(self, xp: Any, output: Array) -> Array:
        return 1 / (1 + xp.exp(-output))


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """Cross entropy on logits ``z``: ``ℓ = log Σⱼ exp zⱼ − z_y``.

    ``dℓ/dz = softmax(z) − onehot(y)``.

    ``y`` holds classes ``0 … outputs − 1``, as integers of shape ``(..., samples)`` or one-hot of
    shape ``(..., samples, outputs)``; or, as floats of that shape, probabilities ``yⱼ``:
    ``ℓ = Σⱼ yⱼ (log Σₖ exp zₖ − zⱼ)``. Stable for logits of any size; one of ``−∞`` is a class that
    cannot be.
    """

    samplewise: ClassVar[bool] = True
    classifies = True

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        share = _share(output[..., :1], weight)
        shifted = output - xp.max(output, axis=-1, keepdims=True)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=-1, keepdims=True)
        labels = target.dtype == xp.bool
        if labels:
            onehot, whole = xp.astype(target, output.dtype), 1
            chosen = xp.where(target, shifted, xp.zeros_like(shifted))
        else:
            onehot, whole = target, xp.sum(target, axis=-1, keepdims=True)
            chosen = _where_any(xp, target, target * shifted)

        def backprop() -> Array:
            d = powers / total
            if not labels:
                d *= whole
            d -= onehot
            d *= share
            return d

        losses = xp.log(total)
        if not labels:
            losses *= whole
        return _total(xp, losses - xp.sum(chosen, axis=-1, keepdims=True), share), backprop

    def hits(self, xp: Any, output: Array, target: Array) -> Array:
        return xp.argmax(output, axis=-1, keepdims=True) == xp.argmax(
            xp.astype(target, output.dtype), axis=-1, keepdims=True
        )

    def probabilities(self, xp: Any, output: Array) -> Array:
        powers = xp.exp(output - xp.max(output, axis=-1, keepdims=True))
        return powers / xp.sum(powers, axis=-1, keepdims=True)

    def predict(self, xp: Any, output: Array) -> Array:
        return xp.argmax(output, axis=-1)

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        """Labels one-hot in bool, a byte an element, which ``forward`` casts batch by batch."""
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
            floats = xp.isdtype(y.dtype, "real floating")
            return xp.astype(y, dtype) if floats else _truth(backend, y)
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

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        xp, outputs = backend.xp, shape[-1]
        if self._holds_classes(backend, shape, y):
            low, high = int(backend.to_host(xp.min(y))), int(backend.to_host(xp.max(y)))
            if low < 0 or high >= outputs:
                hint = f"; use y - {low}" if low > 0 and high - low < outputs else ""
                raise ValueError(
                    f"y must hold classes from 0 to {outputs - 1}, as many as the network has "
                    f"outputs, not {low} to {high}{hint}."
                )
            return True
        if xp.isdtype(y.dtype, "bool"):
            y = xp.astype(y, xp.int8)
        labels = bool(xp.all((y == 0) | (y == 1)))
        if labels:
            right = xp.count_nonzero(y == 1, axis=-1) == 1
        else:  # probabilities: as they are written down, to two digits
            p = y if xp.isdtype(y.dtype, "real floating") else xp.astype(y, xp.float32)
            right = (abs(xp.sum(p, axis=-1) - 1) <= 0.01) & (xp.min(p, axis=-1) >= 0)
        if not bool(xp.all(right)):
            row = np.argmin(backend.to_host(right).ravel())
            wrong = np.reshape(backend.to_host(y), (-1, outputs))[row].tolist()
            raise ValueError(
                "y must be one-hot, a single 1 in every row and 0 elsewhere, or hold probabilities "
                f"that add up to 1 in every row, not {_checks.shown(wrong)}."
            )
        return labels

    def check_order(self, backend: backends.Backend, output: Array, y: Array) -> None:
        shape = _plain(output.shape)
        swapped = _plain(y.shape) == shape and bool(backend.xp.isdtype(y.dtype, "real floating"))
        if swapped and self._is_onehot(backend, output) and not self._is_onehot(backend, y):
            raise ValueError(
                "output must come before y, and is one-hot, which y is not: write "
                f"loss(output, y), not loss(y, output), for {self!r}."
            )

    @staticmethod
    def _is_onehot(backend: backends.Backend, array: Array) -> bool:
        xp = backend.xp
        ones = xp.count_nonzero(array == 1, axis=-1)
        return bool(xp.all((array == 0) | (array == 1)) & xp.all(ones == 1))


@dataclass(frozen=True)
class MSE(Loss):
    """Mean squared error: ``ℓ = (output − y)²``, ``dℓ/d output = 2 (output − y)``."""

    samplewise: ClassVar[bool] = True

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        share = _share(output, weight)
        return _total(xp, r * r, share), lambda: r * (2 * share)


@dataclass(frozen=True)
class Huber(Loss):
    """Huber (1964), with ``r = output − y``: ``ℓ = r²/2``, and ``δ (|r| − δ/2)`` for ``|r| > δ``.

    With ``c`` the residual cut to ``[−δ, δ]``, both are ``ℓ = c (r − c/2)``, and ``dℓ/dr = c``.

    Args:
        delta: ``δ``, above 0.
    """

    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("delta",)
    delta: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", _checks.number("delta", self.delta, above=0))

    def forward(
        self, xp: Any, output: Array, target: Array, weight: Array | None
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        c = xp.minimum(xp.maximum(r, -self.delta), self.delta)
        share = _share(output, weight)
        return _total(xp, c * (r - 0.5 * c), share), lambda: c * share
