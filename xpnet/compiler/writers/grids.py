"""A recorded step as many CUDA kernels, for networks that are too large for a thread or a block.

Large matrix products are the library's. What stands between them is a kernel a loop, an element a
thread of a grid; and of small arrays several loops are one kernel of one block, whose threads wait
for one another. What follows from counters is computed for all steps of an interval beforehand.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.layout import Buffer, Ref
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.writers.kernels import KernelWriter
from xpnet.compiler.writers.loop_calls import CALLS
from xpnet.compiler.writers.loop_sums import LONG
from xpnet.compiler.writers.loops import Loops, LoopWriter

HOW = "cuda.jit(cache=True)"
"""What makes a kernel of a function, and keeps it on disk beside its text."""

LARGE = 1 << 15
"""From how many multiplications a matrix product is the library's."""

SMALL = 1 << 13
"""Up to how many numbers a loop is done by one block, and may share a kernel with the next one."""

SERIAL = 1 << 14
"""How many numbers a thread computes in a loop at most: with more the GPU would wait for it."""

_WAIT = "        cuda.syncthreads()"


@dataclass(frozen=True)
class Piece:
    """Loops that need not wait for one another.

    Attributes:
        lines: their text.
        turns: how many turns they have that threads may share.
        work: how many numbers they compute or read.
    """

    lines: list[str]
    turns: int
    work: int


@dataclass(frozen=True)
class Product:
    """A matrix product of the library, of two arrays into a third."""

    a: Ref
    b: Ref
    out: Ref


@dataclass(frozen=True)
class Kernel:
    """A kernel of a step.

    Attributes:
        arrays: the names of what its function is given, besides the number of the step.
        turns: over how many its threads are spread; 0 for those of one block.
    """

    arrays: tuple[str, ...]
    turns: int


@dataclass(frozen=True)
class Grids:
    """A step as calls one after the other, and what is to be given to them.

    Attributes:
        source: the text of all functions, of which the first one counts.
        calls: what a step is.
        buffers: the arrays that it finds and computes in, by their names.
        carry: those of the carry, by their names there.
        counted: in which column of what is counted each counter is, by its name in the carry.
        columns: how many numbers are counted in a step, whole and real ones.
        loops: all else.
    """

    source: str
    calls: list[Kernel | Product]
    buffers: dict[str, Buffer]
    carry: dict[str, Ref]
    counted: dict[str, tuple[str, int]]
    columns: dict[str, int]
    loops: Loops


class GridWriter(KernelWriter):
    """Writes a plan as kernels and products.

    Long, since it both cuts a step into pieces and puts these together again.

    Args:
        plan: what is done, and where everything lies.
        large: see `LARGE`.
        small: see `SMALL`.
    """

    def __init__(self, plan: Placement, large: int = LARGE, small: int = SMALL) -> None:
        super().__init__(plan, block=True)
        self.large, self.small = large, small
        for name in ("counted_whole", "counted_real"):
            self.names.variable(name)
        self.at = "k"
        self.pieces: list[Piece | Product] = []
        self._puts: dict[str, list[str]] = {}
        self._turns = self._work = 1

    def grids(self) -> Grids:
        """Write all."""
        loops = self.write()
        calls: list[Kernel | Product] = []
        functions = [self._count]
        block: list[str] = []

        def put(lines: list[str], turns: int) -> None:
            function, kernel = self._function(f"run_{len(functions)}", lines, turns, loops)
            functions.append(function)
            calls.append(kernel)

        for piece in [*self.pieces, None]:
            if isinstance(piece, Piece) and piece.work <= self.small:
                block += [_WAIT, *piece.lines] if block else piece.lines
                continue
            if block:
                put(block, 0)
                block = []
            if isinstance(piece, Piece):
                if piece.work > SERIAL * piece.turns:
                    raise Untraceable(
                        f"a loop over {piece.work} numbers has {piece.turns} turns to share"
                    )
                put(piece.lines, piece.turns)
            elif piece:
                calls.append(piece)
        return Grids(
            f"\n\n@{HOW}\n".join(functions),
            calls,
            {name: buffer for buffer, name in self.buffers.items() if name not in self._puts},
            self.plan.carry,
            self._counted,
            self._columns,
            loops,
        )

    # ---- pieces

    @contextmanager
    def unit(self) -> Iterator[None]:
        first, self._turns, self._work = len(self.lines), 1, 1
        with super().unit():
            yield
        lines = self.lines[first:]
        del self.lines[first:]
        while lines:  # what stands before each barrier
            end = lines.index(_WAIT)
            self.pieces.append(Piece(lines[:end], self._turns, max(self._turns, self._work)))
            lines = lines[end + 1 :]

    def deal(self, variable: str, *bounds: Any) -> None:
        if self.depth <= self._dealt:
            self._turns = max(self._turns, len(range(*bounds)))
        super().deal(variable, *bounds)

    def put(self, text: str) -> None:
        name, value = text.split("[0] = ")
        of = value.partition("(")[0]
        self._puts[name] = [f"{name} = cuda.local.array(1, {of})", text]  # of each thread

    def calls(self, node: Node) -> Callable[[LoopWriter, Node], None]:
        read = [] if node.operation.chooses else node.nodes  # else of some of it
        self._work = max(math.prod(one.shape) for one in (node, *read))
        if node.op == "random_bits" and node.nodes[0].dtype == np.uint32:
            return CALLS[node.op]  # of several keys too
        if node.op != "matmul":
            return super().calls(node)
        inner = int(node.nodes[0].shape[-1])
        self._work = max(self._work, math.prod(node.shape) * inner)
        if self._work < self.large and inner <= LONG:
            return super().calls(node)
        kinds = {np.dtype(one.dtype) for one in (node, *node.nodes)}
        if len(kinds) > 1 or kinds.pop().kind != "f":
            raise Untraceable("a large product that is not of floats of one dtype")
        return lambda w, node: self._product(node)

    def _product(self, node: Node) -> None:
        a, b, out = (self.ref(one) for one in (*node.args, node))
        for ref in (a, b, out):
            self.buffer(ref.buffer)
            if ref.buffer.source is not None:
                self._found(ref.buffer)
        self.pieces.append(Product(a, b, out))

    # ---- functions

    def _around(self, body: list[str], counters: dict[str, str]) -> dict[str, str]:
        """Write the function that counts; what is computed is in `pieces`."""
        columns = {"whole": 0, "real": 0}
        self._read: dict[str, str] = {}  # where the kernels find each number
        self._counted: dict[str, tuple[str, int]] = {}
        stores, after = [], []
        for node, variable in self.numbers.items():
            sort = np.dtype(node.dtype).kind
            store = "real" if sort == "f" else "whole"
            column, columns[store] = columns[store], columns[store] + 1
            stores.append(f"counted_{store}[k, {column}] = {variable}")
            place = f"counted_{store}[k, {column}]"
            self._read[variable] = f"{place} != 0" if sort == "b" else place
            for name in (name for name, own in counters.items() if own == variable):
                self._counted[name] = store, column
                after.append(f"counted_{store}[stop, {column}] = {variable}")
        for i, (name, variable) in enumerate(counters.items()):
            self.line(f"{variable} = {self._store(name)}[{i}]")
        self.loop("k", "start", "stop")
        end = len(body) - bool(counters)  # they are those of the next step then
        self.lines += body[:end]
        for text in stores or ["pass"]:
            self.line(text)
        self.lines += body[end:]
        self.depth -= 1
        for text in after:
            self.line(text)
        lines, self.lines, self._columns, self._nbytes = self.lines, [], columns, 0
        names = "start", "stop", "numbers", "whole", "real", "counted_whole", "counted_real"
        given = [f"    {line}" for line in self._givens(_words(lines))]
        self._count = "\n".join([f"def run({', '.join(names)}):", *given, *lines, ""])
        return {name: self.buffer(ref.buffer) for name, ref in self.plan.carry.items()}

    def _givens(self, words: set[str]) -> list[str]:
        """The numbers that a function of these words is given."""
        return [
            f"{name} = {of}(numbers[{i}])"
            for i, ((_, of, _), name) in enumerate(self.given.items())
            if name in words
        ]

    def _function(
        self, name: str, lines: list[str], turns: int, loops: Loops
    ) -> tuple[str, Kernel]:
        puts = [line for own, both in self._puts.items() if own in _words(lines) for line in both]
        words = _words([*lines, *puts])
        if turns:
            head = ["thread, threads = cuda.grid(1), cuda.gridsize(1)"]
        else:
            head = ["thread, threads = cuda.threadIdx.x, cuda.blockDim.x"]
        head += self._givens(words)
        head += [f"{own} = {place}" for own, place in self._read.items() if own in words]
        head += puts
        words |= _words(head)
        known = [own for own in self.buffers.values() if own not in self._puts]
        more = ("numbers", "counted_whole", "counted_real", "batch_rows")
        arrays = tuple(own for own in (*known, *loops.histories.values(), *more) if own in words)
        text = [f"def {name}({', '.join(['k', *arrays])}):", "    if k < 0:", "        return"]
        text += [f"    {line}" for line in head]
        text += [line[4:] for line in lines]  # which were those of a loop
        return "\n".join([*text, ""]), Kernel(arrays, turns)


def _words(lines: Sequence[str]) -> set[str]:
    return set(re.findall(r"[^\W\d]\w*", "\n".join(lines)))
