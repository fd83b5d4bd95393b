"""Cross entropy over classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import backends, checks
from xpnet.losses.base import (
    Loss,
    brief,
    check_not_negative,
    either,
    integers,
    plain,
    shapes,
    truth,
    where_any,
)
from xpnet.losses.share import Share
from xpnet.types import Array


@dataclass(frozen=True, repr=False)
class CrossEntropy(Loss):
    """Cross entropy on logits ``z``: ``ℓ = log Σⱼ exp zⱼ − z_y``.

    ``dℓ/dz = softmax(z) − onehot(y)``.

    ``y`` holds classes ``0 … outputs − 1``, as integers of shape ``(..., samples)`` or one-hot of
    shape ``(..., samples, outputs)``; or, as floats of that shape, probabilities ``yⱼ``:
    ``ℓ = Σⱼ yⱼ (log Σₖ exp zₖ − zⱼ)``. Stable for logits of any size; one of ``−∞`` is a class that
    cannot be.

    Args:
        label_smoothing: ``ε``, from 0 and below 1 (Szegedy et al. 2016): ``y`` counts as
            ``(1 − ε) y + ε / outputs``, as in ``torch.nn.CrossEntropyLoss``.
    """

    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("label_smoothing",)
    classifies = True
    without_probabilities = "leave it out"
    label_smoothing: float = 0.0
    __repr__ = brief

    def __post_init__(self) -> None:
        smoothing = checks.number("label_smoothing", self.label_smoothing, least=0, below=1)
        object.__setattr__(self, "label_smoothing", smoothing)

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        shifted = output - xp.max(output, axis=-1, keepdims=True)
        powers = xp.exp(shifted)
        total = xp.sum(powers, axis=-1, keepdims=True)
        labels = target.dtype == xp.bool
        if labels:
            onehot, whole = xp.astype(target, output.dtype), None
            chosen = xp.where(target, shifted, xp.zeros_like(shifted))
        else:
            onehot, whole = target, xp.sum(target, axis=-1, keepdims=True)
            chosen = where_any(xp, target, target * shifted)
        if checks.is_array(self.label_smoothing) or self.label_smoothing != 0:
            rest, part = 1 - self.label_smoothing, self.label_smoothing / output.shape[-1]
            onehot, chosen = rest * onehot + part, rest * chosen + part * shifted
            whole = None if whole is None else rest * whole + self.label_smoothing

        def backprop() -> Array:
            d = powers / total
            if whole is not None:
                d *= whole
            d -= onehot
            d *= share.each()
            return d

        losses = xp.log(total)
        if whole is not None:
            losses *= whole
        return share.mean(xp, losses - xp.sum(chosen, axis=-1, keepdims=True)), backprop

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
                f"loss {self!r} needs an output a class, at least 2, not {outputs}; for two "
                "classes and one output, use BCEWithLogits()."
            )
        checks.real(backend, y)
        if self._holds_classes(backend, shape, y):
            if outputs > xp.iinfo(y.dtype).max:
                y = xp.astype(y, integers(xp))
            return y[..., None] == xp.arange(outputs, dtype=y.dtype, device=backend.device)
        if plain(y.shape) in shapes(shape):
            floats = xp.isdtype(y.dtype, "real floating")
            return xp.astype(y, dtype) if floats else truth(backend, y)
        hint = ""
        if plain(y.shape) in shapes(shape[:-1], own=1):
            hint = f"; use {backend.cast('y', y, 'int64')}"
        elif plain(y.shape) in shapes((*shape[:-1], 1)):
            hint = "; use y[..., 0]"
        raise ValueError(
            f"y must hold integer classes of shape {either(shapes(shape[:-1], own=1))} or be "
            f"one-hot of shape {either(shapes(shape))}, not {y.dtype} of shape {plain(y.shape)}"
            f"{hint}."
        )

    @staticmethod
    def _holds_classes(backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        # Integers of shape (n, n) for n members, samples and outputs could be either: classes.
        fits = plain(y.shape) in shapes(shape[:-1], own=1)
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
                f"that add up to 1 in every row, not {checks.shown(wrong)}."
            )
        return labels

    def check_order(self, backend: backends.Backend, output: Array, y: Array) -> None:
        shape = plain(output.shape)
        swapped = plain(y.shape) == shape and bool(backend.xp.isdtype(y.dtype, "real floating"))
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
class KL(Loss):
    """Kullback-Leibler divergence from the outputs, which are logarithms of probabilities.

    ``ℓ = Σⱼ yⱼ (log yⱼ − outputⱼ)`` of each sample, ``0 log 0 = 0``; ``dℓ/d output = −y``: as
    ``torch.nn.KLDivLoss(reduction="batchmean")``. For probabilities ``y``, after `LogSoftmax`.
    """

    samplewise: ClassVar[bool] = True

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        logs = xp.log(xp.where(target > 0, target, xp.ones_like(target)))
        losses = xp.sum(where_any(xp, target, target * (logs - output)), axis=-1, keepdims=True)
        return share.mean(xp, losses), lambda: xp.zeros_like(output) - target * share.each()

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        return check_not_negative(backend, y, "probabilities")

    def check_output(self, backend: backends.Backend, compute: Callable[[], Array]) -> None:
        high = float(backend.to_host(backend.xp.max(compute())))
        if high > 1e-3:  # more than rounding makes of the logarithm of 1
            raise ValueError(
                f"loss {self!r} needs logarithms of probabilities, none above 0, not {high:.3g}; "
                "end the network with LogSoftmax()."
            )
