"""Several operations that a library does in one pass over memory."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from xpnet.compiler.ir import Node
from xpnet.compiler.library import Library
from xpnet.compiler.passes.lifetimes import Lifetimes, homes, lifetimes
from xpnet.compiler.passes.rewriting import Rewriter, is_number


class _Fused(NamedTuple):
    """One operation in place of several."""

    op: str
    args: tuple[Any, ...]
    inner: set[Node]


class Fusion:
    """Make one operation of sums and differences with what is multiplied or divided first.

    Of arrays of fewer than ``large`` elements only products of arrays: the rest is done sooner by
    itself.
    """

    def __init__(self, library: Library, large: int, rewriter: Rewriter) -> None:
        self.library, self.large, self.rewriter = library, large, rewriter
        recording = rewriter.recording
        self.lives: Lifetimes = lifetimes(recording)
        self.homes = homes(recording, self.lives)
        self.homes.update({node: name for name, node in recording.carry.items() if not node.host})
        self.found: dict[Node, _Fused] = {}
        inner: set[Node] = set()
        for node in reversed(self.lives.order):
            if node not in inner and not node.host and node.shape:
                one = self._find(node)
                if one is not None and self._fits(node, one):
                    self.found[node] = one
                    inner |= one.inner

    def __call__(self, node: Node) -> Node | None:
        one = self.found.get(node)
        if one is None:
            return None
        args = tuple(map(self.rewriter.of, one.args))
        return self.rewriter.add(one.op, args, node.shape, node.dtype)

    def _find(self, node: Node) -> _Fused | None:
        """The operation that does ``node`` and those within it."""
        large = math.prod(node.shape) >= self.large
        if node.op == "subtract" and large:
            return self._difference(node)
        if node.op == "add":
            for first, other in (node.args, node.args[::-1]):
                if not is_number(first) and (one := self._sum(node, first, other, large)):
                    return one
        return None

    def _difference(self, node: Node) -> _Fused | None:
        first, product = node.args
        if not self._within(product, "multiply", node):
            return None
        for factor, other in (product.args, product.args[::-1]):
            if not is_number(factor) or not isinstance(other, Node):
                continue
            # The quotient is multiplied before it is divided, which may overflow with factors
            # above 1.
            small = isinstance(factor, Node) or abs(factor) <= 1
            if small and self._within(other, "divide", node):
                args = (first, *other.args)
                if not any(map(is_number, args)):
                    return _Fused("subtract_quotient", (*args, factor), {product, other})
            return _Fused("subtract_scaled", (first, other, factor), {product})
        return None

    def _sum(self, node: Node, first: Node, other: Any, large: bool) -> _Fused | None:
        if large and self._within(other, "matmul", node):
            a, b = other.args
            if a.ndim == b.ndim == 2 and first.root not in (a.root, b.root):
                return _Fused("add_matmul", (first, a, b), {other})
            return None
        if not self._within(other, "multiply", node):
            return None
        a, b = other.args
        if not is_number(a) and not is_number(b):
            for scaled, array in ((a, b), (b, a)):  # a number among three factors
                if self._within(scaled, "multiply", node):
                    for factor, third in (scaled.args, scaled.args[::-1]):
                        if is_number(factor) and not is_number(third):
                            args = (first, third, array, factor)
                            return _Fused("add_product", args, {other, scaled})
            return _Fused("add_product", (first, a, b, 1), {other})
        number, array = (a, b) if is_number(a) else (b, a)
        if large and not is_number(array):
            return _Fused("add_scaled", (first, array, number), {other})
        return None

    def _within(self, arg: Any, op: str, node: Node) -> bool:
        """Whether an operand is such an operation, of the same form, that nothing else reads."""
        return (
            isinstance(arg, Node)
            and (arg.op, arg.shape, arg.dtype) == (op, node.shape, node.dtype)
            and self.lives.uses[arg] == 1
        )

    def _fits(self, node: Node, one: _Fused) -> bool:
        """Whether all arrays are of the floats of ``node``, and still there when it is computed."""
        arrays = [arg for arg in one.args if not is_number(arg)]
        return (
            self.library.is_floating(node.dtype)
            and all(arg.dtype == node.dtype for arg in arrays)
            # No two different views of an array, which the call may overwrite.
            and all(a is b or a.root is not b.root for a in arrays for b in arrays)
            and self._may_wait(node, arrays, one.inner)
        )

    def _may_wait(self, node: Node, arrays: list[Node], inner: set[Node]) -> bool:
        """Whether nothing is computed in the place of an operand before it is read here."""
        since = min(self.lives.position[other] for other in inner)
        between = self.lives.order[since : self.lives.position[node]]
        for arg in arrays:
            place = self.homes.get(arg.root)
            if place is not None and any(
                self.homes.get(other) == place
                for other in between
                if other is not arg and other not in inner
            ):
                return False
        return True
