"""The layers of a network one after another, nested ones too, as nodes of a graph."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from xpnet.files.onnx.graph import Graph, Value
from xpnet.files.onnx.layers import WRITERS
from xpnet.files.onnx.traced import traced_value
from xpnet.layers import Columns, Layer, Residual
from xpnet.layers.base import apply
from xpnet.layers.chain import Chain, Link
from xpnet.network import Sequential

Arrays = tuple[np.ndarray, ...]


def chained(graph: Graph, chain: Chain, params: Arrays, state: Arrays, x: Value) -> Value:
    """What layers give, one after another."""
    above = graph.scope
    for link in chain.links:
        graph.scope = f"{above}{link.path}.{type(link.layer).__name__}"
        x = _layer(graph, link, params[link.params], state[link.state], x)
    graph.scope = above
    return x


def _layer(graph: Graph, link: Link, params: Arrays, state: Arrays, x: Value) -> Value:
    """What a layer gives."""
    layer, kind = link.layer, type(link.layer)
    if kind in WRITERS:
        name = WRITERS[kind](graph, layer, x, *params, *state)
        lead = next((a.shape[0] for a in (*params, *state) if a.ndim == 3), x.members)
        return Value(name, layer.out_features or x.features, lead)
    if not isinstance(layer, Chain) or kind not in (Sequential, Residual, Columns):
        return traced_value(graph, link.name, partial(_applied, layer), x, params, state)
    graph.scope += "."
    if isinstance(layer, Columns):
        return _beside(graph, layer, params, state, x)
    y = chained(graph, layer, params, state, x)
    return y if kind is Sequential else y._replace(name=graph.op("Add", x.name, y.name))


def _beside(graph: Graph, layer: Columns, params: Arrays, state: Arrays, x: Value) -> Value:
    """Blocks of columns, each through a layer of its own."""
    above, start, parts = graph.scope, 0, []
    for link in layer.links:
        graph.scope = f"{above}{link.path}.{type(link.layer).__name__}"
        stop = start + int(link.layer.in_features or 0)
        edges = (graph.constant([edge], "int64", "edge") for edge in (start, stop, -1))
        block = x._replace(name=graph.op("Slice", x.name, *edges), features=stop - start)
        parts.append(_layer(graph, link, params[link.params], state[link.state], block))
        start = stop
    graph.scope = above
    lead = next((part.members for part in parts if part.members is not None), None)
    names = [
        part.name  # what members share is repeated for each of them
        if part.members == lead
        else graph.op("Add", part.name, graph.constant(np.zeros((lead or 1, 1, 1))))
        for part in parts
    ]
    return Value(graph.op("Concat", *names, axis=-1), layer.out_features, lead)


def _applied(layer: Layer, xp: Any, x: Any, params: Any, state: Any) -> Any:
    return apply(layer, xp, params, x, state)
