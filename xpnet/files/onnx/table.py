"""What is done to a table before the network, as nodes of ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.files.onnx.graph import Graph, Typed, Value

if TYPE_CHECKING:
    from xpnet.tables import Preparation

NUMBERS, CATEGORIES = "numbers", "categories"
"""What goes in: a matrix of float64, NaN where one is missing, and one of texts."""


def prepared(graph: Graph, preparation: Preparation) -> tuple[list[Typed], Value]:
    """What goes in, and the matrix that `Preparation.transform` makes of it, in float64 so far."""
    graph.scope = "preparation"
    inputs: list[Typed] = []
    parts: list[str] = []
    if preparation.numbers:
        inputs.append((NUMBERS, "float64", ["samples", len(preparation.numbers)]))
        parts += _numbers(graph, preparation)
    if preparation.categories:
        inputs.append((CATEGORIES, "string", ["samples", len(preparation.categories)]))
        parts += _codes(graph, preparation)
    x = graph.cast(graph.op("Concat", *parts, axis=1), graph.dtype.name)
    return inputs, Value(x, preparation.features, None)


def _column(graph: Graph, x: str, i: int) -> str:
    return graph.op("Gather", x, graph.constant([i], "int64", "column"), axis=1)


def _numbers(graph: Graph, preparation: Preparation) -> list[str]:
    """The numbers, and where they were missing."""
    own = preparation.numbers

    def row(name: str) -> str:
        return graph.constant([[getattr(one, name) for one in own]], "float64", name)

    lost = graph.op("IsNaN", NUMBERS)
    there = graph.op("Where", lost, row("median"), NUMBERS)
    scaled = graph.op("Div", graph.op("Sub", there, row("center")), row("scale"))
    if any(one.quantiles for one in own):
        columns = [
            _quantiles(graph, _column(graph, there, i), one.quantiles, one.scores)
            if one.quantiles
            else _column(graph, scaled, i)
            for i, one in enumerate(own)
        ]
        scaled = graph.op("Concat", *columns, axis=1)
    flagged = [i for i, one in enumerate(own) if one.missing]
    if not flagged:
        return [scaled]
    flags = graph.op("Gather", lost, graph.constant(flagged, "int64", "flagged"), axis=1)
    return [scaled, graph.cast(flags, "float64")]


def _quantiles(graph: Graph, x: str, quantiles: Any, scores: Any) -> str:
    """A column by its quantiles: the mean of both ways of reading off where several are equal."""
    last = len(quantiles) - 1
    q, s = (graph.constant(values, "float64", "quantiles") for values in (quantiles, scores))
    one, zero = (graph.constant(value, "float64") for value in (1, 0))
    whole = [graph.constant(value, "int64") for value in (0, 1, last - 1, last + 1)]
    ends = []
    for compared in ("GreaterOrEqual", "Greater"):
        above = graph.cast(graph.op(compared, x, q), "int64")
        count = graph.reduced("ReduceSum", above, 1)
        left = graph.op(
            "Min", graph.op("Max", graph.op("Sub", count, whole[1]), whole[0]), whole[2]
        )
        right = graph.op("Add", left, whole[1])
        a, b, low, high = (graph.op("Gather", v, i) for v in (q, s) for i in (left, right))
        wide = graph.op("Sub", b, a)
        wide = graph.op("Where", graph.op("Equal", wide, zero), one, wide)
        along = graph.op("Div", graph.op("Sub", x, a), wide)
        along = graph.op("Min", graph.op("Max", along, zero), one)
        along = graph.op("Where", graph.op("Equal", count, whole[3]), one, along)
        along = graph.op("Where", graph.op("Equal", count, whole[0]), zero, along)
        way = graph.op("Mul", along, graph.op("Sub", high, low))
        ends.append(graph.op("Add", low, way))
    return graph.op("Mul", graph.op("Add", *ends), graph.constant(0.5, "float64"))


def _codes(graph: Graph, preparation: Preparation) -> list[str]:
    """The codes of texts, 0 for what was not there in training."""
    found = []
    for i, one in enumerate(preparation.categories):
        codes = graph.op(
            "LabelEncoder",
            _column(graph, CATEGORIES, i),
            keys_strings=list(one.values),
            values_int64s=list(range(1, len(one.values) + 1)),
            default_int64=0,
            domain=graph.ML,
        )
        found.append(graph.cast(codes, "float64"))
    return found


def named_class(graph: Graph, classes: Any, shape: list[Any]) -> list[Typed]:
    """What a label is called, if it is one a sample."""
    values, label = np.asarray(classes), "label"
    if shape[0] != "samples" or shape[1:] not in ([], [1]) or values.ndim != 1:
        return []
    if len(values) == 1:  # which both labels mean
        values = np.repeat(values, 2)
    graph.scope = "class"
    if shape[1:]:
        label = graph.op("Reshape", label, graph.constant([-1], "int64", "shape"))
    texts = values.dtype.kind in "OUT"
    names = graph.constant(values, object if texts else values.dtype, "classes")
    graph.op("Gather", names, label, output="class")
    return [("class", "string" if texts else values.dtype.name, shape[:1])]
