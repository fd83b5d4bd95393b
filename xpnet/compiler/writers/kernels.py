"""A recorded step as a CUDA kernel: the loops of `loops.py`, for a member of an ensemble.

A member is trained by one thread, in memory of that thread's own; or by the threads of a block,
which share the turns of each loop, and wait for one another behind it. What differs from loops for
a CPU is here, and nothing of what an operation computes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Untraceable
from xpnet.compiler.layout import Ref
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.writers.loop_calls import EXPRESSIONS
from xpnet.compiler.writers.loop_sums import kind
from xpnet.compiler.writers.loops import Loops, LoopWriter

LOCAL_BYTES = 1 << 14
"""How much memory of its own a thread has at most, by which a member is trained alone."""

SHARED_BYTES = 46 << 10
"""How much of its arrays a block has in memory of its own, of the 48 KiB that there are on any GPU;
the rest lies in the GPU's memory."""

WAYS = 32
"""Of how many parts a sum of everything is, each added up by a thread, whatever number there are,
so that it has the same digits."""

_BODY, _NOWHERE = 2, 1 << 30
"""How deep the lines of a step are, and no loop of its."""

_RESERVED = (
    *("cuda", "thread", "threads", "whole_after", "real_after"),
    *("floor", "ceil", "trunc", "rint", "sign", "signbit"),
    *(f"scratch_{dtype}" for dtype in ("bool", "int64", "uint32", "float32", "float64")),
)
"""The names that kernels have for themselves, besides those of loops."""

_EXPRESSIONS = {
    **EXPRESSIONS,
    **{name: f"math.{name}({{0}})" for name in ("isfinite", "isinf", "isnan")},
    **{name: f"{name}({{0}})" for name in ("floor", "ceil", "trunc", "sign", "signbit")},
    "log2": "math.log2({0})",
    "round": "rint({0})",
}
"""As numba has them for kernels, and ``device.py``."""


class KernelWriter(LoopWriter):
    """Writes a plan as a kernel.

    Args:
        plan: what is done, and where everything lies.
        each: what each member has for itself, of what the step finds.
        block: whether a member is trained by the threads of a block, and not by one alone.
    """

    expressions = _EXPRESSIONS
    registers = True
    apart = ()

    def __init__(self, plan: Placement, each: Iterable[Node] = (), block: bool = False) -> None:
        super().__init__(plan, 0, each)
        for name in _RESERVED:
            self.names.variable(name)
        self.at, self.block = "k, at", block
        self.ways = WAYS if block else 0
        self.scratch: dict[str, int] = {}
        self._dealt, self._deals = _NOWHERE, False
        self._began: int | None = None

    def write(self) -> Loops:
        text = super().write()
        after = ("whole_after", "real_after")
        text.scratch = self.scratch
        text.first = *after, *(f"scratch_{name}" for name in self.scratch)
        return text

    # ---- loops of which the threads of a block share the turns

    def line(self, text: str) -> None:
        if self.depth <= self._dealt:  # the loop that was shared is over
            self._dealt = _NOWHERE
        super().line(text)

    def put(self, text: str) -> None:
        if self._began is None:
            return super().put(text)
        self.lines.insert(self._began, "    " * _BODY + text)  # by all threads, before they share
        self._began += 1
        return None

    def deal(self, variable: str, *bounds: Any) -> None:
        if not self.block or self.depth > self._dealt:
            return super().deal(variable, *bounds)
        depth, (start, stop) = self.depth, bounds if len(bounds) == 2 else (0, *bounds)
        self.loop(variable, f"{start} + thread" if start else "thread", stop, "threads")
        self._dealt, self._deals = depth, True
        return None

    def axes(self, shape: Sequence[int]) -> list[str]:
        long = [n for n in shape if n != 1]
        if not self.block or self.depth > self._dealt or len(long) == 1:
            return super().axes(shape)
        if not long:  # an element, which is the first thread's
            depth = self.depth
            self.line("if thread == 0:")
            self.depth += 1
            self._dealt, self._deals = depth, True
            return super().axes(shape)
        turn = self.new("e")  # one loop, or there might be less turns than threads
        self.deal(turn, math.prod(long))
        variables: list[str] = []
        for axis in reversed(range(len(shape))):
            n, rest = shape[axis], math.prod(shape[axis + 1 :])
            if n == 1:
                variables.insert(0, "0")
                continue
            variables.insert(0, self.new("i"))
            within = f"{turn} // {rest}" if rest > 1 else turn
            outermost = max(shape[:axis], default=1) == 1
            self.line(f"{variables[0]} = {within}" + f" % {n}" * (not outermost))
        return variables

    @contextmanager
    def unit(self) -> Iterator[None]:
        self._began, self._deals = len(self.lines), False
        yield
        began, self._began = self._began, None
        if not self.block or len(self.lines) == began:
            return
        if not self._deals:  # there is nothing to share
            alone = [f"    {line}" for line in self.lines[began:]]
            del self.lines[began:]
            self.line("if thread == 0:")
            self.lines += alone
        self.barrier()

    def barrier(self) -> None:
        if self.block:
            self.line("cuda.syncthreads()")

    # ---- around the steps

    def _around(self, body: list[str], counters: dict[str, str]) -> dict[str, str]:
        carry = {name: self.names.variable(name) for name in self.plan.carry}
        for ref in self.plan.carry.values():
            self.buffer(ref.buffer)
        if self.block:
            self.line("at, thread, threads = cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x")
        else:
            self.line("at = cuda.grid(1)")
        self.line("if at >= members:")
        self.line("    return")
        self._memory()
        self._given_numbers()
        for buffer in self.found:
            if buffer in self.in_lanes:
                self.line(f"{self.buffer(buffer)} = {self._given(buffer)}[at]")
        for name, ref in self.plan.carry.items():
            self._carried(name, carry[name], ref, True)
        for i, (name, variable) in enumerate(counters.items()):
            self.line(f"{variable} = {self._store(name)}[{i}]")
        self.barrier()
        self.loop("k", "start", "stop")
        self.lines += body
        self.depth -= 1
        for name, ref in self.plan.carry.items():
            self._carried(name, carry[name], ref, False)
        if counters:
            # In other arrays: a member may begin when another is done.
            self.line("if at == 0 and thread == 0:" if self.block else "if at == 0:")
            for i, (name, variable) in enumerate(counters.items()):
                self.line(f"    {self._store(name)}_after[{i}] = {variable}")
        return carry

    def _memory(self) -> None:
        """Make arrays: the small ones of a block first where they are near its threads."""
        own = [(buffer, name) for buffer, name in self.buffers.items() if buffer.source is None]
        self._nbytes, near = 0, 0
        numbers = {self.plan.ref(node).buffer for node in self._put}  # each thread has them
        for buffer, name in sorted(own, key=lambda pair: pair[0].size):
            size, of = max(buffer.size, 1), np.dtype(buffer.dtype)
            nbytes = -(-size * of.itemsize // 8) * 8
            self._nbytes += nbytes
            if not self.block or buffer in numbers:
                self.line(f"{name} = cuda.local.array({size}, {kind(of)})")
            elif near + nbytes <= SHARED_BYTES:
                near += nbytes
                self.line(f"{name} = cuda.shared.array({size}, {kind(of)})")
            else:
                first = self.scratch.setdefault(of.name, 0)
                self.scratch[of.name] = first + size
                self.line(f"{name} = scratch_{of.name}[at, {first}:{first + size}]")
        if not self.block and self._nbytes > LOCAL_BYTES:
            raise Untraceable(
                f"its arrays take {self._nbytes} bytes, and those of a thread {LOCAL_BYTES}"
            )

    def _carried(self, name: str, given: str, ref: Ref, comes: bool) -> None:
        own = self.buffer(ref.buffer)
        self.deal("e", ref.layout.size)
        self.line(f"{own}[e] = {given}[at, e]" if comes else f"{given}[at, e] = {own}[e]")
        self.depth -= 1
