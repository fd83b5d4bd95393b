"""From a plan to text: straight-line calls such as ``multiply(a3, c1, a5)``, and what they name.

What a plain loop over the step pays for besides its mathematics (layers, views, temporaries, Python
numbers turned into arrays) is paid here once, when the program is written. Arithmetic on counters
is done on Python's integers and floats. A writer is a table: what each operation is called in its
library (`Writer.calls`), and what remains to be said besides. It has no arrays, only places.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from xpnet.compiler.bits import Drawing
from xpnet.compiler.host import literal
from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.layout import Ref, Shape
from xpnet.compiler.passes.chains import Chain, Stretch
from xpnet.compiler.passes.pieces import targets
from xpnet.compiler.passes.placement import Placement, within
from xpnet.compiler.passes.rewriting import is_number
from xpnet.compiler.writers.names import Blocks, Names, Scalar


@dataclass
class Text:
    """A program as it could be kept: what a writer has written, and of which places.

    Attributes:
        lines: the statements of a step.
        names: what the names in it stand for: places, blocks, functions, numbers, draws.
        carry: the places of the carry that lies in arrays.
        counters: the variables of the rest of it, which are Python numbers, by their names there.
        dtypes: their dtypes.
        metrics: shape and dtype of each metric of a step.
        histories: the variables of their histories, by their names.
        rows: whether it is of the rows of a batch.
        largest: how many elements the largest array has that is computed.
        product: how many multiplications the largest matrix product takes, of one member.
        machine: the functions of loops that it calls; ``None`` where there are none.
    """

    lines: list[str]
    names: dict[str, Any]
    carry: dict[str, Ref]
    counters: dict[str, str]
    dtypes: dict[str, Any]
    metrics: dict[str, tuple[Shape, Any]]
    histories: dict[str, str]
    rows: bool
    largest: int
    product: int
    machine: Any = None

    @property
    def source(self) -> str:
        """The program: ``n`` steps."""
        counters = self.counters.values()
        histories = self.histories.values()
        rows = ["rows = batch_rows[k]"] if self.rows else []
        return "\n".join(
            [
                f"def run(n, batch_rows, interrupted, {', '.join([*counters, *histories])}):",
                "    for k in range(n):",
                *(f"        {line}" for line in [*rows, *self.lines]),
                "        if interrupted():",
                "            break",
                f"    return k + 1, ({''.join(f'{name}, ' for name in counters)})",
            ]
        )


Call = Callable[[Any, Node], list[str]]
"""``(writer, node)``: the calls that compute a node into its place."""


class Writer(ABC):
    """Writes a plan as text.

    Long, since it is all that the tables of the libraries write with.

    Args:
        plan: what is done, and where everything lies.
    """

    def __init__(self, plan: Placement) -> None:
        self.plan, self.library, self.recording = plan, plan.library, plan.recording
        self.lines: list[str] = []
        self.counters: dict[str, str] = {}
        self.histories: dict[str, str] = {}
        self.variables: dict[Node, str] = {}
        self.names = Names(plan.carry)
        self._put: set[Node] = set()

    def write(self) -> Text:
        """Write all."""
        for name in self.plan.counters:
            variable = self.names.variable(name)
            self.variables[self.recording.carry[name]] = variable
            self.counters[name] = variable
        for name in self.recording.metrics:
            self.histories[name] = self.names.variable(f"history_{name}")
        for unit in self.plan.units:
            if isinstance(unit, Chain):
                _write_chain(self, unit)
            elif isinstance(unit, Stretch):
                self.stretch(unit)
            elif unit.host:
                _write_host(self, unit)
            elif self.plan.is_variable(unit):
                self.variable(unit, self.scalar(unit))
            else:
                self.lines += self.call(unit)
        _write_ends(self)
        recording, order = self.recording, self.plan.lives.order
        products = [node for node in order if node.op in ("matmul", "add_matmul")]
        return Text(
            self.lines,
            self.names.known,
            self.plan.carry,
            self.counters,
            {name: node.dtype for name, node in recording.carry.items() if node.host},
            {name: (node.shape, node.dtype) for name, node in recording.metrics.items()},
            self.histories,
            recording.rows is not None,
            max((math.prod(node.shape) for node in order), default=0),
            max(map(_multiplications, products), default=0),
        )

    # ---- what a library answers

    @property
    @abstractmethod
    def calls(self) -> Mapping[str, Call]:
        """How each operation is written that is not done as all elementwise ones are."""

    @abstractmethod
    def elementwise(self, node: Node, args: list[str], out: str) -> str:
        """The call of an elementwise operation that is in no table."""

    @abstractmethod
    def copy(self, out: str, source: str) -> str:
        """The call that copies, with a change of dtype if need be."""

    @abstractmethod
    def metric(self, name: str, node: Node) -> str:
        """The call that puts a metric into row ``k`` of its history."""

    def stretch(self, stretch: Stretch) -> None:
        """Write the call of a function of loops."""
        raise Untraceable("a function of loops among calls")

    def scalar(self, node: Node) -> str:
        """The expression of a number that follows from arrays, of a library that has them."""
        raise Untraceable(f"{node.op} to a number")

    def put(self, number: Ref, value: str) -> str:
        """The statement that puts a Python number into an array of no axes."""
        return f"{self.name(number)}[()] = {value}"

    def call(self, node: Node) -> list[str]:
        """The calls that compute ``node`` into its place."""
        if node.op in self.calls:
            return self.calls[node.op](self, node)
        if not node.elementwise:
            raise Untraceable(f"{node.op} is not written")
        dtype = self.operand_dtype(node)
        args = [self._alone(arg, node, dtype) for arg in node.args]
        return [self.elementwise(node, args, self.out(node))]

    def _alone(self, arg: Any, node: Node, dtype: Any) -> str:
        """An operand of what is in no chain."""
        wide = self.wide(node, arg, node.shape, dtype) if is_number(arg) else None
        return self.operand(arg, dtype) if wide is None else self.name(wide)

    def name(self, ref: Ref) -> str:
        """The name of an array."""
        return self.names.array(ref)

    # ---- operands

    def operand(self, arg: Any, dtype: Any) -> str:
        """An operand as it stands in a call: an array, or a variable."""
        ref = self.operand_ref(arg, dtype)
        return self.variables[arg] if ref is None else self.name(ref)

    def operand_ref(self, arg: Any, dtype: Any) -> Ref | None:
        """The array of an operand; ``None`` for what is a number of the library in a variable.

        Python's own numbers are arrays of no axes, which libraries take much faster.
        """
        if is_number(arg) and not self._joins(arg, dtype):
            raise Untraceable(f"a number among operands of {dtype}")
        if not isinstance(arg, Node):
            return self.plan.constant((), arg, dtype)
        if self.plan.is_variable(arg) and not arg.host:
            return None
        return self.ref(arg)

    def _joins(self, number: Any, dtype: Any) -> bool:
        """Whether a number can be an operand beside arrays of a dtype."""
        whole = type(number) is int and self.library.is_integer(dtype)
        return isinstance(number, bool) or whole or self.library.is_floating(dtype)

    def operand_dtype(self, node: Node) -> Any:
        """The dtype in which Python numbers join the operands of ``node``."""
        if node.op == "where":
            return node.dtype
        arrays = [arg for arg in node.nodes if not arg.host]
        if node.operation.compares:  # as what they are, not as truth values
            arrays += node.nodes
        return arrays[0].dtype if arrays else node.dtype

    def ref(self, node: Node) -> Ref:
        """The place of an operand; a number is put there first.

        It is of its own dtype, which on NumPy decides in which one its operation is done.
        """
        root = node.root
        if self.plan.is_variable(root) and root not in self._put:
            self._put.add(root)
            line = self.put(self.plan.ref(root), self.variables[root])
            self.lines.append(line)
        return self.plan.ref(node)

    def array(self, node: Node) -> str:
        """The name of the place of an operand."""
        return self.name(self.ref(node))

    def out(self, node: Node) -> str:
        """The name of the place of a result."""
        return self.name(self.plan.ref(node))

    # ---- numbers

    def variable(self, node: Node, text: str) -> None:
        """Write ``variable = text`` and remember the variable."""
        self.variables[node] = self.names.next("s")
        self.lines.append(f"{self.variables[node]} = {text}")

    def number(self, arg: Any, plain: bool = False) -> str:
        """An operand of no axes as it stands in an expression; a constant is ``plain`` Python's."""
        if not isinstance(arg, Node):
            return f"({literal(arg)})"
        if arg in self.variables:
            return self.variables[arg]
        if arg.op == "const":
            return self.names.new("number_", Scalar(self.plan.sources[arg], plain))
        return self.array(arg)

    def infix(self, node: Node, args: list[str]) -> str:
        """An operator between its operands."""
        if node.op == "negative":
            return f"-{args[0]}"
        if not node.operation.infix:
            raise Untraceable(f"{node.op} of 0-d values")
        return f"{args[0]} {node.operation.infix} {args[1]}"

    def wide(self, node: Node, arg: Any, shape: Shape, dtype: Any) -> Ref | None:
        """An array full of a number, for an operation that is faster so."""
        return None


def _multiplications(product: Node) -> int:
    """How many a matrix product takes, of one member."""
    return math.prod(product.shape[-2:]) * int(product.nodes[-2].shape[-1])


def concatenate(w: Writer, node: Node) -> list[str]:
    """The copies that a concatenation needs: of those pieces that do not lie there already."""
    whole, lines = w.plan.ref(node), []
    for arg, layout in zip(node.nodes, targets(node), strict=True):
        if not w.plan.is_piece_of(arg, node):
            lines.append(w.copy(w.name(within(whole, layout)), w.array(arg)))
    return lines


def random_bits(w: Writer, node: Node) -> list[str]:
    """The call that draws, for this step and, if they are few, for those to come."""
    (key, step), out = node.args, w.plan.ref(node)
    if not out.layout.size:
        return []
    if not out.layout.is_in_order:
        raise Untraceable("random bits that do not lie in order")
    number = w.number(step) if step.host or w.plan.is_variable(step) else None
    drawing = Drawing(out, w.ref(key), w.ref(step) if number is None else None, node.static)
    return [f"{w.names.new('draw', drawing)}({number}, n - k)"]


def lone(ref: Ref) -> Ref:
    """A single element without its axes, which take time to broadcast."""
    if ref.shape == () or ref.layout.size != 1:
        return ref
    return Ref(ref.buffer, ref.layout.reshape(()) or ref.layout)


def _write_chain(w: Writer, chain: Chain) -> None:
    """Write a loop over blocks."""
    columns: dict[tuple[Ref, bool], str] = {}

    def column(ref: Ref, is_block: bool) -> str:
        if not is_block and not chain.in_blocks(ref):
            return w.name(lone(ref) if chain.flat else ref)
        if (ref, is_block) not in columns:
            columns[ref, is_block] = w.names.variable(f"b{w.name(ref)}")
        return columns[ref, is_block]

    def operand(arg: Any, node: Node, dtype: Any) -> str:
        if isinstance(arg, Node) and arg in chain.within:
            return column(chain.within[arg], True)
        ref = w.operand_ref(arg, dtype)
        if ref is None:
            return w.variables[arg]
        wide = w.wide(node, arg, chain.block, ref.dtype)
        return column(wide or ref, wide is not None)

    calls = []
    for node in chain.nodes:
        dtype = w.operand_dtype(node)
        args = [operand(arg, node, dtype) for arg in node.args]
        inner = node in chain.within
        out = column(chain.within[node] if inner else w.plan.ref(node), inner)
        calls.append(w.elementwise(node, args, out))
    blocks = w.names.new("blocks", Blocks(chain.blocks, chain.flat, list(columns)))
    w.lines.append(f"for {', '.join(columns.values())}, in {blocks}:")
    w.lines += [f"    {call}" for call in calls]


def _write_host(w: Writer, node: Node) -> None:
    """Write arithmetic on counters, as Python does it."""
    args = [w.number(arg, plain=True) for arg in node.args]
    is_integer, is_floating = w.library.is_integer, w.library.is_floating
    if any(isinstance(arg, float) and abs(arg) >= 1 << 53 for arg in node.args) and any(
        is_integer(arg.dtype) for arg in node.nodes
    ):
        raise Untraceable("a number beyond those that floats tell apart, among integers")
    operation = node.operation
    whole = operation.whole and all(
        is_integer(arg.dtype) if isinstance(arg, Node) else type(arg) is int for arg in node.args
    )
    if not whole and not is_floating(node.dtype) and not operation.compares:
        raise Untraceable(f"{node.op} to {node.dtype}, which Python's numbers do not know")
    if operation.infix or node.op == "negative":
        w.variable(node, w.infix(node, args))
    else:
        host = operation.host
        name = "float" if host is float else w.names.function(host, f"python_{node.op}")
        w.variable(node, f"{name}({', '.join(args)})")


def _next_number(w: Writer, node: Node) -> str:
    """A counter of the next step as a Python number, read before a copy overwrites it."""
    if not node.host:
        text = f"{w.number(node)}.item()"
    elif w.library.is_integer(node.dtype) and not _counts(node):
        # They go round, as they do in an array: integers of 64 bits are the only ones here.
        text = f"({w.number(node)} + {1 << 63}) % {1 << 64} - {1 << 63}"
    else:
        return w.number(node)
    name = w.names.next("s")
    w.lines.append(f"{name} = {text}")
    return name


def _counts(node: Node) -> bool:
    """Whether this is an input, or one more or less than one: which goes round nowhere."""
    ends = node.op == "input" or (
        node.op in ("add", "subtract")
        and all(not isinstance(arg, Node) or arg.op == "input" for arg in node.args)
    )
    return ends and len(node.nodes) < 2


def _write_ends(w: Writer) -> None:
    for name, node in w.recording.metrics.items():
        w.lines.append(w.metric(name, node))
    copies, counters = [], []
    for name, node in w.recording.results.items():
        before = w.recording.carry[name]
        if before.host:
            counters.append((w.counters[name], _next_number(w, node)))
            continue
        ref, place = w.ref(node), w.plan.carry[name]
        if ref == place:
            continue
        if any(ref.overlaps(other) for other in w.plan.carry.values()):
            raise Untraceable("carries that change places")
        copies.append(w.copy(w.name(place), w.name(ref)))
    w.lines += copies
    if counters:
        left, right = zip(*counters, strict=True)
        w.lines.append(f"{', '.join(left)} = {', '.join(right)}")
