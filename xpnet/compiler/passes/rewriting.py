"""Another recording of a recording, by rules that find nodes nearer to the calls of a library."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

from xpnet.compiler.ir import Node, Recording, Shape, needed


class Rewriter:
    """Another recording under way: nodes are taken over or replaced, never changed.

    Args:
        recording: the one that there is.
    """

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._outputs = set(recording.outputs)
        self._new: dict[Node, Node] = {}
        self._nodes: list[Node] = []

    @cached_property
    def readers(self) -> dict[Node, list[Node]]:
        """Which nodes of it read each one."""
        return readers(self.recording)

    def of(self, arg: Any) -> Any:
        """What has become of an operand."""
        return self._new.get(arg, arg)

    def read_once(self, node: Node) -> bool:
        """Whether one operation reads a node, once, and nothing else does."""
        return len(self.readers[node]) == 1 and node not in self._outputs

    def is_output(self, node: Node) -> bool:
        """Whether a node is a result of the step."""
        return node in self._outputs

    def add(
        self, op: str, args: tuple[Any, ...], shape: Shape, dtype: Any, /, **static: Any
    ) -> Node:
        """A new operation on new operands."""
        node = Node(op, args, static, shape, dtype)
        if op != "ones":
            self._nodes.append(node)
        return node

    def view(self, op: str, arg: Node, shape: Shape, /, **static: Any) -> Node:
        """A new view of a new operand."""
        return self.add(op, (arg,), shape, arg.dtype, **static)

    def keep(self, node: Node) -> Node:
        """Take a node over, with what has become of its operands."""
        kept, args = node, tuple([self._new.get(arg, arg) for arg in node.args])
        if args != node.args:
            kept = Node(node.op, args, node.static, node.shape, node.dtype, host=node.host)
            self.put(node, kept)
        self._nodes.append(kept)
        return kept

    def put(self, node: Node, new: Node) -> Node:
        """Let a new node stand for one that there was."""
        self._new[node] = new
        return new

    def done(self) -> Recording:
        """The other recording, without what nothing reads any more."""
        old = self.recording
        if not self._new:
            return old
        results, metrics = (
            {name: self.of(node) for name, node in named.items()}
            for named in (old.results, old.metrics)
        )
        nodes = needed(self._nodes, [*results.values(), *metrics.values()])
        return replace(old, nodes=nodes, results=results, metrics=metrics)


Rule = Callable[[Node], Node | None]
"""What stands for a node, made with the rewriter; ``None`` where a rule does not apply."""


def rewritten(recording: Recording, *rules: Callable[[Rewriter], Rule]) -> Recording:
    """The recording with what rules make of its nodes, the first one that applies of each."""
    rewriter = Rewriter(recording)
    made = [rule(rewriter) for rule in rules]
    for node in recording.nodes:
        if rewriter.of(node) is not node:  # another stands for it already
            continue
        for rule in made:
            new = rule(node)
            if new is not None:
                rewriter.put(node, new)
                break
        else:
            rewriter.keep(node)
    return rewriter.done()


def readers(recording: Recording) -> dict[Node, list[Node]]:
    """Which nodes read each node, as often as they do."""
    found: dict[Node, list[Node]] = defaultdict(list)
    for node in recording.nodes:
        for arg in node.nodes:
            found[arg].append(node)
    return found


def is_number(arg: Any) -> bool:
    """Whether an operand is a Python number in the program."""
    return not isinstance(arg, Node) or arg.host
