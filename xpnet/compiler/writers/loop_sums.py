"""Reductions as loops: sums and the like, in as few turns as their digits allow."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from xpnet.compiler.ir import Node
from xpnet.compiler.layout import Buffer, Layout, Ref

if TYPE_CHECKING:
    from xpnet.compiler.writers.loops import LoopWriter

TERMS = 24
"""Up to how many terms of a sum stand in one expression; longer sums are sums of such sums."""

LONG = 1 << 12
"""Of how many terms a sum is left to NumPy, which adds them up in pairs."""


def kind(dtype: object) -> str:
    """The name of a dtype as a function that makes numbers of it."""
    name = np.dtype(dtype).name  # type: ignore[call-overload]
    return "np.bool_" if name == "bool" else f"np.{name}"


START = {"sum": 0, "count_nonzero": 0, "prod": 1, "any": False, "all": True}
"""What nothing at all comes to."""

_JOIN = {
    "sum": "{0} + {1}",
    "count_nonzero": "{0} + {1}",
    "prod": "{0} * {1}",
    "max": "maximum({0}, {1})",
    "min": "minimum({0}, {1})",
    "any": "{0} | {1}",
    "all": "{0} & {1}",
}
"""How two are made one."""

REDUCTIONS = tuple(_JOIN)


def _gone(node: Node) -> list[int]:
    """The axes that a reduction goes over."""
    axes, axis = range(node.nodes[0].ndim), node.static["axis"]
    named = axes if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return sorted(axes[a] for a in named)


def terms_of(node: Node) -> int:
    """Of how many terms each number is that a reduction gives."""
    return math.prod(node.nodes[0].shape[a] for a in _gone(node))


class _Reduction:
    """A reduction that is being written.

    Attributes:
        gone: the axes that it goes over.
        kept: the others.
        variables: what counts along each axis of what is reduced.
    """

    def __init__(self, w: LoopWriter, node: Node) -> None:
        (array,) = node.args
        self.w, self.node, self.array = w, node, array
        self.gone = _gone(node)
        self.kept = [a for a in range(array.ndim) if a not in self.gone]
        self.source, self.out = w.ref(array), w.ref(node)
        if not node.static.get("keepdims") and self.gone:
            self.out = _with_axes(self.out, self.gone)
        self.each = bool(w.lanes) and node in w.each
        self.variables = [""] * array.ndim
        self.counted = terms_of(node)

    def write(self) -> None:
        """Write it."""
        w, node, depth = self.w, self.node, self.w.depth
        floats = np.dtype(node.dtype).kind == "f"
        everything = self.counted == math.prod(self.array.shape)
        flat = self.source.layout.reshape((self.counted,)) if everything and floats else None
        if self.counted <= TERMS:
            self._at_once()
        elif flat and node.op == "sum" and self.counted >= 2 * w.ways > 0:
            _in_parts(w, node, Ref(self.source.buffer, flat), self.out)
        else:
            self._step_by_step()
        w.depth = depth

    # ---- texts

    def _first(self) -> list[str]:
        """What counts along each axis, at the first of those that go."""
        return ["0" if a in self.gone else v for a, v in enumerate(self.variables)]

    def _into(self) -> str:
        """The element of the result."""
        return self.w.element(self.out, self._first())

    def _value(self, places: list[str]) -> str:
        """An element of what is reduced, as it is reckoned with."""
        w, op = self.w, self.node.op
        text = w.element(self.source, places)
        if op in ("any", "all", "count_nonzero"):
            return text if np.dtype(self.array.dtype).kind == "b" else f"({text} != 0)"
        return w.cast(text, self.array, self.node.dtype)

    def _joined(self, texts: list[str]) -> str:
        op = self.node.op
        if op == "count_nonzero":
            texts = [f"{kind(self.node.dtype)}({text})" for text in texts]
        if op in ("max", "min"):
            while len(texts) > 1:
                pairs = [texts[i : i + 2] for i in range(0, len(texts), 2)]
                texts = [_JOIN[op].format(*p) if len(p) == 2 else p[0] for p in pairs]
            return texts[0]
        return {"prod": " * ", "any": " | ", "all": " & "}.get(op, " + ").join(texts)

    def _whole(self, text: str) -> str:
        """A whole number of the right dtype; floats as they are."""
        dtype = self.node.dtype
        return f"{kind(dtype)}({text})" if np.dtype(dtype).kind in "iu" else text

    def _some(self, at: str | int, count: int) -> Callable[[str], str]:
        """So many along the last axis that goes, from there on, and what there is already."""
        last = self.gone[-1]

        def text(before: str) -> str:
            texts = []
            for t in range(count):
                self.variables[last] = f"({at} + {t})" if isinstance(at, str) else str(at + t)
                texts.append(self._value(self.variables))
            joined = self._joined(texts)
            return self._whole(_JOIN[self.node.op].format(before, f"({joined})"))

        return text

    # ---- loops

    def _along_kept(self) -> None:
        w, shape = self.w, self.array.shape
        for a, variable in zip(self.kept, w.axes([shape[a] for a in self.kept]), strict=True):
            self.variables[a] = variable

    def _at_once(self) -> None:
        """All terms in one expression."""
        w, shape, texts = self.w, self.array.shape, []
        self._along_kept()
        if self.each:
            w.over_lanes()
        for place in product(*(range(shape[a]) for a in self.gone)):
            for a, i in zip(self.gone, place, strict=True):
                self.variables[a] = str(i)
            texts.append(self._value(self.variables))
        here = self._into()
        text = self._joined(texts) if texts else w.constant(START[self.node.op], self.node.dtype)
        w.line(f"{here} = {self._whole(text)}")

    def _step_by_step(self) -> None:
        """Partial results of `TERMS` at a time along the last axis that goes."""
        w, shape, start, total = self.w, self.array.shape, START.get(self.node.op), ""
        if w.registers:
            self._along_kept()
            total = w.new("t")
        within = w.depth

        def over_kept(text: Callable[[str], str]) -> None:
            if total:
                w.line(f"{total} = {text(total)}")
                return
            here = w.depth
            self._along_kept()
            if self.each:
                w.over_lanes()
            w.line(f"{self._into()} = {text(self._into())}")
            w.depth = here

        def first(before: str) -> str:
            if start is not None:
                return w.constant(start, self.node.dtype)
            return self._value(self._first())

        over_kept(first)
        for a in self.gone[:-1]:
            self.variables[a] = w.axis(shape[a], apart=False)
        n = shape[self.gone[-1]]
        whole, step = n - n % TERMS, w.new("r")
        if n % TERMS:
            over_kept(self._some(whole, n % TERMS))
        if whole:
            w.loop(step, 0, whole, TERMS)
            over_kept(self._some(step, TERMS))
        if total:
            w.depth = within
            w.line(f"{self._into()} = {total}")


def _with_axes(out: Ref, gone: list[int]) -> Ref:
    """A result as if the axes that are gone had been kept."""
    strides, shape = list(out.layout.strides), list(out.layout.shape)
    for a in gone:
        shape.insert(a, 1)
        strides.insert(a, 0)
    return Ref(out.buffer, Layout(tuple(shape), tuple(strides), out.layout.offset))


def reduction(w: LoopWriter, node: Node) -> None:
    """Write a reduction."""
    _Reduction(w, node).write()


def _in_parts(w: LoopWriter, node: Node, source: Ref, out: Ref) -> None:
    """The sum of all elements, every so many of them by somebody else."""
    depth, (array,) = w.depth, node.args
    parts = Ref(Buffer(w.ways, node.dtype, "parts"), Layout.in_order((w.ways,)))
    part, i, total = w.new("p"), w.new("i"), w.new("t")
    w.deal(part, w.ways)
    w.line(f"{total} = {w.constant(0.0, node.dtype)}")
    w.loop(i, part, source.layout.size, w.ways)
    w.line(f"{total} += {w.cast(w.element(source, [i]), array, node.dtype)}")
    w.depth -= 1
    w.line(f"{w.element(parts, [part])} = {total}")
    w.depth = depth
    w.barrier()
    w.axes(())
    texts = [w.element(parts, [str(p)]) for p in range(w.ways)]
    w.line(f"{w.element(out, ['0'] * array.ndim)} = {' + '.join(texts)}")
    w.depth = depth
