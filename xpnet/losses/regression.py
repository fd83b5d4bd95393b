"""Losses of regression."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from xpnet import backends, checks
from xpnet.losses.base import Loss, check_not_negative, check_outputs, factors, per_output
from xpnet.losses.share import Share
from xpnet.types import Array


@dataclass(frozen=True)
class MSE(Loss):
    """Mean squared error: ``ℓ = (output − y)²``, ``dℓ/d output = 2 (output − y)``."""

    samplewise: ClassVar[bool] = True

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        each = share.each(output.shape[-1])
        return share.mean(xp, r * r), lambda: r * (2 * each)


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
        object.__setattr__(self, "delta", checks.number("delta", self.delta, above=0))

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        c = xp.minimum(xp.maximum(r, -self.delta), self.delta)
        each = share.each(output.shape[-1])
        return share.mean(xp, c * (r - 0.5 * c)), lambda: c * each


@dataclass(frozen=True)
class L1(Loss):
    """Mean absolute error, as ``torch.nn.L1Loss``: ``ℓ = |r|``, ``r = output − y``.

    ``dℓ/dr = sign r``, and 0 at 0.
    """

    samplewise: ClassVar[bool] = True

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        each = share.each(output.shape[-1])
        return share.mean(xp, xp.abs(r)), lambda: xp.sign(r) * each


@dataclass(frozen=True)
class Quantile(Loss):
    """Quantile or pinball loss (Koenker and Bassett 1978): ``ℓ = max(q u, (q − 1) u)``.

    With ``u = y − output``; its minimum is the ``q``-quantile of ``y``. ``dℓ/d output`` is ``−q``
    for ``u > 0``, ``1 − q`` for ``u < 0``, and the mean of both at 0. With ``q = ½`` it is half of
    `L1`.

    Args:
        q: from 0 to 1, or one an output.
    """

    samplewise: ClassVar[bool] = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("q",)
    q: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "q", per_output("q", self.q, least=0, most=1))

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        r = output - target
        slope = 0.5 * xp.sign(r) + (0.5 - factors(xp, self.q, output))
        each = share.each(output.shape[-1])
        return share.mean(xp, slope * r), lambda: slope * each

    def prepare(
        self, backend: backends.Backend, shape: tuple[int, ...], y: Array, dtype: Any
    ) -> Array:
        check_outputs("q", self.q, shape[-1])
        return super().prepare(backend, shape, y, dtype)


@dataclass(frozen=True)
class Poisson(Loss):
    """Negative log likelihood of counts, as ``torch.nn.PoissonNLLLoss``.

    ``ℓ = exp z − y z`` for outputs ``z`` that are the logarithms of rates, ``dℓ/dz = exp z − y``;
    else ``ℓ = λ − y log(λ + ε)`` for outputs ``λ``, ``dℓ/dλ = 1 − y / (λ + ε)``. Without
    ``log y!``, which no output changes; with ``full`` by Stirling's formula,
    ``y log y − y + ½ log 2πy`` for ``y > 1``; as ``deviance`` with ``y log y − y``, so that it is 0
    where the rate is ``y``: half of the Poisson deviance.

    ``predict`` gives the rates.

    Args:
        log_input: whether outputs are logarithms.
        full: as above.
        eps: ``ε``, at least 0, where outputs are rates.
        deviance: as above, and not with ``full``.
    """

    samplewise: ClassVar[bool] = True
    log_input: bool = True
    full: bool = False
    eps: float = 1e-8
    deviance: bool = False

    def __post_init__(self) -> None:
        checks.switch("log_input", self.log_input)
        checks.switch("full", self.full)
        if checks.switch("deviance", self.deviance) and self.full:
            raise ValueError("deviance must be False where full is True, not True.")
        object.__setattr__(self, "eps", checks.number("eps", self.eps, least=0))

    def forward(
        self, xp: Any, output: Array, target: Array, share: Share
    ) -> tuple[Array, Callable[[], Array]]:
        each = share.each(output.shape[-1])
        if self.log_input:
            rate = xp.exp(output)
            losses, slope = rate - target * output, rate - target
        else:
            shifted = output + self.eps
            losses, slope = output - target * xp.log(shifted), 1 - target / shifted
        if self.full:
            y = xp.maximum(target, xp.ones_like(target))
            stirling = y * xp.log(y) - y + 0.5 * xp.log(2 * math.pi * y)
            losses = losses + xp.where(target > 1, stirling, xp.zeros_like(y))
        if self.deviance:
            ones = xp.ones_like(target)
            losses = losses + target * (xp.log(xp.where(target > 0, target, ones)) - 1)
        return share.mean(xp, losses), lambda: slope * each

    def predict(self, xp: Any, output: Array) -> Array:
        return xp.exp(output) if self.log_input else output

    def check_values(self, backend: backends.Backend, shape: tuple[int, ...], y: Array) -> bool:
        return check_not_negative(backend, y, "counts or rates")

    def check_output(self, backend: backends.Backend, compute: Callable[[], Array]) -> None:
        if self.log_input:
            return
        low = float(backend.to_host(backend.xp.min(compute())))
        if low < 0:
            raise ValueError(
                f"loss {self!r} needs outputs of at least 0, not from {low:.3g}; end the network "
                "with Softplus(), or use log_input=True."
            )
