"""A recorded step as straight-line PyTorch: no autograd, no allocation, no Python numbers.

A call with ``out=`` on tensors that are there already costs about a microsecond in inference mode,
where the same expression with operators costs two to four.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch

from xpnet.compiler.host import literal
from xpnet.compiler.ir import Node, Recording, Untraceable
from xpnet.compiler.layout import Layout, Ref, Shape
from xpnet.compiler.library import Library
from xpnet.compiler.passes.chains import unchained
from xpnet.compiler.passes.fusion import Fusion
from xpnet.compiler.passes.lifetimes import lifetimes
from xpnet.compiler.passes.masks import masks
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.passes.rewriting import rewritten
from xpnet.compiler.passes.sums import Sums
from xpnet.compiler.passes.views import reshapes
from xpnet.compiler.program import Program
from xpnet.compiler.writers.base import Call, Writer, concatenate, random_bits

LARGE = 1 << 15
"""From how many elements on a pass over memory costs more than a Python number in a call."""

ADDED = 256
"""Up to how many terms a sum is a product with ones, which adds them one after the other.

From there on PyTorch's own sum, which adds in pairs, is about as fast: 290 µs instead of 200 for
4096 × 512, in a step of 45 ms.
"""

_NAMES = {"equal": "eq", "not_equal": "ne", "bitwise_invert": "bitwise_not"}

_AS_THEY_ARE = ("isfinite", "isinf", "isnan", "sign", "reciprocal", "signbit", "round", "trunc")
"""Functions of the namespace that are copied from: they take no ``out``, or not for all dtypes, or
array-api-compat mends their NaN."""


def _float32(number: float) -> float:
    """The nearest number of float32, infinity if it is beyond."""
    return float(torch.tensor(number, dtype=torch.float32, device="cpu"))


class Torch(Library):
    """PyTorch's dtypes, and the memory of a device."""

    def __init__(self, device: Any) -> None:
        self.device = device

    def empty(self, shape: Shape, dtype: Any) -> Any:
        return torch.empty(shape, dtype=dtype, device=self.device)

    def full(self, shape: Shape, value: Any, dtype: Any) -> Any:
        # Not torch.full, which refuses what becomes infinite in this dtype.
        return torch.tensor(value, dtype=dtype, device=self.device).expand(shape).clone()

    def view(self, array: Any, layout: Layout) -> Any:
        offset = array.storage_offset() + layout.offset
        # No view in PyTorch's sense, which is slower to write into.
        empty = torch.empty(0, dtype=array.dtype, device=array.device)
        return empty.set_(array.untyped_storage(), offset, layout.shape, layout.steps)

    def layout(self, array: Any) -> Layout:
        return Layout(tuple(array.shape), tuple(array.stride()))

    def itemsize(self, dtype: Any) -> int:
        return int(dtype.itemsize)

    def is_floating(self, dtype: Any) -> bool:
        return bool(dtype.is_floating_point)

    def on_host(self, array: Any) -> Any:
        return array.numpy()


class TorchWriter(Writer):
    """Writes PyTorch."""

    @property
    def calls(self) -> dict[str, Call]:
        return CALLS

    def copy(self, out: str, source: str) -> str:
        return f"{out}.copy_({source})"

    def put(self, number: Ref, value: str) -> str:
        return f"{self.name(number)}.fill_({self._narrow(value, number.dtype)})"

    def metric(self, name: str, node: Node) -> str:
        return f"{self.histories[name]}[k].copy_({self.array(node)})"

    # ---- numbers

    def _narrow(self, variable: str, dtype: Any) -> str:
        """A Python number that a call takes: PyTorch refuses one beyond the floats of its dtype."""
        if dtype != torch.float32:
            return variable
        most, beyond = torch.finfo(dtype).max, self.names.function(_float32, "float32")
        return f"{variable} if {-most} <= {variable} <= {most} else {beyond}({variable})"

    def argument(self, arg: Any, dtype: Any) -> str:
        """A number among the arguments of a call."""
        if isinstance(arg, Node):
            return self._narrow(self.number(arg), dtype)
        return literal(_float32(arg) if dtype == torch.float32 else float(arg))

    # ---- calls

    def torch(self, name: str) -> str:
        """A function of PyTorch."""
        return self.names.function(getattr(torch, name), name)

    def call(self, node: Node) -> list[str]:
        floats = [arg for arg in node.nodes if self.library.is_floating(arg.dtype)]
        mixed = len({arg.dtype for arg in floats}) > 1 and any(arg.shape == () for arg in floats)
        if node.elementwise and mixed:  # PyTorch takes no notice of the dtype of what has no axes
            raise Untraceable(f"{node.op} of floats of two dtypes, one of them without axes")
        return super().call(node)

    def elementwise(self, node: Node, args: list[str], out: str) -> str:
        return f"{self.torch(_NAMES.get(node.op, node.op))}({', '.join(args)}, out={out})"


# ---- the table


def _copied(w: TorchWriter, node: Node) -> list[str]:
    """The function of the namespace itself, whose result is copied."""
    function = w.names.function(getattr(w.recording.xp, node.op), f"xp_{node.op}")
    dtype = w.operand_dtype(node)
    args = [w.operand(arg, dtype) for arg in node.args]
    static = [f"{name}={value!r}" for name, value in node.static.items()]
    return [w.copy(w.out(node), f"{function}({', '.join([*args, *static])})")]


def _cast(w: TorchWriter, node: Node) -> list[str]:
    source = w.operand(node.args[0], w.operand_dtype(node))
    return [w.copy(w.out(node), source)]


def _extremum(w: TorchWriter, node: Node) -> list[str]:
    """A maximum or minimum; with a number in one call that takes it as it is."""
    first, number = node.args
    dtype = w.operand_dtype(node)
    if isinstance(number, Node):
        args = [w.operand(arg, dtype) for arg in node.args]
        return [w.elementwise(node, args, w.out(node))]
    if not dtype.is_floating_point:
        raise Untraceable(f"{node.op} of {dtype} and a number")
    clamp = w.torch("clamp_min" if node.op == "maximum" else "clamp_max")
    args = [w.operand(first, dtype), w.argument(number, dtype)]
    return [f"{clamp}({', '.join(args)}, out={w.out(node)})"]


def _power(w: TorchWriter, node: Node) -> list[str]:
    first, exponent = node.args
    dtype = w.operand_dtype(node)
    number = None if isinstance(exponent, Node) else literal(exponent)
    args = [w.operand(first, dtype), number or w.operand(exponent, dtype)]
    return [w.elementwise(node, args, w.out(node))]


def _root(w: TorchWriter, node: Node) -> list[str]:
    """A square root; a large one as ``1 / (1 / √x)``.

    MKL's, which is PyTorch's, takes up to ten times as long where there are zeros, such as the
    moments of what sees none but zeros: a dead unit, the edge of a picture.
    """
    source, out = w.operand(node.args[0], w.operand_dtype(node)), w.out(node)
    if math.prod(node.shape) < LARGE:
        return [w.elementwise(node, [source], out)]
    rsqrt, reciprocal = w.torch("rsqrt"), w.torch("reciprocal")
    return [f"{rsqrt}({source}, out={out})", f"{reciprocal}({out}, out={out})"]


def _scaled(w: TorchWriter, node: Node) -> list[str]:
    *arrays, factor = node.args
    names = {"add_scaled": "add", "subtract_scaled": "sub", "add_product": "addcmul"}
    keyword = "value" if node.op == "add_product" else "alpha"
    args = [w.operand(arg, node.dtype) for arg in arrays]
    if isinstance(factor, Node) or factor != 1:
        args.append(f"{keyword}={w.argument(factor, node.dtype)}")
    return [f"{w.torch(names[node.op])}({', '.join(args)}, out={w.out(node)})"]


def _subtract_quotient(w: TorchWriter, node: Node) -> list[str]:
    *arrays, factor = node.args
    first, a, b = (w.operand(arg, node.dtype) for arg in arrays)
    out, variable = w.out(node), w.number(factor)
    together = f"{w.torch('addcdiv')}({first}, {a}, {b}, value=-{variable}, out={out})"
    quotient = f"{w.torch('divide')}({a}, {b})"
    number = w.argument(factor, node.dtype)
    apart = f"{w.torch('sub')}({first}, {quotient}, alpha={number}, out={out})"
    return [f"{together} if -1 <= {variable} <= 1 else {apart}"]


def _add_matmul(w: TorchWriter, node: Node) -> list[str]:
    args = ", ".join(map(w.array, node.nodes))
    return [f"{w.torch('addmm')}({args}, out={w.out(node)})"]


def _matmul(w: TorchWriter, node: Node) -> list[str]:
    a, b = node.args
    refs = [w.ref(a), w.ref(b)]
    name = "mm" if a.ndim == b.ndim == 2 else "matmul"
    if node.ndim == 3 and a.ndim != b.ndim:  # which matmul folds, wrongly where samples are 1
        name = "bmm"
        refs = [
            Ref(ref.buffer, ref.layout.broadcast_to((node.shape[0], *ref.shape[-2:])))
            for ref in refs
        ]
    args = ", ".join(map(w.name, refs))
    return [f"{w.torch(name)}({args}, out={w.out(node)})"]


def _stack(w: TorchWriter, node: Node) -> list[str]:
    arrays = ", ".join(map(w.array, node.nodes))
    return [f"{w.torch('stack')}(({arrays},), {node.static['axis']}, out={w.out(node)})"]


def _cumulative_sum(w: TorchWriter, node: Node) -> list[str]:
    args = f"{w.array(node.args[0])}, {node.static['axis']}, out={w.out(node)}"
    return [f"{w.torch('cumsum')}({args})"]


def _take(w: TorchWriter, node: Node) -> list[str]:
    array, rows = node.args
    axis = range(array.ndim)[node.static["axis"]]
    index = "rows" if rows is w.recording.rows else w.array(rows)
    args = f"{w.array(array)}, {axis}, {index}, out={w.out(node)}"
    return [f"{w.torch('index_select')}({args})"]


def _reduction(w: TorchWriter, node: Node) -> list[str]:
    (array,), axis = node.args, node.static["axis"]
    if not math.prod(array.shape):
        raise Untraceable("a reduction of nothing")
    keepdims, source = node.static.get("keepdims", False), w.array(array)
    if node.op == "sum" or (node.op == "count_nonzero" and array.dtype == torch.bool):
        dtype = w.names.function(node.dtype, str(node.dtype).rpartition(".")[2] + "_dtype")
        args = f"{source}, {axis!r}, {keepdims}, dtype={dtype}, out={w.out(node)}"
        return [f"{w.torch('sum')}({args})"]
    name = {"max": "amax", "min": "amin"}.get(node.op, node.op)
    if name in ("amax", "amin", "argmax", "argmin"):
        return [f"{w.torch(name)}({source}, {axis}, {keepdims}, out={w.out(node)})"]
    return _copied(w, node)


CALLS: dict[str, Call] = {
    **dict.fromkeys((*_AS_THEY_ARE, "flip", "roll"), _copied),
    **dict.fromkeys(("astype", "copy"), _cast),
    **dict.fromkeys(("maximum", "minimum"), _extremum),
    "pow": _power,
    "sqrt": _root,
    **dict.fromkeys(("add_scaled", "subtract_scaled", "add_product"), _scaled),
    "subtract_quotient": _subtract_quotient,
    "add_matmul": _add_matmul,
    "matmul": _matmul,
    "concat": concatenate,
    "random_bits": random_bits,
    "stack": _stack,
    "cumulative_sum": _cumulative_sum,
    "take": _take,
    **dict.fromkeys(("sum", "prod", "max", "min", "any", "all"), _reduction),
    **dict.fromkeys(("argmax", "argmin", "count_nonzero"), _reduction),
}
"""How each operation is written that is not done as all elementwise ones are."""


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

    def made_for(self) -> Library:
        return Torch(self.device)

    def settings(self) -> tuple[Any, ...]:
        return self.device, LARGE

    def planned(self, recording: Recording, sources: dict[Node, int]) -> Placement:
        recording = rewritten(
            recording,
            partial(reshapes, self.library),
            partial(masks, self.library, LARGE),
            partial(Fusion, self.library, LARGE),
            partial(Sums, self.library, ADDED, False),
        )
        lives = lifetimes(recording)
        return Placement(recording, lives, unchained(lives), self.library, sources)

    def writer(self, plan: Placement) -> Writer:
        return TorchWriter(plan)

    def rows(self, history: Any) -> Any:
        return history.unbind(0)

    @contextmanager
    def running(self) -> Iterator[None]:
        # The buffers are plain tensors, made outside; within, nothing counts their versions.
        with self.one_thread() if self.small else nullcontext(), torch.inference_mode():
            yield

    @property
    def small(self) -> bool:
        """Whether threads would wait for one another longer than they compute.

        MKL splits even a product of 4 × 21 × 4, which then takes 16 to 1000 µs instead of 2.
        """
        return self.text.largest < LARGE
