"""How what a step reads lies in memory, as far as that is known before anything is placed."""

from __future__ import annotations

from xpnet.compiler.ir import Node, Recording
from xpnet.compiler.layout import Layout, viewed
from xpnet.compiler.library import Library
from xpnet.compiler.passes.rewriting import Rewriter, Rule


class Layouts:
    """The layouts of arrays: in C order what is computed or carried, as they are those given."""

    def __init__(self, recording: Recording, library: Library) -> None:
        self._library = library
        self._own = set(recording.carry.values())
        self._known: dict[Node, Layout] = {}

    def of(self, node: Node) -> Layout:
        """The layout of a node, as seen from the array that it is a view of."""
        if node not in self._known:
            self._known[node] = self._find(node)
        return self._known[node]

    def _find(self, node: Node) -> Layout:
        if node.operation.view:
            layout = viewed(self.of(node.args[0]), node.op, node.static)
            if layout is None:
                raise ValueError(f"a {node.op} that copies is no view")
            return layout
        if node.value is not None and node not in self._own:
            return self._library.layout(self._library.given(node.value))
        return Layout.in_order(node.shape)


def reshapes(library: Library, rewriter: Rewriter) -> Rule:
    """Copy what is reshaped to where its elements lie one after the other, if they do not."""
    layouts = Layouts(rewriter.recording, library)

    def rule(node: Node) -> Node | None:
        if node.op != "reshape":
            return None
        arg = rewriter.of(node.args[0])
        if viewed(layouts.of(arg), node.op, node.static) is not None:
            return None
        copy = rewriter.add("copy", (arg,), arg.shape, arg.dtype)
        return rewriter.view("reshape", copy, node.shape, **node.static)

    return rule
