"""A checking interval as one compiled JAX program.

On a CPU, two things are written better than a step says them, so it is traced once and rewritten on
the way into the program:

- XLA calls a library for every matrix product, which takes longer than a tiny product itself.
  Written as a broadcast multiplication and a sum, it melts into the loops around it: at the scale
  of the report, a step takes 1.4 µs instead of 4.1.
- A large concatenation, such as that of all gradients, now and then makes a program eight times
  slower (784-512-512-10, batch 128: about 27 ms a step in 7 of 12 programs, 3.2 to 7.8 in the
  others). Pieces that are put in their places do not.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from xpnet.backends.base import Array, Carry, Data, Metrics, Step

TINY = 1024
"""Up to how many multiplications a product is one to rewrite."""

TINY_SIZE = 4096
"""Up to how many parameters a network has so few operations a step that this matters."""

LARGE = 1 << 15
"""From how many elements on a concatenation is rewritten."""

DONATED = 1 << 16
"""From how many elements on an array's memory is worth giving back to the program."""


class Static:
    """A step as an argument that JAX compiles for: its hash is asked for at every call."""

    def __init__(self, step: Step) -> None:
        self.step = step
        try:
            self.hash = hash(step)
        except TypeError:  # a layer of somebody's that does not compare by value
            self.hash = id(step)

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Static) and self.step == other.step)


def _scan(
    static: Static,
    n: int,
    rewrite: bool,
    tiny: bool,
    carry: Carry,
    data: Data,
    orders: Array | None,
) -> tuple[Carry, Metrics]:
    """Run a step ``n`` times; compiled once for equal steps and shapes."""
    step = static.step

    def body(carry: Carry, rows: Array | None) -> tuple[Carry, Metrics]:
        return step(carry, data if rows is None else step.select(data, rows))

    if rewrite:
        body = _rewritten(body, tiny)
    result: tuple[Carry, Metrics] = lax.scan(
        body, carry, orders, length=n, unroll=min(n, 2) if tiny else 1
    )
    return result


scan = jax.jit(_scan, static_argnums=(0, 1, 2, 3))
scan_and_donate = jax.jit(_scan, static_argnums=(0, 1, 2, 3), donate_argnums=4)


def is_donated(arrays: Any) -> bool:
    """Whether a carry is so large that its memory is given away rather than kept for a while."""
    return any(array.size > DONATED for array in jax.tree.leaves(arrays))


@partial(jax.jit)
def copy(arrays: Any) -> Any:
    """Copies of arrays, however they are put together, in one call."""
    return jax.tree.map(jnp.copy, arrays)


class _Opaque(Exception):
    """An operation with programs of its own inside, which is left as it is."""


def _rewritten(function: Any, tiny: bool) -> Any:
    """The function without large concatenations and, where asked, without tiny products."""

    def rewritten(*args: Any) -> Any:
        jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*args)
        try:
            values = _evaluate(jaxpr.jaxpr, jaxpr.consts, jax.tree.leaves(args), tiny)
        except _Opaque:
            return function(*args)
        return jax.tree.unflatten(jax.tree.structure(shape), values)

    return rewritten


def _evaluate(jaxpr: Any, consts: list[Any], args: list[Any], tiny: bool) -> list[Any]:
    """Do the operations of a jaxpr one by one, as JAX's manual shows, but for those."""
    given = zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True)
    known: dict[Any, Any] = dict(given)

    def read(variable: Any) -> Any:
        return variable.val if hasattr(variable, "val") else known[variable]

    for equation in jaxpr.eqns:
        inputs = [read(variable) for variable in equation.invars]
        name = equation.primitive.name
        inner = equation.params.get("jaxpr" if name in ("jit", "pjit") else "call_jaxpr")
        if name in ("jit", "pjit", "custom_jvp_call") and hasattr(inner, "consts"):
            outputs = _evaluate(inner.jaxpr, inner.consts, inputs, tiny)
        elif name == "concatenate" and equation.outvars[0].aval.size >= LARGE:
            outputs = [_put_in_place(inputs, equation)]
        elif tiny and name == "dot_general" and _is_tiny(equation):
            a, b = inputs
            outputs = [_product(a, b, equation.params["dimension_numbers"])]
        else:
            if any("jaxpr" in parameter for parameter in equation.params):
                raise _Opaque(name)
            result = equation.primitive.bind(*inputs, **equation.params)
            outputs = result if equation.primitive.multiple_results else [result]
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _put_in_place(pieces: list[Array], equation: Any) -> Array:
    """What ``concatenate`` gives."""
    out, axis = equation.outvars[0].aval, equation.params["dimension"]
    whole, start = jnp.zeros(out.shape, out.dtype), 0
    for piece in pieces:
        whole = lax.dynamic_update_slice_in_dim(whole, piece, start, axis)
        start += piece.shape[axis]
    return whole


def _is_tiny(equation: Any) -> bool:
    (left, _), (batch, _) = equation.params["dimension_numbers"]
    a, out = equation.invars[0].aval, equation.outvars[0].aval
    inner = math.prod(a.shape[axis] for axis in left)
    repeated = math.prod(a.shape[axis] for axis in batch)
    floats = jnp.issubdtype(out.dtype, jnp.floating)
    return bool(floats and math.prod(out.shape) * inner <= TINY * repeated)


def _product(a: Array, b: Array, dimensions: Any) -> Array:
    """What ``dot_general`` gives: axes of the batch, of ``a``, and of ``b``, in this order."""
    (a_inner, b_inner), (a_batch, b_batch) = dimensions
    a_own = [axis for axis in range(a.ndim) if axis not in (*a_inner, *a_batch)]
    b_own = [axis for axis in range(b.ndim) if axis not in (*b_inner, *b_batch)]
    a = jnp.transpose(a, (*a_batch, *a_own, *a_inner))
    b = jnp.transpose(b, (*b_batch, *b_own, *b_inner))
    batch, inner = len(a_batch), len(a_inner)
    a = jnp.expand_dims(a, tuple(range(batch + len(a_own), batch + len(a_own) + len(b_own))))
    b = jnp.expand_dims(b, tuple(range(batch, batch + len(a_own))))
    return jnp.sum(a * b, axis=tuple(range(-inner, 0)))
