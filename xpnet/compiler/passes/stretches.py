"""Operations one after the other that one function of loops does, between calls of a library."""

from __future__ import annotations

from collections.abc import Callable

from xpnet.compiler.ir import Node
from xpnet.compiler.passes.chains import Stretch, Unit, unchained
from xpnet.compiler.passes.lifetimes import Lifetimes


def stretches(lives: Lifetimes, apart: Callable[[Node], bool]) -> list[Unit]:
    """The operations in their order: what is left to a library by itself, the rest in stretches.

    Args:
        lives: which they are.
        apart: whether one is a call of the library; arithmetic on counters always is by itself.
    """
    units: list[Unit] = []
    for node in unchained(lives):
        assert isinstance(node, Node)
        last = units[-1] if units else None
        if node.host or apart(node):
            units.append(node)
        elif isinstance(last, Stretch):
            last.nodes.append(node)
        else:
            units.append(Stretch([node]))
    return units
