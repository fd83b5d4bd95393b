"""What can be computed where it will lie in a concatenation."""

from __future__ import annotations

import itertools

from xpnet.compiler.ir import Node
from xpnet.compiler.layout import Layout
from xpnet.compiler.passes.lifetimes import Lifetimes


def targets(node: Node) -> list[Layout]:
    """How the pieces of a concatenation lie in it, as it lies by itself."""
    axis, whole = range(node.ndim)[node.static["axis"]], Layout.in_order(node.shape)
    edges = [0, *itertools.accumulate(arg.shape[axis] for arg in node.nodes)]
    before = (slice(None),) * axis
    return [whole.index((*before, slice(a, b))) for a, b in itertools.pairwise(edges)]


def pieces(lives: Lifetimes) -> dict[Node, tuple[Node, Layout]]:
    """The values that one concatenation alone reads, each with it, and how it lies in that."""
    found = {}
    for node in lives.order:
        if node.op != "concat":
            continue
        for arg, target in zip(node.nodes, targets(node), strict=True):
            root = arg.args[0] if arg.op == "reshape" else arg
            alone = lives.uses[arg] == 1 and lives.uses[root] == 1
            there = root.operation.view or root.op in ("const", "input", "ones", "concat")
            if not alone or there or root.dtype != node.dtype:
                continue
            layout = target.reshape(root.shape)
            if layout is not None:
                found[root] = node, layout
    return found
