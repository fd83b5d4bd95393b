"""Where every array of a step lies, before there is any of them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from dataclasses import replace
from typing import Any

from xpnet.compiler.ir import Node, Recording, Shape, Untraceable
from xpnet.compiler.layout import Buffer, Layout, Ref, viewed
from xpnet.compiler.library import Array, Library
from xpnet.compiler.passes.chains import Chain, Unit
from xpnet.compiler.passes.lifetimes import Lifetimes, homes
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
        given: arrays of the carry, by name, that are somebody else's.

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
        given: dict[str, Array],
    ) -> None:
        self.recording, self.lives, self.library = recording, lives, library
        self._readers = readers(recording)
        self._refs: dict[Node, Ref] = {}
        self._owned: dict[Node, Ref] = {}
        self._pool: dict[tuple[int, str], list[Buffer]] = defaultdict(list)
        self._constants: dict[tuple[Any, ...], Ref] = {}
        self.carry: dict[str, Ref] = {}
        self.counters: list[str] = []
        for name, node in recording.carry.items():
            if node.host:
                self.counters.append(name)
                continue
            layout = Layout.in_order(node.shape)
            buffer = Buffer(layout.size, node.dtype, name, given.get(name))
            self.carry[name] = self._refs[node] = Ref(buffer, layout)
        self._homes = {node: self.carry[name] for node, name in homes(recording, lives).items()}
        self._pieces = self._find_pieces()
        self.units = [placed for unit in units for placed in self._place(unit)]

    def is_variable(self, node: Node) -> bool:
        """Whether a node is a number in a variable of the program."""
        scalar = self.library.scalars and node.shape == () and not node.operation.view
        given = node.op in ("input", "const", "take", "concat", "stack")
        return node.host or (scalar and not given)

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
            return self._new(node.shape, node.dtype, "number")
        if node.value is None or node is self.recording.rows:
            raise Untraceable(f"{node.op} is read where no array is")
        layout = self.library.layout(node.value)
        of = "x" if node.op == "input" else "c"
        return Ref(Buffer(layout.size, node.dtype, of, node.value), layout)

    def constant(self, shape: Shape, value: Any, dtype: Any) -> Ref:
        """An array of one number, which stays."""
        key = (shape, repr(value), str(dtype))
        if key not in self._constants:
            layout = Layout.in_order(shape)
            of = "ones" if shape and value == 1 else "c"
            self._constants[key] = Ref(Buffer(layout.size, dtype, of, fill=value), layout)
        return self._constants[key]

    def _new(self, shape: Shape, dtype: Any, of: str = "a") -> Ref:
        layout = Layout.in_order(shape)
        return Ref(Buffer(layout.size, dtype, of), layout)

    # ---- pieces

    def _find_pieces(self) -> dict[Node, tuple[Node, Layout]]:
        """What can be computed where it will lie in a concatenation, and how it lies in that."""
        found = {}
        for node in self.lives.order:
            if node.op != "concat":
                continue
            for arg, target in zip(node.nodes, self.targets(node), strict=True):
                root = arg.args[0] if arg.op == "reshape" else arg
                alone = self.lives.uses[arg] == 1 and self.lives.uses[root] == 1
                there = root.op in ("const", "input", "ones", "concat") or root in self._homes
                if not alone or there or root.operation.view or self.is_variable(root):
                    continue
                layout = target.reshape(root.shape)
                if layout is not None and root.dtype == node.dtype:
                    found[root] = node, layout
        return found

    def targets(self, node: Node) -> list[Layout]:
        """How the pieces of a concatenation lie in it, as it lies by itself."""
        axis, whole = range(node.ndim)[node.static["axis"]], Layout.in_order(node.shape)
        edges = [0, *itertools.accumulate(arg.shape[axis] for arg in node.nodes)]
        before = (slice(None),) * axis
        return [whole.index((*before, slice(a, b))) for a, b in itertools.pairwise(edges)]

    def is_piece_of(self, arg: Node, whole: Node) -> bool:
        """Whether an operand of a concatenation lies in it already."""
        return arg.root in self._pieces and self._pieces[arg.root][0] is whole

    # ---- one unit after the other

    def _place(self, unit: Unit) -> list[Unit]:
        if isinstance(unit, Chain):
            before = dict(self._refs), dict(self._owned), {k: [*v] for k, v in self._pool.items()}
            if self._place_chain(unit):
                self._release(self.lives.position[unit.nodes[-1]])
                return [unit]
            self._refs, self._owned = before[:2]
            self._pool = defaultdict(list, before[2])
            return [placed for node in unit.nodes for placed in self._place(node)]
        if not self.is_variable(unit):
            for arg in unit.nodes:
                if not self.is_variable(arg) and arg is not self.recording.rows:
                    self.ref(arg)
            self._allocate(unit)
        self._release(self.lives.position[unit])
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
            ref = self._inherit(node)
        self._refs[node] = ref
        return ref

    def _inherit(self, node: Node) -> Ref:
        """The place of an operand that dies here, or one that is free, or a new one."""
        for arg in node.replaceable:
            fits = arg in self._owned and (arg.shape, arg.dtype) == (node.shape, node.dtype)
            if fits and self.lives.dies_in(arg, node):
                self._owned[node] = self._owned.pop(arg)
                return self._owned[node]
        ref = self._new(node.shape, node.dtype)
        free = self._pool[ref.layout.size, str(node.dtype)]
        self._owned[node] = Ref(free.pop(), ref.layout) if free else ref
        return self._owned[node]

    def _release(self, now: int) -> None:
        """Let others have the places of what nothing reads any more."""
        for node in [n for n in self._owned if self.lives.last_use.get(n, -1) <= now]:
            ref = self._owned.pop(node)
            self._pool[ref.layout.size, str(node.dtype)].append(ref.buffer)

    # ---- chains

    def _place_chain(self, chain: Chain) -> bool:
        """Place the arrays of a chain; return whether it can run in blocks."""
        inner = chain.inner(self.lives, self._readers) - self._homes.keys() - self._pieces.keys()
        places: dict[Node, Ref] = {}
        spare: list[Ref] = []
        reads: list[Ref] = []
        writes: list[Ref] = []
        for node in chain.nodes:
            for arg in node.nodes:
                if arg not in places and not self.is_variable(arg):
                    reads.append(self.ref(arg))
            now = self.lives.position[node]
            here = [arg for arg in dict.fromkeys(node.nodes) if arg in places]
            gone = [arg for arg in here if self.lives.last_use[arg] == now]
            if node in inner:
                heirs = [arg for arg in gone if arg.dtype == node.dtype][:1]
                fitting = [ref for ref in spare if ref.dtype == node.dtype]
                if heirs:
                    places[node] = places[heirs[0]]
                    gone.remove(heirs[0])
                elif fitting:
                    places[node] = fitting[0]
                    spare.remove(fitting[0])
                else:
                    rest = () if chain.flat else chain.shape[1:]
                    places[node] = self._new((chain.step, *rest), node.dtype, "t")
            else:
                writes.append(self._allocate(node))
            spare += [places[arg] for arg in gone]
        chain.within.update(places)
        taken = [ref for ref in (*reads, *writes) if chain.in_blocks(ref)]
        if chain.flat and any(ref.layout.reshape((-1,)) is None for ref in taken):
            return False
        # No block may overwrite what a later one reads.
        pairs = itertools.product(writes, (*reads, *writes))
        return not any(a != b and a.overlaps(b) for a, b in pairs)


def within(whole: Ref, layout: Layout) -> Ref:
    """A place in an array that lies in one stretch."""
    return Ref(whole.buffer, replace(layout, offset=layout.offset + whole.layout.offset))
