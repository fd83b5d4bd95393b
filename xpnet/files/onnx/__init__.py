"""`export_onnx`: what a model predicts as a graph of ONNX, which many programs run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import xpnet
from xpnet import backends, checks
from xpnet.files import tensors
from xpnet.files.onnx.graph import Graph, Typed, Value
from xpnet.files.onnx.meaning import meaning
from xpnet.files.onnx.table import named_class, prepared
from xpnet.files.onnx.walk import chained
from xpnet.layers import Flatten
from xpnet.model import Model

MOST = 2**31 - 2**20
"""How many bytes a file of ONNX may have, less what is said beside the parameters."""


def export_onnx(
    model: Any,
    path: str | Path,
    *,
    opset: int | None = None,
    average: bool = True,
    preparation: bool = True,
) -> None:
    """Write what a model predicts into a file of ONNX, for onnxruntime and many others.

    The input is ``x``, ``(samples, features)`` of the dtype of ``theta``, any number of samples; in
    front of a `Flatten`, samples of its shape. All that belongs to the model is in the graph:
    `Standardize` with its statistics, the running means of `BatchNorm`. Of a model with a
    ``preparation`` of tables, that too: inputs are then ``numbers``, float64 with NaN where one is
    missing, and ``categories``, texts, ``(samples, columns)`` each, the columns in the order of
    ``preparation.numbers`` and ``preparation.categories``. The outputs are

    - ``probabilities``, as `Model.predict_proba` has them, and ``label`` in int64, as
      `Model.predict`, where the loss tells classes apart by probabilities;
    - ``margin``, the output, and ``label`` for `Hinge`;
    - ``prediction``, as `Model.predict`, for all others, and where the loss is ``None``;
    - ``class``, ``(samples,)``, what the label is called, where that is known: by the preparation,
      or an estimator.

    Args:
        model: the `Model`, or an estimator that is fitted, as those of `xpnet.estimators`. Layers
            and losses of one's own are run on ndonnx to write down what they do, so that they may
            use what that has of the array API standard, and ask neither for values nor for the
            number of samples.
        path: the file, such as ``"model.onnx"``; there whole, or as it was before.
        opset: which version of ONNX's operators, at least 18; ``None`` for that, or what ndonnx
            needs.
        average: whether of an ensemble the mean of all members' probabilities, margins or
            predictions is given, and the label of that; else all of them, ``(members, …)``.
        preparation: whether that of the model is in the graph; else the input is what it makes.

    Raises:
        TypeError, ValueError: if an argument is not as described, or the model is too large.
        ImportError: if onnx is not installed, or ndonnx where it is needed.
        OSError: if it cannot be written.
    """
    classes = None
    if not isinstance(model, (Model, type)) and hasattr(model, "model_"):
        classes, model = getattr(model, "classes_", None), model.model_
    if not isinstance(model, (Model, type)):
        if hasattr(model, "steps") and hasattr(model, "fit"):
            raise TypeError(
                "model must be a Model, or an estimator that is fitted, not "
                f"{checks.shown(model)}; the last step alone is model[-1], which takes what the "
                "steps before it make."
            )
        if hasattr(model, "get_params") and hasattr(model, "fit"):
            kind = type(model)
            own = kind.__module__.startswith("xpnet.")
            cure = "call model.fit(x, y)" if own else "use xpnet.from_sklearn(model)"
            raise TypeError(
                "model must be a Model, or an estimator of xpnet.estimators that is fitted, not "
                f"{checks.shown(model)}; {cure}."
            )
    checks.instance("model", model, Model, "a Model, or an estimator that is fitted")
    checks.switch("average", average)
    checks.switch("preparation", preparation)
    before = model.preparation if preparation else None
    if classes is None and model.preparation is not None and model.preparation.target is not None:
        classes = model.preparation.target.classes or None
    wanted = None if opset is None else checks.whole("opset", opset, least=18)
    backend = backends.of(model.theta)
    host = backend.to_host(model.theta)
    if host.nbytes > MOST:
        raise ValueError(
            f"model must have parameters of less than 2 GiB, for ONNX, not of {host.nbytes} bytes."
        )
    graph = Graph(host.dtype.name)
    inputs, x = _input(graph, model) if before is None else prepared(graph, before)
    outputs = meaning(graph, model.loss, _output(graph, model, host, x), average)
    if classes is not None and outputs[-1][0] == "label":
        outputs += named_class(graph, classes, outputs[-1][2])
    most = graph.onnx.defs.onnx_opset_version()
    if wanted is not None and not graph.opset <= wanted <= most:
        raise ValueError(
            f"opset must be from {graph.opset}, which this model needs, to {most}, which the "
            f"package onnx knows, not {wanted}."
        )
    made = _made(graph, model, inputs, outputs, wanted or graph.opset).SerializeToString()
    tensors.replaced(path, lambda part: part.write_bytes(made))


def _input(graph: Graph, model: Model) -> tuple[list[Typed], Value]:
    """What goes in, and what the layers are given of it."""
    features, first, name = model.network.in_features, model.network.leaves[0], "x"
    own = first.shape if isinstance(first, Flatten) else (features,)
    if len(own) > 1:
        graph.scope = "input"
        name = graph.op("Reshape", name, graph.constant([-1, features], "int64", "shape"))
    return [("x", graph.dtype.name, ["samples", *own])], Value(name, features, None)


def _output(graph: Graph, model: Model, theta: np.ndarray, x: Value) -> Value:
    """The output of the network."""
    network, state = model.network, model.layer_state or {}
    own = tuple(backends.of(state[name]).to_host(state[name]) for name in network.state_shapes)
    graph.scope = ""
    return chained(graph, network, network.layout.views(np, theta), own, x)


def _made(graph: Graph, model: Model, inputs: list[Typed], outputs: list[Typed], opset: int) -> Any:
    """The whole of it, which ONNX's own checker finds in order."""
    onnx = graph.onnx
    helper = onnx.helper

    def info(name: str, dtype: str, shape: list[Any]) -> Any:
        text = dtype == "string"
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(object if text else dtype))
        return helper.make_tensor_value_info(name, kind, shape)

    typed = ([info(*one) for one in side] for side in (inputs, outputs))
    within = helper.make_graph(graph.nodes, "xpnet", *typed, graph.constants)
    domains = [helper.make_opsetid("", opset)]
    if any(node.domain == graph.ML for node in graph.nodes):
        domains.append(helper.make_opsetid(graph.ML, 2))
    made = helper.make_model(
        within,
        opset_imports=domains,
        ir_version=helper.find_min_ir_version_for(domains),
        producer_name="xpnet",
        producer_version=xpnet.__version__,
    )
    said: dict[str, Any] = {"network": model.network, "loss": model.loss, "members": model.members}
    if model.preparation is not None:
        said["columns"] = model.preparation.names
    helper.set_model_props(made, {name: repr(value) for name, value in said.items()})
    onnx.checker.check_model(made, full_check=True)
    return made
