"""A slope of one of two values as a choice, not as arithmetic on truth values."""

from __future__ import annotations

import math

import numpy as np

from xpnet.compiler.ir import Node
from xpnet.compiler.library import Library
from xpnet.compiler.passes.rewriting import Rewriter, Rule


def choices(library: Library, small: int, rewriter: Rewriter) -> Rule:
    """Make ``two_values`` of ``astype(mask) · a + b`` on arrays of up to ``small`` bytes.

    To fill an array and put the other value where the mask says so takes half the time there.
    """

    def rule(node: Node) -> Node | None:
        found = _two_values(node, rewriter) if node.op == "add" else None
        if found is None or math.prod(node.shape) * library.itemsize(node.dtype) > small:
            return None
        mask, low, high = found
        args = (rewriter.of(mask),)
        return rewriter.add("two_values", args, node.shape, node.dtype, low=low, high=high)

    return rule


def _two_values(node: Node, rewriter: Rewriter) -> tuple[Node, float, float] | None:
    """The mask, ``b`` and ``a + b``."""
    product = _number_and(node, "add")
    cast = product and _number_and(product[0], "multiply")
    if not product or not cast or cast[0].op != "astype":
        return None
    mask, kind = cast[0].args[0], np.dtype(node.dtype).type
    high, low = (kind(truth) * kind(cast[1]) + kind(product[1]) for truth in (1, 0))
    if not np.isfinite(kind(cast[1])):  # 0 times it is none of the two values
        return None
    if not isinstance(mask, Node) or mask.dtype != np.bool_ or mask.shape != node.shape:
        return None
    if not (rewriter.read_once(product[0]) and rewriter.read_once(cast[0])):
        return None
    return mask, float(low), float(high)


def _number_and(node: Node, op: str) -> tuple[Node, float] | None:
    """The other operand and the number of an operation with a Python number."""
    if node.op == op and node.shape:
        for number, other in (node.args, node.args[::-1]):
            if not isinstance(number, Node) and isinstance(other, Node) and not other.host:
                return other, number
    return None
