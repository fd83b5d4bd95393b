"""A recorded step as loops in Python's syntax, of which LLVM makes machine code.

Elementwise operations on one shape that follow one another are one loop, in which what nobody else
reads is a variable. The members of an ensemble are lanes: a step is recorded of one of them, and
what each has for itself lies in arrays with the lanes last, over which the innermost loop runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.layout import Buffer, Layout, Ref, Shape
from xpnet.compiler.passes.chains import Unit
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.passes.rewriting import readers
from xpnet.compiler.writers.loop_calls import CALLS, FUNCTIONS, unwritten
from xpnet.compiler.writers.loop_sums import kind
from xpnet.compiler.writers.loop_text import LoopText

STACK_BYTES = 1 << 16
"""How much of its arrays a step has on the stack, where a compiler knows that none is another: so
little that a thread has it whose stack somebody has made small."""


@dataclass
class Loops:
    """A program of loops, and what is to be given to it.

    Attributes:
        lines: the body of ``run``, a function of `arguments`.
        constants: numbers by name, each as an expression.
        sources: the names of arrays that the step finds, and which of those it finds they are.
        carry: the names of the arrays of the carry, by their names there.
        counters: the variables of the rest of it, by their names there.
        dtypes: their dtypes.
        metrics: shape and dtype of each metric of a step.
        histories: the names of their histories.
        rows: whether it is of the rows of a batch.
        lanes: how many members are computed at once; 0 of one network alone.
        products: how many multiplications each matrix product takes.
        work: how many elements are computed in a step, and multiplications of products.
        nbytes: how much memory its arrays take.
        numbers: what it reckons with and is given.
        first: what else ``run`` is given before the arrays.
        scratch: how many elements of each dtype are in arrays that it is given to compute in.
    """

    lines: list[str]
    constants: dict[str, str]
    sources: dict[str, tuple[int, Layout]]
    carry: dict[str, str]
    counters: dict[str, str]
    dtypes: dict[str, Any]
    metrics: dict[str, tuple[Shape, Any]]
    histories: dict[str, str]
    rows: bool
    lanes: int
    products: list[int]
    work: int
    nbytes: int
    numbers: list[float]
    first: tuple[str, ...] = ()
    scratch: dict[str, int] = field(default_factory=dict)

    @property
    def product(self) -> int:
        """How many multiplications the largest matrix product takes."""
        return max(self.products, default=0)

    @property
    def arguments(self) -> list[str]:
        """What ``run`` is given: from which step to which, the members, counters, arrays."""
        arrays = [*self.sources, *self.carry.values(), *self.histories.values()]
        first = "start", "stop", "members", *self.first, "batch_rows", "whole", "real", "numbers"
        return [*first, *arrays]

    @property
    def source(self) -> str:
        """The text of the function."""
        return "\n".join([f"def run({', '.join(self.arguments)}):", *self.lines, ""])


@dataclass
class Group:
    """Elementwise operations on one shape that are done in one loop."""

    shape: Shape
    each: bool
    nodes: list[Node] = field(default_factory=list)
    reads: list[Ref] = field(default_factory=list)
    writes: list[Ref] = field(default_factory=list)


class LoopWriter(LoopText):
    """Writes a plan as loops.

    Args:
        plan, lanes, each: as for every `LoopText`.

    Attributes:
        apart: of which functions a loop has one: what two need at once does not fit the registers.
    """

    apart: Collection[str] = FUNCTIONS

    def __init__(self, plan: Placement, lanes: int = 0, each: Iterable[Node] = ()) -> None:
        super().__init__(plan, lanes, each)
        self._readers = readers(self.recording)
        self._outputs = set(self.recording.outputs)
        self._group: Group | None = None

    # ---- all

    def write(self) -> Loops:
        """Write all."""
        recording, plan = self.recording, self.plan
        counters = {name: self.names.variable(name) for name in plan.counters}
        for name, variable in counters.items():
            self.numbers[recording.carry[name]] = variable
        histories = {name: self.names.variable(f"history_{name}") for name in recording.metrics}
        self.depth = 3 if self.lanes else 2
        self.statements(plan.units)
        for name, node in recording.metrics.items():
            with self.unit():
                self._metric(histories[name], node)
        self._ends(counters)
        body, self.lines, self.depth = self.lines, [], 1
        carried = self._around(body, counters)
        order = plan.lives.order
        products = [multiplications(node) for node in order if node.op == "matmul"]
        computed = sum(math.prod(node.shape) for node in order if not node.operation.view)
        return Loops(
            self.lines,
            {name: f"{kind}({text})" for (text, kind), name in self.constants.items()},
            {self._given(buffer): found for buffer, found in self.found.items()},
            carried,
            counters,
            {name: node.dtype for name, node in recording.carry.items() if node.host},
            {name: (node.shape, node.dtype) for name, node in recording.metrics.items()},
            histories,
            recording.rows is not None,
            self.lanes,
            products,
            computed + sum(products),
            self._nbytes,
            [value for value, _, _ in self.given],
        )

    def statements(self, units: Iterable[Unit]) -> None:
        """Write operations in their order; what is elementwise on one shape is one loop."""
        for unit in units:
            assert isinstance(unit, Node)  # chains are made here
            if unit.host:
                self._flush()
                self._host(unit)
            elif unit.elementwise:
                self._add(unit)
            else:
                self._flush()
                with self.unit():
                    self.calls(unit)(self, unit)
        self._flush()

    def _around(self, body: list[str], counters: dict[str, str]) -> dict[str, str]:
        """Write what is around the steps: arrays are made, the carry comes and goes."""
        carry = {name: self.names.variable(name) for name in self.plan.carry}
        arrays: dict[str, tuple[int, str]] = {}
        for ref in self.plan.carry.values():
            self.buffer(ref.buffer)
        lanes = self.lanes
        self._given_numbers()
        for buffer, name in self.buffers.items():
            if buffer.source is None:
                size = buffer.size * (lanes if buffer in self.in_lanes else 1)
                arrays[name] = max(size, 1), kind(buffer.dtype)
        own = [buffer for buffer in self.found if lanes and buffer in self.in_lanes]
        for buffer in own:  # data of the members' own come to lanes
            _, layout = self.found[buffer]
            arrays[self.buffer(buffer)] = layout.size * lanes, kind(buffer.dtype)
        self._nbytes = sum(n * np.dtype(k[3:].rstrip("_")).itemsize for n, k in arrays.values())
        make = "local" if self._nbytes <= STACK_BYTES else "np.empty"
        for name, (size, of) in arrays.items():
            self.line(f"{name} = {make}({size}, {of})")
        if lanes:
            self.loop("block", 0, "members", lanes)
        for buffer in own:
            _, layout = self.found[buffer]
            name = self.buffer(buffer)
            self._in_lanes(layout.size)
            self.line(f"{name}[e * {lanes} + lane] = {self._given(buffer)}[at, e]")
            self.depth -= 2
        for name, ref in self.plan.carry.items():
            self._carried(name, carry[name], ref, True)
        for i, (name, variable) in enumerate(counters.items()):
            self.line(f"{variable} = {self._store(name)}[{i}]")
        self.loop("k", "start", "stop")
        self.lines += body
        self.depth -= 1
        for name, ref in self.plan.carry.items():
            self._carried(name, carry[name], ref, False)
        if lanes:
            self.depth -= 1
        for i, (name, variable) in enumerate(counters.items()):
            self.line(f"{self._store(name)}[{i}] = {variable}")
        return carry

    def _given_numbers(self) -> None:
        for i, ((_, of, _), name) in enumerate(self.given.items()):
            self.line(f"{name} = {of}(numbers[{i}])")

    def _given(self, buffer: Buffer) -> str:
        """What an array that the step finds is called where it is given."""
        name = self.buffer(buffer)
        return f"given_{name}" if buffer in self.in_lanes else name

    def _store(self, counter: str) -> str:
        """In which array a counter comes and goes."""
        return "whole" if np.dtype(self.recording.carry[counter].dtype).kind in "iub" else "real"

    def _in_lanes(self, size: int) -> None:
        self.over_lanes()
        self.line("at = min(block + lane, members - 1)")
        self.loop("e", size)

    def _carried(self, name: str, given: str, ref: Ref, comes: bool) -> None:
        """Copy an array of the carry to where steps have it, or back."""
        own, size, lanes = self.buffer(ref.buffer), ref.layout.size, self.lanes
        if lanes and ref.buffer in self.in_lanes:
            if not comes:
                self.over_lanes()
                self.line("at = block + lane")
                self.line("if at < members:")
                self.depth += 1
                self.loop("e", size)
                self.line(f"{given}[at, e] = {own}[e * {lanes} + lane]")
                self.depth -= 3
                return
            self._in_lanes(size)
            self.line(f"{own}[e * {lanes} + lane] = {given}[at, e]")
            self.depth -= 2
            return
        self.loop("e", size)
        self.line(f"{own}[e] = {given}[e]" if comes else f"{given}[e] = {own}[e]")
        self.depth -= 1

    def _ends(self, counters: dict[str, str]) -> None:
        copies, numbers = [], []
        for name, node in self.recording.results.items():
            before = self.recording.carry[name]
            if before.host:
                if not node.host:
                    raise Untraceable("a counter that follows from arrays")
                dtype = np.dtype(before.dtype)
                text = self.number(node)
                numbers.append((counters[name], f"np.{dtype.name}({text})"))
                continue
            ref, place = self.ref(node), self.plan.carry[name]
            if ref == place:
                continue
            if any(ref.overlaps(other) for other in self.plan.carry.values()):
                raise Untraceable("carries that change places")
            copies.append((place, ref, node in self.each))
        for place, ref, each in copies:
            with self.unit():
                self.copy(place, ref, each)
        if numbers:
            left, right = zip(*numbers, strict=True)
            self.line(f"{', '.join(left)} = {', '.join(right)}")

    def _metric(self, history: str, node: Node) -> None:
        ref, depth = self.ref(node), self.depth
        variables, layouts = self.loops(node.shape, [ref.layout, Layout.in_order(node.shape)])
        index = _index(layouts[1], variables)
        if self.lanes:
            self.over_lanes()
            self.line("if block + lane < members:")
            self.depth += 1
        value = self.element(Ref(ref.buffer, layouts[0]), variables)
        self.line(f"{history}[{self.at}, {index}] = {self.cast(value, node, node.dtype)}")
        self.depth = depth

    # ---- elementwise operations

    def _add(self, node: Node) -> None:
        """Put an operation into the loop that is under way, or into a new one."""
        each, group = node in self.each, self._group
        made = set() if group is None else set(group.nodes)
        reads = [
            self.ref(arg, node.shape) for arg in node.nodes if not arg.host and arg not in made
        ]
        write = self.ref(node)
        if group is None or not self._joins(group, node, each, reads, write):
            self._flush()
            self._group = group = Group(node.shape, each)
            reads = [self.ref(arg, node.shape) for arg in node.nodes if not arg.host]
        group.nodes.append(node)
        group.reads += reads
        group.writes.append(write)

    def _joins(self, group: Group, node: Node, each: bool, reads: list[Ref], write: Ref) -> bool:
        if group.shape != node.shape or group.each != each:
            return False
        if node.op in self.apart and any(one.op in self.apart for one in group.nodes):
            return False
        # No element may be overwritten before all have read it, nor be read before it is there.
        pairs = [*product(group.writes, reads), *product([write], [*group.reads, *group.writes])]
        made = set(group.nodes)
        if any(arg not in made and arg.root in made for arg in node.nodes):
            return False
        return not any(a != b and a.overlaps(b) for a, b in pairs)

    def _flush(self) -> None:
        """Write the loop that is under way."""
        group, self._group = self._group, None
        if group is not None:
            with self.unit():
                self.loop_of(group)

    def loop_of(self, group: Group) -> None:
        """Write a loop."""
        made, depth = set(group.nodes), self.depth
        kept = [
            node
            for node in group.nodes
            if node in self._outputs or any(reader not in made for reader in self._readers[node])
        ]
        refs: list[Ref] = []
        for node in group.nodes:
            for arg in node.nodes:
                if not arg.host and arg not in made:
                    refs.append(self.ref(arg, group.shape))
        refs += [self.ref(node) for node in kept]
        variables, layouts = self.loops(group.shape, [ref.layout for ref in refs])
        seen = {ref: Ref(ref.buffer, view) for ref, view in zip(refs, layouts, strict=True)}
        if self.lanes and group.each:
            self.over_lanes()
        values: dict[Node, str] = {}
        for node in group.nodes:
            args = []
            for arg in node.args:
                if isinstance(arg, Node) and arg in values:
                    args.append(self.cast(values[arg], arg, self._wanted(node, arg)))
                elif not isinstance(arg, Node):
                    args.append(self.constant(arg, self._wanted(node, arg), node))
                elif arg.host:
                    args.append(f"{kind(self._wanted(node, arg))}({self.number(arg)})")
                else:
                    text = self.element(seen[self.ref(arg, group.shape)], variables)
                    args.append(self.cast(text, arg, self._wanted(node, arg)))
            values[node] = self.new("t")
            self.line(f"{values[node]} = {self.expression(node, args)}")
            if node in kept:
                self.line(f"{self.element(seen[self.ref(node)], variables)} = {values[node]}")
        self.depth = depth

    def _host(self, node: Node) -> None:
        args = [self.number(arg, node) for arg in node.args]
        kinds = {"f": "float({})", "b": "({} != 0)"}
        made = kinds.get(np.dtype(node.dtype).kind, "int({})")
        if node.op == "astype":
            text = made.format(*args)
        elif node.op not in self.expressions:
            raise Untraceable(f"{node.op} of counters is not written as a loop")
        else:
            text = self.expressions[node.op].format(*args, bits=64)
            text = text if made.startswith("int") else made.format(text)
        self.numbers[node] = self.new("s")
        self.line(f"{self.numbers[node]} = {text}")

    def calls(self, node: Node) -> Callable[[LoopWriter, Node], None]:
        """How an operation is written that is not elementwise."""
        if why := unwritten(node):
            raise Untraceable(why)
        return CALLS[node.op]


def _index(layout: Layout, variables: list[str]) -> str:
    parts = [f"{v} * {s}" for v, s in zip(variables, layout.strides, strict=True) if s]
    return " + ".join(parts) or "0"


def multiplications(node: Node) -> int:
    """How many a matrix product takes."""
    return math.prod(node.shape) * int(node.nodes[0].shape[-1])
