"""A slope of one of two values as a choice, not as arithmetic on truth values."""

from __future__ import annotations

import math

import numpy as np

from xpnet.compiler.ir import Node, Recording
from xpnet.compiler.library import Library
from xpnet.compiler.passes.rewriting import Rewriter


def choices(recording: Recording, library: Library, small: int) -> Recording:
    """Make ``two_values`` of ``astype(mask) · a + b`` on arrays of up to ``small`` bytes.

    To fill an array and put the other value where the mask says so takes half the time there.
    """
    rewriter = Rewriter(recording)
    for node in recording.nodes:
        found = None
        if math.prod(node.shape) * library.itemsize(node.dtype) <= small:
            found = _two_values(node, rewriter)
        if found is None:
            rewriter.keep(node)
            continue
        mask, low, high = found
        args = (rewriter.of(mask),)
        static = {"low": low, "high": high}
        new = rewriter.add("two_values", args, node.shape, node.dtype, **static)
        rewriter.put(node, new)
    return rewriter.done()


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
