"""A traced JAX program, done again with some of its operations written better for a CPU.

`jax.make_jaxpr` says what a step does. Each `Rewrite` does that once more, operation by operation,
on values in another form, or with other operations for the same result:

- `TinyProducts`: XLA calls a library for every matrix product, which takes longer than a tiny
  product itself. Written as a broadcast multiplication and a sum, it melts into the loops around.
- `MembersLast`: of an ensemble of small networks, the members become the last axis, over which a
  processor computes several numbers at once; in the first, every product is a loop of its own.
- `Pieces`: of a large network, theta and all that has its shape are kept in pieces, one a
  parameter. A slice of theta is copied before a product reads it, and gradients are copied to where
  theta has them; pieces are used where they lie.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from xpnet.types import Array

ELEMENTWISE = frozenset(
    (
        "abs",
        "add",
        "and",
        "ceil",
        "convert_element_type",
        "copy",
        "cos",
        "div",
        "eq",
        "erf",
        "exp",
        "exp2",
        "expm1",
        "floor",
        "ge",
        "gt",
        "integer_pow",
        "is_finite",
        "le",
        "log",
        "log1p",
        "logistic",
        "lt",
        "max",
        "min",
        "mul",
        "ne",
        "neg",
        "nextafter",
        "not",
        "or",
        "pow",
        "round",
        "rsqrt",
        "select_n",
        "shift_left",
        "shift_right_logical",
        "sign",
        "sin",
        "sqrt",
        "square",
        "sub",
        "tan",
        "tanh",
        "xor",
    )
)
"""Operations whose every element follows from one element, or the only one, of each operand."""


ADDED_UP = 32
"""Up to how many terms a sum over all members is written term by term.

A processor then adds several members at once, where it would go through the terms one by one.
"""


SUMMED = 256
"""Up to how many rows are added up by a product with ones, which adds one after the other.

XLA's own sum adds in pairs; for more rows it is the faster one, too.
"""


class Opaque(Exception):
    """What a step does cannot be written in this form; it must be run as it is written."""


def traced(function: Callable[..., Any], *args: Any) -> tuple[Any, Any]:
    """The jaxpr of ``function`` for arrays, or their shapes, and the structure of its result."""
    jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*args)
    return jaxpr, jax.tree.structure(shape)


def largest_product(jaxpr: Any) -> int:
    """How many multiplications the largest matrix product of a jaxpr takes, of all its batch."""
    return max((_multiplications(eqn) for eqn in _equations(jaxpr)), default=0)


def _multiplications(equation: Any) -> int:
    if equation.primitive.name != "dot_general":
        return 0
    (inner, _), _ = equation.params["dimension_numbers"]
    a = equation.invars[0].aval
    outputs = math.prod(equation.outvars[0].aval.shape)
    return int(outputs * math.prod(a.shape[axis] for axis in inner))


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        inner = _called(equation)
        if inner is not None:
            yield from _equations(inner.jaxpr)


def _called(equation: Any) -> Any:
    """The jaxpr that an operation merely calls, or ``None``."""
    if equation.primitive.name not in ("jit", "pjit", "custom_jvp_call", "closed_call"):
        return None
    inner = equation.params.get("jaxpr", equation.params.get("call_jaxpr"))
    return inner if hasattr(inner, "consts") else None


class Rewrite:
    """Does a jaxpr as it is; what is done otherwise is said by the classes below."""

    def __call__(self, closed: Any, args: Sequence[Any]) -> list[Any]:
        """The results for ``args``, one by one in the order of their trees."""
        jaxpr = closed.jaxpr
        given = zip([*jaxpr.constvars, *jaxpr.invars], [*closed.consts, *args], strict=True)
        known: dict[Any, Any] = dict(given)

        def read(variable: Any) -> Any:
            return variable.val if hasattr(variable, "val") else known[variable]

        for equation in jaxpr.eqns:
            inputs = [read(variable) for variable in equation.invars]
            inner = _called(equation)
            outputs = self(inner, inputs) if inner is not None else self.operate(equation, inputs)
            known.update(zip(equation.outvars, outputs, strict=True))
        return [read(variable) for variable in jaxpr.outvars]

    def operate(self, equation: Any, inputs: list[Any]) -> list[Any]:
        """The results of one operation."""
        if any("jaxpr" in parameter for parameter in equation.params):
            raise Opaque(equation.primitive.name)
        result = equation.primitive.bind(*inputs, **equation.params)
        return list(result) if equation.primitive.multiple_results else [result]


class TinyProducts(Rewrite):
    """Products of up to so many multiplications become a broadcast multiplication and a sum."""

    def __init__(self, most: int) -> None:
        self.most = most

    def operate(self, equation: Any, inputs: list[Any]) -> list[Any]:
        if 0 < _multiplications(equation) <= self.most and _of_one_kind(equation):
            a, b = inputs
            return [_product(a, b, equation.params["dimension_numbers"])]
        return super().operate(equation, inputs)


def _of_one_kind(equation: Any) -> bool:
    """Whether a product takes and gives float32, or float64, so that its sums need no other."""
    kinds = {variable.aval.dtype for variable in (*equation.invars, *equation.outvars)}
    return len(kinds) == 1 and kinds <= {jnp.dtype("float32"), jnp.dtype("float64")}


def _product(a: Array, b: Array, dimensions: Any, *, behind: int = 0) -> Array:
    """What ``dot_general`` gives: axes of the batch, of ``a``, and of ``b``, in this order.

    Both may have axes ``behind``, over which it is done for each.
    """
    (a_inner, b_inner), (a_batch, b_batch) = dimensions
    a_last, b_last = (tuple(range(array.ndim - behind, array.ndim)) for array in (a, b))
    a_own = [axis for axis in range(a.ndim) if axis not in (*a_inner, *a_batch, *a_last)]
    b_own = [axis for axis in range(b.ndim) if axis not in (*b_inner, *b_batch, *b_last)]
    a = jnp.transpose(a, (*a_batch, *a_own, *a_inner, *a_last))
    b = jnp.transpose(b, (*b_batch, *b_own, *b_inner, *b_last))
    batch, start, inner = len(a_batch), len(a_batch) + len(a_own), len(a_inner)
    a = jnp.expand_dims(a, tuple(range(start, start + len(b_own))))
    b = jnp.expand_dims(b, tuple(range(batch, start)))
    if behind and inner == 1 and 0 < a.shape[-2] <= ADDED_UP:
        terms = [a[..., k, :] * b[..., k, :] for k in range(a.shape[-2])]
        return sum(terms[1:], start=terms[0])
    return jnp.sum(a * b, axis=tuple(range(-behind - inner, -behind)))


class Each:
    """A value of every member: its own axes, and behind them that of the members."""

    def __init__(self, array: Array) -> None:
        self.array = array


class MembersLast(Rewrite):
    """Does the step of one network for all members, which are the last axis of what is theirs.

    Args:
        members: how many there are.
    """

    def __init__(self, members: int) -> None:
        self.members = members

    def each(self, value: Any) -> Array:
        """A value with the axis of the members, be it shared by them or not."""
        if isinstance(value, Each):
            return value.array
        shape = jnp.shape(value)
        return lax.broadcast_in_dim(value, (*shape, self.members), tuple(range(len(shape))))

    def operate(self, equation: Any, inputs: list[Any]) -> list[Any]:
        if not any(isinstance(value, Each) for value in inputs):
            return super().operate(equation, inputs)
        name, out = equation.primitive.name, equation.outvars[0].aval
        if name == "dot_general" and _of_one_kind(equation):
            a, b = (v.array if isinstance(v, Each) else v[..., None] for v in inputs)
            return [Each(_product(a, b, equation.params["dimension_numbers"], behind=1))]
        if name in ELEMENTWISE:
            shape = (*out.shape, self.members)
            # A number that all share may stay one, but in a choice between arrays.
            arrays = [
                value
                if not isinstance(value, Each) and not jnp.ndim(value) and name != "select_n"
                else self._spread(value, shape)
                for value in inputs
            ]
            return [Each(equation.primitive.bind(*arrays, **equation.params))]
        if name == "concatenate":
            arrays = [self.each(value) for value in inputs]
            return [Each(lax.concatenate(arrays, equation.params["dimension"]))]
        if name == "reshape" and equation.params.get("dimensions") is None:
            return [Each(jnp.reshape(inputs[0].array, (*out.shape, self.members)))]
        if name == "transpose":
            permutation = (*equation.params["permutation"], out.ndim)
            return [Each(jnp.transpose(inputs[0].array, permutation))]
        if name == "broadcast_in_dim" and len(inputs) == 1:
            axes = (*equation.params["broadcast_dimensions"], out.ndim)
            shape = (*out.shape, self.members)
            return [Each(lax.broadcast_in_dim(inputs[0].array, shape, axes))]
        return self._mapped(equation, inputs)

    def _spread(self, value: Any, shape: tuple[int, ...]) -> Array:
        """An operand in the shape of the result."""
        array = self.each(value)
        return lax.broadcast_in_dim(array, shape, (*range(array.ndim - 1), len(shape) - 1))

    def _mapped(self, equation: Any, inputs: list[Any]) -> list[Any]:
        """Any other operation, as JAX itself does it for many."""
        theirs = [isinstance(value, Each) for value in inputs]
        arrays = [v.array if own else v for v, own in zip(inputs, theirs, strict=True)]
        axes = tuple(-1 if own else None for own in theirs)
        primitive = equation.primitive
        bound = jax.vmap(lambda *a: primitive.bind(*a, **equation.params), axes, -1)
        result = bound(*arrays)
        return [Each(r) for r in (result if primitive.multiple_results else [result])]


class Split:
    """A vector in pieces that lie one behind the other."""

    def __init__(self, parts: Sequence[Array]) -> None:
        self.parts = tuple(parts)


class Pieces(Rewrite):
    """Keeps vectors of the length of theta in pieces, cut where gradients are put together.

    Args:
        size: that length.
        closed: the jaxpr that tells where to cut.

    Raises:
        Opaque: if it tells nothing.
    """

    def __init__(self, size: int, closed: Any) -> None:
        self.size, self.edges = size, [0]
        for equation in _equations(closed.jaxpr):
            if equation.primitive.name == "concatenate" and self._is_long(equation.outvars[0]):
                self.edges = [0]
                for variable in equation.invars:
                    self.edges.append(self.edges[-1] + variable.aval.shape[0])
        if len(self.edges) < 3:
            raise Opaque("nothing is put together")
        self.lengths = [b - a for a, b in pairwise(self.edges)]

    def _is_long(self, variable: Any) -> bool:
        return bool(variable.aval.shape == (self.size,))

    def split(self, value: Any) -> Split:
        """A vector, whole or not, in pieces."""
        if isinstance(value, Split):
            return value
        return Split([lax.slice(value, (a,), (b,)) for a, b in pairwise(self.edges)])

    def join(self, value: Any) -> Any:
        """A vector in one; any other value as it is.

        Put together one by one: a large concatenation now and then made a program eight times
        slower.
        """
        if not isinstance(value, Split):
            return value
        whole = jnp.zeros((self.size,), value.parts[0].dtype)
        for start, part in zip(self.edges, value.parts, strict=False):
            whole = lax.dynamic_update_slice(whole, part, (start,))
        return whole

    def operate(self, equation: Any, inputs: list[Any]) -> list[Any]:
        name, params = equation.primitive.name, equation.params
        if name == "concatenate" and self._is_long(equation.outvars[0]):
            if [variable.aval.shape[0] for variable in equation.invars] == self.lengths:
                return [Split(inputs)]
        elif any(isinstance(value, Split) for value in inputs):
            if name == "slice" and params["strides"] is None:
                span = params["start_indices"][0], params["limit_indices"][0]
                spans = list(pairwise(self.edges))
                if span in spans:
                    return [inputs[0].parts[spans.index(span)]]
            elif name in ELEMENTWISE:
                return [self._piecewise(equation, inputs)]
        elif name == "reduce_sum" and params["axes"] == (0,) and _is_short(inputs[0]):
            # The sum of a gradient over the samples; 19 µs instead of 32 for 128 × 512.
            return [jnp.ones(inputs[0].shape[:1], inputs[0].dtype) @ inputs[0]]
        return super().operate(equation, [self.join(value) for value in inputs])

    def _piecewise(self, equation: Any, inputs: list[Any]) -> Split:
        alike = [
            self.split(value).parts
            if isinstance(value, Split) or jnp.shape(value) == (self.size,)
            else None  # a number for all, of whatever shape
            for value in inputs
        ]

        def part(i: int) -> Array:
            pairs = zip(inputs, alike, strict=True)
            operands = [value if parts is None else parts[i] for value, parts in pairs]
            return equation.primitive.bind(*operands, **equation.params)

        return Split([part(i) for i in range(len(self.lengths))])


def _is_short(value: Any) -> bool:
    """Whether this is a matrix of floats with few rows to add up."""
    floating = jnp.ndim(value) == 2 and bool(jnp.issubdtype(value.dtype, jnp.floating))
    return floating and value.shape[0] <= SUMMED
