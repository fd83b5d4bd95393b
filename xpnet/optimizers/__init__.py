"""The optimizers, in order of complexity. Each is a few operations on whole vectors.

An optimizer is a description, like a layer: it holds no parameters and no moments. ``init(theta)``
makes the state, ``update(theta, grad, state)`` returns the next ``theta`` and state. The state is
consumed (its arrays may be written into): go on with the one that is returned.

``theta`` and ``grad`` are ``(..., size)``. Every hyperparameter (``lr``, ``betas``, ``eps``,
``weight_decay`` …) may also be an array of shape ``(members, 1)``, one value a member; ``lr`` and
``weight_decay`` also a `Schedule`, of the count of steps. Of any optimizer the gradient goes first
through its ``transforms``, and is then clipped, by ``clip_norm`` or ``clip_value``.

Names, defaults and results are those of ``torch.optim``.
"""

from __future__ import annotations

from xpnet.optimizers.adadelta import Adadelta
from xpnet.optimizers.adagrad import AdaGrad
from xpnet.optimizers.adam import Adam, AdamW
from xpnet.optimizers.adamax import Adamax
from xpnet.optimizers.base import Optimizer
from xpnet.optimizers.lion import Lion
from xpnet.optimizers.nadam import NAdam
from xpnet.optimizers.radam import RAdam
from xpnet.optimizers.rmsprop import RMSprop
from xpnet.optimizers.rprop import Rprop
from xpnet.optimizers.schedules import (
    CosineDecay,
    CosineRestarts,
    ExponentialDecay,
    OneCycle,
    PiecewiseConstant,
    PolynomialDecay,
    Schedule,
    StepDecay,
    WarmUp,
)
from xpnet.optimizers.sgd import SGD, Momentum
from xpnet.optimizers.transforms import ClipNorm, ClipValue, Transform

__all__ = [
    "SGD",
    "AdaGrad",
    "Adadelta",
    "Adam",
    "AdamW",
    "Adamax",
    "ClipNorm",
    "ClipValue",
    "CosineDecay",
    "CosineRestarts",
    "ExponentialDecay",
    "Lion",
    "Momentum",
    "NAdam",
    "OneCycle",
    "Optimizer",
    "PiecewiseConstant",
    "PolynomialDecay",
    "RAdam",
    "RMSprop",
    "Rprop",
    "Schedule",
    "StepDecay",
    "Transform",
    "WarmUp",
]
