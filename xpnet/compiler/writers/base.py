"""A recorded step as straight-line code: every buffer laid out once, every call with its output.

What a plain loop over the step pays for besides its mathematics (layers, views, temporaries, Python
numbers turned into arrays) is paid here once, when the program is written. What remains is a list
of calls such as ``multiply(a3, c1, a5)``, which is compiled and run ``n`` times. Besides:

- A value takes over the buffer of an operand that nothing reads any more; moments and parameters
  are updated where they lie, gradients are computed in their place in the vector.
- 0-d arithmetic on the step counter is done on Python's integers and floats.

How a library's calls are written, and what else pays there, is in its own module.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType
from typing import Any

from xpnet.backends.base import Array, Carry, Metrics, never
from xpnet.compiler.host import literal
from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.record import Recording

END = 1 << 60
"""The position of what is read after the step."""


@lru_cache(maxsize=64)
def _code(source: str) -> CodeType:
    """Compiled text: programs of one step, for other threads or blocks, often have the same."""
    return compile(source, "<xpnet step>", "exec")


class Program(ABC):
    """A recorded step for one set of shapes; owns the buffers of all that it computes.

    Args:
        recording: the step.
        given: buffers of the carry, by name, that are somebody else's.
    """

    def __init__(self, recording: Recording, given: dict[str, Array] | None = None) -> None:
        self.recording = recording
        self.given = given or {}
        self.globals: dict[str, Any] = {}
        self.lines: list[str] = []
        self.head: list[str] = []
        self.buffers: dict[Node, Array] = {}
        self.owned: dict[Node, Array] = {}
        self.variables: dict[Node, str] = {}
        self.pool: dict[Any, list[Array]] = defaultdict(list)
        self.constants: dict[tuple[Any, ...], Array] = {}
        self.known: dict[int, str] = {}
        self.carry: dict[str, Array] = {}
        self._plan()
        self._write()

    # ---- what a library answers

    @abstractmethod
    def empty(self, shape: tuple[int, ...], dtype: Any) -> Array:
        """A new array, not filled."""

    @abstractmethod
    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Array:
        """A new array of one value."""

    @abstractmethod
    def is_floating(self, dtype: Any) -> bool:
        """Whether a dtype holds floats."""

    def is_whole(self, dtype: Any) -> bool:
        """Whether a dtype holds integers."""
        return "int" in str(dtype)

    @abstractmethod
    def shares(self, a: Array, b: Array) -> bool:
        """Whether two arrays may lie in the same memory."""

    @abstractmethod
    def copy(self, out: str, source: str) -> str:
        """The call that copies, with a change of dtype if need be."""

    @abstractmethod
    def call(self, node: Node) -> list[str]:
        """The calls that compute ``node``, which is no view and not 0-d, into its buffer."""

    @abstractmethod
    def scalar(self, node: Node) -> None:
        """Write how a 0-d value is computed that follows from arrays."""

    @abstractmethod
    def record_metric(self, name: str, node: Node) -> str:
        """The call that puts a metric into row ``k`` of its history."""

    def form_units(self) -> list[Any]:
        """The operations in order; a library may put several together and `write_unit` them."""
        return [node for node in self.order if not node.operation.view]

    def write_unit(self, unit: Any) -> int:
        """Write a unit; return the position after which its operands may be dead."""
        if unit.host:
            self.write_host(unit)
        elif unit.shape == () and unit.op not in ("take", "concat"):
            self.scalar(unit)
        else:
            self.lines += self.call(unit)
        return self.position[unit]

    # ---- planning

    def _plan(self) -> None:
        nodes = self.recording.nodes
        # What follows from counters alone comes first, so that it does not cut chains in two.
        self.order = [n for n in nodes if n.host] + [n for n in nodes if not n.host]
        self.position = {node: i for i, node in enumerate(self.order)}
        self.last_use: dict[Node, int] = {}
        self.uses: dict[Node, int] = defaultdict(int)
        for node in self.order:
            for arg in node.nodes:
                self.uses[arg] += 1
                root = arg.root
                if not node.operation.view:
                    self.last_use[root] = max(self.last_use.get(root, -1), self.position[node])
        outputs = [*self.recording.results.values(), *self.recording.metrics.values()]
        for node in outputs:
            self.last_use[node.root] = END
            self.uses[node] += 1
        self._place_carry()
        self._place_pieces()
        self.units = self.form_units()

    def _place_carry(self) -> None:
        """Give the carry its buffers, and find the values that may be computed in place there."""
        self.home: dict[Node, Array] = {}
        self.counters: dict[str, str] = {}
        for name, node in self.recording.carry.items():
            if node.host:
                self.variables[node] = self.counters[name] = f"carry{len(self.counters)}"
                continue
            buffer = self.given.get(name)
            if buffer is None:
                buffer = self.empty(node.shape, node.dtype)
            self.carry[name] = self.buffers[node] = buffer
            result = self.recording.results[name]
            made = not (result.operation.view or result.op in ("input", "const"))
            if node not in self.last_use and made:
                self.buffers[result] = buffer  # nobody reads what it was before
                continue
            path = self._path(result, node)
            before = node
            for step in path:
                used_later = self.last_use.get(before, -1) > self.position[step]
                if used_later or self._reads_twice(step, before):
                    break
                before = step
            else:
                self.home.update(dict.fromkeys(path, buffer))

    def _reads_twice(self, node: Node, arg: Node) -> bool:
        """Whether ``node`` reads ``arg`` through a view as well, and so may not overwrite it."""
        return any(other is not arg and other.root is arg for other in node.nodes)

    def _path(self, node: Node, start: Node) -> list[Node]:
        """The elementwise values of one shape by which ``node`` follows from ``start``."""
        if not node.elementwise or node.shape != start.shape or node.dtype != start.dtype:
            return []
        if any(arg is start for arg in node.nodes):
            return [node]
        for arg in node.nodes:
            if path := self._path(arg, start):
                return [*path, node]
        return []

    def _place_pieces(self) -> None:
        """Let the pieces of a concatenation be computed where they will lie."""
        self.pieces: dict[Node, tuple[Node, slice, tuple[int, ...]]] = {}
        for node in self.order:
            if node.op != "concat" or node.static["axis"] not in (-1, node.ndim - 1):
                continue
            start = 0
            for arg in node.nodes:
                span = slice(start, start + arg.shape[-1])
                start = span.stop
                root = arg.args[0] if arg.op == "reshape" else arg
                alone = self.uses[arg] == 1 and self.uses[root] == 1 and not root.operation.view
                placed = root.op in ("const", "input", "concat") or root in self.home
                if alone and not placed and root.dtype == node.dtype:
                    self.pieces[root] = (node, span, root.shape)

    # ---- buffers

    def allocate(self, node: Node) -> Array:
        """Find where ``node`` is computed."""
        if node in self.buffers:  # a concatenation whose pieces came first
            return self.buffers[node]
        if node in self.home:
            buffer = self.home[node]
        elif node in self.pieces:
            whole, span, shape = self.pieces[node]
            if whole not in self.buffers:
                self.buffers[whole] = self.empty(whole.shape, whole.dtype)
            buffer = self.buffers[whole][..., span].reshape(shape)
            if not self.shares(buffer, self.buffers[whole]):
                raise Untraceable("a piece that does not lie in one stretch")
        else:
            buffer = self._inherit(node)
        self.buffers[node] = buffer
        return buffer

    def _inherit(self, node: Node) -> Array:
        """The buffer of an operand that dies here, or a new one."""
        if node.elementwise:
            for arg in node.nodes:
                if (
                    arg in self.owned
                    and arg.shape == node.shape
                    and arg.dtype == node.dtype
                    and self.last_use[arg] == self.position[node]
                    and not self._reads_twice(node, arg)
                ):
                    self.owned[node] = self.owned.pop(arg)
                    return self.buffers[arg]
        spare = self.pool[node.shape, str(node.dtype)]
        buffer = spare.pop() if spare else self.empty(node.shape, node.dtype)
        self.owned[node] = buffer
        return buffer

    def _release(self, now: int) -> None:
        """Return to the pool what nothing reads any more."""
        for node in [n for n in self.owned if self.last_use.get(n, -1) <= now]:
            self.pool[node.shape, str(node.dtype)].append(self.owned.pop(node))

    def array(self, node: Node) -> Array:
        """The array of a node, views included."""
        if node.op == "const":
            return self.constant_of(node)
        if node in self.buffers:
            return self.buffers[node]
        if node.op == "input":
            self.buffers[node] = node.value
            return self.buffers[node]
        if node in self.variables:
            return self._host_array(node)
        if node.operation.view:
            base = self.array(node.args[0])
            if node.op == "mT":
                view = base.mT
            elif node.op == "getitem":
                view = base[node.static["key"]]
            elif node.op == "reshape":
                view = base.reshape(node.static["shape"])
            else:
                view = getattr(self.recording.xp, node.op)(base, *node.static.values())
            if not self.shares(view, base):
                raise Untraceable("a reshape that copies")
            self.buffers[node] = view
            return view
        raise Untraceable(f"{node.op} was used before it was made")

    # ---- writing

    def name(self, value: Any) -> str:
        """A name for an array or a function in the program."""
        if value is float:
            return "float"
        key = id(value)
        if key not in self.known:
            self.known[key] = f"v{len(self.known)}"
            self.globals[self.known[key]] = value
        return self.known[key]

    def constant_of(self, node: Node) -> Array:
        """The array of a constant."""
        return node.value

    def number(self, value: Any, dtype: Any) -> Array:
        """A Python number as a 0-d array, which libraries take much faster."""
        key = (repr(value), str(dtype))
        if key not in self.constants:
            self.constants[key] = self.full((), value, dtype)
        return self.constants[key]

    def ones(self, shape: tuple[int, ...], dtype: Any) -> str:
        """The name of an array of ones: a product with it is a sum."""
        key = ("ones", shape, str(dtype))
        if key not in self.constants:
            self.constants[key] = self.full(shape, 1, dtype)
        return self.name(self.constants[key])

    def operand(self, arg: Any, dtype: Any) -> Array | str:
        """What a call is given for an operand: an array, or the name of a variable."""
        is_number = not isinstance(arg, Node) or arg.host
        whole = type(arg) is int and self.is_whole(dtype)
        if is_number and not isinstance(arg, bool) and not whole and not self.is_floating(dtype):
            raise Untraceable(f"a number among operands of {dtype}")
        if not isinstance(arg, Node):
            return self.number(arg, dtype)
        if arg.host:
            return self._host_array(arg)
        if arg in self.variables:
            return self.variables[arg]
        return self.array(arg)

    def operand_dtype(self, node: Node) -> Any:
        """The dtype in which Python numbers join the operands of ``node``."""
        if node.op == "where":
            return node.dtype
        arrays = [arg for arg in node.nodes if not arg.host]
        return arrays[0].dtype if arrays else node.dtype

    def text(self, operand: Array | str) -> str:
        """An operand as it stands in a call."""
        return operand if isinstance(operand, str) else self.name(operand)

    def _host_array(self, node: Node) -> Array:
        """The 0-d array into which a number is put for the calls, and for views of it.

        Of its own dtype, which on NumPy decides in which one its operation is done.
        """
        key = (node, "host")
        if key not in self.constants:
            self.constants[key] = self.full((), 0, node.dtype)
            lines = self.lines if node in self.position else self.head
            lines.append(self.put(self.name(self.constants[key]), self.variables[node]))
        return self.constants[key]

    def put(self, array: str, value: str) -> str:
        """The statement that puts a Python number into a 0-d array."""
        return f"{array}[()] = {value}"

    # ---- writing

    def _write(self) -> None:
        for unit in self.units:
            self._release(self.write_unit(unit))
        self._write_ends()
        self._compile()

    def write_host(self, node: Node) -> None:
        """Write arithmetic on counters, as Python does it."""
        args = [self.scalar_text(arg) for arg in node.args]
        if any(isinstance(arg, float) and abs(arg) >= 1 << 53 for arg in node.args) and any(
            self.is_whole(arg.dtype) for arg in node.nodes
        ):
            raise Untraceable("a number beyond those that floats tell apart, among integers")
        operation = node.operation
        whole = operation.whole and all(
            self.is_whole(arg.dtype) if isinstance(arg, Node) else type(arg) is int
            for arg in node.args
        )
        if not whole and not self.is_floating(node.dtype) and not operation.compares:
            raise Untraceable(f"{node.op} to {node.dtype}, which Python's numbers do not know")
        if operation.infix or node.op == "negative":
            text = self.infix(node, args)
        else:
            text = f"{self.name(operation.host)}({', '.join(args)})"
        self.set_variable(node, text)

    def set_variable(self, node: Node, text: str) -> None:
        """Write ``variable = text`` and remember the variable."""
        self.variables[node] = f"x{len(self.variables)}"
        self.lines.append(f"{self.variables[node]} = {text}")

    def scalar_text(self, arg: Any) -> str:
        """A 0-d operand as it stands in an expression."""
        if not isinstance(arg, Node):
            return f"({literal(arg)})"
        if arg in self.variables:
            return self.variables[arg]
        if arg.op == "const":
            return self.name(arg.value[()])
        return self.name(self.array(arg))

    def infix(self, node: Node, args: list[str]) -> str:
        """An operator between its operands."""
        if node.op == "negative":
            return f"-{args[0]}"
        if not node.operation.infix:
            raise Untraceable(f"{node.op} of 0-d values")
        return f"{args[0]} {node.operation.infix} {args[1]}"

    def concatenate(self, node: Node) -> list[str]:
        """The copies that a concatenation needs: of those pieces that do not lie there already."""
        axis = range(node.ndim)[node.static["axis"]]
        out, start, lines = self.allocate(node), 0, []
        for arg in node.nodes:
            stop = start + arg.shape[axis]
            if self.pieces.get(arg.root, (None,))[0] is not node:
                target = out[(slice(None),) * axis + (slice(start, stop),)]
                lines.append(self.copy(self.name(target), self.name(self.array(arg))))
            start = stop
        return lines

    # ---- the end of a step, and the whole

    def _write_ends(self) -> None:
        for name, node in self.recording.metrics.items():
            self.lines.append(self.record_metric(name, node))
        copies, counters = [], []
        for name, node in self.recording.results.items():
            before = self.recording.carry[name]
            if before.host:
                text = self.scalar_text(node)
                if not node.host and node not in self.variables:
                    text += ".item()"  # no buffer, which the next step would overwrite
                counters.append((self.counters[name], text))
                continue
            array = self.array(node)
            if array is self.carry[name]:
                continue
            if any(self.shares(array, other) for other in self.carry.values()):
                raise Untraceable("carries that change places")
            copies.append(self.copy(self.name(self.carry[name]), self.name(array)))
        self.lines += copies
        if counters:
            left, right = zip(*counters, strict=True)
            self.lines.append(f"{', '.join(left)} = {', '.join(right)}")

    def _compile(self) -> None:
        counters = self.counters.values()
        histories = [f"history_{name}" for name in self.recording.metrics]
        rows = ["rows = batch_rows[k]"] if self.recording.rows is not None else []
        lines = [
            f"def run(n, batch_rows, interrupted, {', '.join([*counters, *histories])}):",
            "    for k in range(n):",
            *(f"        {line}" for line in [*rows, *self.head, *self.lines]),
            "        if interrupted():",
            "            break",
            f"    return k + 1, ({''.join(f'{name}, ' for name in counters)})",
        ]
        self.source = "\n".join(lines)
        exec(_code(self.source), self.globals)
        self._run = self.globals.pop("run")  # or it would keep its own globals, and the buffers

    threads = 1
    """Over how many threads a step is split."""

    @property
    def calls(self) -> int:
        """How many calls a step is."""
        return sum("(" in line for line in (*self.head, *self.lines))

    @property
    def nbytes(self) -> int:
        """How much memory it holds, at most: views of an array count as arrays of their own."""
        sizes = [getattr(value, "nbytes", 0) for value in self.globals.values()]
        return sum(size for size in sizes if isinstance(size, int))

    def run(
        self, carry: Carry, n: int, batch_rows: Array | None, interrupted: Callable[[], bool]
    ) -> tuple[Carry, Metrics]:
        """Run ``n`` steps from ``carry``; what is returned lies in this program's own buffers."""
        for name, buffer in self.carry.items():
            if carry[name] is not buffer:
                buffer[...] = carry[name]
        metrics = {
            name: self.empty((n, *node.shape), node.dtype)
            for name, node in self.recording.metrics.items()
        }
        done, counters = self._run(
            n,
            batch_rows,
            interrupted,
            *self.numbers(carry),
            *(self.rows(history) for history in metrics.values()),
        )
        after = dict(self.carry)
        for name, value in zip(self.counters, counters, strict=True):
            after[name] = self.full((), value, self.recording.carry[name].dtype)
        return (
            {name: after[name] for name in carry},
            {name: history[:done] for name, history in metrics.items()},
        )

    def numbers(self, carry: Carry) -> list[float]:
        """The counters of a carry as Python's numbers, whole ones as integers."""
        return [carry[name].item() for name in self.counters]

    def advance(self, counters: Iterable[float]) -> list[float]:
        """Do one step of a recording without rows and metrics, where the carry lies; the counters
        are taken and returned.
        """
        return list(self._run(1, None, never, *counters)[1])

    def rows(self, history: Array) -> Any:
        """What the program writes row ``k`` of a history into."""
        return history
