"""Record a pure step once, as a list of array operations.

A step is a pure function of arrays, written with operators and a namespace ``xp``. `record` calls
it once with stand-ins, which write down what is done to them. Their shapes follow from rules, and
their dtypes from doing every operation on a single element with the library itself, so that to
record a step takes as long for a large network as for a small one. What comes out is a graph in the
order of execution: the tape. A runner turns it into whatever is fastest on its library, so that a
layer, loss or optimizer is written once and still pays for no Python that its mathematics does not
need.

An augmented assignment on a stand-in rebinds, as on JAX, where the plain loop on other libraries
writes into the array. Both are the same as long as the step goes on with the name that was bound:
what shares the memory that was written into is spent, and a step that uses it is `Untraceable`.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

Array = Any


class Untraceable(Exception):
    """The step does something that cannot be recorded; it must be run as it is written."""


@dataclass(eq=False)
class Node:
    """One array on the tape.

    Attributes:
        op: the operation that made it; ``"input"`` or ``"const"`` for what was there before.
        args: its operands: nodes, or Python numbers.
        static: the rest of the call: axes, shapes, dtypes.
        shape, dtype: as found when it was recorded.
        value: the array itself, for constants and inputs.
        host: whether it follows from 0-d carry alone, so that it can be a Python number.
    """

    op: str
    args: tuple[Any, ...]
    static: dict[str, Any]
    shape: tuple[int, ...]
    dtype: Any
    value: Any = None
    host: bool = False

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def nodes(self) -> list[Node]:
        """The operands that are nodes (of ``concat``, its pieces)."""
        return [arg for arg in self.args if isinstance(arg, Node)]


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
    "greater": operator.gt,
    "greater_equal": operator.ge,
    "less": operator.lt,
    "less_equal": operator.le,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
}
"""The elementwise operators, by their names in the standard."""

FUNCTIONS = (
    *("abs", "exp", "expm1", "log", "log1p", "sqrt", "tanh"),
    *("maximum", "minimum", "logaddexp"),
)
"""The elementwise functions of the standard that a step may call, besides the operators."""

VIEWS = ("reshape", "getitem", "mT")


def _compute(xp: Any, op: str, args: list[Any], static: dict[str, Any]) -> Any:
    if op in ELEMENTWISE:
        return ELEMENTWISE[op](*args)
    if op == "matmul":
        return args[0] @ args[1]
    if op == "mT":
        return args[0].mT
    if op == "getitem":
        return args[0][static["key"]]
    if op == "concat":
        return xp.concat(args, **static)
    if op in ("astype", "reshape"):
        return getattr(xp, op)(args[0], *static.values())
    return getattr(xp, op)(*args, **static)


def _shape(op: str, shapes: list[tuple[int, ...]], static: dict[str, Any]) -> tuple[int, ...]:
    """The shape of a result, by the rules of the standard; ``ValueError`` if there is none."""
    first, axis = shapes[0], static.get("axis", -1)
    if op == "matmul":
        (*outer_a, n, k), (*outer_b, k_too, m) = shapes
        if k != k_too:
            raise ValueError(f"a product of {shapes[0]} and {shapes[1]}")
        return (*np.broadcast_shapes(tuple(outer_a), tuple(outer_b)), n, m)
    if op == "mT":
        return (*first[:-2], first[-1], first[-2])
    if op in ("getitem", "reshape"):
        view = np.broadcast_to(_NOTHING, first)
        view = view[static["key"]] if op == "getitem" else view.reshape(static["shape"])
        return view.shape
    if op in ("concat", "take"):
        axis = range(len(first))[axis]  # counted from the front
        other = sum(shape[axis] for shape in shapes) if op == "concat" else shapes[1][0]
        return (*first[:axis], other, *first[axis + 1 :])
    if op in ("sum", "max", "argmax", "count_nonzero"):
        axes = range(len(first))
        named = axes if axis is None else axis if isinstance(axis, tuple) else (axis,)
        gone = [axes[a] for a in named]
        one = (1,) if static.get("keepdims") else ()
        parts = (one if i in gone else (n,) for i, n in enumerate(first))
        return tuple(itertools.chain.from_iterable(parts))
    different = {*shapes, ()}
    return max(different) if len(different) < 3 else np.broadcast_shapes(*shapes)


_NOTHING = np.empty((), dtype=bool)
"""What has the shape that is asked about; nobody reads it."""


def _sample(xp: Any, array: Array, ndim: int) -> Array:
    """One element of an array, with so many axes."""
    one = array[(slice(0, 1),) * len(array.shape)]
    return one if len(one.shape) == ndim else xp.reshape(one, (1,) * ndim)


class Tape:
    """A recording under way: the nodes so far, and the namespace to compute with."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.nodes: list[Node] = []

    def input(self, array: Array, constant: bool = False, host: bool = False) -> Traced:
        """A stand-in for an array that the step is given."""
        op = "const" if constant else "input"
        node = Node(op, (), {}, tuple(array.shape), array.dtype, array, host)
        return self._keep(node, _sample(self.xp, array, len(node.shape)))

    def constant(self, array: Array) -> Traced:
        """A stand-in for an array that is the same in every step."""
        return self.input(array, constant=True)

    def apply(self, op: str, args: Iterable[Any], **static: Any) -> Traced:
        """Write an operation down; do it, if it is of constants alone."""
        args = list(args)
        if any(isinstance(arg, Traced) and arg.spent for arg in args):
            raise Untraceable("an array is used under a name from before it was written into")
        operands = tuple(self._operand(arg) for arg in args)
        nodes = [arg for arg in operands if isinstance(arg, Node)]
        if op in ("logical_and", "logical_or") and not all(
            isinstance(arg, Node) and self.xp.isdtype(arg.dtype, "bool") for arg in operands
        ):
            raise Untraceable(f"{op} of what is not bool")
        memory = getattr(args[0], "memory", None) if op in VIEWS else None
        if all(node.op == "const" for node in nodes):
            # A whole number of any size is one here, where nothing is done on Python floats.
            pairs = zip(operands, args, strict=True)
            values = [arg if type(arg) is int else getattr(o, "value", o) for o, arg in pairs]
            result = self.constant(_compute(self.xp, op, values, static))
            return Traced(self, result.node, result.sample, memory)
        shapes = [arg.shape if isinstance(arg, Node) else () for arg in operands]
        shape = _shape(op, shapes, static)
        samples = [self._sample_of(arg) for arg in args]
        if op in ("getitem", "reshape", "take", "concat"):  # of one element they choose that one
            sample = _sample(self.xp, samples[0], len(shape))
        else:
            sample = _compute(self.xp, op, samples, static)
        host = shape == () and all(n.host or (n.op == "const" and n.shape == ()) for n in nodes)
        node = Node(op, operands, static, shape, sample.dtype, host=host)
        return self._keep(node, sample, memory)

    def _keep(self, node: Node, sample: Array, memory: Memory | None = None) -> Traced:
        self.nodes.append(node)
        return Traced(self, node, sample, memory)

    def _sample_of(self, arg: Any) -> Any:
        if isinstance(arg, Traced):
            return arg.sample
        return _sample(self.xp, arg, len(arg.shape)) if hasattr(arg, "shape") else arg

    def _operand(self, arg: Any) -> Any:
        """A node, or a plain Python number: what a library's scalars are is settled here."""
        if isinstance(arg, Traced):
            return arg.node
        if isinstance(arg, np.generic) and self.xp is not np:
            arg = arg.item()  # NumPy alone promotes to its scalars' dtype
        if isinstance(arg, np.generic):
            arg = np.asarray(arg)
        if isinstance(arg, bool):
            return arg
        if isinstance(arg, int):
            return int(arg) if abs(arg) < 1 << 53 else float(arg)
        if isinstance(arg, float):
            return float(arg)
        if hasattr(arg, "shape"):
            return Node("const", (), {}, tuple(arg.shape), arg.dtype, arg)
        raise Untraceable(f"{arg!r} is no operand that can be recorded")


def _operator(name: str, reflected: bool = False) -> Callable[..., Any]:
    def method(self: Traced, *other: Any) -> Any:
        args = (*other, self) if reflected else (self, *other)
        return self.tape.apply(name, args)

    return method


def _augmented(name: str) -> Callable[[Traced, Any], Traced]:
    def method(self: Traced, other: Any) -> Traced:
        result = self.tape.apply(name, (self, other))
        if result.shape != self.shape or result.dtype != self.dtype:
            raise Untraceable(f"an augmented {name} to another shape or dtype")
        self.memory.writes += 1
        return Traced(self.tape, result.node, result.sample, self.memory)

    return method


@dataclass(eq=False)
class Memory:
    """What an array and its views share in the plain loop; counts how often it is written into."""

    writes: int = 0


class Traced:
    """A stand-in for an array, with one element of its own; its tape remembers what is done."""

    __array_ufunc__ = None  # so that NumPy's own scalars hand the operation over

    def __init__(self, tape: Tape, node: Node, sample: Array, memory: Memory | None = None) -> None:
        self.tape, self.node, self.sample = tape, node, sample
        self.memory = memory or Memory()
        self.since = self.memory.writes

    @property
    def spent(self) -> bool:
        """Whether an augmented assignment has written into its memory since."""
        return self.memory.writes > self.since

    shape = property(lambda self: self.node.shape)
    ndim = property(lambda self: len(self.node.shape))
    dtype = property(lambda self: self.node.dtype)
    device = property(lambda self: self.sample.device)
    mT = property(lambda self: self.tape.apply("mT", (self,)))

    def __getitem__(self, key: Any) -> Traced:
        for part in key if isinstance(key, tuple) else (key,):
            if not (part is None or part is ... or isinstance(part, (int, slice))):
                raise Untraceable(f"indexing with {part!r}")
        return self.tape.apply("getitem", (self,), key=key)

    def __matmul__(self, other: Any) -> Traced:
        return self.tape.apply("matmul", (self, other))

    __imatmul__ = _augmented("matmul")

    def __rmatmul__(self, other: Any) -> Traced:
        return self.tape.apply("matmul", (other, self))

    def __pos__(self) -> Traced:
        return self

    def _refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise Untraceable("a value was asked for inside a step")

    __bool__ = __float__ = __int__ = __index__ = __iter__ = __array__ = __setitem__ = _refuse
    __hash__ = object.__hash__


_SPECIAL = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "truediv",
    "logical_and": "and",
    "logical_or": "or",
}
for _name, _short in _SPECIAL.items():
    setattr(Traced, f"__{_short}__", _operator(_name))
    setattr(Traced, f"__r{_short}__", _operator(_name, reflected=True))
    setattr(Traced, f"__i{_short}__", _augmented(_name))
for _name, _short in {
    "negative": "neg",
    "greater": "gt",
    "greater_equal": "ge",
    "less": "lt",
    "less_equal": "le",
    "equal": "eq",
    "not_equal": "ne",
}.items():
    setattr(Traced, f"__{_short}__", _operator(_name))
Traced.__abs__ = _operator("abs")  # type: ignore[attr-defined]


class TracingNamespace:
    """An ``xp`` whose functions record. What it does not know cannot be recorded."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __getattr__(self, name: str) -> Any:
        tape = self._tape
        if name in FUNCTIONS or name in ELEMENTWISE:
            return lambda *args: tape.apply(name, args)
        if name in ("bool", "int64", "float32", "float64", "isdtype"):
            return getattr(tape.xp, name)
        raise Untraceable(f"xp.{name} is not recorded")

    def astype(self, x: Any, dtype: Any) -> Any:
        if x.dtype != dtype:
            return self._tape.apply("astype", (x,), dtype=dtype)
        if x.spent:
            raise Untraceable("an array is used under a name from before it was written into")
        return Traced(self._tape, x.node, x.sample)  # as the copy that it is in the plain loop

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        return self._tape.apply("reshape", (x,), shape=tuple(shape))

    def concat(self, arrays: list[Any], *, axis: int) -> Any:
        if any(array.dtype != arrays[0].dtype for array in arrays):
            raise Untraceable("a concatenation of different dtypes")
        return self._tape.apply("concat", arrays, axis=axis)

    def take(self, x: Any, rows: Any, *, axis: int) -> Any:
        return self._tape.apply("take", (x, rows), axis=axis)

    def sum(self, x: Any, *, axis: Any, keepdims: bool = False) -> Any:
        return self._tape.apply("sum", (x,), axis=axis, keepdims=keepdims)

    def max(self, x: Any, *, axis: int, keepdims: bool = False) -> Any:
        return self._tape.apply("max", (x,), axis=axis, keepdims=keepdims)

    def argmax(self, x: Any, *, axis: int, keepdims: bool = False) -> Any:
        return self._tape.apply("argmax", (x,), axis=axis, keepdims=keepdims)

    def count_nonzero(self, x: Any, *, axis: Any) -> Any:
        return self._tape.apply("count_nonzero", (x,), axis=axis)

    def zeros_like(self, x: Any) -> Any:
        return self._filled("zeros", x)

    def ones_like(self, x: Any) -> Any:
        return self._filled("ones", x)

    def _filled(self, name: str, x: Any) -> Any:
        xp = self._tape.xp
        place = {"dtype": x.dtype, "device": getattr(x.sample, "device", None)}
        return self._tape.constant(getattr(xp, name)(x.shape, **place))


@dataclass
class Recording:
    """A step on tape: what it reads, what it does, what it gives.

    Attributes:
        carry: the carry's nodes by name, ``"theta"`` and those of the state.
        rows: the node of the samples' numbers, or ``None``.
        nodes: the operations that the results depend on, in order.
        results: the next carry's nodes by name.
        metrics: the metrics' nodes by name.
    """

    carry: dict[str, Node]
    rows: Node | None
    nodes: list[Node]
    results: dict[str, Node]
    metrics: dict[str, Node]


def record(
    step: Any,
    xp: Any,
    carry: Any,
    data: Any,
    rows: Array | None = None,
    constant: bool = True,
) -> Recording:
    """Run ``step`` once on stand-ins; ``carry`` is not changed.

    Without ``rows`` every step sees the same ``data``, and what follows from it alone is computed
    here, once, unless they are not ``constant``.

    Raises:
        Untraceable: if the step cannot be recorded.
    """
    theta, state = carry
    if "theta" in state:
        raise Untraceable("a state that has a theta of its own")
    tape = Tape(xp)
    recorded = replace(step, xp=TracingNamespace(tape))
    inputs = {"theta": tape.input(theta)}
    inputs |= {name: tape.input(a, host=tuple(a.shape) == ()) for name, a in state.items()}
    batch = tuple(
        None if a is None else tape.input(a, constant=constant and rows is None) for a in data
    )
    row_input = None if rows is None else tape.input(rows)
    try:
        if row_input is not None:
            batch = recorded.select(batch, row_input)
        (new_theta, new_state), metrics = recorded(
            (inputs["theta"], {name: inputs[name] for name in state}), batch
        )
    except Untraceable:
        raise
    except Exception as error:  # if it is no fault of the stand-ins, the plain loop raises it again
        raise Untraceable(f"{type(error).__name__}: {error}") from error
    results = {"theta": new_theta, **new_state}
    outputs = *results.values(), *metrics.values()
    if set(results) != set(inputs) or not all(isinstance(v, Traced) for v in outputs):
        raise Untraceable("the carry changed its form")
    if any(v.spent for v in outputs):
        raise Untraceable("a result is named as it was before it was written into")
    places = [v.memory for v in results.values()]
    if any(inputs[k].memory.writes and places.count(v.memory) > 1 for k, v in results.items()):
        raise Untraceable("two names of the carry for an array that the next step writes into")
    for name, before in inputs.items():
        after = results[name]
        if after.shape != before.shape or after.dtype != before.dtype:
            raise Untraceable(f"{name} changed its shape or dtype")
    return Recording(
        carry={name: v.node for name, v in inputs.items()},
        rows=None if row_input is None else row_input.node,
        nodes=_needed(tape.nodes, [v.node for v in outputs]),
        results={name: v.node for name, v in results.items()},
        metrics={name: v.node for name, v in metrics.items()},
    )


def _needed(nodes: list[Node], outputs: list[Node]) -> list[Node]:
    """The operations that the outputs depend on, in their order."""
    wanted = set(map(id, outputs))
    kept = []
    for node in reversed(nodes):
        if id(node) in wanted:
            wanted |= set(map(id, node.nodes))
            if node.op not in ("const", "input"):
                kept.append(node)
    return kept[::-1]
