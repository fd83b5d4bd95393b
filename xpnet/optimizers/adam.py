"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Unpack

from xpnet.optimizers.base import Shared, decayed, zeros
from xpnet.optimizers.betas import WithBetas, correction
from xpnet.optimizers.hyperparameters import Number, State
from xpnet.types import Array


@dataclass(frozen=True, eq=False, repr=False)
class Adam(WithBetas):
    """Adam (Kingma and Ba 2015, report figure 2.4), as ``torch.optim.Adam``.

    ``m ← β₁ m + (1 − β₁) g``, ``v ← β₂ v + (1 − β₂) g²``, ``m̂ = m / (1 − β₁ᵗ)``,
    ``v̂ = v / (1 − β₂ᵗ)``, ``θ ← θ − lr m̂ / (√v̂ + ε)``; with AMSGrad (Reddi et al. 2018) the
    greatest ``v`` so far in place of ``v``; with decoupled weight decay (AdamW, Loshchilov and
    Hutter 2019) ``θ ← θ − lr λ θ`` before, instead of ``g ← g + λ θ``.

    The state holds ``m / (1 − β₁)``, and the corrections are folded into two numbers a step: the
    same result, in 11 passes over the vector instead of 14. ``v`` is held as it is: undivided, it
    would overflow at gradients ``1 / √(1 − β₂)`` times smaller.

    Args:
        lr: the learning rate, at least 0.
        betas: ``(β₁, β₂)``, each from 0 and below 1.
        eps: ``ε``, outside the root, at least 0.
        weight_decay: ``λ``, at least 0.
        amsgrad, maximize, decoupled_weight_decay: as above.
        eps_hat: whether ``ε`` is the paper's ``ε̂``, as in Keras and scikit-learn:
            ``θ ← θ − lr √(1 − β₂ᵗ) / (1 − β₁ᵗ) · m / (√v + ε̂)``.
    """

    derived = ("1 - beta1", "log beta1", "1 - beta2", "log beta2")

    lr: Number = 1e-3
    betas: tuple[Number, Number] = (0.9, 0.999)
    eps: Number = 1e-8
    weight_decay: Number = 0.0
    amsgrad: bool = False
    maximize: bool = False
    decoupled_weight_decay: bool = False
    eps_hat: bool = False

    def __post_init__(self) -> None:
        self._require("lr", "eps", "weight_decay", least=0)
        self._require_switches("amsgrad", "maximize", "decoupled_weight_decay", "eps_hat")
        self._require_betas()

    def init_state(self, xp: Any, theta: Array) -> State:
        return zeros(xp, theta, ["m", "v", *["v_max"] * self.amsgrad])

    def step(self, xp: Any, theta: Array, grad: Array, state: State) -> tuple[Array, State]:
        h = self.given(state)
        theta, grad = decayed(h, theta, grad, self.decoupled_weight_decay, self.maximize)
        m, v = state["m"], state["v"]
        m *= h.beta1
        m += grad
        v *= h.beta2
        v += h.one_minus("beta2") * grad * grad
        state = {**state, "m": m, "v": v}
        if self.amsgrad:
            v = xp.maximum(state["v_max"], v)
            state["v_max"] = v
        t = xp.astype(state["step"], theta.dtype)
        # m̂ / (√v̂ + ε) = rate · m' / (√v + root · ε) for m' as it is kept.
        root = xp.sqrt(correction(xp, h.log_of("beta2"), t))
        rate = h.lr * (h.one_minus("beta1") / correction(xp, h.log_of("beta1"), t)) * root
        d = xp.sqrt(v)
        d += h.eps if self.eps_hat else h.eps * root
        d = m / d
        d *= rate
        return theta - d, state


def AdamW(
    lr: Number = 1e-3,
    betas: tuple[Number, Number] = (0.9, 0.999),
    eps: Number = 1e-8,
    weight_decay: Number = 1e-2,
    amsgrad: bool = False,
    maximize: bool = False,
    **shared: Unpack[Shared],
) -> Adam:
    """`Adam` with decoupled weight decay (Loshchilov and Hutter 2019), as ``torch.optim.AdamW``."""
    return Adam(lr, betas, eps, weight_decay, amsgrad, maximize, True, **shared)
