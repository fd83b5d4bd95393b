"""What an estimator trains, of its parameters: layers, and an optimizer."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

from xpnet import checks
from xpnet.initializers import UniformOfFans
from xpnet.layers import (
    ACTIVATIONS,
    BatchNorm,
    Dropout,
    Layer,
    LayerNorm,
    Linear,
    LinearBatchEnsemble,
    LinearEnsemble,
    PReLU,
    Repeat,
    RMSNorm,
    Sigmoid,
)
from xpnet.network import Sequential
from xpnet.optimizers import SGD, Adam, Optimizer, Schedule
from xpnet.tables.network import front

SUBMODELS, DIM, BINS = 16, 8, 16
"""How many networks share weights where nobody says; of a number that is embedded, the length of
its vector and how many pieces it has."""

NAMED: dict[str, type[Layer]] = {**ACTIVATIONS, "logistic": Sigmoid}
"""The activations by their names: scikit-learn's and those of xpnet's command line."""

NORMS: dict[str, type[Layer]] = {"batch": BatchNorm, "layer": LayerNorm, "rms": RMSNorm}
"""What may stand between a hidden layer and its activation, by name."""


def hidden_sizes(given: Any) -> list[int]:
    """The widths of the hidden layers, of what is given for ``hidden_layer_sizes``.

    Raises:
        ValueError: if one is not above 0.
    """
    sizes = [given] if isinstance(given, Integral) else list(given)
    if any(size <= 0 for size in sizes):
        raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
    return [int(size) for size in sizes]


def layers(estimator: Any, features: int, outputs: int) -> list[Layer]:
    """The layers from the features to the outputs, whose meaning is the loss's."""
    if estimator.architecture == "tabm":
        return _of_submodels(estimator, features, outputs)
    sizes = hidden_sizes(estimator.hidden_layer_sizes)
    found, width = _read(estimator, features)
    activations = _activations(estimator.activation, len(sizes))
    norm = estimator.norm
    for size, activation in zip(sizes, activations, strict=False):
        init = _drawn_for(activation)
        found.append(Linear(width, size, init, init))
        if norm is not None:
            found.append(NORMS[checks.one_of("norm", norm, NORMS)](size))  # type: ignore[call-arg]
        found.append(activation)
        if estimator.dropout:
            found.append(Dropout(estimator.dropout))
        width = size
    init = _drawn_for(activations[-1])
    return [*found, Linear(width, outputs, init, init)]


def _read(estimator: Any, features: int) -> tuple[list[Layer], int]:
    """What reads the samples, and how many features it makes of them."""
    if estimator.numerical_embedding is None:
        return [], features
    layers, groups = front(features, (), estimator.numerical_embedding, DIM, BINS)
    return layers, sum(groups)


def _of_submodels(estimator: Any, features: int, outputs: int) -> list[Layer]:
    """The same for networks that share their weights, their outputs beside one another."""
    if estimator.norm is not None:
        raise ValueError(
            f"norm must be None for architecture='tabm', not {checks.shown(estimator.norm)}."
        )
    sizes, k = hidden_sizes(estimator.hidden_layer_sizes), submodels(estimator)
    found, width = _read(estimator, features)
    vectors = (DIM,) * features if found else ()
    found.append(Repeat(width, k))
    activations = _activations(estimator.activation, len(sizes))
    for i, (size, activation) in enumerate(zip(sizes, activations, strict=False)):
        apart = ("normal" if vectors else "signs", vectors) if i == 0 else ()
        found += [LinearBatchEnsemble(width, size, k, *apart), activation]
        found += [Dropout(estimator.dropout)] if estimator.dropout else []
        width = size
    return [*found, LinearEnsemble(width, outputs, k)]


def submodels(estimator: Any) -> int:
    """How many networks share their weights, where the ``architecture`` has them do so."""
    return int(estimator.members or SUBMODELS)


def statistics(estimator: Any, network: Sequential, theta: Any, samples: Any) -> Any:
    """The state of layers that is of the samples; ``None`` where there is none such.

    Raises:
        ValueError: if these are sparse.
    """
    if not network.reads_statistics:
        return None
    if hasattr(samples.x, "toarray"):
        raise ValueError(
            "numerical_embedding must be None for X that is sparse, whose quantiles are those of "
            f"all its zeros, not {estimator.numerical_embedding!r}."
        )
    weight = None if samples.weight is None else samples.weight[:, 0]
    return network.init_state(
        like=theta, members=estimator._apart, x=samples.x, sample_weight=weight
    )


def _activations(given: Any, count: int) -> list[Layer]:
    """The activation of each hidden layer, at least one: also without any it is asked for."""
    if isinstance(given, (str, Layer)):
        return [activation_of("activation", given)] * max(count, 1)
    if not isinstance(given, Sequence) or len(given) != max(count, 1):
        raise ValueError(
            f"activation must be a name, a layer, or hold one for each of the {count} hidden "
            f"layers, not {checks.shown(given)}."
        )
    return [activation_of(f"activation[{i}]", one) for i, one in enumerate(given)]


def activation_of(name: str, given: Any) -> Layer:
    """An activation by its name or as a layer, or raise."""
    if isinstance(given, str):
        return NAMED[checks.one_of(name, given, NAMED)]()
    checks.instance(name, given, Layer, "a name or an activation such as GELU()")
    layer: Layer = given
    if layer.parameters() and not isinstance(layer, PReLU):
        raise ValueError(
            f"{name} must be an activation without parameters, or PReLU, not {checks.shown(given)}."
        )
    return layer


def _drawn_for(activation: Layer) -> UniformOfFans:
    """How scikit-learn draws the parameters of a layer in front of it."""
    return UniformOfFans(2.0 if isinstance(activation, Sigmoid) else 6.0)


def optimizer(estimator: Any) -> Optimizer:
    """The optimizer that a ``solver`` stands for; one of xpnet's own as it is."""
    solver, clips = estimator.solver, {"clip_norm": estimator.clip_norm}
    if isinstance(solver, Optimizer):
        return solver
    rate, lr = estimator.learning_rate, estimator.learning_rate_init
    lr = rate if isinstance(rate, Schedule) else lr
    if solver == "adam":
        betas = (estimator.beta_1, estimator.beta_2)
        return Adam(lr, betas, estimator.epsilon, eps_hat=True, **clips)
    momentum = estimator.momentum
    nesterov = bool(estimator.nesterovs_momentum and momentum)
    return SGD(lr, momentum, nesterov=nesterov, **clips)
