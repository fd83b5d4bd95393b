"""The largest of a few columns, which NumPy looks for in each row by itself."""

from __future__ import annotations

from xpnet.compiler.ir import Node
from xpnet.compiler.passes.rewriting import Rewriter, Rule

MOST, ROWS = 16, 32
"""Up to how many columns, of more than how many rows, are turned: 200 rows of 10 take 4 µs, a copy
included, and 16 as they are; rows of 64 take longer."""


def columns(rewriter: Rewriter) -> Rule:
    """Turn what `max` and `min` go through by rows, so that whole columns are compared at once.

    It is the same number, whichever way one looks for it. `argmax` of truth values that were made
    numbers is one of the truth values.
    """

    def rule(node: Node) -> Node | None:
        if node.op in ("argmax", "argmin"):
            return _of_truths(node, rewriter)
        if node.op not in ("max", "min") or node.args[0].ndim < 2:
            return None
        array = rewriter.of(node.args[0])
        *lead, rows, few = array.shape
        if node.static["axis"] not in (-1, (-1,)) or not (2 <= few <= MOST and rows > ROWS):
            return None
        turned = rewriter.view("mT", array, (*lead, few, rows))
        copy = rewriter.add("copy", (turned,), turned.shape, array.dtype)
        found = rewriter.add(node.op, (copy,), (*lead, 1, rows), node.dtype, axis=-2, keepdims=True)
        return rewriter.view("reshape", found, node.shape, shape=node.shape)

    return rule


def _of_truths(node: Node, rewriter: Rewriter) -> Node | None:
    cast = node.args[0]
    if cast.op != "astype" or str(cast.args[0].dtype) != "bool":
        return None
    return rewriter.add(
        node.op, (rewriter.of(cast.args[0]),), node.shape, node.dtype, **node.static
    )
