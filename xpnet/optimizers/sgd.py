"""Gradient descent, and momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

from xpnet import checks
from xpnet.optimizers.base import Optimizer, Shared, signed, zeros
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class SGD(Optimizer):
    """Gradient descent, with momentum if asked (Sutskever et al. 2013), as ``torch.optim.SGD``.

    ``g = ∇L + λ θ``; without momentum ``θ ← θ − lr g``. With momentum ``μ``:
    ``v ← μ v + (1 − τ) g`` (``v ← g`` at the first step), ``θ ← θ − lr v``, or, with Nesterov's,
    ``θ ← θ − lr (g + μ v)``.

    Args:
        lr: the learning rate, at least 0.
        momentum: ``μ``, at least 0.
        dampening: ``τ``.
        weight_decay: ``λ``, at least 0.
        nesterov: look ahead; needs momentum, and no dampening.
        maximize: climb instead.
    """

    derived = ("1 - dampening",)

    lr: Number = 1e-2
    momentum: Number = 0.0
    dampening: float = 0.0
    weight_decay: Number = 0.0
    nesterov: bool = False
    maximize: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "momentum", "weight_decay", least=0)
        object.__setattr__(self, "dampening", checks.number("dampening", self.dampening))
        self._require_switches("nesterov", "maximize")
        if self.nesterov and (not self._has_momentum or self.dampening != 0):
            raise ValueError(
                "nesterov=True needs a momentum above 0 and no dampening, "
                f"not momentum={checks.shown(self.momentum)} and dampening={self.dampening!r}."
            )

    @property
    def _has_momentum(self) -> bool:
        return checks.is_array(self.momentum) or self.momentum != 0

    def init_state(self, xp: Any, theta: Array) -> State:
        if not self._has_momentum:
            return {}
        return zeros(xp, theta, ["v"])

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h, step = self.given(state), state["step"]
        grad = signed(grad, theta, h.weight_decay, self.maximize)
        if not self._has_momentum:
            return theta - h.lr * grad, state
        v, momentum = state["v"], h.momentum
        v *= momentum
        if self.dampening != 0:
            # The first gradient is taken whole, as torch does.
            first, later = (xp.astype(is_so, theta.dtype) for is_so in (step == 1, step > 1))
            v += (first + h.one_minus("dampening") * later) * grad
        else:
            v += grad
        state = {**state, "v": v}
        return theta - h.lr * (grad + momentum * v if self.nesterov else v), state


def Momentum(
    lr: Number = 1e-2,
    momentum: Number = 0.9,
    dampening: float = 0.0,
    weight_decay: Number = 0.0,
    nesterov: bool = False,
    maximize: bool = False,
    **shared: Unpack[Shared],
) -> SGD:
    """`SGD` with momentum, 0.9 unless told otherwise."""
    return SGD(lr, momentum, dampening, weight_decay, nesterov, maximize, **shared)
