"""What has no writer of its own, such as a layer of somebody's: its own code, run on ndonnx."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet._optional import optional
from xpnet.files.onnx.graph import Graph, Value


def traced(
    graph: Graph,
    what: str,
    function: Callable[..., Any],
    x: Value,
    *constants: Sequence[np.ndarray],
) -> tuple[str, list[Any]]:
    """Add to a graph what a function does to arrays; return its result and the shape of that.

    Args:
        graph: the graph.
        what: whose it is, for an error.
        function: of ndonnx's namespace, ``x``, and tuples of arrays.
        x: what it is given.
        constants: the tuples.

    Raises:
        ImportError: if ndonnx is not installed.
        TypeError: if it does what ndonnx, or ONNX, does not.
    """
    ndx = optional("ndonnx", f"export_onnx of {what},")
    onnx = graph.onnx
    lead = () if x.members is None else (x.members,)
    arrays = [tuple(ndx.asarray(array) for array in own) for own in constants]
    given = ndx.argument(shape=(*lead, "samples", x.features), dtype=getattr(ndx, graph.dtype.name))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # as of a cast that loses digits
            found = function(ndx, given, *arrays)
            built = ndx.build({"x": given}, {"y": found})
    except Exception as error:  # whatever its code does that a graph cannot
        raise TypeError(
            f"{what} must do what ndonnx does too to be exported, but there it ends in "
            f"{type(error).__name__}: {str(error).rstrip('.')}."
        ) from error
    prefix = f"{graph.name('traced')}/"
    graph.opset = max(graph.opset, *(one.version for one in built.opset_import if not one.domain))
    inner = onnx.compose.add_prefix_graph(built.graph, prefix)
    graph.op("Identity", x.name, output=f"{prefix}x")
    graph.nodes.extend(inner.node)
    graph.initializers.extend(inner.initializer)
    return f"{prefix}y", ["samples" if size is None else size for size in found.shape]


def traced_value(*given: Any) -> Value:
    """The same of samples and features."""
    name, shape = traced(*given)
    features = shape[-1] if isinstance(shape[-1], int) else None
    return Value(name, features, shape[0] if len(shape) == 3 else None)
