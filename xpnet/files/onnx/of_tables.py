"""The layers of networks for tables as nodes of ONNX: vectors of numbers, columns, submodels.

Arrays within have the samples where ONNX's products of matrices want them, which is not where the
layers have them: ``(..., features, samples, components)``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.files.onnx.graph import Graph, Value, Writer
from xpnet.layers import (
    Layer,
    LinearBatchEnsemble,
    LinearEnsemble,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Repeat,
    RobustScale,
)
from xpnet.layers.robust_scale import FAR


def reshaped(g: Graph, x: str, lead: tuple[int, ...], *own: int) -> str:
    """``(..., samples, own)``, of so many members."""
    return g.op("Reshape", x, g.constant([*lead, -1, *own], "int64", "shape"))


def _swapped(g: Graph, x: str, axes: int, first: int, second: int) -> str:
    """Two axes, counted from the end, in each other's place."""
    order = list(range(axes))
    order[first], order[second] = order[second], order[first]
    return g.op("Transpose", x, perm=order)


def _lead(x: Value, *arrays: Any) -> tuple[int, ...]:
    """The members of what comes of these, whose own axes are two."""
    found = [array.shape[0] for array in arrays if array.ndim == 3]
    return tuple(found[:1] or ([] if x.members is None else [x.members]))


def _columns(g: Graph, x: Value) -> str:
    """``(..., samples, features)`` as ``(..., features, samples, 1)``."""
    axes = 2 if x.members is None else 3
    return g.op("Unsqueeze", _swapped(g, x.name, axes, -2, -1), g.constant([-1], "int64", "axes"))


def _of_columns(g: Graph, y: str, lead: tuple[int, ...], features: int) -> str:
    """``(..., features, samples, components)`` as ``(..., samples, features · components)``."""
    return reshaped(g, _swapped(g, y, len(lead) + 3, -3, -2), lead, features)


def _each(array: Any) -> Any:
    """``(..., features, components)`` as ``(..., features, 1, components)``."""
    return array[..., None, :]


def _matrices(W: Any, features: int) -> Any:
    """``(..., features · rows, columns)`` as the matrix ``(..., features, columns, rows)``."""
    return W.reshape(*W.shape[:-2], features, -1, W.shape[-1]).swapaxes(-2, -1)


def _piecewise(
    g: Graph, layer: Any, x: Value, weight: Any, bias: Any, W: Any, low: Any, slope: Any
) -> str:
    numbers = _columns(g, x)
    along = g.op("Mul", g.op("Sub", numbers, g.constant(_each(low))), g.constant(_each(slope)))
    pieces = g.op("Min", g.op("Max", along, 0), 1)
    y = g.op("MatMul", pieces, g.constant(_matrices(W, layer.features)))
    y = g.op("Add", y, g.op("Mul", numbers, g.constant(_each(weight))))
    y = g.op("Add", y, g.constant(_each(bias)))
    return _of_columns(g, y, _lead(x, W), layer.out_features)


def _periodic(g: Graph, layer: Any, x: Value, frequency: Any, phase: Any, W: Any, bias: Any) -> str:
    numbers, lead = _columns(g, x), _lead(x, W)
    # cos z = 1 − 2 sin²(z/2): onnxruntime has no cosine of float64.
    half = g.op("Mul", numbers, g.constant(_each(math.pi * frequency)))
    sine = g.op("Sin", g.op("Add", half, g.constant(_each(phase / 2))))
    waves = g.op("Sub", 1, g.op("Mul", g.op("Mul", sine, sine), 2))
    y = g.op("MatMul", waves, g.constant(_matrices(W, layer.features)))
    y = g.op("Add", y, g.constant(_each(bias)))
    if lead and x.members is None:  # samples that the members share
        numbers = g.op("Add", numbers, g.constant(np.zeros((*lead, 1, 1, 1))))
    return _of_columns(g, g.op("Concat", numbers, y, axis=-1), lead, layer.out_features)


def _robust_scale(g: Graph, layer: Any, x: Value, median: Any, spread: Any) -> str:
    z = g.op("Div", g.op("Sub", x.name, g.constant(median)), g.constant(spread))
    if layer.clip is None:
        return z
    z = g.op("Min", g.op("Max", z, -layer.clip * FAR), layer.clip * FAR)
    part = g.op("Mul", z, 1 / layer.clip)
    return g.op("Div", z, g.op("Sqrt", g.op("Add", g.op("Mul", part, part), 1)))


def _repeat(g: Graph, layer: Any, x: Value) -> str:
    return g.op("Concat", *[x.name] * layer.k, axis=-1)


def _row(array: Any) -> Any:
    """``(..., k, n)`` as ``(..., 1, k · n)``."""
    return array.reshape(*array.shape[:-2], 1, -1)


def _shared(g: Graph, layer: Any, x: Value, W: Any, r: Any, s: Any, b: Any) -> str:
    lead = _lead(x, W)
    rows = reshaped(g, g.op("Mul", x.name, g.constant(_row(r))), lead, layer.fan_in)
    product = g.op("MatMul", rows, g.constant(W.swapaxes(-2, -1), name="W"))
    y = g.op("Mul", reshaped(g, product, lead, layer.out_features), g.constant(_row(s)))
    return g.op("Add", y, g.constant(_row(b), name="b"))


def _own(g: Graph, layer: Any, x: Value, W: Any, b: Any) -> str:
    lead, axes = _lead(x), 3 if x.members is None else 4
    each = _swapped(g, reshaped(g, x.name, lead, layer.k, layer.fan_in), axes, -3, -2)
    y = g.op("MatMul", each, g.constant(_matrices(W, layer.k), name="W"))
    y = _of_columns(g, y, _lead(x, W), layer.out_features)
    return g.op("Add", y, g.constant(b, name="b"))


WRITERS: dict[type[Layer], Writer] = {
    PiecewiseLinearEmbedding: _piecewise,
    PeriodicEmbedding: _periodic,
    RobustScale: _robust_scale,
    Repeat: _repeat,
    LinearBatchEnsemble: _shared,
    LinearEnsemble: _own,
}
