"""Comparisons into floats, where all that is made of truth values is floats again."""

from __future__ import annotations

import math
from dataclasses import replace

from xpnet.compiler.ir import Recording
from xpnet.compiler.library import Library
from xpnet.compiler.passes.rewriting import Rewriter


def masks_as_numbers(recording: Recording, library: Library, large: int) -> Recording:
    """Let large comparisons write 1 and 0 where each reader casts to the same floats.

    For a library that takes several times as long to write many truth values, and to read them.
    """
    rewriter = Rewriter(recording)
    for node in recording.nodes:
        casts = rewriter.readers[node]
        kinds = {(cast.op, cast.dtype) for cast in casts}
        op, dtype = next(iter(kinds)) if len(kinds) == 1 else ("", None)
        if (
            node.operation.compares
            and node.shape
            and math.prod(node.shape) >= large
            and not rewriter.is_output(node)
            and op == "astype"
            and library.is_floating(dtype)
        ):
            # Not `keep` alone: what was a truth value is a number from here on.
            numbers = rewriter.keep(replace(node, dtype=dtype))
            for cast in casts:
                rewriter.put(cast, numbers)
            continue
        if rewriter.of(node) is node:
            rewriter.keep(node)
    return rewriter.done()
