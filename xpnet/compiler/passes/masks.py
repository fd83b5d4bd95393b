"""Comparisons into floats, where all that is made of truth values is floats again."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from xpnet.compiler.ir import Node
from xpnet.compiler.library import Library
from xpnet.compiler.passes.rewriting import Rewriter, Rule


def masks(library: Library, large: int, rewriter: Rewriter) -> Rule:
    """Let comparisons of ``large`` arrays write 1 and 0 where each reader casts to the same floats.

    For a library that takes several times as long to write many truth values, and to read them.
    """

    def rule(node: Node) -> Node | None:
        if not (node.operation.compares and node.shape and math.prod(node.shape) >= large):
            return None
        dtype = _cast_to(node, rewriter)
        if dtype is None or not library.is_floating(dtype):
            return None
        numbers = rewriter.keep(replace(node, dtype=dtype))
        for cast in rewriter.readers[node]:
            rewriter.put(cast, numbers)
        return numbers

    return rule


def _cast_to(node: Node, rewriter: Rewriter) -> Any:
    """The dtype to which all that read a node cast it; ``None`` if something else is done."""
    casts = rewriter.readers[node]
    kinds = {cast.dtype if cast.op == "astype" else None for cast in casts}
    return kinds.pop() if len(kinds) == 1 and not rewriter.is_output(node) else None
