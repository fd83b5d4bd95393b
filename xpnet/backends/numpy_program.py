"""A recorded step as straight-line NumPy: every buffer laid out once, every call with its output.

What a plain loop over the step pays for besides its mathematics (layers, views, temporaries, Python
numbers turned into arrays) is paid here once, when the program is written. What remains is a list
of calls such as ``multiply(a3, c1, a5)``, which is compiled and run ``n`` times. Besides:

- A value takes over the buffer of an operand that nothing reads any more; moments and parameters
  are updated where they lie, gradients are computed in their place in the vector.
- 0-d arithmetic on the step counter is done on Python floats.
- Chains of elementwise operations on large arrays run block by block, each block in cache.
- Sums are products with ones, which BLAS does several times faster than ``sum``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.backends.tape import ELEMENTWISE, FUNCTIONS, VIEWS, Node, Recording, Untraceable

BLOCK_BYTES = 1 << 17
"""How much of each array a block of a chain holds: a dozen of them fit in a core's cache."""

_INFIX = {
    "add": "+",
    "subtract": "-",
    "multiply": "*",
    "greater": ">",
    "greater_equal": ">=",
    "less": "<",
    "less_equal": "<=",
    "equal": "==",
    "not_equal": "!=",
}
_END = 1 << 60


def _guarded(function: Callable[[float], float]) -> Callable[[float], float]:
    """A function of ``math`` that answers like NumPy's where it would raise."""

    def guarded(x: float) -> float:
        try:
            return function(x)
        except OverflowError:
            return math.inf
        except ValueError:
            return -math.inf if function is math.log and x == 0 else math.nan

    return guarded


def _divide(a: float, b: float) -> float:
    return a / b if b else float(np.float64(a) / np.float64(b))


_HOST = {
    **{name: _guarded(getattr(math, name)) for name in ("exp", "expm1", "log", "log1p", "sqrt")},
    "tanh": math.tanh,
    "abs": abs,
    "maximum": max,
    "minimum": min,
    "divide": _divide,
}


@dataclass(eq=False)
class _Chain:
    """Elementwise nodes of one shape that run block by block."""

    nodes: list[Node] = field(default_factory=list)


def _elementwise(node: Node) -> bool:
    return node.op in ELEMENTWISE or node.op in FUNCTIONS or node.op == "astype"


def _nbytes(node: Node) -> int:
    return int(np.prod(node.shape)) * np.dtype(node.dtype).itemsize


def _root(node: Node) -> Node:
    while node.op in VIEWS:
        node = node.args[0]
    return node


class Program:
    """A recorded step for one set of shapes; owns the buffers of the carry and of all it computes.

    Args:
        recording: the step.
        block_bytes: see `BLOCK_BYTES`.
    """

    def __init__(self, recording: Recording, block_bytes: int = BLOCK_BYTES) -> None:
        self.recording = recording
        self.block_bytes = block_bytes
        self.names: dict[str, Any] = {"copyto": np.copyto, "dot": np.dot, "matmul": np.matmul}
        self.lines: list[str] = []
        self.buffers: dict[Node, np.ndarray] = {}
        self.variables: dict[Node, str] = {}
        self.pool: dict[int, list[np.ndarray]] = defaultdict(list)
        self.constants: dict[tuple[Any, ...], str] = {}
        self.known: dict[int, str] = {}
        self.carry: dict[str, np.ndarray] = {}
        self._plan()
        self._write()

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
                root = _root(arg)
                if node.op not in VIEWS:
                    self.last_use[root] = max(self.last_use.get(root, -1), self.position[node])
        outputs = [*self.recording.results.values(), *self.recording.metrics.values()]
        for node in outputs:
            self.last_use[_root(node)] = _END
            self.uses[node] += 1
        self._place_carry()
        self._place_pieces()
        self._form_chains()

    def _place_carry(self) -> None:
        """Give the carry its buffers, and find the values that may be computed in place there."""
        self.home: dict[Node, np.ndarray] = {}
        for name, node in self.recording.carry.items():
            if node.host:
                self.variables[node] = f"carry_{name}"
                continue
            buffer = np.empty(node.shape, node.dtype)
            self.carry[name] = self.buffers[node] = buffer
            result = self.recording.results[name]
            path = self._path(result, node)
            before = node
            for step in path:
                if self.last_use.get(before, -1) > self.position[step]:
                    break
                before = step
            else:
                self.home.update(dict.fromkeys(path, buffer))

    def _path(self, node: Node, start: Node) -> list[Node]:
        """The elementwise values of one shape by which ``node`` follows from ``start``."""
        if not _elementwise(node) or node.shape != start.shape or node.dtype != start.dtype:
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
            if node.op != "concat" or node.static["axis"] != -1:
                continue
            start = 0
            for arg in node.nodes:
                span = slice(start, start + arg.shape[-1])
                start = span.stop
                root = arg.args[0] if arg.op == "reshape" else arg
                alone = self.uses[arg] == 1 and self.uses[root] == 1 and root.op not in VIEWS
                if alone and root.op not in ("const", "input") and root not in self.home:
                    self.pieces[root] = (node, span, root.shape)

    def _form_chains(self) -> None:
        self.units: list[Node | _Chain] = []
        for node in self.order:
            if node.op in VIEWS:
                continue
            chain = self.units[-1] if self.units else None
            fits = self._chainable(node)
            if fits and isinstance(chain, _Chain) and chain.nodes[0].shape == node.shape:
                made = set(chain.nodes)
                if not any(arg.op in VIEWS and _root(arg) in made for arg in node.nodes):
                    chain.nodes.append(node)
                    continue
            self.units.append(_Chain([node]) if fits else node)

    def _chainable(self, node: Node) -> bool:
        def fits(shape: tuple[int, ...]) -> bool:
            whole = shape == node.shape or math.prod(shape) == 1
            return whole or (len(shape) == len(node.shape) and shape[0] in (1, node.shape[0]))

        return (
            _elementwise(node)
            and not node.host
            and len(node.shape) > 0
            and _nbytes(node) > 2 * self.block_bytes
            and all(fits(arg.shape) for arg in node.nodes)
        )

    # ---- buffers

    def _take_buffer(self, node: Node) -> np.ndarray:
        size = _nbytes(node)
        raw = self.pool[size].pop() if self.pool[size] else np.empty(size, np.uint8)
        return raw.view(node.dtype).reshape(node.shape)

    def _allocate(self, node: Node) -> np.ndarray:
        """Find where ``node`` is computed."""
        if node in self.buffers:  # a concatenation whose pieces came first
            return self.buffers[node]
        if node in self.home:
            buffer = self.home[node]
        elif node in self.pieces:
            whole, span, shape = self.pieces[node]
            if whole not in self.buffers:
                self.buffers[whole] = np.empty(whole.shape, whole.dtype)
            buffer = self.buffers[whole][..., span].reshape(shape)
        else:
            buffer = self._inherit(node)
        self.buffers[node] = buffer
        return buffer

    def _inherit(self, node: Node) -> np.ndarray:
        """The buffer of an operand that dies here, or a new one."""
        if _elementwise(node):
            for arg in node.nodes:
                if (
                    arg in self.owned
                    and arg.shape == node.shape
                    and arg.dtype == node.dtype
                    and self.last_use[arg] == self.position[node]
                ):
                    self.owned[node] = self.owned.pop(arg)
                    return self.buffers[arg]
        buffer = self._take_buffer(node)
        self.owned[node] = buffer
        return buffer

    def _release(self, now: int) -> None:
        """Return to the pool what nothing reads any more."""
        for node in [n for n in self.owned if self.last_use.get(n, -1) <= now]:
            buffer = self.owned.pop(node)
            self.pool[buffer.nbytes].append(buffer.reshape(-1).view(np.uint8))

    def _array(self, node: Node) -> np.ndarray:
        """The array of a node, views included."""
        if node.op == "const":
            return np.asarray(node.value)
        if node in self.buffers:
            return self.buffers[node]
        if node.op == "input":
            self.buffers[node] = node.value
            return self.buffers[node]
        if node.op in VIEWS:
            base = self._array(node.args[0])
            if node.op == "mT":
                view = base.mT
            elif node.op == "getitem":
                view = base[node.static["key"]]
            else:
                view = base.reshape(node.static["shape"])
            if not np.shares_memory(view, base):
                raise Untraceable("a reshape that copies")
            self.buffers[node] = view
            return view
        raise Untraceable(f"{node.op} was used before it was made")

    # ---- writing

    def _name(self, value: Any) -> str:
        """A name for an array or a function in the program."""
        key = id(value)
        if key not in self.known:
            self.known[key] = f"v{len(self.known)}"
            self.names[self.known[key]] = value
        return self.known[key]

    def _constant(self, value: Any, dtype: Any) -> str:
        """A Python number as a 0-d array, which a ufunc takes twice as fast."""
        return self._name(self._constant_array(value, dtype))

    def _constant_array(self, value: Any, dtype: Any) -> np.ndarray:
        key = (repr(value), str(dtype))
        if key not in self.constants:
            array = np.array(value, dtype)
            self.constants[key] = self._name(array)
        found: np.ndarray = self.names[self.constants[key]]
        return found

    def _operand_array(self, arg: Any, dtype: Any) -> np.ndarray | str:
        """What a ufunc is given for an operand: an array, or the name of a variable."""
        if not isinstance(arg, Node):
            return self._constant_array(arg, dtype)
        if arg.host:
            return self._host_array(arg, dtype)
        if arg in self.variables:
            return self.variables[arg]
        if arg.op == "const" and arg.shape == ():
            return np.asarray(arg.value)
        return self._array(arg)

    def _host_array(self, node: Node, dtype: Any) -> np.ndarray:
        """The 0-d array into which a Python float is put for the ufuncs."""
        key = (node, str(dtype))
        if key not in self.constants:
            array = np.empty((), dtype)
            self.constants[key] = self._name(array)
            if node in self.position:
                self.lines.append(f"{self.constants[key]}[()] = {self.variables[node]}")
            else:  # a counter of the carry
                self.head.append(f"{self.constants[key]}[()] = {self.variables[node]}")
        found: np.ndarray = self.names[self.constants[key]]
        return found

    def _text(self, operand: np.ndarray | str) -> str:
        return operand if isinstance(operand, str) else self._name(operand)

    def _dtype_of_operands(self, node: Node) -> Any:
        arrays = [arg for arg in node.nodes if not arg.host]
        return arrays[0].dtype if arrays else node.dtype

    def _write(self) -> None:
        self.owned: dict[Node, np.ndarray] = {}
        self.head: list[str] = []
        for unit in self.units:
            if isinstance(unit, _Chain):
                if len(unit.nodes) == 1:
                    self._write_node(unit.nodes[0])
                else:
                    self._write_chain(unit)
                self._release(self.position[unit.nodes[-1]])
            elif unit.host:
                self._write_host(unit)
            elif unit.shape == () and unit.op not in ("take", "concat"):
                self._write_scalar(unit)
            else:
                self._write_node(unit)
                self._release(self.position[unit])
        self._write_ends()
        self._compile()

    def _write_host(self, node: Node) -> None:
        args = [self._scalar_text(arg) for arg in node.args]
        self._set_variable(node, self._expression(node, args, host=True))

    def _write_scalar(self, node: Node) -> None:
        """A 0-d value that follows from arrays: a NumPy scalar in a variable."""
        if node.op in ("sum", "count_nonzero"):
            array = self._array(node.args[0])
            if node.op == "count_nonzero":
                text = f"{self._name(np.count_nonzero)}({self._name(array)})"
            elif array.flags.c_contiguous and np.issubdtype(array.dtype, np.floating):
                flat = array.reshape(-1)
                ones = self._ones(flat.shape, flat.dtype)
                text = f"dot({self._name(flat)}, {ones})"
            else:
                text = f"{self._name(np.sum)}({self._name(array)})"
        elif _elementwise(node):
            args = [self._scalar_text(arg) for arg in node.args]
            text = self._expression(node, args, host=False)
        else:
            raise Untraceable(f"{node.op} to 0-d")
        self._set_variable(node, text)

    def _set_variable(self, node: Node, text: str) -> None:
        self.variables[node] = f"x{len(self.variables)}"
        self.lines.append(f"{self.variables[node]} = {text}")

    def _scalar_text(self, arg: Any) -> str:
        if not isinstance(arg, Node):
            return f"({arg!r})" if math.isfinite(arg) else f"float('{arg}')"
        if arg in self.variables:
            return self.variables[arg]
        if arg.op == "const":
            return self._name(np.asarray(arg.value)[()])
        return self._name(self._array(arg))

    def _expression(self, node: Node, args: list[str], host: bool) -> str:
        if node.op == "divide" and not host:
            return f"{args[0]} / {args[1]}"
        if node.op in _INFIX:
            return f"{args[0]} {_INFIX[node.op]} {args[1]}"
        if node.op == "negative":
            return f"-{args[0]}"
        if node.op == "astype":
            return f"{'float' if host else self._name(np.dtype(node.dtype).type)}({args[0]})"
        function = _HOST.get(node.op) if host else getattr(np, node.op)
        if function is None:
            raise Untraceable(f"{node.op} of a counter")
        return f"{self._name(function)}({', '.join(args)})"

    def _ones(self, shape: tuple[int, ...], dtype: Any) -> str:
        key = ("ones", shape, str(dtype))
        if key not in self.constants:
            self.constants[key] = self._name(np.ones(shape, dtype))
        return self.constants[key]

    def _write_node(self, node: Node) -> None:
        self.lines += self._call(node)

    def _call(self, node: Node) -> list[str]:
        """The call that computes ``node`` into its buffer."""
        if _elementwise(node):
            dtype = self._dtype_of_operands(node)
            args = [self._text(self._operand_array(arg, dtype)) for arg in node.args]
            out = self._name(self._allocate(node))
            return [self._ufunc(node, args, out)]
        if node.op == "matmul":
            a, b = (self._array(arg) for arg in node.args)
            out_array = self._allocate(node)
            dot = out_array.flags.c_contiguous and a.ndim == b.ndim == 2
            call = "dot" if dot else "matmul"
            return [f"{call}({self._name(a)}, {self._name(b)}, {self._name(out_array)})"]
        if node.op == "concat":
            return self._call_concat(node)
        if node.op == "take":
            a, rows = self._array(node.args[0]), node.args[1]
            if rows is not self.recording.rows:
                raise Untraceable("take with other rows")
            axis = a.ndim + node.static["axis"]
            out = self._name(self._allocate(node))
            # 'clip' lets NumPy write straight into the buffer; fit made the rows, all in range.
            return [f"{self._name(np.take)}({self._name(a)}, rows, {axis}, {out}, 'clip')"]
        return self._call_reduction(node)

    def _ufunc(self, node: Node, args: list[str], out: str) -> str:
        if node.op == "astype":
            return f"copyto({out}, {args[0]}, 'unsafe')"
        # These two take a third operand without its name only under protest.
        keyword = "out=" if node.op in ("maximum", "minimum") else ""
        return f"{self._name(getattr(np, node.op))}({', '.join(args)}, {keyword}{out})"

    def _call_concat(self, node: Node) -> list[str]:
        out, start, lines = self._allocate(node), 0, []
        for arg in node.nodes:
            stop = start + arg.shape[-1]
            if _root(arg) not in self.pieces or self.pieces[_root(arg)][0] is not node:
                target = out[..., start:stop]
                lines.append(f"copyto({self._name(target)}, {self._name(self._array(arg))})")
            start = stop
        return lines

    def _call_reduction(self, node: Node) -> list[str]:
        a = self._array(node.args[0])
        axis, keepdims = node.static["axis"], node.static.get("keepdims", False)
        out_array = self._allocate(node)
        out, source = self._name(out_array), self._name(a)
        floating = np.issubdtype(a.dtype, np.floating)
        if node.op == "sum" and floating and keepdims and axis == -2:
            call = "dot" if a.ndim == 2 and out_array.flags.c_contiguous else "matmul"
            return [f"{call}({self._ones((1, a.shape[-2]), a.dtype)}, {source}, {out})"]
        if node.op == "sum" and floating and keepdims and axis == -1:
            call = "dot" if a.ndim == 2 and out_array.flags.c_contiguous else "matmul"
            return [f"{call}({source}, {self._ones((a.shape[-1], 1), a.dtype)}, {out})"]
        if axis == (-2, -1) and not keepdims and a.ndim == 3 and a.flags.c_contiguous:
            flat = a.reshape(a.shape[0], -1)
            if node.op == "sum" and floating:
                ones = self._ones(flat.shape[1:], flat.dtype)
                return [f"dot({self._name(flat)}, {ones}, {out})"]
            reduce = self._name(np.add.reduce)
            return [f"{reduce}({self._name(flat)}, 1, {self._name(out_array.dtype)}, {out})"]
        if node.op in ("sum", "max") and isinstance(axis, int):
            reduce = self._name((np.add if node.op == "sum" else np.maximum).reduce)
            return [f"{reduce}({source}, {axis}, None, {out}, {keepdims})"]
        if node.op == "argmax":
            return [f"{self._name(np.argmax)}({source}, {axis}, {out}, keepdims={keepdims})"]
        raise Untraceable(f"{node.op} over axis {axis}")

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
            and self.last_use.get(node, -1) != _END
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
        blocks = [slice(start, min(start + step, length)) for start in range(0, length, step)]

        def column(array: np.ndarray) -> str:
            """The loop variable that runs over the blocks of a whole array."""
            if array.size > 1 and (flat or array.shape[0] == length):
                name = f"b{self._name(array)}"
                if name not in columns:
                    source = array.reshape(-1) if flat else array
                    if not np.shares_memory(source, array):
                        raise Untraceable("a chain over strided arrays")
                    columns[name] = [source[block] for block in blocks]
                return name
            return self._name(array)

        def temporary(array: np.ndarray) -> str:
            name = f"t{self._name(array)}"
            columns[name] = [array[: block.stop - block.start] for block in blocks]
            return name

        for node in chain.nodes:
            dtype = self._dtype_of_operands(node)
            args = []
            for arg in node.args:
                if arg in temps:
                    args.append(temporary(temps[arg]))
                    continue
                operand = self._operand_array(arg, dtype)
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
                out = column(self._allocate(node))
            for arg in node.nodes:
                gone = arg in temps and self.last_use[arg] == now and arg not in dying[:1]
                if gone and not any(temps[arg] is b for b in spare):
                    spare.append(temps[arg])
            calls.append(self._ufunc(node, args, out))
        names = list(columns)
        rows = list(zip(*(columns[name] for name in names), strict=True))
        self.lines.append(f"for {', '.join(names)}, in {self._name(rows)}:")
        self.lines += [f"    {call}" for call in calls]

    # ---- the end of a step, and the whole

    def _write_ends(self) -> None:
        for name, node in self.recording.metrics.items():
            text = self._scalar_text(node) if node.shape == () else self._name(self._array(node))
            self.lines.append(f"history_{name}[k] = {text}")
        copies, counters = [], []
        for name, node in self.recording.results.items():
            before = self.recording.carry[name]
            if before.host:
                counters.append((f"carry_{name}", self._scalar_text(node)))
                continue
            array = self._array(node)
            if array is self.carry[name]:
                continue
            if any(np.shares_memory(array, other) for other in self.carry.values()):
                raise Untraceable("carries that change places")
            copies.append(f"copyto({self._name(self.carry[name])}, {self._name(array)})")
        self.lines += copies
        if counters:
            left, right = zip(*counters, strict=True)
            self.lines.append(f"{', '.join(left)} = {', '.join(right)}")

    def _compile(self) -> None:
        counters = [f"carry_{name}" for name, node in self.recording.carry.items() if node.host]
        histories = [f"history_{name}" for name in self.recording.metrics]
        rows = ["rows = orders[k]"] if self.recording.rows is not None else []
        lines = [
            f"def run(n, orders, interrupted, {', '.join([*counters, *histories])}):",
            "    for k in range(n):",
            *(f"        {line}" for line in [*rows, *self.head, *self.lines]),
            "        if interrupted():",
            "            break",
            f"    return k + 1, ({''.join(f'{name}, ' for name in counters)})",
        ]
        self.source = "\n".join(lines)
        exec(compile(self.source, "<xpnet step>", "exec"), self.names)
        self._run = self.names["run"]

    def run(
        self,
        carry: Any,
        n: int,
        orders: np.ndarray | None,
        interrupted: Callable[[], bool],
    ) -> tuple[Any, dict[str, np.ndarray]]:
        """Run ``n`` steps from ``carry``; what is returned lies in this program's own buffers."""
        theta, state = carry
        values = {"theta": theta, **state}
        for name, buffer in self.carry.items():
            if values[name] is not buffer:
                np.copyto(buffer, values[name])
        hosts = {name: node for name, node in self.recording.carry.items() if node.host}
        metrics = {
            name: np.empty((n, *node.shape), node.dtype)
            for name, node in self.recording.metrics.items()
        }
        done, counters = self._run(
            n, orders, interrupted, *(float(values[name]) for name in hosts), *metrics.values()
        )
        after = dict(self.carry)
        for (name, node), value in zip(hosts.items(), counters, strict=True):
            after[name] = np.asarray(value, node.dtype)
        return (
            (after["theta"], {name: after[name] for name in state}),
            {name: values[:done] for name, values in metrics.items()},
        )
