"""Binary cross entropy, on probabilities and on logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import backends, checks
from xpnet.losses.base import (
    Loss,
    brief,
    check_outputs,
    factors,
    first_but,
    integers,
    per_output,
    truth,
    where_any,
)
from xpnet.losses.share import Share
from xpnet.types import Array


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
        return xp.astype(output > self.threshold, integers(xp))

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        target = super().prepare(backend, shape, y, dtype)
        if y.dtype == dtype or backend.xp.isdtype(y.dtype, "real floating"):
            return target
        return truth(backend, y)

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        xp = backend.xp
        if y.dtype == xp.bool or bool(xp.all((y == 0) | (y == 1))):
            return True
        inside = (y >= 0) & (y <= 1)
        if not bool(xp.all(inside)):
            raise ValueError(
                "y must hold the labels 0 and 1, or probabilities between them, "
                f"not {first_but(backend, y, inside)}"
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
    takes_probabilities = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "eps", checks.number("eps", self.eps, least=0))

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        if target.dtype != xp.bool:
            return self._soft(xp, output, target, share)
        # For labels 0 and 1, ±(p − (1 − y)) is the probability of the right one: p or 1 − p. What
        # is no probability, from a network without a sigmoid, becomes NaN as in the formula.
        target = xp.astype(target, output.dtype)
        q = output - (1 - target)
        sign = 2 * target - 1
        q *= sign
        q += self.eps
        each = share.each(output.shape[-1])
        return share.mean(xp, xp.log(q)) * -1, lambda: sign / q * (each * -1)

    def _soft(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        other = 1 - target
        p, q = output + self.eps, 1 - output + self.eps
        losses = where_any(xp, target, target * xp.log(p))
        losses = losses + where_any(xp, other, other * xp.log(q))

        def backprop() -> Array:
            d = where_any(xp, other, other / q) - where_any(xp, target, target / p)
            return d * share.each(output.shape[-1])

        return share.mean(xp, losses) * -1, backprop

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


@dataclass(frozen=True, repr=False)
class BCEWithLogits(_Binary):
    """Binary cross entropy on logits ``z``: ``ℓ = log(1 + e⁻ᵘ)``, the margin ``u = (2y − 1) z``.

    ``dℓ/dz = −(2y − 1) / (1 + eᵘ) = σ(z) − y``. Nothing overflows into the value, nor is any
    digit lost, for logits of either sign and any size. For probabilities ``y`` between the labels
    0 and 1 it is ``ℓ = y log(1 + e⁻ᶻ) + (1 − y) log(1 + eᶻ)``.

    Args:
        pos_weight: what the part of the label 1 is multiplied by, above 0, or one an output: as
            that of ``torch.nn.BCEWithLogitsLoss``. With as many as there are zeros for each 1,
            both labels weigh the same.
    """

    samplewise: ClassVar[bool] = True
    threshold = 0.0
    without_probabilities = "leave it out, or use BCE()"
    pos_weight: float | tuple[float, ...] = 1.0
    __repr__ = brief

    def __post_init__(self) -> None:
        weight = per_output("pos_weight", self.pos_weight, above=0)
        object.__setattr__(self, "pos_weight", weight)

    @property
    def _weighs(self) -> bool:
        return checks.is_array(self.pos_weight) or self.pos_weight != 1

    @property
    def hyperparameters(self) -> tuple[str, ...]:  # type: ignore[override]
        """``pos_weight``, unless it is left out."""
        return ("pos_weight",) if self._weighs else ()

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        check_outputs("pos_weight", self.pos_weight, shape[-1])
        return super().prepare(backend, shape, y, dtype)

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        if target.dtype != xp.bool:
            return self._soft(xp, output, target, share)
        labels = xp.astype(target, output.dtype)
        sign = 1 - 2 * labels
        against = sign * output  # −u
        losses = xp.logaddexp(against, xp.zeros_like(against))
        weight = None
        if self._weighs:
            weight = 1 + labels * (factors(xp, self.pos_weight, output) - 1)
            losses = losses * weight

        def backprop() -> Array:
            d = xp.exp(-against)
            d += 1
            slope = sign / d
            return (slope if weight is None else slope * weight) * share.each(output.shape[-1])

        return share.mean(xp, losses), backprop

    def _soft(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        other, zeros = 1 - target, xp.zeros_like(output)
        if self._weighs:
            target = target * factors(xp, self.pos_weight, output)
        losses = where_any(xp, target, target * xp.logaddexp(-output, zeros))
        losses = losses + where_any(xp, other, other * xp.logaddexp(output, zeros))

        def backprop() -> Array:
            d = other / (1 + xp.exp(-output)) - target / (1 + xp.exp(output))
            return d * share.each(output.shape[-1])

        return share.mean(xp, losses), backprop

    def probabilities(self, xp: Any, output: Array) -> Array:
        return 1 / (1 + xp.exp(-output))


@dataclass(frozen=True)
class Hinge(_Binary):
    """The hinge loss of a support vector machine on margins ``z`` (Cortes and Vapnik 1995).

    ``ℓ = max(0, 1 − s z)``, with ``s = −1`` for the label 0 and 1 for the label 1;
    ``dℓ/dz = −s`` where ``s z < 1``. ``y`` may also hold −1 and 1. There are no probabilities.
    """

    samplewise: ClassVar[bool] = True
    threshold = 0.0
    without_probabilities = "leave it out, or use BCE()"
    probabilistic = False

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        sign = 2 * xp.astype(target, output.dtype) - 1
        short = 1 - sign * output
        zeros = xp.zeros_like(short)
        each = share.each(output.shape[-1])
        value = share.mean(xp, xp.maximum(short, zeros))
        return value, lambda: xp.where(short > 0, -sign, zeros) * each

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        target = super().prepare(backend, shape, y, dtype)
        return target if target.dtype == backend.xp.bool else target > 0

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        xp = backend.xp
        if y.dtype == xp.bool:
            return True
        low = -1 if bool(xp.any(y < 0)) else 0
        right = (y == low) | (y == 1)
        if not bool(xp.all(right)):
            raise ValueError(
                "y must hold the labels 0 and 1, or −1 and 1, "
                f"not {low} and {first_but(backend, y, right)}."
            )
        return True

    def probabilities(self, xp: Any, output: Array) -> Array:
        raise TypeError("Hinge() has margins and no probabilities; train with BCEWithLogits().")
