"""A recorded step as straight-line PyTorch: no autograd, no allocation, no Python numbers.

A call with ``out=`` on tensors that are there already costs about a microsecond in inference mode,
where the same expression with operators costs two to four.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from xpnet.compiler.host import literal
from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.record import Recording
from xpnet.compiler.writers.base import Program

LARGE = 1 << 15
"""From how many elements on a pass over memory costs more than a Python number in a call."""

ADDED = 256
"""Up to how many terms a sum is a product with ones, which adds them one after the other.

From there on PyTorch's own sum, which adds in pairs, is about as fast: 290 µs instead of 200 for
4096 × 512, in a step of 45 ms.
"""

_NAMES = {"equal": "eq", "not_equal": "ne"}

_AS_THEY_ARE = ("isfinite", "isinf", "isnan", "sign", "reciprocal", "signbit", "round", "trunc")
"""Functions of the namespace that are copied from: they take no ``out``, or not for all dtypes, or
array-api-compat mends their NaN."""


def _float32(number: float) -> float:
    """The nearest number of float32, infinity if it is beyond."""
    return float(torch.tensor(number, dtype=torch.float32, device="cpu"))


def _distinct(operands: tuple[Any, ...]) -> bool:
    """Whether no two operands are different views of an array, which the call may overwrite."""
    nodes = [arg for arg in operands if isinstance(arg, Node)]
    return all(a is b or a.root is not b.root for a in nodes for b in nodes)


class TorchProgram(Program):
    """A recorded step, written in PyTorch.

    Args:
        device: where its tensors lie.
        one_thread: makes what holds PyTorch to one thread.
        recording, given: as for every `Program`.
    """

    def __init__(
        self,
        device: Any,
        one_thread: Callable[[], AbstractContextManager[Any]],
        recording: Recording,
        given: dict[str, Any] | None = None,
    ) -> None:
        self.device, self.one_thread = device, one_thread
        super().__init__(recording, given)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return torch.empty(shape, dtype=dtype, device=self.device)

    def full(self, shape: tuple[int, ...], value: Any, dtype: Any) -> Any:
        # Not torch.full, which refuses what becomes infinite in this dtype.
        return torch.tensor(value, dtype=dtype, device=self.device).expand(shape).clone()

    def is_floating(self, dtype: Any) -> bool:
        return bool(dtype.is_floating_point)

    def shares(self, a: Any, b: Any) -> bool:
        return bool(a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())

    def copy(self, out: str, source: str) -> str:
        return f"{out}.copy_({source})"

    def put(self, array: str, value: str) -> str:
        return f"{array}.fill_({self._narrow(value, self.globals[array].dtype)})"

    def _narrow(self, variable: str, dtype: Any) -> str:
        """A Python number that a call takes: PyTorch refuses one beyond the floats of its dtype."""
        if dtype != torch.float32:
            return variable
        most, beyond = torch.finfo(dtype).max, self.name(_float32)
        return f"{variable} if {-most} <= {variable} <= {most} else {beyond}({variable})"

    def rows(self, history: Any) -> Any:
        return history.unbind(0)

    def record_metric(self, name: str, node: Node) -> str:
        return f"history_{name}[k].copy_({self.name(self.array(node))})"

    def scalar(self, node: Node) -> None:
        self.lines += self.call(node)

    # ---- masks

    def _plan(self) -> None:
        self._make_masks_numbers()
        super()._plan()

    def _make_masks_numbers(self) -> None:
        """Compare into floats where all that is made of truth values is floats again.

        PyTorch takes several times as long to write many truth values, and to read them.
        """
        readers: dict[Node, list[Node]] = defaultdict(list)
        for node in self.recording.nodes:
            for arg in node.nodes:
                readers[arg].append(node)
        outputs = {*self.recording.results.values(), *self.recording.metrics.values()}
        for node in self.recording.nodes:
            casts, large = readers[node], node.shape and math.prod(node.shape) >= LARGE
            if node.operation.compares and large and node not in outputs:
                kinds = {(cast.op, cast.dtype) for cast in casts}
                if len(kinds) == 1 and casts[0].op == "astype" and casts[0].dtype.is_floating_point:
                    node.dtype = casts[0].dtype
                    for cast in casts:
                        cast.op, cast.static = "reshape", {"shape": cast.shape}

    # ---- operations that PyTorch does in one pass over memory

    def form_units(self) -> list[Any]:
        self.fusions: dict[Node, tuple[str, tuple[Any, ...], Any]] = {}
        inner: set[Node] = set()
        for node in reversed(self.order):
            if node in inner or node.host or not node.shape:
                continue
            found = self._fuse(node)
            if (
                found is not None
                and self._of_one_dtype(node, found[1])
                and _distinct(found[1])
                and self._may_wait(node, found[1], found[3])
            ):
                self.fusions[node] = found[:3]
                inner |= found[3]
                for arg in found[1]:
                    if isinstance(arg, Node):  # read here now, and not before
                        root = arg.root
                        last = max(self.last_use.get(root, -1), self.position[node])
                        self.last_use[root] = last
        return [node for node in super().form_units() if node not in inner]

    def _fuse(self, node: Node) -> tuple[str, tuple[Any, ...], Any, set[Node]] | None:
        """The call, operands and factor by which ``node`` and the nodes within it are one call."""
        large = math.prod(node.shape) >= LARGE
        if node.op == "subtract" and large and self._within(node.args[1], "multiply", node):
            product = node.args[1]
            for factor, other in (product.args, product.args[::-1]):
                if self._is_number(factor) and isinstance(other, Node):
                    # addcdiv multiplies before it divides, which may overflow with factors above 1.
                    small = isinstance(factor, Node) or abs(factor) <= 1
                    if small and self._within(other, "divide", node):
                        args = (node.args[0], *other.args)
                        if all(isinstance(arg, Node) and not arg.host for arg in args):
                            return "addcdiv", args, factor, {product, other}
                    return "sub", (node.args[0], other), factor, {product}
        if node.op == "add":
            for first, product in (node.args, node.args[::-1]):
                if not isinstance(first, Node) or first.host:
                    continue
                if large and self._within(product, "matmul", node):
                    a, b = product.args
                    if a.ndim == b.ndim == 2 and first.root not in (a.root, b.root):
                        return "addmm", (first, a, b), None, {product}
                    continue
                if not self._within(product, "multiply", node):
                    continue
                a, b = product.args
                if not self._is_number(a) and not self._is_number(b):
                    for scaled, other in ((a, b), (b, a)):  # a number among three factors
                        if self._within(scaled, "multiply", node):
                            for factor, array in (scaled.args, scaled.args[::-1]):
                                if self._is_number(factor) and not self._is_number(array):
                                    within = {product, scaled}
                                    return "addcmul", (first, array, other), factor, within
                    return "addcmul", (first, a, b), None, {product}
                number, other = (a, b) if self._is_number(a) else (b, a)
                if large and isinstance(other, Node) and not self._is_number(other):
                    return "add", (first, other), number, {product}
        return None

    def _of_one_dtype(self, node: Node, operands: tuple[Any, ...]) -> bool:
        """Whether all arrays are of the dtype of ``node``, floats: these calls take no others."""
        return self.is_floating(node.dtype) and all(
            self._is_number(arg) or arg.dtype == node.dtype for arg in operands
        )

    def _may_wait(self, node: Node, operands: tuple[Any, ...], inner: set[Node]) -> bool:
        """Whether the operands of ``inner`` are still there when ``node`` is computed."""
        since = min(self.position[other] for other in inner)
        between = [n for n in self.order[since : self.position[node]] if n not in inner]
        for arg in operands:
            if isinstance(arg, Node) and not arg.host:
                place = self.home.get(arg.root, self.buffers.get(arg.root))
                if place is not None and any(
                    self.home.get(other) is place for other in between if other is not arg
                ):
                    return False
        return True

    def _within(self, arg: Any, op: str, node: Node) -> bool:
        """Whether an operand is such an operation, of the same form, that nothing else reads."""
        return (
            isinstance(arg, Node)
            and (arg.op, arg.shape, arg.dtype) == (op, node.shape, node.dtype)
            and self.uses[arg] == 1
            and arg not in self.pieces
        )

    def _is_number(self, arg: Any) -> bool:
        return not isinstance(arg, Node) or arg.host

    def _number(self, arg: Any, dtype: Any) -> str:
        """A number among the arguments of a call."""
        if isinstance(arg, Node):
            return self._narrow(self.scalar_text(arg), dtype)
        return literal(_float32(arg) if dtype == torch.float32 else float(arg))

    def _fused(self, node: Node) -> str:
        name, args, factor = self.fusions[node]
        operands = [self.text(self.operand(arg, node.dtype)) for arg in args]
        out = self.name(self.allocate(node))
        call = f"{self._function(name)}({', '.join(operands)}"
        if factor is None:
            return f"{call}, out={out})"
        number = self._number(factor, node.dtype)
        if name != "addcdiv":
            keyword = "value" if name == "addcmul" else "alpha"
            return f"{call}, {keyword}={number}, out={out})"
        variable = self.scalar_text(factor)
        together = f"{call}, value=-{variable}, out={out})"
        first, a, b = operands
        quotient = f"{self._function('divide')}({a}, {b})"
        apart = f"{self._function('sub')}({first}, {quotient}, alpha={number}, out={out})"
        return f"{together} if -1 <= {variable} <= 1 else {apart}"

    # ---- calls

    def _function(self, name: str) -> str:
        return self.name(getattr(torch, name))

    def call(self, node: Node) -> list[str]:
        if node in self.fusions:
            return [self._fused(node)]
        if node.op == "sqrt" and math.prod(node.shape) >= LARGE:
            return self._root(node)
        if node.elementwise:
            return [self._elementwise(node)]
        if node.op == "concat":
            return self.concatenate(node)
        if node.op == "stack":
            arrays = ", ".join(self.name(self.array(arg)) for arg in node.nodes)
            out = self.name(self.allocate(node))
            return [f"{self._function('stack')}(({arrays},), {node.static['axis']}, out={out})"]
        a = self.array(node.args[0])
        source = self.name(a)
        if node.op in ("flip", "roll"):
            return [self._copied(node, source)]
        if node.op == "cumulative_sum":
            out, axis = self.name(self.allocate(node)), node.static["axis"]
            return [f"{self._function('cumsum')}({source}, {axis}, out={out})"]
        if node.op == "matmul":
            b = self.array(node.args[1])
            return [self._product(a, b, self.allocate(node))]
        if node.op == "take":
            if node.args[1] is not self.recording.rows:
                raise Untraceable("take with other rows")
            out = self.name(self.allocate(node))
            axis = a.ndim + node.static["axis"]
            return [f"{self._function('index_select')}({source}, {axis}, rows, out={out})"]
        return [self._reduction(node, a, source)]

    def _elementwise(self, node: Node) -> str:
        dtype = self.operand_dtype(node)
        first, *rest = node.args
        number = rest[0] if rest and not isinstance(rest[0], Node) else None
        if node.op in ("maximum", "minimum") and number is not None:
            name = "clamp_min" if node.op == "maximum" else "clamp_max"
            if not dtype.is_floating_point:
                raise Untraceable(f"{node.op} of {dtype} and a number")
            source, out = self.text(self.operand(first, dtype)), self.name(self.allocate(node))
            return f"{self._function(name)}({source}, {self._number(number, dtype)}, out={out})"
        if node.op == "pow" and number is not None:
            source, out = self.text(self.operand(first, dtype)), self.name(self.allocate(node))
            return f"{self._function('pow')}({source}, {literal(number)}, out={out})"
        args = [self.text(self.operand(arg, dtype)) for arg in node.args]
        if node.op in _AS_THEY_ARE:
            return self._copied(node, *args)
        out = self.name(self.allocate(node))
        if node.op == "astype":
            return self.copy(out, args[0])
        return f"{self._function(_NAMES.get(node.op, node.op))}({', '.join(args)}, out={out})"

    def _copied(self, node: Node, *args: str) -> str:
        """The function of the namespace itself, whose result is copied."""
        function = self.name(getattr(self.recording.xp, node.op))
        static = [f"{name}={value!r}" for name, value in node.static.items()]
        result = f"{function}({', '.join([*args, *static])})"
        return self.copy(self.name(self.allocate(node)), result)

    def _root(self, node: Node) -> list[str]:
        """A square root as ``1 / (1 / √x)``.

        MKL's, which is PyTorch's, takes up to ten times as long where there are zeros, such as the
        moments of what sees none but zeros: a dead unit, the edge of a picture.
        """
        source = self.text(self.operand(node.args[0], node.dtype))
        out = self.name(self.allocate(node))
        rsqrt, reciprocal = self._function("rsqrt"), self._function("reciprocal")
        return [f"{rsqrt}({source}, out={out})", f"{reciprocal}({out}, out={out})"]

    def _product(self, a: Any, b: Any, out: Any) -> str:
        name = "mm" if a.ndim == b.ndim == 2 else "matmul"
        if out.ndim == 3 and a.ndim != b.ndim:  # which matmul folds, wrongly where samples are 1
            a, b = (t if t.ndim == 3 else t.expand(out.shape[0], *t.shape) for t in (a, b))
            name = "bmm"
        return f"{self._function(name)}({self.name(a)}, {self.name(b)}, out={self.name(out)})"

    def _reduction(self, node: Node, a: Any, source: str) -> str:
        axis, keepdims = node.static["axis"], node.static.get("keepdims", False)
        if not a.numel():
            raise Untraceable("a reduction of nothing")
        out = self.allocate(node)
        floats = node.op == "sum" and a.dtype.is_floating_point
        if floats and keepdims and axis == -2 and a.shape[-2] <= ADDED:
            return self._product(self._ones((1, a.shape[-2]), a.dtype), a, out)
        if floats and keepdims and axis == -1 and a.shape[-1] <= ADDED:
            # A vector is one row: its product is (1, 1), into which a result (1,) must be shaped.
            rows, column = (a, out) if a.ndim > 1 else (a.reshape(1, -1), out.reshape(1, 1))
            return self._product(rows, self._ones((a.shape[-1], 1), a.dtype), column)
        if floats and axis == (-2, -1) and not keepdims and a.is_contiguous():
            flat = a.reshape(-1, math.prod(a.shape[-2:]))
            if flat.shape[-1] <= ADDED:
                ones = self._ones((flat.shape[-1], 1), a.dtype)
                return self._product(flat, ones, out.reshape(-1, 1))
        counts = node.op == "count_nonzero" and a.dtype == torch.bool
        if node.op == "sum" or counts:
            sum_, dtype = self._function("sum"), self.name(node.dtype)
            return f"{sum_}({source}, {axis!r}, {keepdims}, dtype={dtype}, out={self.name(out)})"
        name = {"max": "amax", "min": "amin"}.get(node.op, node.op)
        if name in ("amax", "amin", "argmax", "argmin"):
            return f"{self._function(name)}({source}, {axis}, {keepdims}, out={self.name(out)})"
        return self._copied(node, source)

    def _ones(self, shape: tuple[int, ...], dtype: Any) -> Any:
        return self.globals[self.ones(shape, dtype)]

    def run(self, *args: Any) -> Any:
        # The buffers are plain tensors, made outside; within, nothing counts their versions.
        with self.one_thread() if self.small else nullcontext(), torch.inference_mode():
            return super().run(*args)

    @property
    def small(self) -> bool:
        """Whether threads would wait for one another longer than they compute.

        MKL splits even a product of 4 × 21 × 4, which then takes 16 to 1000 µs instead of 2.
        """
        return max(math.prod(node.shape) for node in self.order) < LARGE
