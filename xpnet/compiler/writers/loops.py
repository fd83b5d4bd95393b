"""A recorded step as loops in Python's syntax, of which numba makes machine code.

Elementwise operations on one shape that follow one another are one loop, in which what nobody else
reads is a variable. The members of an ensemble are lanes: a step is recorded of one of them, and
what each has for itself lies in arrays with the lanes last, over which the innermost loop runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.layout import Buffer, Layout, Ref, Shape
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.passes.rewriting import readers
from xpnet.compiler.writers.loop_calls import CALLS, EXPRESSIONS, FUNCTIONS, kind
from xpnet.compiler.writers.names import Names

STACK_BYTES = 1 << 18
"""How much of its arrays a step has on the stack, where a compiler knows that none is another."""


PLAIN = frozenset((0.0, 1.0, -1.0, 0.5, 2.0))
"""The numbers that a text has in itself, as they are of what is done and not of how much."""


RESERVED = (
    *("start", "stop", "members", "width", "whole", "real", "numbers", "block", "lane", "at", "e"),
    *("np", "math", "local", "maximum", "minimum", "threefry"),
    *(f"{of}_{bits}" for of in FUNCTIONS for bits in (32, 64)),
)
"""The names that a program has for itself, besides those of every program."""


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
        product: how many multiplications the largest matrix product takes.
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
    product: int
    work: int
    nbytes: int
    numbers: list[float]
    first: tuple[str, ...] = ("width",)
    scratch: dict[str, int] = field(default_factory=dict)

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
class _Group:
    """Elementwise operations on one shape that are done in one loop."""

    shape: Shape
    each: bool
    nodes: list[Node] = field(default_factory=list)
    reads: list[Ref] = field(default_factory=list)
    writes: list[Ref] = field(default_factory=list)


class LoopWriter:
    """Writes a plan as loops.

    Long, since it is one text from the first line to the last.

    Attributes:
        expressions: what elementwise operations compute of numbers.
        registers: whether a sum is added up in a variable, one after the other; else all of them
            are where they will be, term by term, which is what vectors are for.
        ways: how many parts a sum of everything has, each added up by somebody else; 0 for one.
        at: where in a history a step's metrics are.

    Args:
        plan: what is done, and where everything lies; its library knows no numbers of no axes.
        lanes: how many members are computed at once; 0 for one network alone.
        each: what each member has for itself, of what the step finds.
    """

    expressions = EXPRESSIONS
    registers = False
    ways = 0

    def __init__(self, plan: Placement, lanes: int = 0, each: Iterable[Node] = ()) -> None:
        self.at = "k, block + lane" if lanes else "k"
        self.plan, self.recording, self.lanes = plan, plan.recording, lanes
        self.names = Names(plan.carry)
        for name in RESERVED:
            self.names.variable(name)
        self.lines: list[str] = []
        self.depth = 1
        self.numbers: dict[Node, str] = {}
        self.constants: dict[tuple[str, str], str] = {}
        self.buffers: dict[Buffer, str] = {}
        self.found: dict[Buffer, tuple[int, Layout]] = {}
        self._readers = readers(self.recording)
        self._outputs = set(self.recording.outputs)
        self._group: _Group | None = None
        self._put: set[Node] = set()
        self.given: dict[tuple[float, str], str] = {}
        self.each = set(each)
        self.in_lanes: set[Buffer] = set()
        self._spread()

    def _spread(self) -> None:
        """Find what follows from what each member has for itself, and what lies where that does."""
        recording, each = self.recording, self.each
        nodes = [*recording.carry.values(), *recording.nodes]
        while True:
            before = len(each)
            self.in_lanes |= {self.plan.ref(node).buffer for node in each}
            for node in nodes:
                if node.host or node in each:
                    continue
                if any(arg in each for arg in node.nodes) or (
                    self.lanes and self.plan.ref(node).buffer in self.in_lanes
                ):
                    each.add(node)
            for name, start in recording.carry.items():
                if recording.results[name] in each and not start.host:
                    each.add(start)
            if len(each) == before:
                return

    # ---- lines

    def line(self, text: str) -> None:
        """Write a line where we are."""
        self.lines.append("    " * self.depth + text)

    def put(self, text: str) -> None:
        """Write a line by which a number comes to where arrays lie."""
        self.line(text)

    def loop(self, variable: str, *bounds: Any) -> None:
        """Begin a loop."""
        self.line(f"for {variable} in range({', '.join(map(str, bounds))}):")
        self.depth += 1

    def over_lanes(self) -> None:
        """Begin the loop over the members at hand.

        How many these are is an argument: of a number that it knows, LLVM would write out all turns
        instead of doing several at once.
        """
        self.loop("lane", "width")

    def deal(self, variable: str, *bounds: Any) -> None:
        """Begin a loop of which each turn may be done by somebody else."""
        self.loop(variable, *bounds)

    def axis(self, n: int, apart: bool = True) -> str:
        """Begin a loop along an axis; return what counts along it, which is 0 where it is one.

        Args:
            n: how long it is.
            apart: whether each turn may be done by somebody else.
        """
        if n == 1:
            return "0"
        variable = self.new("i")
        (self.deal if apart else self.loop)(variable, n)
        return variable

    def axes(self, shape: Sequence[int]) -> list[str]:
        """Begin loops along axes, as `axis`."""
        return [self.axis(n) for n in shape]

    def barrier(self) -> None:
        """Wait here for all that is done by others."""

    @contextmanager
    def unit(self) -> Iterator[None]:
        """What is written here is done before what follows it begins."""
        yield

    def new(self, stem: str) -> str:
        """A name that no other has."""
        return self.names.next(f"{stem}_")

    def constant(self, value: Any, dtype: Any) -> str:
        """A number of a dtype."""
        if np.dtype(dtype).kind == "b":
            return repr(bool(value))
        if isinstance(value, float) and value not in PLAIN and math.isfinite(value):
            return self.given_number(value, kind(dtype))
        text = repr(value) if not isinstance(value, float) or math.isfinite(value) else ""
        text = text or {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}[str(value)]
        key = text, kind(dtype)
        if key not in self.constants:
            self.constants[key] = self.new("c")
        return self.constants[key]

    def given_number(self, value: float, kind: str) -> str:
        """A number that is no part of the text: of another value it is the same program."""
        if (value, kind) not in self.given:
            self.given[value, kind] = self.new("n")
        return self.given[value, kind]

    # ---- places

    def buffer(self, buffer: Buffer) -> str:
        """The name of an array of one axis: of a buffer."""
        if buffer not in self.buffers:
            kept = buffer.of in self.plan.carry
            stem = buffer.of
            self.buffers[buffer] = (
                self.names.variable(f"own_{stem}") if kept else self.names.next(stem)
            )
        return self.buffers[buffer]

    def element(self, ref: Ref, variables: list[str], lane: str = "lane") -> str:
        """An element of an array, of the loops' variables along its axes."""
        if ref.buffer.fill is not None:
            return self.constant(ref.buffer.fill, ref.buffer.dtype)
        in_lanes = bool(self.lanes) and ref.buffer in self.in_lanes
        times = self.lanes if in_lanes else 1
        layout, offset, parts = ref.layout, ref.layout.offset, []
        for variable, n, stride in zip(variables, layout.shape, layout.strides, strict=True):
            if n == 1 or not stride:
                continue
            name, behind = _split(variable)  # what is known is added up here, once
            offset += behind * stride
            if name:
                parts.append(name if stride * times == 1 else f"{name} * {stride * times}")
        if ref.buffer.source is not None:
            offset -= self._found(ref.buffer)[1].offset
        if in_lanes:
            parts.append(lane)
        if offset or not parts:
            parts.append(str(offset * times))
        return f"{self.buffer(ref.buffer)}[{' + '.join(parts)}]"

    def _found(self, buffer: Buffer) -> tuple[int, Layout]:
        """Which array that the step finds this is, and how much of its memory that is."""
        if buffer not in self.found:
            assert buffer.source is not None
            given = next(node for node, i in self.plan.sources.items() if i == buffer.source)
            low, high = self.plan.library.layout(self.plan.library.given(given.value)).span
            self.found[buffer] = buffer.source, Layout.in_order((high - low,), low)
        return self.found[buffer]

    def ref(self, node: Node, shape: Shape | None = None) -> Ref:
        """Where a node lies, as seen in another shape; a number is put there first."""
        ref, root = self.plan.ref(node), node.root
        if root.host and root not in self._put:
            self._put.add(root)
            self.put(f"{self.buffer(ref.buffer)}[0] = {kind(root.dtype)}({self.number(root)})")
        if shape is None or ref.shape == shape:
            return ref
        return Ref(ref.buffer, ref.layout.broadcast_to(shape))

    # ---- all

    def write(self) -> Loops:
        """Write all."""
        recording, plan = self.recording, self.plan
        counters = {name: self.names.variable(name) for name in plan.counters}
        for name, variable in counters.items():
            self.numbers[recording.carry[name]] = variable
        histories = {name: self.names.variable(f"history_{name}") for name in recording.metrics}
        self.depth = 3 if self.lanes else 2
        for unit in plan.units:
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
        for name, node in recording.metrics.items():
            with self.unit():
                self._metric(histories[name], node)
        self._ends(counters)
        body, self.lines, self.depth = self.lines, [], 1
        carried = self._around(body, counters)
        order = plan.lives.order
        products = [_multiplications(node) for node in order if node.op == "matmul"]
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
            max(products, default=0),
            computed + sum(products),
            self._nbytes,
            [value for value, _ in self.given],
        )

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
            # As if it were not known; and with it, that no place in an array is below 0.
            self.line(f"width = min(max(width, 0), {lanes})")
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
        for i, ((_, of), name) in enumerate(self.given.items()):
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
        variables, layouts = self._loops(node.shape, [ref.layout, Layout.in_order(node.shape)])
        index = _index(layouts[1], variables)
        if self.lanes:
            self.over_lanes()
            self.line("if block + lane < members:")
            self.depth += 1
        value = self.element(Ref(ref.buffer, layouts[0]), variables)
        self.line(f"{history}[{self.at}, {index}] = {self.cast(value, node, node.dtype)}")
        self.depth = depth

    def copy(self, place: Ref, source: Ref, each: bool) -> None:
        """Write a copy."""
        depth = self.depth
        variables, layouts = self._loops(place.shape, [place.layout, source.layout])
        if self.lanes and each:
            self.over_lanes()
        value = self.element(Ref(source.buffer, layouts[1]), variables)
        if source.dtype != place.dtype:
            value = f"{kind(place.dtype)}({value})"
        self.line(f"{self.element(Ref(place.buffer, layouts[0]), variables)} = {value}")
        self.depth = depth

    def _loops(self, shape: Shape, layouts: list[Layout]) -> tuple[list[str], list[Layout]]:
        """Begin loops over all elements; axes that lie one behind the other in all are one."""
        views = [layout.broadcast_to(shape) for layout in layouts]
        axes = [i for i, n in enumerate(shape) if n != 1]
        runs: list[list[int]] = []
        for axis in axes:
            if runs and all(
                view.strides[runs[-1][-1]] == view.strides[axis] * shape[axis] for view in views
            ):
                runs[-1].append(axis)
            else:
                runs.append([axis])
        merged = tuple(math.prod(shape[a] for a in run) for run in runs)
        seen = [
            Layout(merged, tuple(view.strides[run[-1]] for run in runs), view.offset)
            for view in views
        ]
        return self.axes(merged), seen

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
            self._group = group = _Group(node.shape, each)
            reads = [self.ref(arg, node.shape) for arg in node.nodes if not arg.host]
        group.nodes.append(node)
        group.reads += reads
        group.writes.append(write)

    def _joins(self, group: _Group, node: Node, each: bool, reads: list[Ref], write: Ref) -> bool:
        if group.shape != node.shape or group.each != each:
            return False
        if node.op in FUNCTIONS and any(one.op in FUNCTIONS for one in group.nodes):
            return False  # what two of them need at once does not fit the registers
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
                self._loop_of(group)

    def _loop_of(self, group: _Group) -> None:
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
        variables, layouts = self._loops(group.shape, [ref.layout for ref in refs])
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
                    args.append(self.constant(arg, self._wanted(node, arg)))
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

    def cast(self, text: str, arg: Node, dtype: Any) -> str:
        """An operand as one of another dtype."""
        if np.dtype(arg.dtype).kind == "b" and np.dtype(dtype).kind == "f":
            # Which instructions on many numbers can; from whole numbers they convert one by one.
            return f"({self.constant(1.0, dtype)} if {text} else {self.constant(0.0, dtype)})"
        return text if np.dtype(arg.dtype) == np.dtype(dtype) else f"{kind(dtype)}({text})"

    def _wanted(self, node: Node, arg: Any) -> Any:
        """The dtype in which an operand is computed with, by NumPy's rules."""
        operation = node.operation
        if node.op == "where":
            return np.bool_ if arg is node.args[0] else node.dtype
        if node.op in ("astype", "copy"):
            return arg.dtype
        if operation.compares or node.op in ("isfinite", "isinf", "isnan", "signbit"):
            arrays = [one.dtype for one in node.nodes if not one.host] or [
                one.dtype for one in node.nodes
            ]
            return np.result_type(*arrays)
        if operation.truths:
            return np.bool_
        return node.dtype

    def expression(self, node: Node, args: list[str]) -> str:
        """What an elementwise operation computes, of numbers."""
        if node.op not in self.expressions:
            raise Untraceable(f"{node.op} is not written as a loop")
        text = self.expressions[node.op].format(*args, bits=8 * np.dtype(node.dtype).itemsize)
        whole = np.dtype(node.dtype).kind in "iu" and node.op not in ("where", "copy")
        if node.op == "astype":
            to_truth = np.dtype(node.dtype).kind == "b"
            return f"{args[0]} != 0" if to_truth else self.cast(args[0], node.args[0], node.dtype)
        return f"{kind(node.dtype)}({text})" if whole else text

    # ---- Python's numbers

    def number(self, arg: Any) -> str:
        """A number that follows from counters."""
        if isinstance(arg, float) and arg not in PLAIN and math.isfinite(arg):
            return self.given_number(arg, "float")
        if not isinstance(arg, Node):
            return f"({arg!r})" if math.isfinite(arg) else f"np.{arg}".replace("np.-", "-np.")
        if arg in self.numbers:
            return self.numbers[arg]
        value = np.asarray(arg.value)[()].item()
        return f"({value!r})"

    def _host(self, node: Node) -> None:
        args = [self.number(arg) for arg in node.args]
        kinds = {"f": "float({})", "b": "({} != 0)"}
        made = kinds.get(np.dtype(node.dtype).kind, "int({})")
        if node.op == "astype":
            text = made.format(*args)
        elif node.op not in self.expressions:
            raise Untraceable(f"{node.op} of counters is not written as a loop")
        else:
            text = self.expressions[node.op].format(*args, bits=64)
            text = made.format(text) if made.startswith("float") else text
        self.numbers[node] = self.new("s")
        self.line(f"{self.numbers[node]} = {text}")

    def calls(self, node: Node) -> Callable[[LoopWriter, Node], None]:
        """How an operation is written that is not elementwise."""
        if node.op not in CALLS:
            raise Untraceable(f"{node.op} is not written as a loop")
        return CALLS[node.op]


def _split(variable: str) -> tuple[str, int]:
    """What counts along an axis, and how far behind it: of ``i``, ``7``, ``(i + 7)``."""
    if variable.isdigit():
        return "", int(variable)
    name, plus, behind = variable.strip("()").partition(" + ")
    return name, int(behind) if plus else 0


def _index(layout: Layout, variables: list[str]) -> str:
    parts = [f"{v} * {s}" for v, s in zip(variables, layout.strides, strict=True) if s]
    return " + ".join(parts) or "0"


def _multiplications(node: Node) -> int:
    return math.prod(node.shape) * int(node.nodes[0].shape[-1])
