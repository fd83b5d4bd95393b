"""The intermediate representation of a step: nodes, each an array, and one table of operations.

A step on tape is a list of nodes in the order of execution, each made by an operation from others.
What an operation is stands in `OPERATIONS` and nowhere else: its shape, what it computes, whether
it goes element by element, whether its result may lie in its operand's memory, and how Python's own
numbers do it. A writer adds to that what the operation is called in its library.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet import noise
from xpnet.compiler import host
from xpnet.types import Array

Shape = tuple[int, ...]
Static = dict[str, Any]


class Untraceable(Exception):
    """The step does something that cannot be recorded; it must be run as it is written."""


@dataclass(frozen=True)
class Operation:
    """What is known of an operation.

    Its dtype follows from doing it on one element of each operand, with the library itself.

    Attributes:
        compute: ``(xp, args, static)``, what it does.
        shape: ``(shapes, static)``, the shape of the result, by the rules of the standard;
            ``ValueError`` if there is none.
        elementwise: whether each element of the result follows from one element of each operand.
        reduces: whether it adds up (or the like) over axes.
        chooses: whether its elements are elements of the operands, which have one dtype.
        view: whether the result lies in the memory of its operand, on every library.
        shares: whether it does on some library.
        truths: how many of its operands, the first ones, must be truth values.
        infix: the operator that Python has for it.
        host: how Python's numbers do it, where that is the same as on arrays. Not what jumps, such
            as ``floor``, since Python's floats have more digits than float32.
        whole: whether Python's integers do it as those of a library.
        compares: whether the result is a truth value of a comparison.
        over: how many of its operands, the first ones, the result may be computed in place of,
            where it is not elementwise (then, of any).
        sample: what makes one element of the result of one of each operand, where ``compute`` would
            make all of it.
    """

    compute: Callable[[Any, list[Any], Static], Array]
    shape: Callable[[list[Shape], Static], Shape]
    elementwise: bool = False
    reduces: bool = False
    chooses: bool = False
    view: bool = False
    shares: bool = False
    truths: int = 0
    infix: str = ""
    host: Callable[..., float] | None = None
    whole: bool = False
    compares: bool = False
    over: int = 0
    sample: Callable[[Any, list[Any], Static], Array] | None = None


@dataclass(frozen=True, eq=False)
class Node:
    """One array of a step.

    Attributes:
        op: the operation that made it; ``"input"`` or ``"const"`` for what was there before.
        args: its operands: nodes, or Python numbers.
        static: the rest of the call: axes, shapes, dtypes.
        shape, dtype: as found when it was recorded.
        value: the array itself, for constants and inputs.
        host: whether it follows from counters alone, so that it can be a Python number.
        nodes: the operands that are nodes (of ``concat``, its pieces).
        operation: what is known of the operation that made it.
        root: the array that it is a view of, or it itself.
    """

    op: str
    args: tuple[Any, ...]
    static: Static
    shape: Shape
    dtype: Any
    value: Any = None
    host: bool = False
    nodes: list[Node] = field(init=False, repr=False)
    operation: Operation = field(init=False, repr=False)
    root: Node = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # All at once, since every pass asks for them.
        operation = OPERATIONS.get(self.op) or MADE[self.op]
        object.__setattr__(self, "nodes", [arg for arg in self.args if isinstance(arg, Node)])
        object.__setattr__(self, "operation", operation)
        object.__setattr__(self, "root", self.args[0].root if operation.view else self)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def elementwise(self) -> bool:
        """Whether each element follows from one element of each operand."""
        return self.operation.elementwise

    @property
    def replaceable(self) -> list[Node]:
        """The operands in whose place the result may be computed, where they fit."""
        return self.nodes if self.elementwise else self.nodes[: self.operation.over]


@dataclass(frozen=True)
class Recording:
    """A step on tape: what it reads, what it does, what it gives.

    Attributes:
        carry: the carry's nodes by name.
        rows: the node of the samples' numbers, or ``None``.
        nodes: the operations that the results depend on, in order.
        results: the next carry's nodes by name.
        metrics: the metrics' nodes by name.
        xp: the namespace.
    """

    carry: dict[str, Node]
    rows: Node | None
    nodes: list[Node]
    results: dict[str, Node]
    metrics: dict[str, Node]
    xp: Any

    @property
    def outputs(self) -> list[Node]:
        """All that a step gives."""
        return [*self.results.values(), *self.metrics.values()]

    def sources(self) -> dict[Node, int]:
        """The arrays that a step finds, numbered in the order in which it reads them."""
        own = {*self.carry.values(), self.rows}
        read = [arg for node in self.nodes for arg in node.nodes]
        numbers: dict[Node, int] = {}
        for node in [*read, *self.outputs]:
            if node.value is not None and node not in own:
                numbers.setdefault(node, len(numbers))
        return numbers

    def says(self, of_given: Callable[[Node], Any]) -> Iterator[tuple[Any, ...]]:
        """What it does, operation by operation, to compare with another recording.

        Args:
            of_given: what is to be compared of an array that the step finds.
        """
        numbers: dict[Node, int] = {}
        for node in [*filter(None, [self.rows]), *self.carry.values(), *self.nodes]:
            numbers[node] = len(numbers)

        def of(arg: Any) -> Any:
            if not isinstance(arg, Node):
                return type(arg), repr(arg)
            return numbers[arg] if arg in numbers else (arg.op, arg.shape, of_given(arg))

        for name, node in self.carry.items():
            yield name, node.shape, node.dtype, node.host
        for node in self.nodes:
            static = repr(node.static) if node.static else ""
            yield node.op, node.shape, node.dtype, static, *map(of, node.args)
        for name, node in (*self.results.items(), *self.metrics.items()):
            yield name, of(node)


def needed(nodes: list[Node], outputs: Iterable[Node]) -> list[Node]:
    """The operations that the outputs depend on, in their order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(nodes):
        if node in wanted:
            wanted.update(node.nodes)
            if node.op not in ("const", "input", "ones"):
                kept.append(node)
    return kept[::-1]


# ---- shapes


_NOTHING = np.empty((), dtype=bool)
"""What has the shape that is asked about; nobody reads it."""


def _broadcast(shapes: list[Shape], static: Static) -> Shape:
    different = {*shapes, ()}
    return max(different) if len(different) < 3 else np.broadcast_shapes(*shapes)


def _first(shapes: list[Shape], static: Static) -> Shape:
    return shapes[0]


def _matmul(shapes: list[Shape], static: Static) -> Shape:
    if min(map(len, shapes)) < 2:
        raise Untraceable("a product with an array of less than two axes")
    (*outer_a, n, k), (*outer_b, k_too, m) = shapes
    if k != k_too:
        raise ValueError(f"a product of {shapes[0]} and {shapes[1]}")
    return (*np.broadcast_shapes(tuple(outer_a), tuple(outer_b)), n, m)


def _transposed(shapes: list[Shape], static: Static) -> Shape:
    *lead, n, m = shapes[0]
    return (*lead, m, n)


def _permuted(shapes: list[Shape], static: Static) -> Shape:
    return tuple(shapes[0][axis] for axis in static["axes"])


def _indexed(shapes: list[Shape], static: Static) -> Shape:
    return np.broadcast_to(_NOTHING, shapes[0])[static["key"]].shape


def _reshaped(shapes: list[Shape], static: Static) -> Shape:
    return np.broadcast_to(_NOTHING, shapes[0]).reshape(static["shape"]).shape


def _broadcast_to(shapes: list[Shape], static: Static) -> Shape:
    return np.broadcast_to(np.broadcast_to(_NOTHING, shapes[0]), static["shape"]).shape


def _joined(shapes: list[Shape], static: Static) -> Shape:
    first, axis = shapes[0], range(len(shapes[0]))[static["axis"]]
    return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])


def _taken(shapes: list[Shape], static: Static) -> Shape:
    if len(shapes[1]) != 1:
        raise Untraceable(f"a take of {len(shapes[1])} axes of places")
    first, axis = shapes[0], range(len(shapes[0]))[static["axis"]]
    return (*first[:axis], shapes[1][0], *first[axis + 1 :])


def _stacked(shapes: list[Shape], static: Static) -> Shape:
    first, axis = shapes[0], range(len(shapes[0]) + 1)[static["axis"]]
    if {*shapes} != {first}:
        raise Untraceable(f"a stack of arrays of the shapes {shapes}")
    return (*first[:axis], len(shapes), *first[axis:])


def _reduced(shapes: list[Shape], static: Static) -> Shape:
    axes, axis = range(len(shapes[0])), static["axis"]
    named = axes if axis is None else axis if isinstance(axis, tuple) else (axis,)
    gone = [axes[a] for a in named]
    one = (1,) if static.get("keepdims") else ()
    parts = (one if i in gone else (n,) for i, n in enumerate(shapes[0]))
    return tuple(itertools.chain.from_iterable(parts))


def _drawn(shapes: list[Shape], static: Static) -> Shape:
    return (*shapes[0][:-1], *static["shape"])


# ---- the table


def _elementwise(function: Callable[..., Any], **known: Any) -> Operation:
    return Operation(lambda xp, args, _: function(*args), _broadcast, elementwise=True, **known)


def _function(name: str, **known: Any) -> Operation:
    def compute(xp: Any, args: list[Any], static: Static) -> Array:
        return getattr(xp, name)(*args, **static)

    return Operation(compute, _broadcast, elementwise=True, **known)


def _reduction(name: str) -> Operation:
    return Operation(
        lambda xp, args, static: getattr(xp, name)(*args, **static), _reduced, reduces=True
    )


def _moving(name: str, **known: Any) -> Operation:
    """Of one operand, whose shape it keeps."""
    return Operation(lambda xp, args, static: getattr(xp, name)(*args, **static), _first, **known)


def _reshaping(name: str, shape: Callable[[list[Shape], Static], Shape]) -> Operation:
    """A view, made by a function of the array and one more argument."""
    return Operation(
        lambda xp, args, static: getattr(xp, name)(args[0], *static.values()),
        shape,
        chooses=True,
        view=True,
        shares=True,
    )


def _joining(name: str, shape: Callable[[list[Shape], Static], Shape]) -> Operation:
    return Operation(
        lambda xp, args, static: getattr(xp, name)(args, **static), shape, chooses=True
    )


def _given(xp: Any, args: list[Any], static: Static) -> Array:
    raise Untraceable("an array that is given is made by no operation")


def _one_draw(xp: Any, args: list[Any], static: Static) -> Array:
    key = xp.concat([args[0], args[0]], axis=-1)
    return noise.random_bits(xp, key, args[1], **{**static, "first": 0, "shape": (1, 1)})


OPERATIONS: dict[str, Operation] = {
    "input": Operation(_given, _first),
    "const": Operation(_given, _first),
    # operators
    "add": _elementwise(operator.add, infix="+", host=operator.add, whole=True),
    "subtract": _elementwise(operator.sub, infix="-", host=operator.sub, whole=True),
    "multiply": _elementwise(operator.mul, infix="*", host=operator.mul, whole=True),
    "divide": _elementwise(operator.truediv, host=host.divide),
    "negative": _elementwise(operator.neg, host=operator.neg, whole=True),
    "pow": _elementwise(operator.pow, host=host.power),
    "remainder": _elementwise(operator.mod),
    "floor_divide": _elementwise(operator.floordiv),
    "greater": _elementwise(operator.gt, infix=">", host=operator.gt, compares=True),
    "greater_equal": _elementwise(operator.ge, infix=">=", host=operator.ge, compares=True),
    "less": _elementwise(operator.lt, infix="<", host=operator.lt, compares=True),
    "less_equal": _elementwise(operator.le, infix="<=", host=operator.le, compares=True),
    "equal": _elementwise(operator.eq, infix="==", host=operator.eq, compares=True),
    "not_equal": _elementwise(operator.ne, infix="!=", host=operator.ne, compares=True),
    "logical_and": _elementwise(operator.and_, truths=2),
    "logical_or": _elementwise(operator.or_, truths=2),
    "logical_xor": _elementwise(operator.xor, truths=2),
    "bitwise_and": _elementwise(operator.and_),
    "bitwise_or": _elementwise(operator.or_),
    "bitwise_xor": _elementwise(operator.xor),
    "bitwise_left_shift": _elementwise(operator.lshift),
    "bitwise_right_shift": _elementwise(operator.rshift),
    "bitwise_invert": _elementwise(operator.invert),
    # functions
    "astype": Operation(
        lambda xp, args, static: xp.astype(args[0], static["dtype"]),
        _first,
        elementwise=True,
        host=float,
    ),
    "where": _function("where", host=host.choose, truths=1),
    "logical_not": _function("logical_not", truths=1),
    "abs": _function("abs", host=abs, whole=True),
    "maximum": _function("maximum", host=host.maximum, whole=True),
    "minimum": _function("minimum", host=host.minimum, whole=True),
    "tanh": _function("tanh", host=math.tanh),
    **{
        name: _function(name, host=host.guarded(getattr(math, name)))
        for name in ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos")
    },
    **{
        name: _function(name)
        for name in (
            *("log2", "log10", "reciprocal", "logaddexp"),
            *("tan", "asin", "acos", "atan", "atan2", "hypot"),
            *("sinh", "cosh", "asinh", "acosh", "atanh"),
            *("floor", "ceil", "trunc", "round", "sign", "signbit", "copysign"),
            *("isfinite", "isinf", "isnan"),
        )
    },
    # over axes
    **{
        name: _reduction(name)
        for name in (
            *("sum", "prod", "max", "min", "any", "all"),
            *("argmax", "argmin", "count_nonzero"),
        )
    },
    "cumulative_sum": _moving("cumulative_sum"),
    "flip": _moving("flip", shares=True),
    "roll": _moving("roll"),
    "matmul": Operation(lambda xp, args, _: args[0] @ args[1], _matmul),
    # one shape from another
    "mT": Operation(lambda xp, args, _: args[0].mT, _transposed, view=True, shares=True),
    "getitem": Operation(
        lambda xp, args, static: args[0][static["key"]],
        _indexed,
        chooses=True,
        view=True,
        shares=True,
    ),
    "reshape": _reshaping("reshape", _reshaped),
    "permute_dims": _reshaping("permute_dims", _permuted),
    "broadcast_to": _reshaping("broadcast_to", _broadcast_to),
    "concat": _joining("concat", _joined),
    "stack": _joining("stack", _stacked),
    "random_bits": Operation(
        lambda xp, args, static: noise.random_bits(xp, *args, **static), _drawn, sample=_one_draw
    ),
    "take": Operation(lambda xp, args, static: xp.take(*args, **static), _taken, chooses=True),
}
"""What each operation is, by its name in the standard."""

MADE: dict[str, Operation] = {
    "ones": Operation(_given, _first),
    "copy": Operation(lambda xp, args, _: xp.asarray(args[0], copy=True), _first, elementwise=True),
    # Two calls, which no chain does block by block.
    "two_values": Operation(
        lambda xp, args, s: xp.where(
            args[0], xp.asarray(s["high"], dtype=s["dtype"]), xp.asarray(s["low"], dtype=s["dtype"])
        ),
        _first,
    ),
    "add_scaled": _elementwise(lambda a, b, factor: a + factor * b),
    "subtract_scaled": _elementwise(lambda a, b, factor: a - factor * b),
    "add_product": _elementwise(lambda a, b, c, factor: a + factor * b * c),
    "subtract_quotient": _elementwise(lambda a, b, c, factor: a - factor * (b / c)),
    "add_matmul": Operation(lambda xp, args, _: args[0] + args[1] @ args[2], _first, over=1),
}
"""What passes make of the others, where a library does several of them in one call."""
