"""Each of xpnet's layers as a few nodes of ONNX, in inference.

They are arithmetic where an operator of ONNX has no kernel for float64 in onnxruntime, or loses
digits that the layer has not lost.
"""

from __future__ import annotations

from typing import Any

from xpnet.files.onnx import of_tables
from xpnet.files.onnx.graph import Graph, Value, Writer
from xpnet.layers import (
    ELU,
    GELU,
    SELU,
    BatchNorm,
    Dropout,
    Embedding,
    Flatten,
    HardTanh,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    Linear,
    LogSoftmax,
    PReLU,
    ReLU,
    RMSNorm,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Standardize,
    Tanh,
)


def _passing(g: Graph, layer: Layer, x: Value) -> str:
    """What inference leaves as it is."""
    return x.name


def _linear(g: Graph, layer: Layer, x: Value, W: Any, b: Any) -> str:
    product = g.op("MatMul", x.name, g.constant(W.swapaxes(-2, -1), name="W"))
    return g.op("Add", product, g.constant(b, name="b"))


def _embedding(g: Graph, layer: Any, x: Value, weight: Any) -> str:
    ids = g.cast(x.name, "int64")
    vectors = g.op("Gather", g.constant(weight, name="weight"), ids, axis=weight.ndim - 2)
    shape = [*weight.shape[:-2], -1, layer.out_features]
    return g.op("Reshape", vectors, g.constant(shape, "int64", "shape"))


def _standardize(g: Graph, layer: Layer, x: Value, mean: Any, scale: Any) -> str:
    centred = g.op("Sub", x.name, g.constant(mean, name="mean"))
    return g.op("Div", centred, g.constant(scale, name="scale"))


def _batch_norm(g: Graph, layer: Any, x: Value, weight: Any, bias: Any, mean: Any, var: Any) -> str:
    scale = weight / (var + layer.eps) ** 0.5
    scaled = g.op("Mul", g.op("Sub", x.name, g.constant(mean)), g.constant(scale))
    return g.op("Add", scaled, g.constant(bias, name="bias"))


def _layer_norm(g: Graph, layer: Any, x: Value, weight: Any, bias: Any) -> str:
    distance = g.op("Sub", x.name, g.reduced("ReduceMean", x.name, -1))
    return g.op("Add", _rms_norm(g, layer, x._replace(name=distance), weight), g.constant(bias))


def _rms_norm(g: Graph, layer: Any, x: Value, weight: Any) -> str:
    square = g.reduced("ReduceMean", g.op("Mul", x.name, x.name), -1)
    root = g.op("Sqrt", g.op("Add", square, layer.eps))
    return g.op("Mul", g.op("Div", x.name, root), g.constant(weight, name="weight"))


def _leaky_relu(g: Graph, layer: Any, x: Value) -> str:
    return g.op("Max", x.name, g.op("Mul", x.name, layer.negative_slope))


def _prelu(g: Graph, layer: Layer, x: Value, weight: Any) -> str:
    negative = g.op("Mul", g.op("Min", x.name, 0), g.constant(weight, name="weight"))
    return g.op("Add", g.op("Relu", x.name), negative)


def sigmoid(g: Graph, x: str) -> str:
    """``1 / (1 + e⁻ˣ)``: that of onnxruntime ends at 1e-8."""
    return g.op("Div", 1, g.op("Add", g.op("Exp", g.op("Neg", x)), 1))


def _silu(g: Graph, layer: Layer, x: Value) -> str:
    return g.op("Mul", x.name, sigmoid(g, x.name))


def _gelu(g: Graph, layer: Any, x: Value) -> str:
    square = g.op("Min", g.op("Mul", x.name, x.name), layer._most)
    inner = g.op("Mul", g.op("Add", g.op("Mul", square, layer._b), layer._a), x.name)
    return g.op("Mul", x.name, sigmoid(g, inner))


def _hard_tanh(g: Graph, layer: Any, x: Value) -> str:
    return g.op("Min", g.op("Max", x.name, layer.min_val), layer.max_val)


def _softplus(g: Graph, layer: Any, x: Value) -> str:
    # log(1 + e) with e = exp(−|x|), of which 1 + e loses digits: Kahan's log(u) · e / (u − 1).
    scaled = g.op("Mul", x.name, layer.beta)
    e = g.op("Exp", g.op("Neg", g.op("Abs", scaled)))
    u = g.op("Add", e, 1)
    past = g.op("Sub", u, 1)
    lost = g.op("Equal", past, 0)
    ratio = g.op("Div", e, g.op("Where", lost, g.constant(1), past))
    log = g.op("Where", lost, e, g.op("Mul", g.op("Log", u), ratio))
    return g.op("Div", g.op("Add", g.op("Relu", scaled), log), layer.beta)


def _exponential(g: Graph, layer: Any, x: Value) -> str:
    # eˣ − 1 for x ≤ 0 as 2 tanh(x/2) / (1 − tanh(x/2)), which loses no digits near 0.
    scale, alpha = layer.numbers
    half = g.op("Tanh", g.op("Mul", g.op("Min", x.name, 0), 0.5))
    less = g.op("Div", g.op("Mul", half, 2), g.op("Sub", 1, half))
    return g.op("Add", g.op("Mul", g.op("Relu", x.name), scale), g.op("Mul", less, alpha))


def _plainly(kind: str, **attributes: Any) -> Writer:
    """What is an operator of ONNX."""
    return lambda g, layer, x: g.op(kind, x.name, **attributes)


WRITERS: dict[type[Layer], Writer] = {
    Linear: _linear,
    Embedding: _embedding,
    Standardize: _standardize,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    RMSNorm: _rms_norm,
    PReLU: _prelu,
    LeakyReLU: _leaky_relu,
    ReLU: _plainly("Relu"),
    Tanh: _plainly("Tanh"),
    Sigmoid: lambda g, layer, x: sigmoid(g, x.name),
    SiLU: _silu,
    GELU: _gelu,
    HardTanh: _hard_tanh,
    Softplus: _softplus,
    ELU: _exponential,
    SELU: _exponential,
    Softmax: _plainly("Softmax", axis=-1),
    LogSoftmax: _plainly("LogSoftmax", axis=-1),
    Identity: _passing,
    Dropout: _passing,
    Flatten: _passing,
    **of_tables.WRITERS,
}
"""How each layer is written; what is not here is run on ndonnx."""
