"""Where every array of a step lies, before there is any of them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from functools import cached_property
from typing import Any

from xpnet.compiler.ir import Node, Recording, Shape, Untraceable
from xpnet.compiler.layout import Buffer, Layout, Ref, viewed
from xpnet.compiler.library import Library
from xpnet.compiler.passes.chains import Chain, Stretch, Unit, blocks_within
from xpnet.compiler.passes.lifetimes import Lifetimes, homes
from xpnet.compiler.passes.pieces import pieces
from xpnet.compiler.passes.rewriting import readers


class Placement:
    """The plan of a program: what is done in which order, and where each array lies.

    A value takes over the place of an operand that nothing reads any more; parameters and moments
    are updated where they lie; the pieces of a concatenation are computed where they will be.

    Args:
        recording: the step.
        lives: its lifetimes.
        units: what is done, in order; chains that cannot run in blocks come out as their nodes.
        library: for what.
        sources: the number of each array that the step finds.

    Attributes:
        carry: the places of the carry that lies in arrays.
        counters: the names of the rest of it, which are Python numbers.
    """

    def __init__(
        self,
        recording: Recording,
        lives: Lifetimes,
        units: list[Unit],
        library: Library,
        sources: dict[Node, int],
    ) -> None:
        self.recording, self.lives, self.library = recording, lives, library
        self.sources = sources
        self._refs: dict[Node, Ref] = {}
        self._memory = _Memory(lives)
        self._constants: dict[tuple[Any, ...], Ref] = {}
        self.carry: dict[str, Ref] = {}
        self.counters: list[str] = []
        for name, node in recording.carry.items():
            if node.host:
                self.counters.append(name)
                continue
            layout = Layout.in_order(node.shape)
            buffer = Buffer(layout.size, node.dtype, name)
            self.carry[name] = self._refs[node] = Ref(buffer, layout)
        self._homes = {node: self.carry[name] for node, name in homes(recording, lives).items()}
        self._pieces = {
            piece: place
            for piece, place in pieces(lives).items()
            if piece not in self._homes and not self.is_variable(piece)
        }
        self.units = [placed for unit in units for placed in self._place(unit)]

    def is_variable(self, node: Node) -> bool:
        """Whether a node is a number in a variable of the program."""
        if node.host or node.shape != () or not self.library.scalars:
            return node.host
        return not (node.operation.view or node.op in ("input", "const", "take", "concat", "stack"))

    def ref(self, node: Node) -> Ref:
        """Where a node lies; of a number, where it is put for what takes arrays alone."""
        if node not in self._refs:
            self._refs[node] = self._find(node)
        return self._refs[node]

    def _find(self, node: Node) -> Ref:
        if node.operation.view:
            base = self.ref(node.args[0])
            layout = viewed(base.layout, node.op, node.static)
            if layout is None:
                raise Untraceable("a reshape that copies")
            return Ref(base.buffer, layout)
        if node.op == "ones":
            return self.constant(node.shape, 1, node.dtype)
        if self.is_variable(node):
            return new(node.shape, node.dtype, "number")
        if node not in self.sources:
            raise Untraceable(f"{node.op} is read where no array is")
        layout = self.library.layout(self.library.given(node.value))
        of = "x" if node.op == "input" else "c"
        return Ref(Buffer(layout.size, node.dtype, of, self.sources[node]), layout)

    def constant(self, shape: Shape, value: Any, dtype: Any) -> Ref:
        """An array of one number, which stays."""
        key = (shape, repr(value), dtype)
        if key not in self._constants:
            layout = Layout.in_order(shape)
            of = "ones" if shape and value == 1 else "c"
            self._constants[key] = Ref(Buffer(layout.size, dtype, of, fill=value), layout)
        return self._constants[key]

    def is_piece_of(self, arg: Node, whole: Node) -> bool:
        """Whether an operand of a concatenation lies in it already."""
        return arg.root in self._pieces and self._pieces[arg.root][0] is whole

    # ---- one unit after the other

    def _place(self, unit: Unit) -> list[Unit]:
        if isinstance(unit, Stretch):
            for node in unit.nodes:
                self._place(node)
            return [unit]
        if isinstance(unit, Chain):
            before = dict(self._refs), self._memory.copy()
            if self._place_chain(unit):
                self._memory.release(self.lives.position[unit.nodes[-1]])
                return [unit]
            self._refs, self._memory = before
            return [placed for node in unit.nodes for placed in self._place(node)]
        if not self.is_variable(unit):
            for arg in unit.nodes:
                if not self.is_variable(arg) and arg is not self.recording.rows:
                    self.ref(arg)
            self._allocate(unit)
        self._memory.release(self.lives.position[unit])
        return [unit]

    def _allocate(self, node: Node) -> Ref:
        """Find a place for what a node computes."""
        if node in self._refs:  # a concatenation whose pieces came first
            return self._refs[node]
        if node in self._homes:
            ref = self._homes[node]
        elif node in self._pieces:
            whole, layout = self._pieces[node]
            ref = within(self._allocate(whole), layout)
        else:
            ref = self._memory.of(node)
        self._refs[node] = ref
        return ref

    # ---- chains

    @cached_property
    def _readers(self) -> dict[Node, list[Node]]:
        return readers(self.recording)

    def _place_chain(self, chain: Chain) -> bool:
        """Place the arrays of a chain; return whether it can run in blocks."""
        inner = chain.inner(self.lives, self._readers) - self._homes.keys() - self._pieces.keys()
        chain.within.update(blocks_within(chain, inner, self.lives))
        reads: list[Ref] = []
        writes: list[Ref] = []
        for node in chain.nodes:
            given = [a for a in node.nodes if a not in inner and not self.is_variable(a)]
            reads += map(self.ref, given)
            if node not in inner:
                writes.append(self._allocate(node))
        taken = [ref for ref in (*reads, *writes) if chain.in_blocks(ref)]
        if chain.flat and any(ref.layout.reshape((-1,)) is None for ref in taken):
            return False
        # No block may overwrite what a later one reads.
        pairs = itertools.product(writes, (*reads, *writes))
        return not any(a != b and a.overlaps(b) for a, b in pairs)


class _Memory:
    """Buffers for what is computed: which are in use, and which are free again."""

    def __init__(self, lives: Lifetimes) -> None:
        self._lives = lives
        self._owned: dict[Node, Ref] = {}
        self._free: dict[tuple[int, Any], list[Buffer]] = defaultdict(list)

    def copy(self) -> _Memory:
        """The same at this moment."""
        other = _Memory(self._lives)
        other._owned = dict(self._owned)
        other._free.update({kind: [*free] for kind, free in self._free.items()})
        return other

    def of(self, node: Node) -> Ref:
        """The place of an operand that dies here, or one that is free, or a new one."""
        for arg in node.replaceable:
            fits = arg in self._owned and (arg.shape, arg.dtype) == (node.shape, node.dtype)
            if fits and self._lives.dies_in(arg, node):
                self._owned[node] = self._owned.pop(arg)
                return self._owned[node]
        layout = Layout.in_order(node.shape)
        free = self._free[layout.size, node.dtype]
        buffer = free.pop() if free else Buffer(layout.size, node.dtype, "a")
        self._owned[node] = Ref(buffer, layout)
        return self._owned[node]

    def release(self, now: int) -> None:
        """Let others have the places of what nothing reads any more."""
        last_use = self._lives.last_use
        for node in [node for node in self._owned if last_use.get(node, -1) <= now]:
            ref = self._owned.pop(node)
            self._free[ref.layout.size, node.dtype].append(ref.buffer)


def new(shape: Shape, dtype: Any, of: str) -> Ref:
    """An array in a buffer of its own."""
    layout = Layout.in_order(shape)
    return Ref(Buffer(layout.size, dtype, of), layout)


def within(whole: Ref, layout: Layout) -> Ref:
    """A place in an array that lies in one stretch."""
    return Ref(whole.buffer, replace(layout, offset=layout.offset + whole.layout.offset))
