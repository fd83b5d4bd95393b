"""What loops are written with: lines, names, numbers, and where the elements of arrays lie."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.layout import Buffer, Layout, Ref, Shape
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.writers.loop_calls import EXPRESSIONS, FUNCTIONS
from xpnet.compiler.writers.loop_sums import kind
from xpnet.compiler.writers.names import Names

PLAIN = frozenset((0.0, 1.0, -1.0, 0.5, 2.0))
"""The numbers that a text has in itself, as they are of what is done and not of how much."""


RESERVED = (
    *("start", "stop", "members", "whole", "real", "numbers", "block", "lane", "at", "e"),
    *("np", "math", "local", "maximum", "minimum", "threefry"),
    *(f"{of}_{bits}" for of in FUNCTIONS for bits in (32, 64)),
)
"""The names that a program has for itself, besides those of every program."""


class LoopText:
    """A text of loops under way.

    Long, since it is all that the operations, the steps and what is around them are written with.

    Attributes:
        expressions: what elementwise operations compute of numbers.
        registers: whether a sum is added up in a variable, one after the other; else all of them
            are where they will be, term by term, which is what vectors are for.
        ways: how many parts a sum of everything has, each added up by somebody else; 0 for one.
        at: where in a history a step's metrics are.
        each: what each member has for itself.
        in_lanes: where that lies.

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
        self._put: set[Node] = set()
        self.given: dict[tuple[float, str, Node | None], str] = {}
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
        """Begin the loop over the members at hand."""
        self.loop("lane", self.lanes)

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

    def constant(self, value: Any, dtype: Any, of: Node | None = None) -> str:
        """A number of a dtype, which an operation has."""
        if np.dtype(dtype).kind == "b":
            return repr(bool(value))
        if isinstance(value, float) and value not in PLAIN and math.isfinite(value):
            return self.given_number(value, kind(dtype), of)
        text = repr(value) if not isinstance(value, float) or math.isfinite(value) else ""
        text = text or {"inf": "np.inf", "-inf": "-np.inf", "nan": "np.nan"}[str(value)]
        key = text, kind(dtype)
        if key not in self.constants:
            self.constants[key] = self.new("c")
        return self.constants[key]

    def given_number(self, value: float, kind: str, of: Node | None) -> str:
        """A number that is no part of the text: of another value it is the same program, also where
        two operations then have the same.
        """
        key = value, kind, of
        if key not in self.given:
            self.given[key] = self.new("n")
        return self.given[key]

    def row(self, variable: str, samples: int) -> str:
        """The number of a sample of the batch, among so many."""
        return f"batch_rows[k, {variable}]"

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

    def loops(self, shape: Shape, layouts: list[Layout]) -> tuple[list[str], list[Layout]]:
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

    def copy(self, place: Ref, source: Ref, each: bool) -> None:
        """Write a copy."""
        depth = self.depth
        variables, layouts = self.loops(place.shape, [place.layout, source.layout])
        if self.lanes and each:
            self.over_lanes()
        value = self.element(Ref(source.buffer, layouts[1]), variables)
        if source.dtype != place.dtype:
            value = f"{kind(place.dtype)}({value})"
        self.line(f"{self.element(Ref(place.buffer, layouts[0]), variables)} = {value}")
        self.depth = depth

    # ---- numbers

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
        # Of two truth values Python makes a whole number.
        sums = np.dtype(node.dtype).kind == "b" and node.op in ("add", "multiply")
        return f"{kind(node.dtype)}({text})" if whole or sums else text

    def number(self, arg: Any, of: Node | None = None) -> str:
        """A number that follows from counters."""
        if isinstance(arg, float) and arg not in PLAIN and math.isfinite(arg):
            return self.given_number(arg, "float", of)
        if not isinstance(arg, Node):
            return f"({arg!r})" if math.isfinite(arg) else f"np.{arg}".replace("np.-", "-np.")
        if arg in self.numbers:
            return self.numbers[arg]
        value = np.asarray(arg.value)[()].item()
        return f"({value!r})"


def _split(variable: str) -> tuple[str, int]:
    """What counts along an axis, and how far behind it: of ``i``, ``7``, ``(i + 7)``."""
    if variable.isdigit():
        return "", int(variable)
    name, plus, behind = variable.strip("()").partition(" + ")
    return name, int(behind) if plus else 0
