"""A checking interval as one compiled JAX program.

On a CPU the step is traced once and rewritten on the way into the program (`rewrite.py`), each
size of network in its own way.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, partial
from threading import Lock
from typing import Any

import jax
import jax.extend.core
import jax.numpy as jnp
import numpy as np
from jax import lax

from xpnet.backends.jax.jaxprs import said
from xpnet.backends.jax.rewrite import (
    Each,
    MembersLast,
    Opaque,
    Pieces,
    Split,
    TinyProducts,
    largest_product,
    traced,
)
from xpnet.backends.jax.sharded import held
from xpnet.compiler.plain import Step
from xpnet.compiler.step_key import ByIdentity, as_it_is, snapshot
from xpnet.types import Array, Carry, Data, Metrics

Rewrite = bool | tuple[Any, ...]

TINY = 1024
"""Up to how many multiplications a product of one network is written out."""

TINY_SIZE = 4096
"""Up to how many parameters a network has so few operations a step that this matters."""

LARGE = 1 << 15
"""From how many parameters on copies of theta cost more than operations in pieces."""

_LOCK = Lock()


class Static:
    """What a step says, as a key: equal where the steps said the same.

    Raises:
        ByIdentity: if that cannot be told.
    """

    def __init__(self, step: Step) -> None:
        self.says = snapshot(step, {id(array) for array in getattr(step, "per_member", ())})
        self.hash = hash(self.says)  # which is asked for at every call

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Static) and self.says == other.says)


_KNOWN: OrderedDict[Static, Any] = OrderedDict()
"""The programs of the steps that were trained of late, the latest last."""

_TRACED: OrderedDict[Any, Any] = OrderedDict()
"""The programs of steps of somebody's own, by what they were when they were traced."""

_ONCE: OrderedDict[Static, None] = OrderedDict()
"""What steps say without any of their numbers, of which one was trained of late."""

KEPT = 64
"""Of how many steps: a search for the best network tries thousands, and programs take megabytes."""


Body = Callable[[Carry, Data, "Array | None"], tuple[Carry, Metrics]]
"""A step with the rows of its batch, or with ``None`` for all of the data."""


def compiled(step: Step) -> Any:
    """``(n, rewrite, carry, data, batch_rows)`` -> what `run_plainly` returns, in one program.

    Steps that say the same share their programs, from one training to the next; their ``operands``
    are not part of what they say. What cannot be compared for certain, somewhere within a step, may
    be changed in between: such a step is traced in each training, and shares by what it did there.

    Nothing is donated: the arrays at an interval's beginning are kept, to come back to, and what is
    donated would have to be copied first.
    """
    program, operands = _program(step)
    names, values = tuple(operands), list(operands.values())

    @lru_cache(maxsize=2)
    def numbers(dtype: Any) -> Array:
        """All operands in one array, which is handed over sooner than many."""
        return jnp.asarray(np.asarray(values, dtype))

    def run(n: int, rewrite: Rewrite, carry: Carry, data: Data, batch_rows: Array | None) -> Any:
        given = numbers(carry["theta"].dtype) if values else ()
        return program(n, rewrite, names, carry, data, batch_rows, given)

    return run


def _jitted(step: Step) -> Any:
    return jax.jit(partial(_scan, step), static_argnums=(0, 1, 2))


def _program(step: Any) -> tuple[Any, dict[str, float]]:
    """The programs of a step, and the numbers within it that are their operands.

    Those of the optimizer always. Those of loss and layers cost a small step a twentieth of its
    speed, where as constants they are folded: so only once two steps have differed in these alone.
    """
    own, others = getattr(step, "operands", ({}, {}))
    template = step.template(own) if own else step
    try:
        static = Static(template)
        with _LOCK:
            if static not in _KNOWN and others:
                every = {**own, **others}
                general = step.template(every)
                swept = Static(general)
                if swept in _KNOWN or swept in _ONCE:
                    return _shared(swept, general), every
                _keep(_ONCE, swept, None)
            return _shared(static, template), own
    except ByIdentity:
        return Traced(template), own


class Traced:
    """The programs of a step of which nobody can tell what it says, but for what it does.

    Each training traces it, for each form of what it is given; those whose jaxprs are equal share
    what is compiled of them, which takes ten times as long. A jaxpr is all there is to a program:
    what the step holds may change afterwards.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.forms: dict[Any, tuple[Any, Any]] = {}

    def __call__(self, n: int, rewrite: Rewrite, names: tuple[str, ...], *given: Any) -> Any:
        leaves, tree = jax.tree.flatten(given)
        arrays = tuple((leaf.shape, leaf.dtype, leaf.weak_type) for leaf in leaves)
        form = n, rewrite, names, tree, arrays
        if form not in self.forms:
            self.forms[form] = self._traced(n, rewrite, names, given)
        program, structure = self.forms[form]
        return jax.tree.unflatten(structure, program(*leaves))

    def _traced(self, n: int, rewrite: Rewrite, names: tuple[str, ...], given: Any) -> Any:
        closed, structure = traced(partial(_scan, self.step, n, rewrite, names), *given)
        key = said(closed)
        with _LOCK:
            program = None if key is None else _TRACED.pop(key, None)
            if program is None:
                program = jax.jit(jax.extend.core.jaxpr_as_fun(closed))
            if key is not None:
                _keep(_TRACED, key, program)
        return program, structure


def _shared(static: Static, step: Step) -> Any:
    """The programs of all steps that say the same."""
    known = _KNOWN.pop(static, None)
    # Traced again for other shapes, when what the step holds may have been changed.
    program = _jitted(as_it_is(step)) if known is None else known
    _keep(_KNOWN, static, program)
    return program


def _keep(among: OrderedDict[Any, Any], static: Any, value: Any) -> None:
    among[static] = value
    while len(among) > KEPT:
        among.popitem(last=False)


def _scan(
    step: Any,
    n: int,
    rewrite: Rewrite,
    names: tuple[str, ...],
    carry: Carry,
    data: Data,
    batch_rows: Array | None,
    numbers: Array,
) -> tuple[Carry, Metrics]:
    """Run a step ``n`` times; compiled once for these shapes.

    ``rewrite`` says whether it is rewritten, or, of data on several devices, how these lie.

    ``numbers``, the operands of these ``names``, go to every step with its data, and from there
    into its carry.
    """

    def body(carry: Carry, given: Data, rows: Array | None) -> tuple[Carry, Metrics]:
        data, operands = given
        batch = data if rows is None else step.select(data, rows)
        if isinstance(rewrite, tuple) and rows is not None:
            batch = held(batch, rewrite)
        if not operands:
            result: tuple[Carry, Metrics] = step(carry, batch)
            return result
        after, metrics = step({**operands, **carry}, batch)
        return {name: after[name] for name in carry}, metrics

    given = data, {name: numbers[i] for i, name in enumerate(names)}

    result: tuple[Carry, Metrics]
    for way in (members_last, in_pieces, written_out) if rewrite is True else ():
        try:
            result = way(body, n, carry, given, batch_rows)
            return result
        except Opaque:
            pass
    result = lax.scan(lambda carry, rows: body(carry, given, rows), carry, batch_rows, length=n)
    return result


# ---- the three ways to write an interval, each for its own size of network


def _row(batch_rows: Array | None) -> Array | None:
    return None if batch_rows is None else batch_rows[0]


def written_out(body: Body, n: int, carry: Carry, data: Data, batch_rows: Array | None) -> Any:
    """One small network: its products written out."""
    theta = carry["theta"]
    if theta.ndim > 1 or theta.size > TINY_SIZE:
        raise Opaque("not one small network")
    closed, structure = traced(body, carry, data, _row(batch_rows))
    rewrite = TinyProducts(TINY)

    def step(carry: Carry, rows: Array | None) -> Any:
        leaves = jax.tree.leaves((carry, data, rows))
        return jax.tree.unflatten(structure, rewrite(closed, leaves))

    return lax.scan(step, carry, batch_rows, length=n, unroll=min(n, 2))


def in_pieces(body: Body, n: int, carry: Carry, data: Data, batch_rows: Array | None) -> Any:
    """One large network: all that has the shape of theta in pieces."""
    theta = carry["theta"]
    if theta.ndim > 1 or theta.size < LARGE:
        raise Opaque("not one large network")
    closed, structure = traced(body, carry, data, _row(batch_rows))
    rewrite = Pieces(theta.size, closed)
    leaves = jax.tree.leaves(carry)
    long = [leaf.shape == theta.shape for leaf in leaves]

    def split(values: list[Any]) -> list[Any]:
        return [
            rewrite.split(value).parts if is_long else value
            for value, is_long in zip(values, long, strict=True)
        ]

    def step(pieces: Any, rows: Array | None) -> Any:
        given = [Split(p) if isinstance(p, tuple) else p for p in pieces]
        results = rewrite(closed, [*given, *jax.tree.leaves((data, rows))])
        metrics = [rewrite.join(value) for value in results[len(long) :]]
        return split(results[: len(long)]), metrics

    pieces, metrics = lax.scan(step, split(leaves), batch_rows, length=n)
    after = [rewrite.join(Split(p)) if isinstance(p, tuple) else p for p in pieces]
    return jax.tree.unflatten(structure, [*after, *metrics])


def members_last(body: Body, n: int, carry: Carry, data: Data, batch_rows: Array | None) -> Any:
    """An ensemble of small networks: the members last."""
    leaves = jax.tree.leaves(carry)
    if carry["theta"].ndim != 2 or any(leaf.ndim < 2 for leaf in leaves):
        raise Opaque("not an ensemble")
    members = leaves[0].shape[0]

    def one(array: Array) -> Any:
        return jax.ShapeDtypeStruct(array.shape[1:], array.dtype)

    own = [array.ndim == 3 for array in jax.tree.leaves(data)]
    alone = jax.tree.map(lambda array: one(array) if array.ndim == 3 else array, data)
    closed, structure = traced(body, jax.tree.map(one, carry), alone, _row(batch_rows))
    if [out.shape for out in closed.out_avals[: len(leaves)]] != [a.shape[1:] for a in leaves]:
        raise Opaque("members that have something of their own besides")
    if largest_product(closed.jaxpr) > TINY:
        raise Opaque("large products are the library's")
    rewrite = MembersLast(members)
    moved = [
        Each(jnp.moveaxis(array, 0, -1)) if theirs else array
        for array, theirs in zip(jax.tree.leaves(data), own, strict=True)
    ]

    def step(carried: list[Array], rows: Array | None) -> Any:
        given: list[Any] = [Each(array) for array in carried]
        results = [
            rewrite.each(r) for r in rewrite(closed, [*given, *moved, *jax.tree.leaves(rows)])
        ]
        return results[: len(leaves)], results[len(leaves) :]

    last, metrics = lax.scan(step, [jnp.moveaxis(a, 0, -1) for a in leaves], batch_rows, length=n)
    metrics = [jnp.moveaxis(metric, -1, 1) for metric in metrics]
    return jax.tree.unflatten(structure, [*(jnp.moveaxis(a, -1, 0) for a in last), *metrics])
