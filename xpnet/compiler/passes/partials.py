"""Long sums, and the like, as those of parts, each of which somebody else may come to."""

from __future__ import annotations

import math

from xpnet.compiler.ir import Node
from xpnet.compiler.library import Library
from xpnet.compiler.passes.rewriting import Rewriter
from xpnet.compiler.passes.views import Layouts

AGAIN = {
    **{op: op for op in ("sum", "prod", "max", "min", "any", "all")},
    "count_nonzero": "sum",
}
"""What is done with the results of the parts."""


class Partials:
    """Make reductions of reductions of those of many terms.

    Each part has every so many of the terms, so that what is computed side by side lies side by
    side; and as many of them whoever computes, so that the digits are the same.

    Args:
        library: for what.
        terms: how many a part has.
        most: up to how many terms a reduction is left as it is.
        rewriter: makes the nodes.
    """

    def __init__(self, library: Library, terms: int, most: int, rewriter: Rewriter) -> None:
        self.terms, self.most, self.rewriter = terms, max(most, 2 * terms), rewriter
        self.layouts = Layouts(rewriter.recording, library)

    def __call__(self, node: Node) -> Node | None:
        if node.op not in AGAIN or node.host:
            return None
        array, axis = self.rewriter.of(node.args[0]), node.static["axis"]
        axes = range(array.ndim)
        gone = sorted(axes[a] for a in (axis if isinstance(axis, tuple) else (axis,)))
        if math.prod(array.shape[a] for a in gone) <= self.most:
            return None
        kept = bool(node.static.get("keepdims")) and len(gone) == 1
        array, gone = self._merged(array, gone)
        op = node.op
        for a in reversed(gone):  # what is behind it keeps its place
            array, op = self._along(array, a, op, node, kept), AGAIN[op]
        if array.shape == node.shape:
            return array
        return self.rewriter.view("reshape", array, node.shape, shape=node.shape)

    def _merged(self, array: Node, gone: list[int]) -> tuple[Node, list[int]]:
        """The array with the axes that go as one, where they lie one behind the other."""
        first, last = gone[0], gone[-1]
        shape = array.shape
        together = (*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :])
        if len(gone) != last - first + 1 or len(gone) == 1:
            return array, gone
        if self.layouts.of(array).reshape(together) is None:
            return array, gone
        return self.rewriter.view("reshape", array, together, shape=together), [first]

    def _along(self, array: Node, axis: int, op: str, node: Node, kept: bool) -> Node:
        """What a reduction over an axis comes to, which is ``kept`` or gone then."""
        n, shape = array.shape[axis], array.shape
        if n <= self.most:
            return self._reduced(array, axis, op, node, keepdims=kept)
        parts, rest = divmod(n, self.terms)
        whole = self._cut(array, axis, 0, n - rest) if rest else array
        split = (*shape[:axis], self.terms, parts, *shape[axis + 1 :])
        found = self._reduced(
            self.rewriter.view("reshape", whole, split, shape=split), axis, op, node, keepdims=False
        )
        if rest:
            last = self._reduced(self._cut(array, axis, n - rest, n), axis, op, node, keepdims=True)
            joined = (*shape[:axis], parts + 1, *shape[axis + 1 :])
            found = self.rewriter.add(
                "concat", (found, last), joined, node.dtype, axis=axis - len(joined)
            )
        return self._along(found, axis, AGAIN[op], node, kept)

    def _cut(self, array: Node, axis: int, start: int, stop: int) -> Node:
        key = (*(slice(None),) * axis, slice(start, stop))
        shape = (*array.shape[:axis], stop - start, *array.shape[axis + 1 :])
        return self.rewriter.view("getitem", array, shape, key=key)

    def _reduced(self, array: Node, axis: int, op: str, node: Node, *, keepdims: bool) -> Node:
        kept = (1,) if keepdims else ()
        shape = (*array.shape[:axis], *kept, *array.shape[axis + 1 :])
        static = {"axis": axis - array.ndim, "keepdims": keepdims}
        return self.rewriter.add(op, (array,), shape, node.dtype, **static)
