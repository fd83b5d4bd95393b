"""A graph of ONNX under way: nodes and constants, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from xpnet._optional import optional


class Value(NamedTuple):
    """What a node has given: ``(samples, features)``, or with the members before it."""

    name: str
    features: int | None
    members: int | None
    """How many there are of it, or ``None`` for what all members share."""


Writer = Callable[..., str]
"""``(graph, layer, x, *parameters, *state) -> y``: names, and arrays of the host."""

Typed = tuple[str, str, list[Any]]
"""The name, dtype and shape of what goes in, or comes out."""


class Graph:
    """Nodes and constants, to which a network adds its own.

    Args:
        dtype: that of all floats, ``"float32"`` or ``"float64"``.

    Attributes:
        scope: what the names of nodes begin with: the layer that they are of.
        opset: which operators are needed at the least; of 18 is a mean whose axes are an input.
    """

    ML = "ai.onnx.ml"
    """The domain of operators on texts."""

    def __init__(self, dtype: str) -> None:
        self.onnx = optional("onnx", "export_onnx")
        self.dtype = np.dtype(dtype)
        self.nodes: list[Any] = []
        self.scope, self.opset = "", 18
        self.initializers: list[Any] = []
        self._constants: dict[tuple[Any, ...], tuple[str, np.ndarray]] = {}
        self._count = 0

    @property
    def constants(self) -> list[Any]:
        """The constants as ONNX has them."""
        own = [self.onnx.numpy_helper.from_array(a, n) for n, a in self._constants.values()]
        return own + self.initializers

    def name(self, kind: str) -> str:
        """A name that nothing has yet."""
        self._count += 1
        return f"{self.scope}/{kind}_{self._count}"

    def constant(self, values: Any, dtype: Any = None, name: str = "constant") -> str:
        """The name of an array, or a number, of the dtype of the graph unless one is given."""
        array = np.asarray(values, dtype or self.dtype, order="C")
        text = array.dtype.kind in "OUT"
        array = array.astype(object) if text else array
        said = tuple(array.ravel()) if text else array.tobytes()
        key = (array.dtype.name, array.shape, said)
        if key not in self._constants:
            self._constants[key] = self.name(name), array
        return self._constants[key][0]

    def op(self, kind: str, *inputs: Any, output: str | None = None, **attributes: Any) -> str:
        """Add a node; Python's numbers among its inputs are constants. Return its output."""
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        given = self.name(kind)
        output = output or given
        node = self.onnx.helper.make_node(kind, names, [output], name=given, **attributes)
        self.nodes.append(node)
        return output

    def reduced(self, kind: str, x: str, axis: int, keepdims: bool = True) -> str:
        """A reduction over one axis."""
        axes = self.constant([axis], "int64", "axes")
        return self.op(kind, x, axes, keepdims=int(keepdims))

    def cast(self, x: str, dtype: str, output: str | None = None) -> str:
        """An array as another dtype."""
        kind = self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.op("Cast", x, to=kind, output=output)
