"""Stretches of a plan as functions of loops, each called once a step."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node
from xpnet.compiler.layout import Buffer, Layout, Ref
from xpnet.compiler.passes.chains import Stretch
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.writers.loop_sums import kind
from xpnet.compiler.writers.loops import STACK_BYTES, Group, LoopWriter

MANY = 1 << 12
"""From how many turns on a loop is told how many it has: the same text does for any number."""


@dataclass
class Function:
    """A function of loops: what it does, and what it is to be given, in this order.

    Attributes:
        name: what it is called.
        lines: its body.
        rows: whether it takes the numbers of a batch's samples.
        given: the names of the numbers that it takes out of those of the program.
        sizes: how many turns its long loops have, by name.
        counters: what follows from counters alone, by name.
        buffers: the memory that it reads and writes, by name.
    """

    name: str
    lines: list[str] = field(default_factory=list)
    rows: bool = False
    given: set[str] = field(default_factory=set)
    sizes: dict[str, int] = field(default_factory=dict)
    counters: dict[str, Node] = field(default_factory=dict)
    buffers: dict[str, Buffer] = field(default_factory=dict)

    @property
    def arguments(self) -> list[str]:
        """The names of what it is given."""
        first = [*["rows"] * self.rows, *["numbers"] * bool(self.given)]
        return [*first, *self.sizes, *self.counters, *self.buffers]


class StretchWriter(LoopWriter):
    """Writes stretches of a plan, each as a function.

    Args:
        plan: what is done, and where everything lies; its library knows no numbers of no axes.

    Attributes:
        functions: those that are written, in their order.
        spared: how many numbers no operation has to leave in memory for the next one.
    """

    def __init__(self, plan: Placement) -> None:
        self._here, self.spared = Function(""), 0
        super().__init__(plan)
        self.functions: list[Function] = []

    def function(self, stretch: Stretch) -> Function:
        """Write a stretch."""
        self._here = Function(f"run_{len(self.functions)}")
        self.functions.append(self._here)
        self.lines, self.depth = self._here.lines, 1
        self.statements(stretch.nodes)
        return self._here

    def finished(self, elsewhere: Collection[Buffer]) -> tuple[dict[str, str], str]:
        """The constants, and the text of all functions.

        Args:
            elsewhere: what others read or write too; the rest is a function's own, where it is
                small and no other has it.
        """
        shared = {*elsewhere, *(ref.buffer for ref in self.plan.carry.values()), *self.found}
        users: dict[Buffer, int] = {}
        for one in self.functions:
            for buffer in one.buffers.values():
                users[buffer] = users.get(buffer, 0) + 1
        for one in self.functions:
            nbytes = 0
            for name, buffer in sorted(one.buffers.items(), key=lambda pair: pair[1].size):
                size = max(buffer.size, 1)
                nbytes += size * np.dtype(buffer.dtype).itemsize
                if users[buffer] == 1 and buffer not in shared and nbytes <= STACK_BYTES:
                    del one.buffers[name]
                    one.lines.insert(0, f"    {name} = local({size}, {kind(buffer.dtype)})")
            for i, ((_, of, _), name) in enumerate(self.given.items()):
                if name in one.given:
                    one.lines.insert(0, f"    {name} = {of}(numbers[{i}])")
        texts = [
            "\n".join([f"def {one.name}({', '.join(one.arguments)}):", *one.lines, ""])
            for one in self.functions
        ]
        constants = {name: f"{kind}({text})" for (text, kind), name in self.constants.items()}
        return constants, "\n\n".join(texts)

    def memory(self, buffer: Buffer) -> Ref:
        """All of the memory of an array, along one axis."""
        found = self.found.get(buffer)
        return Ref(buffer, found[1] if found else Layout.in_order((buffer.size,)))

    def loop_of(self, group: Group) -> None:
        self.spared += math.prod(group.shape) * (len(group.nodes) - 1)
        super().loop_of(group)

    # ---- what the function under way is to be given

    def loop(self, variable: str, *bounds: Any) -> None:
        (stop, *more) = bounds
        if not more and isinstance(stop, int) and stop >= MANY:
            sizes = self._here.sizes
            known = [name for name, size in sizes.items() if size == stop]
            bounds = (known[0] if known else self.new("n"),)
            sizes[bounds[0]] = stop
        super().loop(variable, *bounds)

    def row(self, variable: str, samples: int) -> str:
        self._here.rows = True
        return f"min(max(rows[{variable}], 0), {samples - 1})"  # as if it were not known

    def buffer(self, buffer: Buffer) -> str:
        name = super().buffer(buffer)
        self._here.buffers[name] = buffer
        return name

    def given_number(self, value: float, kind: str, of: Node | None) -> str:
        name = super().given_number(value, kind, of)
        self._here.given.add(name)
        return name

    def number(self, arg: Any, of: Node | None = None) -> str:
        if not isinstance(arg, Node):
            return super().number(arg, of)
        if arg not in self.numbers:
            self.numbers[arg] = self.new("s")
        self._here.counters[self.numbers[arg]] = arg
        return self.numbers[arg]
