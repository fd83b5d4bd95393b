"""A recorded step as straight-line NumPy.

- Chains of elementwise operations on large arrays run block by block, each block in cache.
- Sums are products with ones, which BLAS does several times faster than ``sum``; long ones are sums
  of such sums, since a product adds its terms one after the other and loses digits to each.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.compiler.host import literal
from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.record import Recording
from xpnet.compiler.writers.base import END, Program

BLOCK_BYTES = 1 << 17
"""How much of each array a block of a chain holds: a dozen of them fit in a core's cache."""


ADDED = 256
"""Up to how many terms one product with ones adds up: an error of up to as many ulps of the result.

Sums of so many at a time, and again of those, take 3 % longer than one product of 4096 × 512, and
a step is as exact as with NumPy's own sum, which adds up in pairs, but for a last digit.
"""


@dataclass(eq=False)
class _Chain:
    """Elementwise nodes of one shape that run block by block."""

    nodes: list[Node] = field(default_factory=list)


def _each(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Each array once."""
    return list({id(array): array for array in arrays}.values())


def _nbytes(node: Node) -> int:
    return math.prod(node.shape) * int(np.dtype(node.dtype).itemsize)


_REDUCING = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "any": np.logical_or,
    "all": np.logical_and,
}
"""The reductions by the functions that they repeat."""


def _ufunc_of(node: Node) -> Any:
    return np.rint if node.op == "round" else getattr(np, node.op)


def _is_plain(dtype: Any) -> bool:
    """Whether BLAS computes in a dtype."""
    return dtype in (np.float32, np.float64)


class NumPyProgram(Program):
    """A recorded step, written in NumPy.

    Args:
        recording, given: as for every `Program`.
        block_bytes: see `BLOCK_BYTES`.

    Attributes:
        around: makes what is entered while steps run.
    """

    def __init__(
        self,
        recording: Recording,
        given: dict[str, np.ndarray] | None = None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self.block_bytes = block_bytes
        self.around: Callable[[], AbstractContextManager[Any]] = nullcontext
        super().__init__(recording, given)

    def largest_product(self) -> int:
        """How many multiplications the largest matrix product takes, of one member."""
        sizes = (
            math.prod(node.shape[-2:]) * node.args[0].shape[-1]
            for node in self.order
            if node.op == "matmul"
        )
        return max(sizes, default=0)

    def run(self, *args: Any) -> Any:
        with self.around():
            return super().run(*args)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return np.empty(shape, dtype)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> np.ndarray:
        return np.full(shape, value, dtype)

    def is_floating(self, dtype: Any) -> bool:
        return np.issubdtype(dtype, np.floating)

    def shares(self, a: np.ndarray, b: np.ndarray) -> bool:
        return np.shares_memory(a, b)

    def constant_of(self, node: Node) -> np.ndarray:
        return np.asarray(node.value)

    def copy(self, out: str, source: str) -> str:
        return f"{self.name(np.copyto)}({out}, {source}, 'unsafe')"

    def record_metric(self, name: str, node: Node) -> str:
        text = self.scalar_text(node) if node.shape == () else self.name(self.array(node))
        return f"history_{name}[k] = {text}"

    # ---- units

    def form_units(self) -> list[Any]:
        self.two_values: dict[Node, tuple[Node, float, float]] = {}
        inner: set[Node] = set()
        for node in self.order:
            found = self._two_values(node)
            if found is not None:
                mask, low, high, within = found
                self.two_values[node] = mask, low, high
                inner |= within
                last = max(self.last_use[mask.root], self.position[node])
                self.last_use[mask.root] = last  # read here now
        units: list[Node | _Chain] = []
        for node in self.order:
            if node.operation.view or node in inner:
                continue
            chain = units[-1] if units else None
            fits = self._chainable(node)
            if fits and isinstance(chain, _Chain) and chain.nodes[0].shape == node.shape:
                made = set(chain.nodes)
                if not any(arg.operation.view and arg.root in made for arg in node.nodes):
                    chain.nodes.append(node)
                    continue
            units.append(_Chain([node]) if fits else node)
        return [u.nodes[0] if isinstance(u, _Chain) and len(u.nodes) == 1 else u for u in units]

    def _chainable(self, node: Node) -> bool:
        def fits(shape: tuple[int, ...]) -> bool:
            whole = shape == node.shape or math.prod(shape) == 1
            return whole or (len(shape) == len(node.shape) and shape[0] in (1, node.shape[0]))

        return (
            node.elementwise
            and not node.host
            and len(node.shape) > 0
            and _nbytes(node) > 2 * self.block_bytes
            and all(fits(arg.shape) for arg in node.nodes)
        )

    def _two_values(self, node: Node) -> tuple[Node, float, float, set[Node]] | None:
        """Of ``mask · a + b`` on a small array: the mask, ``b`` and ``a + b``.

        To fill an array and put the other value where the mask says so takes half the time.
        """
        product = self._number_and(node, "add")
        if product is None or _nbytes(node) > 2 * self.block_bytes:
            return None
        cast = self._number_and(product[0], "multiply")
        if cast is None or cast[0].op != "astype" or not isinstance(cast[0].args[0], Node):
            return None
        kind = np.dtype(node.dtype).type
        high, low = (kind(truth) * kind(cast[1]) + kind(product[1]) for truth in (1, 0))
        if not np.isfinite(kind(cast[1])):  # 0 times it is none of the two values
            return None
        within = {product[0], cast[0]}
        mask = cast[0].args[0]
        alone = all(self.uses[n] == 1 and n not in self.pieces for n in within)
        if not alone or mask.dtype != np.bool_ or mask.shape != node.shape:
            return None
        return mask, float(low), float(high), within

    def _number_and(self, node: Node, op: str) -> tuple[Node, float] | None:
        """The other operand and the number of an operation with a Python number."""
        if node.op == op and node.shape:
            for number, other in (node.args, node.args[::-1]):
                if not isinstance(number, Node) and isinstance(other, Node) and not other.host:
                    return other, number
        return None

    def write_unit(self, unit: Any) -> int:
        if not isinstance(unit, _Chain):
            return super().write_unit(unit)
        try:
            self._write_chain(unit)
        except Untraceable:  # not in blocks, then, but one operation after the other
            for node in unit.nodes:
                self.lines += self.call(node)
        return self.position[unit.nodes[-1]]

    # ---- calls

    def scalar(self, node: Node) -> None:
        """A 0-d value that follows from arrays: a NumPy scalar in a variable."""
        if node.op in ("sum", "count_nonzero"):
            array = self.array(node.args[0])
            if node.op == "count_nonzero":
                text = f"{self.name(np.count_nonzero)}({self.name(array)})"
            elif array.flags.c_contiguous and array.size <= ADDED and _is_plain(array.dtype):
                flat = array.reshape(-1)
                ones = self.ones(flat.shape, flat.dtype)
                text = f"{self.name(np.dot)}({self.name(flat)}, {ones})"
            else:  # of one row NumPy adds in pairs, of many row by row
                text = f"{self.name(np.sum)}({self.name(np.ravel)}({self.name(array)}))"
        elif node.elementwise:
            args = [self._strong(arg, node) for arg in node.args]
            text = self._expression(node, args)
            if any(arg.host for arg in node.nodes):  # a Python float, which is float64 in itself
                text = f"{self.name(np.dtype(node.dtype).type)}({text})"
        elif node.operation.reduces:
            text = f"{self.name(getattr(np, node.op))}({self.name(self.array(node.args[0]))})"
        else:
            raise Untraceable(f"{node.op} to 0-d")
        self.set_variable(node, text)

    def _strong(self, arg: Any, node: Node) -> str:
        """A 0-d operand; a number of another dtype than the rest as NumPy's, whose dtype counts."""
        text = self.scalar_text(arg)
        if isinstance(arg, Node) and arg.host and any(n.dtype != arg.dtype for n in node.nodes):
            return f"{self.name(np.dtype(arg.dtype).type)}({text})"
        return text

    def _expression(self, node: Node, args: list[str]) -> str:
        if node.op == "astype":
            counted = isinstance(node.args[0], Node) and node.args[0].op == "count_nonzero"
            kind = float if counted else np.dtype(node.dtype).type
            return f"{self.name(kind)}({args[0]})"
        if node.op == "divide":
            return f"{args[0]} / {args[1]}"
        if node.op == "where":
            return f"{self.name(np.where)}({', '.join(args)})[()]"
        if not node.operation.infix and node.op != "negative":
            return f"{self.name(_ufunc_of(node))}({', '.join(args)})"
        return self.infix(node, args)

    def call(self, node: Node) -> list[str]:
        """The call that computes ``node`` into its buffer."""
        if node in self.two_values:
            mask, low, high = self.two_values[node]
            out = self.name(self.allocate(node))
            other = self.name(self.number(high, node.dtype))
            putmask = self.name(np.putmask)
            return [
                f"{out}.fill({literal(low)})",
                f"{putmask}({out}, {self.name(self.array(mask))}, {other})",
            ]
        if node.elementwise:
            dtype = self.operand_dtype(node)
            args = [self._single(self.operand(arg, dtype)) for arg in node.args]
            out = self.name(self.allocate(node))
            return [self._ufunc(node, args, out)]
        if node.op == "matmul":
            a, b = (self.array(arg) for arg in node.args)
            out_array = self.allocate(node)
            dot = out_array.flags.c_contiguous and a.ndim == b.ndim == 2
            call = self.name(np.dot if dot else np.matmul)
            return [f"{call}({self.name(a)}, {self.name(b)}, {self.name(out_array)})"]
        if node.op == "concat":
            return self.concatenate(node)
        if node.op == "stack":
            arrays = ", ".join(self.name(self.array(arg)) for arg in node.nodes)
            out = self.name(self.allocate(node))
            return [f"{self.name(np.stack)}(({arrays},), {node.static['axis']}, {out})"]
        if node.op == "flip":
            flipped = np.flip(self.array(node.args[0]), node.static["axis"])
            return [self.copy(self.name(self.allocate(node)), self.name(flipped))]
        if node.op == "roll":
            source, where = self.name(self.array(node.args[0])), tuple(node.static.values())
            rolled = f"{self.name(np.roll)}({source}, {where[0]!r}, {where[1]!r})"
            return [self.copy(self.name(self.allocate(node)), rolled)]
        if node.op == "cumulative_sum":
            source, out = self.name(self.array(node.args[0])), self.name(self.allocate(node))
            return [f"{self.name(np.add.accumulate)}({source}, {node.static['axis']}, None, {out})"]
        if node.op == "take":
            a, rows = self.array(node.args[0]), node.args[1]
            if rows is not self.recording.rows:
                raise Untraceable("take with other rows")
            axis = a.ndim + node.static["axis"]
            out = self.name(self.allocate(node))
            # 'clip' lets NumPy write straight into the buffer; fit made the rows, all in range.
            return [f"{self.name(np.take)}({self.name(a)}, rows, {axis}, {out}, 'clip')"]
        return self._call_reduction(node)

    def _single(self, operand: Any) -> str:
        """An operand of a call; a single element without its axes, which take time to broadcast."""
        if isinstance(operand, np.ndarray) and operand.size == 1:
            operand = operand.reshape(())
        return self.text(operand)

    def _product(self, a: np.ndarray, out: np.ndarray) -> str:
        return self.name(np.dot if a.ndim == 2 and out.flags.c_contiguous else np.matmul)

    def _ufunc(self, node: Node, args: list[str], out: str) -> str:
        if node.op == "astype":
            return self.copy(out, args[0])
        if (
            node.op == "where"
        ):  # in a place of its own first: an operand may lie in that of the result
            return self.copy(out, f"{self.name(np.where)}({', '.join(args)})")
        # These two take a third operand without its name only under protest.
        keyword = "out=" if node.op in ("maximum", "minimum") else ""
        return f"{self.name(_ufunc_of(node))}({', '.join(args)}, {keyword}{out})"

    def _call_reduction(self, node: Node) -> list[str]:
        a = self.array(node.args[0])
        axis, keepdims = node.static["axis"], node.static.get("keepdims", False)
        out_array = self.allocate(node)
        out, source = self.name(out_array), self.name(a)
        if node.op == "sum" and _is_plain(a.dtype) and axis in (-1, -2):
            wide = out_array if keepdims else np.expand_dims(out_array, axis)
            return self._sum(a, wide, axis)
        reduced = axis if isinstance(axis, tuple) else (axis,)
        last = reduced == tuple(range(-len(reduced), 0)) and a.flags.c_contiguous
        if node.op == "sum" and _is_plain(a.dtype) and last:
            size = math.prod(a.shape[-len(reduced) :])
            flat, row = a.reshape(-1, size), out_array.reshape(-1)
            if np.shares_memory(row, out_array) and size <= ADDED:
                ones = self.ones((size,), a.dtype)
                return [f"{self.name(np.dot)}({self.name(flat)}, {ones}, {self.name(row)})"]
            if np.shares_memory(row, out_array):
                reduce = self.name(np.add.reduce)
                return [f"{reduce}({self.name(flat)}, 1, None, {self.name(row)})"]
        if node.op in _REDUCING and axis is not None:
            reduce, kind = self.name(_REDUCING[node.op].reduce), self.name(out_array.dtype)
            return [f"{reduce}({source}, {axis}, {kind}, {out}, {keepdims})"]
        if node.op == "count_nonzero" and a.dtype == bool:
            reduce, kind = self.name(np.add.reduce), self.name(out_array.dtype)
            return [f"{reduce}({source}, {axis}, {kind}, {out}, {keepdims})"]
        if node.op in ("argmax", "argmin"):
            find = self.name(getattr(np, node.op))
            return [f"{find}({source}, {axis}, {out}, keepdims={keepdims})"]
        raise Untraceable(f"{node.op} of {a.dtype} over axis {axis}")

    def _sum(self, a: np.ndarray, out: np.ndarray, axis: int) -> list[str]:
        """The sum of floats over one of the last two axes, which ``out`` keeps."""
        length = a.shape[axis]
        if length <= ADDED:
            ones = self.ones((1, length) if axis == -2 else (length, 1), a.dtype)
            factors = [ones, self.name(a)] if axis == -2 else [self.name(a), ones]
            return [f"{self._product(a, out)}({', '.join(factors)}, {self.name(out)})"]
        if a.ndim == 1 or a.strides[axis] == a.itemsize or a.size == length:
            # What lies in one row NumPy adds in pairs.
            reduce = self.name(np.add.reduce)
            return [f"{reduce}({self.name(a)}, {axis}, None, {self.name(out)}, True)"]
        if axis == -1:
            return self._sum(a.mT, out.mT, -2)
        *lead, _, columns = a.shape
        parts, rest = divmod(length, ADDED)
        sums = np.empty((*lead, parts + (rest > 0), columns), a.dtype)
        full = a[..., : parts * ADDED, :].reshape(*lead, parts, ADDED, columns)
        pieces = [(full, sums[..., :parts, None, :])]
        if rest:
            pieces.append((a[..., parts * ADDED :, :], sums[..., parts:, :]))
        lines = [line for piece, target in pieces for line in self._sum(piece, target, -2)]
        return lines + self._sum(sums, out, -2)

    # ---- chains

    def _write_chain(self, chain: _Chain) -> None:
        """Write a loop over blocks; what lives inside the chain alone gets a block-sized buffer."""
        made = set(chain.nodes)
        shape = chain.nodes[0].shape
        readers: dict[Node, list[Node]] = defaultdict(list)
        for node in self.order:
            for arg in node.nodes:
                readers[arg].append(node)
        inner = {
            node
            for node in chain.nodes
            if node not in self.home
            and node not in self.pieces
            and self.last_use.get(node, -1) != END
            and all(reader in made for reader in readers[node])
        }
        flat = all(
            arg in made or arg.shape == shape or math.prod(arg.shape) == 1
            for node in chain.nodes
            for arg in node.nodes
        )
        row = 1 if flat else math.prod(shape[1:])
        length = math.prod(shape) if flat else shape[0]
        itemsize = max(np.dtype(node.dtype).itemsize for node in chain.nodes)
        step = max(1, self.block_bytes // itemsize // row)
        columns: dict[str, list[np.ndarray]] = {}
        spare: list[np.ndarray] = []
        temps: dict[Node, np.ndarray] = {}
        calls: list[str] = []
        reads: list[np.ndarray] = []
        writes: list[np.ndarray] = []
        blocks = [slice(start, min(start + step, length)) for start in range(0, length, step)]

        def column(array: np.ndarray) -> str:
            """The loop variable that runs over the blocks of a whole array."""
            reads.append(array)
            if array.size > 1 and (flat or array.shape[0] == length):
                name = f"b{self.name(array)}"
                if name not in columns:
                    source = array.reshape(-1) if flat else array
                    if not np.shares_memory(source, array):
                        raise Untraceable("a chain over strided arrays")
                    columns[name] = [source[block] for block in blocks]
                return name
            # A single element may have axes, which a flat block has not.
            return self.name(array.reshape(()) if flat and array.size == 1 else array)

        def temporary(array: np.ndarray) -> str:
            name = f"t{self.name(array)}"
            columns[name] = [array[: block.stop - block.start] for block in blocks]
            return name

        for node in chain.nodes:
            dtype = self.operand_dtype(node)
            args = []
            for arg in node.args:
                if arg in temps:
                    args.append(temporary(temps[arg]))
                    continue
                operand = self.operand(arg, dtype)
                if isinstance(operand, str):
                    args.append(operand)
                elif operand.size == 1 and node.op in ("maximum", "minimum") and flat:
                    # With one operand of stride 0 these two lose their vector instructions.
                    wide = np.full((step,), operand.reshape(-1)[0], operand.dtype)
                    args.append(temporary(wide) if not isinstance(arg, Node) else column(operand))
                else:
                    args.append(column(operand))
            now = self.position[node]
            if node in inner:
                dying = [
                    arg
                    for arg in node.nodes
                    if arg in temps and self.last_use[arg] == now and arg.dtype == node.dtype
                ]
                fitting = [b for b in spare if b.dtype == node.dtype]
                if dying:
                    temps[node] = temps[dying[0]]
                elif fitting:
                    temps[node] = fitting[0]
                    spare = [b for b in spare if b is not fitting[0]]
                else:
                    block_shape = (step,) if flat else (step, *shape[1:])
                    temps[node] = np.empty(block_shape, node.dtype)
                out = temporary(temps[node])
            else:
                dying = []
                writes.append(self.allocate(node))
                out = column(writes[-1])
            for arg in node.nodes:
                gone = arg in temps and self.last_use[arg] == now and arg not in dying[:1]
                if gone and not any(temps[arg] is b for b in spare):
                    spare.append(temps[arg])
            calls.append(self._ufunc(node, args, out))
        for written, read in itertools.product(_each(writes), _each(reads)):
            if read is written or not np.may_share_memory(read, written):
                continue
            if read.__array_interface__ != written.__array_interface__:
                raise Untraceable("a chain that reads what an earlier block has overwritten")
        names = list(columns)
        rows = list(zip(*(columns[name] for name in names), strict=True))
        self.lines.append(f"for {', '.join(names)}, in {self.name(rows)}:")
        self.lines += [f"    {call}" for call in calls]
