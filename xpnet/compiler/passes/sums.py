"""Sums as products with ones, which libraries do several times as fast."""

from __future__ import annotations

import math

from xpnet.compiler.ir import Node
from xpnet.compiler.library import Library
from xpnet.compiler.passes.rewriting import Rewriter
from xpnet.compiler.passes.views import Layouts


class Sums:
    """Make products with ones of the sums of floats over one of the last two axes, or all the last.

    Args:
        library: for what.
        added: up to how many terms one product adds up, which it does one after the other, and
            loses digits to each.
        in_parts: whether longer sums are sums of such sums, where the library's own would add row
            to row; else they are the library's.
        rewriter: makes the nodes.
    """

    def __init__(self, library: Library, added: int, in_parts: bool, rewriter: Rewriter) -> None:
        self.library, self.added, self.in_parts = library, added, in_parts
        self.rewriter, self.layouts = rewriter, Layouts(rewriter.recording, library)

    def __call__(self, node: Node) -> Node | None:
        total = self._find(node) if self._is_sum(node) else None
        if total is None or total.shape == node.shape:
            return total
        return self.rewriter.view("reshape", total, node.shape, shape=node.shape)

    def _is_sum(self, node: Node) -> bool:
        """Whether this adds up floats, some of them, in an array."""
        in_a_variable = self.library.scalars and node.shape == ()
        return (
            node.op == "sum"
            and not in_a_variable
            and node.args[0].dtype == node.dtype
            and self.library.is_floating(node.dtype)
            and math.prod(node.args[0].shape) > 0
        )

    def _find(self, node: Node) -> Node | None:
        array, axis = self.rewriter.of(node.args[0]), node.static["axis"]
        axes = axis if isinstance(axis, tuple) else (axis,)
        if len(axes) == 1 and array.ndim == 1:
            array = self.rewriter.view("getitem", array, (1, *array.shape), key=(None, ...))
        if len(axes) == 1:
            return self._over(array, axes[0]) if axes[0] in (-1, -2) else None
        if axes != tuple(range(-len(axes), 0)) or not self.layouts.of(array).is_in_order:
            return None
        size = math.prod(array.shape[-len(axes) :])
        if size > self.added and not self.in_parts:
            return None
        shape = (math.prod(array.shape) // size, size)
        rows = self.rewriter.view("reshape", array, shape, shape=shape)
        return self._over(rows, -1) or self._own(rows)

    def _over(self, array: Node, axis: int) -> Node | None:
        """The sum over an axis, which is kept; ``None`` where the library's own is best."""
        length = array.shape[axis]
        if length <= self.added:
            return self._product(array, axis)
        together = self.layouts.of(array).strides[axis] == 1 or math.prod(array.shape) == length
        if together or not self.in_parts:  # what lies in one row libraries add in pairs
            return None
        if axis == -1:
            turned = self._turned(array)
            total = self._over(turned, -2) or self._own(turned, -2)
            return self._turned(total)
        *lead, _, columns = array.shape
        parts, rest = divmod(length, self.added)
        first, last = (
            self._rows(array, part) for part in ((0, length - rest), (length - rest, length))
        )
        shape = (*lead, parts, self.added, columns)
        whole = self._product(self.rewriter.view("reshape", first, shape, shape=shape), -2)
        shape = (*lead, parts, columns)
        sums = self.rewriter.view("reshape", whole, shape, shape=shape)
        if rest:
            pieces = (sums, self._product(last, -2))
            shape = (*lead, parts + 1, columns)
            sums = self.rewriter.add("concat", pieces, shape, array.dtype, axis=-2)
        return self._over(sums, -2) or self._own(sums, -2)

    def _rows(self, array: Node, edges: tuple[int, int]) -> Node:
        *lead, _, columns = array.shape
        shape, key = (*lead, edges[1] - edges[0], columns), (..., slice(*edges), slice(None))
        return self.rewriter.view("getitem", array, shape, key=key)

    def _turned(self, array: Node) -> Node:
        *lead, n, m = array.shape
        return self.rewriter.view("mT", array, (*lead, m, n))

    def _product(self, array: Node, axis: int) -> Node:
        *lead, n, m = array.shape
        ones = self.rewriter.add("ones", (), (1, n) if axis == -2 else (m, 1), array.dtype)
        args = (ones, array) if axis == -2 else (array, ones)
        shape = (*lead, 1, m) if axis == -2 else (*lead, n, 1)
        return self.rewriter.add("matmul", args, shape, array.dtype)

    def _own(self, array: Node, axis: int = -1) -> Node:
        """The library's own sum."""
        *lead, n, m = array.shape
        shape = (*lead, 1, m) if axis == -2 else (*lead, n, 1)
        return self.rewriter.add("sum", (array,), shape, array.dtype, axis=axis, keepdims=True)
