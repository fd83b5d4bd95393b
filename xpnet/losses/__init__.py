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

from xpnet.losses.base import Loss, evaluate, looks, prepare, prepare_weight, without
from xpnet.losses.binary import BCE, BCEWithLogits, Hinge
from xpnet.losses.categorical import KL, CrossEntropy
from xpnet.losses.ensemble import EnsembleLoss
from xpnet.losses.regression import L1, MSE, Huber, Poisson, Quantile
from xpnet.losses.scaled import Scaled
from xpnet.losses.share import Share

__all__ = [
    "BCE",
    "KL",
    "L1",
    "MSE",
    "BCEWithLogits",
    "CrossEntropy",
    "EnsembleLoss",
    "Hinge",
    "Huber",
    "Loss",
    "Poisson",
    "Quantile",
    "Scaled",
    "Share",
    "evaluate",
    "looks",
    "prepare",
    "prepare_weight",
    "without",
]
