"""What the output of a network means, by its loss: probabilities, labels, predictions."""

from __future__ import annotations

from typing import Any

from xpnet import checks
from xpnet.files.onnx.graph import Graph, Typed, Value
from xpnet.files.onnx.layers import sigmoid
from xpnet.files.onnx.of_tables import reshaped
from xpnet.files.onnx.traced import traced, traced_value
from xpnet.layers.checked import named
from xpnet.losses import (
    BCE,
    KL,
    L1,
    MSE,
    BCEWithLogits,
    CrossEntropy,
    EnsembleLoss,
    Hinge,
    Huber,
    Loss,
    Poisson,
    Quantile,
    Scaled,
)

THRESHOLDS: dict[type[Loss], float] = {BCE: 0.5, BCEWithLogits: 0.5, Hinge: 0.0}
"""Above what the label is 1, of what is averaged: probabilities or margins."""

KNOWN = {*THRESHOLDS, CrossEntropy, MSE, L1, Huber, Quantile, Poisson, KL}
"""Losses of which is known what outputs of any axes mean."""


def meaning(graph: Graph, loss: Loss | None, y: Value, average: bool) -> list[Typed]:
    """Have the graph give what the loss makes of the output.

    Raises:
        ValueError: if a loss of somebody's own is to label a mean.
    """
    graph.scope = "loss"
    average = average and y.members is not None
    loss = loss.loss if type(loss) is Scaled else loss
    if loss is None or not loss.classifies:
        found, _ = _numbers(graph, loss, y)
        return [_given(graph, "prediction", _mean(graph, found, average))]
    numbers, of_mean = _numbers(graph, loss, y)
    numbers = _mean(graph, numbers, average)
    of_mean = of_mean or average
    inner = loss.loss if type(loss) is EnsembleLoss else loss
    label, shape = _label(graph, inner, numbers if of_mean else y, of_mean)
    graph.cast(label, "int64", "label")
    what = "probabilities" if loss.probabilistic else "margin"
    return [_given(graph, what, numbers), ("label", "int64", shape)]


def _numbers(graph: Graph, loss: Loss | None, y: Value) -> tuple[Value, bool]:
    """Probabilities, margins or predictions, and whether they are a mean of submodels."""
    if type(loss) is not EnsembleLoss:
        if loss is None or not loss.classifies:
            return _predicted(graph, loss, y), False
        return (_probabilities(graph, loss, y) if loss.probabilistic else y), False
    if type(loss.loss) not in KNOWN:
        raise ValueError(
            f"loss must be one of xpnet's own within an EnsembleLoss, to be exported, not "
            f"{checks.shown(loss.loss)}."
        )
    lead = () if y.members is None else (y.members,)
    outputs = int(y.features or 0) // loss.k
    each = y._replace(name=reshaped(graph, y.name, lead, loss.k, outputs))
    found, _ = _numbers(graph, loss.loss, each)
    mean = graph.reduced("ReduceMean", found.name, -2, False)
    return Value(mean, outputs, y.members), True


def _mean(graph: Graph, value: Value, average: bool) -> Value:
    """The mean of members, if it is asked for."""
    if not average:
        return value
    return value._replace(name=graph.reduced("ReduceMean", value.name, 0, False), members=None)


def _given(graph: Graph, what: str, value: Value) -> Typed:
    """Name an output."""
    graph.op("Identity", value.name, output=what)
    return what, graph.dtype.name, _shape(value)


def _shape(value: Value) -> list[Any]:
    return [*([] if value.members is None else [value.members]), "samples", value.features]


def _predicted(graph: Graph, loss: Loss | None, y: Value) -> Value:
    if loss is None or type(loss).predict is Loss.predict:
        return y
    if type(loss) is Poisson:
        return y._replace(name=graph.op("Exp", y.name)) if loss.log_input else y
    return traced_value(graph, named(loss), loss.predict, y)


def _probabilities(graph: Graph, loss: Loss, y: Value) -> Value:
    if type(loss) is BCE:
        return y
    if type(loss) is BCEWithLogits:
        return y._replace(name=sigmoid(graph, y.name))
    if type(loss) is CrossEntropy:
        return y._replace(name=graph.op("Softmax", y.name, axis=-1))
    return traced_value(graph, named(loss), loss.probabilities, y)


def _label(graph: Graph, loss: Loss, of: Value, average: bool) -> tuple[str, list[Any]]:
    """The label of an output, or of the mean of probabilities or margins."""
    if type(loss) is CrossEntropy:
        return graph.op("ArgMax", of.name, axis=-1, keepdims=0), _shape(of)[:-1]
    if type(loss) in THRESHOLDS:
        threshold = THRESHOLDS[type(loss)] if average else loss.threshold  # type: ignore[attr-defined]
        return graph.op("Greater", of.name, threshold), _shape(of)
    if average:
        raise ValueError(
            f"average must be False for {checks.shown(loss)}, since nobody knows which label a "
            "mean of members has."
        )
    return traced(graph, named(loss), loss.predict, of)
