"""Elementwise operations one after the other that run block by block, each block in cache."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from xpnet.compiler.ir import Node
from xpnet.compiler.layout import Buffer, Layout, Ref
from xpnet.compiler.library import Library
from xpnet.compiler.passes.lifetimes import END, Lifetimes


@dataclass(eq=False)
class Chain:
    """Elementwise operations on arrays of one shape, done block by block.

    Attributes:
        nodes: the operations.
        flat: whether a block is a stretch of memory, and not some of the first axis.
        length: how many elements, or places of the first axis, there are.
        step: how many of those a block has.
        within: the places of what lives inside alone, a block each.
    """

    nodes: list[Node]
    flat: bool = True
    length: int = 0
    step: int = 1
    within: dict[Node, Ref] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that all of its arrays have."""
        return self.nodes[0].shape

    @property
    def block(self) -> tuple[int, ...]:
        """The shape of a block."""
        return (self.step, *(() if self.flat else self.shape[1:]))

    @property
    def blocks(self) -> list[slice]:
        """The blocks, of elements or along the first axis."""
        starts = range(0, self.length, self.step)
        return [slice(start, min(start + self.step, self.length)) for start in starts]

    def in_blocks(self, ref: Ref) -> bool:
        """Whether an array is taken block by block, and not as a whole by each of them."""
        return ref.layout.size > 1 and (self.flat or ref.shape[0] == self.length)

    def inner(self, lives: Lifetimes, readers: dict[Node, list[Node]]) -> set[Node]:
        """What nobody outside reads."""
        made = set(self.nodes)
        return {
            node
            for node in self.nodes
            if lives.last_use.get(node, -1) != END
            and all(reader in made for reader in readers[node])
        }


@dataclass(eq=False)
class Stretch:
    """Operations that are written as one function of loops.

    Attributes:
        nodes: the operations, in their order, each with a place of its own.
    """

    nodes: list[Node]


Unit = Node | Chain | Stretch
"""What is done at once."""


def unchained(lives: Lifetimes) -> list[Unit]:
    """The operations in their order, each by itself."""
    return [node for node in lives.order if not node.operation.view]


def chained(lives: Lifetimes, library: Library, block_bytes: int) -> list[Unit]:
    """The operations in their order, those on more than two blocks of ``block_bytes`` in chains."""
    units: list[Unit] = []
    for node in unchained(lives):
        assert isinstance(node, Node)
        last = units[-1] if units else None
        if not _chainable(node, library, 2 * block_bytes):
            units.append(node)
        elif isinstance(last, Chain) and last.shape == node.shape and _reads_whole(node, last):
            last.nodes.append(node)
        else:
            units.append(Chain([node]))
    for i, unit in enumerate(units):
        if isinstance(unit, Chain):
            units[i] = (
                _in_blocks(unit, library, block_bytes) if len(unit.nodes) > 1 else unit.nodes[0]
            )
    return units


def _reads_whole(node: Node, chain: Chain) -> bool:
    """Whether a node reads what a chain makes as it is, and not through views."""
    return not any(arg.operation.view and arg.root in chain.nodes for arg in node.nodes)


def _chainable(node: Node, library: Library, above: int) -> bool:
    def fits(shape: tuple[int, ...]) -> bool:
        whole = shape == node.shape or math.prod(shape) == 1
        return whole or (len(shape) == len(node.shape) and shape[0] in (1, node.shape[0]))

    def widest(node: Node) -> int:  # a mask is as long as what it is of
        return max(library.itemsize(one.dtype) for one in (node, *node.nodes))

    return (
        node.elementwise
        and not node.host
        and len(node.shape) > 0
        and math.prod(node.shape) * widest(node) > above
        and all(fits(arg.shape) for arg in node.nodes)
    )


def _in_blocks(chain: Chain, library: Library, block_bytes: int) -> Chain:
    made = set(chain.nodes)
    chain.flat = all(
        arg in made or arg.shape == chain.shape or math.prod(arg.shape) == 1
        for node in chain.nodes
        for arg in node.nodes
    )
    row = 1 if chain.flat else math.prod(chain.shape[1:])
    chain.length = math.prod(chain.shape) if chain.flat else chain.shape[0]
    itemsize = max(library.itemsize(node.dtype) for node in chain.nodes)
    chain.step = max(1, block_bytes // itemsize // row)
    return chain


def blocks_within(chain: Chain, inner: set[Node], lives: Lifetimes) -> dict[Node, Ref]:
    """Places of one block each for what lives inside a chain alone, one after another in each."""
    layout = Layout.in_order(chain.block)
    places: dict[Node, Ref] = {}
    spare: list[Ref] = []
    for node in chain.nodes:
        now = lives.position[node]
        here = [arg for arg in dict.fromkeys(node.nodes) if arg in places]
        gone = [arg for arg in here if lives.last_use[arg] == now]
        if node in inner:
            # That of an operand first, which is in the nearest cache.
            free = [places[arg] for arg in gone] + spare
            fitting = [ref for ref in free if ref.dtype == node.dtype]
            new = Ref(Buffer(layout.size, node.dtype, "t"), layout)
            places[node] = fitting[0] if fitting else new
            spare = [ref for ref in free if ref != places[node]]
        else:
            spare += [places[arg] for arg in gone]
    return places
