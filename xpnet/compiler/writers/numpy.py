"""A recorded step as straight-line NumPy.

- Chains of elementwise operations on large arrays run block by block, each block in cache.
- Sums are products with ones, which BLAS does several times faster than ``sum``; long ones are sums
  of such sums, since a product adds its terms one after the other and loses digits to each.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from xpnet.compiler.host import literal
from xpnet.compiler.ir import Node, Recording, Untraceable
from xpnet.compiler.layout import Layout, Ref, Shape
from xpnet.compiler.library import Library
from xpnet.compiler.passes.chains import chained
from xpnet.compiler.passes.columns import columns
from xpnet.compiler.passes.lifetimes import lifetimes
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.passes.rewriting import rewritten
from xpnet.compiler.passes.sums import Sums
from xpnet.compiler.passes.two_values import choices
from xpnet.compiler.passes.views import reshapes
from xpnet.compiler.program import Program
from xpnet.compiler.writers.base import Call, Writer, concatenate, lone, random_bits

BLOCK_BYTES = 1 << 17
"""How much of each array a block of a chain holds: a dozen of them fit in a core's cache."""


ADDED = 256
"""Up to how many terms one product with ones adds up: an error of up to as many ulps of the result.

Sums of so many at a time, and again of those, take 3 % longer than one product of 4096 × 512, and
a step is as exact as with NumPy's own sum, which adds up in pairs, but for a last digit.
"""

_REDUCING = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
    "count_nonzero": np.add,
}
"""The reductions by the functions that they repeat."""

_NAMES = {"round": "rint", "bitwise_left_shift": "left_shift", "bitwise_right_shift": "right_shift"}


class _Address:
    """Elements at a place in memory that belongs to an array."""

    def __init__(self, array: np.ndarray, layout: Layout) -> None:
        said = dict(array.__array_interface__)
        start, read_only = said["data"]
        said["data"] = start + layout.offset * array.itemsize, read_only
        said["shape"] = layout.shape
        said["strides"] = tuple(step * array.itemsize for step in layout.steps)
        self.__array_interface__, self.array = said, array


class NumPy(Library):
    """NumPy's dtypes and memory."""

    scalars = True

    def empty(self, shape: Shape, dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def full(self, shape: Shape, value: Any, dtype: Any) -> np.ndarray:
        return np.full(shape, value, dtype)

    def view(self, array: np.ndarray, layout: Layout) -> np.ndarray:
        array = np.asarray(array)
        if array.flags.c_contiguous and layout.is_in_order:  # as most, in a tenth of the time
            flat = array.reshape(-1)[layout.offset : layout.offset + layout.size]
            return flat.reshape(layout.shape)
        return np.asarray(_Address(array, layout))

    def given(self, array: np.ndarray) -> np.ndarray:
        array = np.asarray(array)
        apart = any(stride % array.itemsize for stride in array.strides)  # a field of records
        return array.copy() if apart else array

    def layout(self, array: np.ndarray) -> Layout:
        return Layout(array.shape, tuple(stride // array.itemsize for stride in array.strides))

    def itemsize(self, dtype: Any) -> int:
        return int(np.dtype(dtype).itemsize)

    def is_floating(self, dtype: Any) -> bool:
        return bool(np.dtype(dtype).kind == "f")

    def is_integer(self, dtype: Any) -> bool:
        return np.dtype(dtype).kind in "iu"

    def on_host(self, array: np.ndarray) -> np.ndarray:
        return array


def _ufunc_of(node: Node) -> Any:
    return getattr(np, _NAMES.get(node.op, node.op))


class NumPyWriter(Writer):
    """Writes NumPy."""

    @property
    def calls(self) -> dict[str, Call]:
        return CALLS

    def copy(self, out: str, source: str) -> str:
        return f"{self.names.function(np.copyto)}({out}, {source}, 'unsafe')"

    def metric(self, name: str, node: Node) -> str:
        text = self.number(node) if node.shape == () else self.array(node)
        return f"{self.histories[name]}[k] = {text}"

    # ---- numbers that follow from arrays

    def scalar(self, node: Node) -> str:
        """A NumPy scalar."""
        if node.op in ("sum", "count_nonzero"):
            return self._scalar_sum(node)
        if node.elementwise:
            text = self._expression(node, [self._strong(arg, node) for arg in node.args])
            if any(arg.host for arg in node.nodes):  # a Python float, which is float64 in itself
                text = f"{self.kind(node.dtype)}({text})"
            return text
        if node.operation.reduces:
            return f"{self.names.function(getattr(np, node.op))}({self.array(node.args[0])})"
        raise Untraceable(f"{node.op} to 0-d")

    def _scalar_sum(self, node: Node) -> str:
        ref = self.ref(node.args[0])
        if node.op == "count_nonzero":
            return f"{self.names.function(np.count_nonzero)}({self.name(ref)})"
        size, plain = ref.layout.size, self.library.is_floating(ref.dtype)
        if plain and ref.layout.is_in_order and size <= ADDED:
            flat = Ref(ref.buffer, ref.layout.reshape((size,)) or ref.layout)
            ones = self.name(self.plan.constant((size,), 1, ref.dtype))
            return f"{self.names.function(np.dot)}({self.name(flat)}, {ones})"
        # Of one row NumPy adds in pairs, of many row by row.
        return f"{self.names.function(np.sum)}({self.names.function(np.ravel)}({self.name(ref)}))"

    def kind(self, dtype: Any) -> str:
        return self.names.function(np.dtype(dtype).type)

    def _strong(self, arg: Any, node: Node) -> str:
        """A 0-d operand; a number as NumPy's where its dtype counts.

        That is beside others of another, and where it has fewer digits than Python's numbers.
        """
        text = self.number(arg)
        if not isinstance(arg, Node) or not arg.host:
            return text
        wide = arg.dtype in (np.float64, np.int64)
        if wide and all(other.dtype == arg.dtype for other in node.nodes):
            return text
        return f"{self.kind(arg.dtype)}({text})"

    def _expression(self, node: Node, args: list[str]) -> str:
        if node.op == "astype":
            return f"{self.kind(node.dtype)}({args[0]})"
        if node.op == "divide":
            return f"{args[0]} / {args[1]}"
        if node.op == "where":
            return f"{self.names.function(np.where)}({', '.join(args)})[()]"
        if not node.operation.infix and node.op != "negative":
            return f"{self.names.function(_ufunc_of(node))}({', '.join(args)})"
        return self.infix(node, args)

    # ---- calls

    def operand(self, arg: Any, dtype: Any) -> str:
        ref = self.operand_ref(arg, dtype)
        return self.variables[arg] if ref is None else self.name(lone(ref))

    def elementwise(self, node: Node, args: list[str], out: str) -> str:
        if node.op in ("astype", "copy"):
            return self.copy(out, args[0])
        if node.op == "where":  # in a place of its own first: an operand may lie in the result's
            return self.copy(out, f"{self.names.function(np.where)}({', '.join(args)})")
        # These two take a third operand without its name only under protest.
        keyword = "out=" if node.op in ("maximum", "minimum") else ""
        return f"{self.names.function(_ufunc_of(node))}({', '.join(args)}, {keyword}{out})"

    def wide(self, node: Node, arg: Any, shape: Shape, dtype: Any) -> Ref | None:
        # With one operand of stride 0 these two lose their vector instructions.
        small = math.prod(shape) * self.library.itemsize(dtype) <= 2 * BLOCK_BYTES
        if node.op in ("maximum", "minimum") and small and not isinstance(arg, Node):
            return self.plan.constant(shape, arg, dtype)
        return None


# ---- the table


def _two_values(w: NumPyWriter, node: Node) -> list[str]:
    out, mask = w.out(node), w.array(node.args[0])
    high = w.name(w.plan.constant((), node.static["high"], node.dtype))
    return [
        f"{out}.fill({literal(node.static['low'])})",
        f"{w.names.function(np.putmask)}({out}, {mask}, {high})",
    ]


def _matmul(w: NumPyWriter, node: Node) -> list[str]:
    a, b = node.args
    in_order = w.plan.ref(node).layout.is_in_order
    product = np.dot if in_order and a.ndim == b.ndim == 2 else np.matmul
    return [f"{w.names.function(product)}({w.array(a)}, {w.array(b)}, {w.out(node)})"]


def _stack(w: NumPyWriter, node: Node) -> list[str]:
    arrays = ", ".join(map(w.array, node.nodes))
    return [f"{w.names.function(np.stack)}(({arrays},), {node.static['axis']}, {w.out(node)})"]


def _flip(w: NumPyWriter, node: Node) -> list[str]:
    ref, axes = w.ref(node.args[0]), node.static["axis"]
    turned = [slice(None, None, -1 if i - node.ndim in axes else 1) for i in range(node.ndim)]
    flipped = Ref(ref.buffer, ref.layout.index(tuple(turned)))
    return [w.copy(w.out(node), w.name(flipped))]


def _roll(w: NumPyWriter, node: Node) -> list[str]:
    shift, axis = node.static["shift"], node.static["axis"]
    source = w.array(node.args[0])
    rolled = f"{w.names.function(np.roll)}({source}, {shift!r}, {axis!r})"
    return [w.copy(w.out(node), rolled)]


def _cumulative_sum(w: NumPyWriter, node: Node) -> list[str]:
    add, source = w.names.function(np.add.accumulate, "add_accumulate"), w.array(node.args[0])
    return [f"{add}({source}, {node.static['axis']}, None, {w.out(node)})"]


def _take(w: NumPyWriter, node: Node) -> list[str]:
    array, rows = node.args
    axis = array.ndim + node.static["axis"] if node.static["axis"] < 0 else node.static["axis"]
    arguments = f"{w.array(array)}, {{}}, {axis}, {w.out(node)}"
    take = w.names.function(np.take)
    if rows is w.recording.rows:
        # 'clip' lets NumPy write straight into the buffer; fit made the rows, all in range.
        return [f"{take}({arguments.format('rows')}, 'clip')"]
    return [f"{take}({arguments.format(w.array(rows))})"]


def _reduction(w: NumPyWriter, node: Node) -> list[str]:
    (array,), axis = node.args, node.static["axis"]
    keepdims, source, out = (
        node.static.get("keepdims", False),
        w.array(array),
        w.out(node),
    )
    if node.op in ("argmax", "argmin"):
        find = w.names.function(getattr(np, node.op))
        return [f"{find}({source}, {axis}, {out}, keepdims={keepdims})"]
    if node.op == "count_nonzero" and array.dtype != np.bool_:
        raise Untraceable(f"{node.op} of {array.dtype} over axis {axis}")
    ufunc = _REDUCING[node.op]
    reduce = w.names.function(ufunc.reduce, f"{ufunc.__name__}_reduce")
    kind = w.names.function(np.dtype(node.dtype).type)
    return [f"{reduce}({source}, {axis}, {kind}, {out}, {keepdims})"]


CALLS: dict[str, Call] = {
    "two_values": _two_values,
    "matmul": _matmul,
    "concat": concatenate,
    "random_bits": random_bits,
    "stack": _stack,
    "flip": _flip,
    "roll": _roll,
    "cumulative_sum": _cumulative_sum,
    "take": _take,
    **dict.fromkeys((*_REDUCING, "argmax", "argmin"), _reduction),
}
"""How each operation is written that is not done as all elementwise ones are."""


class NumPyProgram(Program):
    """A recorded step, written in NumPy.

    Args:
        recording, given: as for every `Program`.
        block_bytes: see `BLOCK_BYTES`.

    Attributes:
        around: makes what is entered while steps run.
    """

    def __init__(
        self,
        recording: Recording,
        given: dict[str, np.ndarray] | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self.block_bytes = block_bytes
        self.around: Callable[[], AbstractContextManager[Any]] = nullcontext
        super().__init__(recording, given)

    def made_for(self) -> Library:
        return NumPy()

    def settings(self) -> tuple[Any, ...]:
        return (self.block_bytes,)

    def planned(self, recording: Recording, sources: dict[Node, int]) -> Placement:
        recording = rewritten(
            recording,
            partial(reshapes, self.library),
            partial(choices, self.library, 2 * self.block_bytes),
            partial(Sums, self.library, ADDED, True),
            columns,
        )
        lives = lifetimes(recording)
        units = chained(lives, self.library, self.block_bytes)
        return Placement(recording, lives, units, self.library, sources)

    def writer(self, plan: Placement) -> Writer:
        return NumPyWriter(plan)

    def running(self) -> AbstractContextManager[Any]:
        return self.around()
