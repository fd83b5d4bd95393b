"""`export_onnx`: what a model predicts as a graph of ONNX, which many programs run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from xpnet import backends, checks
from xpnet.files import tensors
from xpnet.files.onnx.graph import Graph, Typed, Value
from xpnet.files.onnx.layers import WRITERS
from xpnet.files.onnx.meaning import meaning
from xpnet.files.onnx.traced import traced_value
from xpnet.layers import Flatten, Layer, Residual
from xpnet.layers.base import apply
from xpnet.layers.chain import Chain
from xpnet.model import Model

MOST = 2**31 - 2**20
"""How many bytes a file of ONNX may have, less what is said beside the parameters."""


def export_onnx(
    model: Model, path: str | Path, *, opset: int | None = None, average: bool = True
) -> None:
    """Write what a model predicts into a file of ONNX, for onnxruntime and many others.

    The input is ``x``, ``(samples, features)`` of the dtype of ``theta``, any number of samples; in
    front of a `Flatten`, samples of its shape. All that belongs to the model is in the graph:
    `Standardize` with its statistics, the running means of `BatchNorm`. The outputs are

    - ``probabilities``, as `Model.predict_proba` has them, and ``label`` in int64, as
      `Model.predict`, where the loss tells classes apart by probabilities;
    - ``margin``, the output, and ``label`` for `Hinge`;
    - ``prediction``, as `Model.predict`, for all others, and where the loss is ``None``.

    Args:
        model: the model. Layers and losses of one's own are run on ndonnx to write down what they
            do, so that they may use what that has of the array API standard, and ask neither for
            values nor for the number of samples.
        path: the file, such as ``"model.onnx"``; there whole, or as it was before.
        opset: which version of ONNX's operators, at least 18; ``None`` for that, or what ndonnx
            needs.
        average: whether of an ensemble the mean of all members' probabilities, margins or
            predictions is given, and the label of that; else all of them, ``(members, …)``.

    Raises:
        TypeError, ValueError: if an argument is not as described, or the model is too large.
        ImportError: if onnx is not installed, or ndonnx where it is needed.
        OSError: if it cannot be written.
    """
    checks.instance("model", model, Model, "a Model")
    checks.switch("average", average)
    wanted = None if opset is None else checks.whole("opset", opset, least=18)
    backend = backends.of(model.theta)
    host = backend.to_host(model.theta)
    if host.nbytes > MOST:
        raise ValueError(
            f"model must have parameters of less than 2 GiB, for ONNX, not of {host.nbytes} bytes."
        )
    graph = Graph(host.dtype.name)
    x, y = _output(graph, model, host)
    outputs = meaning(graph, model.loss, y, average)
    most = graph.onnx.defs.onnx_opset_version()
    if wanted is not None and not graph.opset <= wanted <= most:
        raise ValueError(
            f"opset must be from {graph.opset}, which this model needs, to {most}, which the "
            f"package onnx knows, not {wanted}."
        )
    made = _made(graph, model, x, outputs, wanted or graph.opset).SerializeToString()
    tensors.replaced(path, lambda part: part.write_bytes(made))


def _output(graph: Graph, model: Model, theta: np.ndarray) -> tuple[Typed, Value]:
    """What goes in, and the output of the network."""
    network, first = model.network, model.network.leaves[0]
    features = network.in_features
    own = first.shape if isinstance(first, Flatten) else (features,)
    name = "x"
    if len(own) > 1:
        graph.scope = "input"
        name = graph.op("Reshape", name, graph.constant([-1, features], "int64", "shape"))
    state = model.layer_state or {}
    x = Value(name, features, None)
    y = _chain(
        graph,
        network,
        network.layout.views(np, theta),
        tuple(backends.of(state[k]).to_host(state[k]) for k in network.state_shapes),
        x,
    )
    return ("x", graph.dtype.name, ["samples", *own]), y


def _chain(
    graph: Graph, chain: Chain, params: tuple[Any, ...], state: tuple[Any, ...], x: Value
) -> Value:
    """What layers give, one after another."""
    above = graph.scope
    for link in chain.links:
        layer, own = link.layer, (params[link.params], state[link.state])
        graph.scope = f"{above}{link.path}.{type(layer).__name__}"
        lead = next((int(a.shape[0]) for a in (*own[0], *own[1]) if a.ndim == 3), x.members)
        y = x._replace(members=lead, features=layer.out_features or x.features)
        if type(layer) is Residual:
            graph.scope += "."
            inner = _chain(graph, layer, *own, x)
            x = inner._replace(name=graph.op("Add", x.name, inner.name))
        elif type(layer) in WRITERS:
            x = y._replace(name=WRITERS[type(layer)](graph, layer, x, *own[0], *own[1]))
        else:
            x = traced_value(graph, link.name, partial(_applied, layer), x, *own)
    graph.scope = above
    return x


def _applied(layer: Layer, xp: Any, x: Any, params: Any, state: Any) -> Any:
    return apply(layer, xp, params, x, state)


def _made(graph: Graph, model: Model, x: Typed, outputs: list[Typed], opset: int) -> Any:
    """The whole of it, which ONNX's own checker finds in order."""
    onnx = graph.onnx
    helper = onnx.helper

    def info(name: str, dtype: str, shape: list[Any]) -> Any:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return helper.make_tensor_value_info(name, kind, shape)

    within = helper.make_graph(
        graph.nodes, "xpnet", [info(*x)], [info(*one) for one in outputs], graph.constants
    )
    domain = helper.make_opsetid("", opset)
    made = helper.make_model(
        within,
        opset_imports=[domain],
        ir_version=helper.find_min_ir_version_for([domain]),
        producer_name="xpnet",
        producer_version=xpnet.__version__,
    )
    said = {"network": model.network, "loss": model.loss, "members": model.members}
    helper.set_model_props(made, {name: repr(value) for name, value in said.items()})
    onnx.checker.check_model(made, full_check=True)
    return made
