"""Who reads what until when, and what may be computed where the carry lies."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from xpnet.compiler.ir import Node, Recording

END = 1 << 60
"""The position of what is read after the step."""


@dataclass(frozen=True)
class Lifetimes:
    """When the arrays of a step are made and read.

    Attributes:
        order: the operations in the order of execution.
        position: where in it each is.
        last_use: where each array is read for the last time, itself or through views; not there,
            if it never is.
        uses: how often each node is an operand or an output.
    """

    order: list[Node]
    position: dict[Node, int]
    last_use: dict[Node, int]
    uses: dict[Node, int]

    def dies_in(self, arg: Node, node: Node) -> bool:
        """Whether an operation is the last to read an array, and reads it as it is alone."""
        reads_twice = any(other is not arg and other.root is arg for other in node.nodes)
        return self.last_use.get(arg, -1) <= self.position[node] and not reads_twice


def lifetimes(recording: Recording) -> Lifetimes:
    """The lifetimes of what a recording makes."""
    nodes = recording.nodes
    # What follows from counters alone comes first, so that it does not cut chains in two.
    order = [n for n in nodes if n.host] + [n for n in nodes if not n.host]
    position = {node: i for i, node in enumerate(order)}
    last_use: dict[Node, int] = {}
    uses: dict[Node, int] = defaultdict(int)
    for i, node in enumerate(order):
        for arg in node.nodes:
            uses[arg] += 1
            if not node.operation.view:
                last_use[arg.root] = i
    for node in recording.outputs:
        last_use[node.root] = END
        uses[node] += 1
    return Lifetimes(order, position, last_use, uses)


def homes(recording: Recording, lives: Lifetimes) -> dict[Node, str]:
    """Which values may be computed where an entry of the carry lies, by its name.

    Those are the last of a path of elementwise operations from the old value to the new one, of
    which none is read once the next is there; or the new value, where nobody reads the old one.
    """
    found: dict[Node, str] = {}
    for name, start in recording.carry.items():
        result = recording.results[name]
        if start.host:
            continue
        if start not in lives.last_use:
            if not result.operation.view and result.op not in ("input", "const", "ones"):
                found[result] = name
            continue
        path = _path(result, start)
        before = [start, *path]
        if all(lives.dies_in(arg, node) for arg, node in zip(before, path, strict=False)):
            found.update(dict.fromkeys(path, name))
    return found


def _path(node: Node, start: Node) -> list[Node]:
    """The values of one shape by which ``node`` follows from ``start``, each in its place."""
    if (node.shape, node.dtype) != (start.shape, start.dtype):
        return []
    if any(arg is start for arg in node.replaceable):
        return [node]
    for arg in node.replaceable:
        if path := _path(arg, start):
            return [*path, node]
    return []
