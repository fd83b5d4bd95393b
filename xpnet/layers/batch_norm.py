"""Normalization of each feature over the samples of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet import checks
from xpnet.layers.base import Backprop, Params, State
from xpnet.layers.norms import Norm
from xpnet.noise import Stream
from xpnet.types import Array


@dataclass(frozen=True)
class BatchNorm(Norm):
    """``y = x̂ · weight + bias`` with ``x̂ = (x − mean) / √(var + ε)``, a feature at a time.

    In training, mean and variance are those of the batch (Ioffe and Szegedy 2015), the variance the
    mean of squares, and the state follows them as PyTorch's does: ``mean ← mean + a (batch mean −
    mean)`` with the momentum ``a``, ``var`` likewise to the unbiased variance ``n / (n − 1)`` of
    it. In inference they are those of the state. Back-propagated, with ``d = dy · weight``:
    ``dx = (d − mean d − x̂ mean(d x̂)) / √(var + ε)`` over the samples, ``dweight = Σ_samples dy x̂``,
    ``dbias = Σ_samples dy``. Sample weights count in the loss, not in the statistics.

    The mean is taken twice, of ``x`` and of what that leaves over, so that features far from 0 lose
    no digits.

    Args:
        features: the number of features of ``x``, ``(..., samples, features)``.
        momentum: ``a``, above 0 and up to 1.
        eps: ``ε``, at least 0.

    Raises:
        TypeError, ValueError: if an argument is none of these; in training, for a batch of one
            sample, which has no variance.
    """

    features: int
    momentum: float = 0.1
    eps: float = 1e-5
    hyperparameters: ClassVar[tuple[str, ...]] = ("momentum", "eps")

    def __post_init__(self) -> None:
        super().__post_init__()
        momentum = checks.number("momentum", self.momentum, above=0, most=1)
        object.__setattr__(self, "momentum", momentum)

    def state(self) -> dict[str, tuple[int, ...]]:
        return {"mean": (1, self.features), "var": (1, self.features)}

    def initial_state(self) -> list[np.ndarray]:
        return [np.zeros((1, self.features)), np.ones((1, self.features))]

    def check_state(self, backend: Any, state: State) -> None:
        var = state[1]
        if not bool(backend.xp.all(var >= 0)):
            raise ValueError(
                "layer_state must hold variances of at least 0 for BatchNorm, not "
                f"{float(backend.to_host(backend.xp.min(var))):.6g}."
            )

    def check_batch(self, samples: int) -> None:
        if samples < 2:
            raise ValueError(
                f"a batch must have at least 2 samples for BatchNorm, since one has no variance, "
                f"not {samples}; choose another batch_size, or leave samples out."
            )

    def forward(  # type: ignore[override]
        self, xp: Any, params: Params, x: Array, state: State, noise: Stream | None
    ) -> tuple[Array, Backprop, State]:
        weight, bias = params
        n = x.shape[-2]
        self.check_batch(n)
        mean = xp.mean(x, axis=-2, keepdims=True)
        distance = x - mean
        rest = xp.mean(distance, axis=-2, keepdims=True)
        mean, distance = mean + rest, distance - rest
        var = xp.mean(distance * distance, axis=-2, keepdims=True)
        scale = 1 / xp.sqrt(var + self.eps)
        normal = distance * scale
        running_mean, running_var = state
        after = (
            running_mean + self.momentum * (mean - running_mean),
            running_var + self.momentum * (var * (n / (n - 1)) - running_var),
        )

        def backprop(dy: Array, need_dx: bool = True) -> tuple[Array | None, Params]:
            dweight = xp.sum(dy * normal, axis=-2, keepdims=True)
            dbias = xp.sum(dy, axis=-2, keepdims=True)
            if not need_dx:
                return None, (dweight, dbias)
            dx = (dy - dbias / n - normal * (dweight / n)) * (weight * scale)
            return dx, (dweight, dbias)

        return normal * weight + bias, backprop, after

    def apply(  # type: ignore[override]
        self, xp: Any, params: Params, x: Array, state: State
    ) -> Array:
        weight, bias = params
        mean, var = state
        return (x - mean) * (weight / xp.sqrt(var + self.eps)) + bias
