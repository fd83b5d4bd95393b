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
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.compiler.ir import OPERATIONS, Node, Operation, Recording, Untraceable, needed
from xpnet.compiler.pure import CHANGES, KeptArray, is_ours, look, require_unchanged
from xpnet.types import Array

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float32", "float64", "complex64", "complex128"),
    *("isdtype", "finfo", "iinfo", "pi", "e", "inf", "nan", "newaxis"),
)
"""What a namespace has besides functions of arrays."""

NEW = ("zeros", "ones", "full", "arange", "linspace", "eye")
"""Functions that make an array of numbers alone, the same in every step."""


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
        args, operation = list(args), OPERATIONS[op]
        operands = tuple([self._operand(arg) for arg in args])
        nodes = [arg for arg in operands if isinstance(arg, Node)]
        for arg in operands[: operation.truths]:
            if not isinstance(arg, Node) or not self.xp.isdtype(arg.dtype, "bool"):
                raise Untraceable(f"{op} of what is not bool")
        memory = getattr(args[0], "memory", None) if operation.shares else None
        if all(node.op == "const" for node in nodes):
            # A whole number of any size is one here, where nothing is done on Python floats.
            pairs = zip(operands, args, strict=True)
            values = [arg if type(arg) is int else getattr(o, "value", o) for o, arg in pairs]
            result = self.constant(operation.compute(self.xp, values, static))
            return Traced(self, result.node, result.sample, memory)
        shapes = [arg.shape if isinstance(arg, Node) else () for arg in operands]
        shape = operation.shape(shapes, static)
        samples = [self._sample_of(arg) for arg in args]
        if operation.chooses:  # of one element they choose that one
            sample = _sample(self.xp, samples[0], len(shape))
        else:
            sample = (operation.sample or operation.compute)(self.xp, samples, static)
        host = shape == () and operation.host is not None and self._is_exact(operation, nodes)
        host = host and all(n.host or (n.op == "const" and n.shape == ()) for n in nodes)
        node = Node(op, operands, static, shape, sample.dtype, host=host)
        return self._keep(node, sample, memory)

    def _is_exact(self, operation: Operation, nodes: list[Node]) -> bool:
        """Whether Python's numbers, which have more digits and go round nowhere, do for these.

        They do for floats, which are more exact then, but not where they are compared: 0.1 is not
        what float32 has of it. They do for the integers of 64 bits that count.
        """
        xp = self.xp
        if operation.compares and any(node.dtype == xp.float32 for node in nodes):
            return False
        whole = [node for node in nodes if xp.isdtype(node.dtype, "integral")]
        return all(node.dtype == xp.int64 for node in whole)

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
            if arg.tape is not self:
                raise KeptArray(
                    "A layer, loss or optimizer uses an array kept from the step before, such "
                    "as a running mean: a step must be pure; a layer declares it by state(), an "
                    "optimizer by init_state."
                )
            if arg.spent:
                raise Untraceable("an array is used under a name from before it was written into")
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


def _bitwise(name: str, make: Callable[..., Any], **kind: Any) -> Callable[..., Any]:
    """An operator that is of truth values, or of the bits of integers."""
    logical, bits = make(f"logical_{name}", **kind), make(f"bitwise_{name}", **kind)

    def method(self: Traced, *other: Any) -> Any:
        truths = self.tape.xp.isdtype(self.dtype, "bool")
        return (logical if truths else bits)(self, *other)

    return method


def _augmented(name: str) -> Callable[[Traced, Any], Traced]:
    def method(self: Traced, other: Any) -> Traced:
        if self.node.op == "broadcast_to":
            raise Untraceable("an augmented assignment to what broadcast_to has made")
        result = _power(self, other) if name == "pow" else self.tape.apply(name, (self, other))
        if result.shape != self.shape or result.dtype != self.dtype:
            raise Untraceable(f"an augmented {name} to another shape or dtype")
        self.memory.writes += 1
        return Traced(self.tape, result.node, result.sample, self.memory)

    return method


def _power(x: Any, exponent: Any) -> Traced:
    """A power; a small whole one as the products that are several times as fast."""
    tape = x.tape if isinstance(x, Traced) else exponent.tape
    floats = [getattr(a, "dtype", None) for a in (x, exponent)]
    if not any(d is not None and tape.xp.isdtype(d, "real floating") for d in floats):
        raise Untraceable("a power of integers")
    if isinstance(exponent, (int, float)) and exponent in (2, 3, 4):
        square = tape.apply("multiply", (x, x))
        if exponent == 2:
            return square
        return tape.apply("multiply", (square, square if exponent == 4 else x))
    if isinstance(exponent, float) and exponent == 0.5:
        return tape.apply("sqrt", (x,))
    return tape.apply("pow", (x, exponent))


class _Missing(Untraceable, AttributeError):
    """Arrays of the standard have no such attribute."""


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
    size = property(lambda self: math.prod(self.node.shape))

    @property
    def T(self) -> Traced:
        if self.ndim != 2:
            raise Untraceable("the .T of what has not two axes")
        return self.tape.apply("mT", (self,))

    def __getattr__(self, name: str) -> Any:
        raise _Missing(f"x.{name} is not recorded: arrays of the standard have no {name}")

    def __len__(self) -> int:
        if not self.node.shape:
            raise TypeError("len() of a 0-d array")
        return self.node.shape[0]

    def __invert__(self) -> Traced:
        truths = self.tape.xp.isdtype(self.dtype, "bool")
        return self.tape.apply("logical_not" if truths else "bitwise_invert", (self,))

    def __pow__(self, other: Any) -> Traced:
        return _power(self, other)

    def __rpow__(self, other: Any) -> Traced:
        return _power(other, self)

    __ipow__ = _augmented("pow")

    def __getitem__(self, key: Any) -> Traced:
        for part in key if isinstance(key, tuple) else (key,):
            plain = part is None or part is ... or isinstance(part, (int, slice))
            if not plain or isinstance(part, bool):
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
        raise Untraceable("a value was asked for inside a step; xp.where chooses without")

    __bool__ = __float__ = __int__ = __index__ = __iter__ = __array__ = __setitem__ = _refuse
    __hash__ = object.__hash__


_SPECIAL = {
    "add": "add",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "truediv",
    "remainder": "mod",
    "floor_divide": "floordiv",
    "bitwise_left_shift": "lshift",
    "bitwise_right_shift": "rshift",
}
for _name, _short in _SPECIAL.items():
    setattr(Traced, f"__{_short}__", _operator(_name))
    setattr(Traced, f"__r{_short}__", _operator(_name, reflected=True))
    setattr(Traced, f"__i{_short}__", _augmented(_name))
for _name in ("and", "or", "xor"):
    setattr(Traced, f"__{_name}__", _bitwise(_name, _operator))
    setattr(Traced, f"__r{_name}__", _bitwise(_name, _operator, reflected=True))
    setattr(Traced, f"__i{_name}__", _bitwise(_name, _augmented))
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
    """An ``xp`` whose functions record. What it does not know cannot be recorded.

    Long, since each function of the standard that is not one operation is a method.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape

    def __getattr__(self, name: str) -> Any:
        tape = self._tape
        if name in DTYPES:
            return getattr(tape.xp, name)
        operation = OPERATIONS.get(name)
        if operation is not None and operation.elementwise:
            return lambda *args: tape.apply(name, args)
        if operation is not None and operation.reduces:
            return partial(self._reduce, name)
        if name in NEW:
            return lambda *args, **kwargs: tape.constant(getattr(tape.xp, name)(*args, **kwargs))
        raise _Missing(f"xp.{name} is not recorded")

    def astype(self, x: Any, dtype: Any) -> Any:
        if x.dtype != dtype:
            return self._tape.apply("astype", (x,), dtype=dtype)
        return self._copy(x)

    def _copy(self, x: Any) -> Any:
        if x.spent:
            raise Untraceable("an array is used under a name from before it was written into")
        return Traced(self._tape, x.node, x.sample)  # as the copy that it is in the plain loop

    # ---- one shape from another

    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        return self._tape.apply("reshape", (x,), shape=tuple(shape))

    def expand_dims(self, x: Any, *, axis: int) -> Any:
        places = [slice(None)] * x.ndim
        places.insert(range(x.ndim + 1)[axis], None)  # type: ignore[arg-type]
        return x[tuple(places)]

    def squeeze(self, x: Any, axis: int | tuple[int, ...]) -> Any:
        gone = [range(x.ndim)[a] for a in (axis if isinstance(axis, tuple) else (axis,))]
        if any(x.shape[a] != 1 for a in gone):
            raise ValueError(f"a squeeze of axis {axis} of {x.shape}")
        return x[tuple(0 if a in gone else slice(None) for a in range(x.ndim))]

    def matrix_transpose(self, x: Any) -> Any:
        return x.mT

    def permute_dims(self, x: Any, axes: tuple[int, ...]) -> Any:
        axes = tuple(range(x.ndim)[axis] for axis in axes)
        if sorted(axes) != list(range(x.ndim)):
            raise ValueError(f"a permutation {axes} of {x.ndim} axes")
        return self._tape.apply("permute_dims", (x,), axes=axes)

    def broadcast_to(self, x: Any, shape: tuple[int, ...]) -> Any:
        return self._tape.apply("broadcast_to", (x,), shape=tuple(shape))

    def concat(self, arrays: list[Any], *, axis: int = 0) -> Any:
        return self._joined("concat", arrays, axis)

    def stack(self, arrays: list[Any], *, axis: int = 0) -> Any:
        return self._joined("stack", arrays, axis)

    def _joined(self, op: str, arrays: list[Any], axis: int) -> Any:
        if any(array.dtype != arrays[0].dtype for array in arrays):
            raise Untraceable(f"a {op} of different dtypes")
        return self._tape.apply(op, arrays, axis=axis)

    def take(self, x: Any, rows: Any, *, axis: int) -> Any:
        return self._tape.apply("take", (x, rows), axis=axis)

    def flip(self, x: Any, *, axis: Any = None) -> Any:
        return self._tape.apply("flip", (x,), axis=_axes(x, axis))

    def roll(self, x: Any, shift: Any, *, axis: Any) -> Any:
        if isinstance(shift, tuple):
            shift = tuple(map(operator.index, shift))
        else:
            shift = operator.index(shift)
        return self._tape.apply("roll", (x,), shift=shift, axis=axis)

    # ---- functions of other functions

    def pow(self, x: Any, exponent: Any) -> Any:
        return _power(x, exponent)

    def square(self, x: Any) -> Any:
        return self._tape.apply("multiply", (x, x))

    def clip(self, x: Any, min: Any = None, max: Any = None) -> Any:
        if any(getattr(bound, "dtype", x.dtype) != x.dtype for bound in (min, max)):
            raise Untraceable("a clip to bounds of another dtype")
        x = self._copy(x) if min is None else self.maximum(x, min)
        return x if max is None else self.minimum(x, max)

    def matmul(self, a: Any, b: Any) -> Any:
        return self._tape.apply("matmul", (a, b))

    def vecdot(self, a: Any, b: Any, *, axis: int = -1) -> Any:
        return self.sum(a * b, axis=axis)

    # ---- over axes

    def _reduce(self, op: str, x: Any, axis: Any = None, keepdims: bool = False) -> Any:
        if not x.ndim:
            raise Untraceable(f"the {op} of a 0-d array")
        if op in ("argmax", "argmin"):
            return self._tape.apply(op, (x,), axis=axis, keepdims=keepdims)
        axes = _axes(x, axis)
        if not axes:
            raise Untraceable(f"the {op} over no axes")
        return self._tape.apply(
            op, (x,), axis=axes[0] if len(axes) == 1 else axes, keepdims=keepdims
        )

    def cumulative_sum(self, x: Any, *, axis: int = -1) -> Any:
        self._require_floats("cumulative_sum", x)
        return self._tape.apply("cumulative_sum", (x,), axis=axis - x.ndim if axis >= 0 else axis)

    def mean(self, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
        self._require_floats("mean", x)
        count = math.prod(x.shape[a] for a in _axes(x, axis))
        if not count:
            raise Untraceable("the mean of nothing")
        return self.sum(x, axis=axis, keepdims=keepdims) / count

    def var(
        self, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False
    ) -> Any:
        distance = x - self.mean(x, axis=axis, keepdims=True)
        count = math.prod(x.shape[a] for a in _axes(x, axis)) - correction
        if count <= 0:
            raise Untraceable("the variance of fewer numbers than its correction")
        return self.sum(distance * distance, axis=axis, keepdims=keepdims) / count

    def std(self, x: Any, **kwargs: Any) -> Any:
        return self.sqrt(self.var(x, **kwargs))

    def _require_floats(self, name: str, x: Any) -> None:
        if x.dtype not in (self.float32, self.float64):
            raise Untraceable(f"the {name} of {x.dtype}")

    # ---- new arrays

    def asarray(self, x: Any, **kwargs: Any) -> Any:
        if isinstance(x, Traced):
            raise Untraceable("xp.asarray of an array of the step")
        return self._tape.constant(self._tape.xp.asarray(x, **kwargs))

    def zeros_like(self, x: Any) -> Any:
        return self._filled("zeros", x)

    def ones_like(self, x: Any) -> Any:
        return self._filled("ones", x)

    def _filled(self, name: str, x: Any) -> Any:
        xp = self._tape.xp
        place = {"dtype": x.dtype, "device": getattr(x.sample, "device", None)}
        return self._tape.constant(getattr(xp, name)(x.shape, **place))


def _axes(x: Any, axis: Any) -> tuple[int, ...]:
    """The axes that are meant, counted from the end, in order."""
    named = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(sorted(range(x.ndim)[a] - x.ndim for a in named))


def record(
    step: Any,
    xp: Any,
    carry: Any,
    data: Any,
    rows: Array | None = None,
    constant: bool = True,
    again: bool = False,
) -> Recording:
    """Run ``step`` once on stand-ins; ``carry`` is not changed.

    Without ``rows`` every step sees the same ``data``, and what follows from it alone is computed
    here, once, unless they are not ``constant``. A step that keeps an array is recorded ``again``,
    which shows whether the next one uses it.

    Raises:
        Untraceable: if the step cannot be recorded.
        TypeError: if it has changed what it is made of, such as a counter.
    """
    if step.xp is not xp:
        raise Untraceable("a namespace that is not the library's")
    tape = Tape(xp)
    recorded = replace(step, xp=TracingNamespace(tape))
    inputs = {name: tape.input(a, host=tuple(a.shape) == ()) for name, a in carry.items()}
    batch = tuple(
        None if a is None else tape.input(a, constant=constant and rows is None) for a in data
    )
    row_input = None if rows is None else tape.input(rows)
    made_of = look(step)
    try:
        if row_input is not None:
            batch = recorded.select(batch, row_input)
        results, metrics = recorded(dict(inputs), batch)
    except KeptArray:
        raise
    except Exception as error:  # if it is no fault of the stand-ins, the plain loop raises it again
        what = "" if isinstance(error, Untraceable) else f"{type(error).__name__}: "
        why = f"{what}{error}"
        if "does not support ufuncs" in why:  # as NumPy says it
            why = "a function of np is called where xp has its own"
        raise Untraceable(f"{why}{_place(error)}") from error
    require_unchanged(step, made_of)
    outputs = *results.values(), *metrics.values()
    if set(results) != set(inputs) or not all(isinstance(v, Traced) for v in outputs):
        raise Untraceable("the carry changed its form")
    if any(v.spent for v in outputs):
        raise Untraceable("a result is named as it was before it was written into")
    places = [v.memory for v in results.values()]
    if any(inputs[k].memory.writes and places.count(v.memory) > 1 for k, v in results.items()):
        raise Untraceable("two names of the carry for an array that the next step writes into")
    for name, given in inputs.items():
        after = results[name]
        if after.shape != given.shape or after.dtype != given.dtype:
            raise Untraceable(f"{name} changed its shape or dtype")
    recording = Recording(
        carry={name: v.node for name, v in inputs.items()},
        rows=None if row_input is None else row_input.node,
        nodes=needed(tape.nodes, [v.node for v in outputs]),
        results={name: v.node for name, v in results.items()},
        metrics={name: v.node for name, v in metrics.items()},
        xp=xp,
    )
    if not again and not is_ours(step):
        twice = record(step, xp, carry, data, rows, constant, again=True)
        pairs = itertools.zip_longest(recording.says(_content), twice.says(_content))
        if other := next((pair for pair in pairs if pair[0] != pair[1]), None):
            name = next(operation[0] for operation in other if operation)
            raise TypeError(CHANGES.format(f"{name} is not the same twice"))
    return recording


def _content(node: Node) -> Any:
    """The values of an array that a step finds or makes of what does not change."""
    if node.op == "input":
        return id(node.value)
    return str(node.dtype), None if node.value is None else np.asarray(node.value).tobytes()


def _place(error: BaseException) -> str:
    """Where in the network, loss or optimizer an error was raised."""
    place, trace, here = "", error.__traceback__, Path(__file__).parent
    while trace is not None:
        code = trace.tb_frame.f_code
        if Path(code.co_filename).parent != here:
            of = trace.tb_frame.f_locals.get("self")
            name = code.co_name if of is None else f"{type(of).__name__}.{code.co_name}"
            place = f" ({name}, line {trace.tb_lineno} of {Path(code.co_filename).name})"
        trace = trace.tb_next
    return place
