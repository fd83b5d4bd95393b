"""The parameters that both estimators have, and what each may be."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from xpnet.estimators.building import NAMED, NORMS
from xpnet.layers import Layer
from xpnet.losses import Loss
from xpnet.optimizers import Optimizer, Schedule
from xpnet.tables.network import ARCHITECTURES, EMBEDDINGS

OF_SKLEARN: dict[str, list[Any]] = {
    "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
    "activation": [StrOptions(set(NAMED)), Layer, list, tuple],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"}), Optimizer],
    "alpha": [Interval(Real, 0, None, closed="left")],
    "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule],
    "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
    "power_t": [Interval(Real, 0, None, closed="left")],
    "max_iter": [Interval(Integral, 1, None, closed="left")],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [Interval(Real, 0, None, closed="left")],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "beta_1": [Interval(Real, 0, 1, closed="left")],
    "beta_2": [Interval(Real, 0, 1, closed="left")],
    "epsilon": [Interval(Real, 0, None, closed="neither")],
    "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
    "max_fun": [Interval(Integral, 1, None, closed="left")],
}
"""Those of ``sklearn.neural_network``; activation, solver and learning rate may be xpnet's own."""

OF_XPNET: dict[str, list[Any]] = {
    "dropout": [Interval(Real, 0, 1, closed="left")],
    "norm": [StrOptions(set(NORMS)), None],
    "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
    "members": [Interval(Integral, 1, None, closed="left"), None],
    "architecture": [StrOptions(set(ARCHITECTURES))],
    "numerical_embedding": [StrOptions(set(EMBEDDINGS)), None],
    "callbacks": [list, tuple, None],
    "device": [str, None],
    "dtype": [StrOptions({"float32", "float64"}), type, np.dtype, None],
}
"""Those beyond, whose defaults change nothing."""

CLASSES: dict[str, list[Any]] = {
    "loss": [StrOptions({"log_loss"}), Loss],
    "class_weight": [StrOptions({"balanced"}), dict, None],
}
NUMBERS: dict[str, list[Any]] = {
    "loss": [
        StrOptions({"squared_error", "poisson", "absolute_error", "huber", "quantile"}),
        Loss,
    ],
    "quantile": [Interval(Real, 0, 1, closed="both")],
}
