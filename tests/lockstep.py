"""CUDA kernels without a GPU or a compiler: the threads of a block go from barrier to barrier.

Between two barriers one thread runs after the other, and each element that they share knows who has
read it and written into it: what one has written no other may touch before the next barrier.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.loops import MOST, NAMESPACE
from xpnet.backends.numpy import NumPyReplay
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native.cuda import CudaProgram
from xpnet.compiler.native.gpu import Device
from xpnet.compiler.native.grids import GridProgram
from xpnet.compiler.native.kernels import grids_of, kernel_of
from xpnet.compiler.native.program import LoopNumPy

HERE = Device(np, lambda array: array, lambda: 0, np.asarray, LoopNumPy().view, np.matmul)
THREADS = 3
NAMES = {
    **NAMESPACE,
    "math": SimpleNamespace(
        **vars(NAMESPACE["math"]),
        **{name: getattr(np, name) for name in ("isfinite", "isinf", "isnan", "log2")},
    ),
    **{name: getattr(np, name) for name in ("floor", "ceil", "trunc", "rint", "sign", "signbit")},
}


class Shared:
    """An array that threads share; at each element is who was there since which barrier."""

    def __init__(self, array: Any, now: Any) -> None:
        self.array, self.now = array, now
        self.read: dict[int, Any] = {}
        self.written: dict[int, Any] = {}

    def __getitem__(self, at: int) -> Any:
        here = self.now.barrier, self.now.thread
        self._alone(self.written.get(at, here))
        before = self.read.get(at, here)
        several = before[0] == here[0] and before != here
        self.read[at] = (here[0], None) if several else here
        return self.array[at]

    def __setitem__(self, at: int, value: Any) -> None:
        here = self.now.barrier, self.now.thread
        self._alone(self.written.get(at, here))
        self._alone(self.read.get(at, here))
        self.written[at] = here
        self.array[at] = value

    def _alone(self, before: Any) -> None:
        barrier, thread = before
        assert barrier != self.now.barrier or thread == self.now.thread, "threads race"


class Thread:
    """What a thread knows as ``cuda``; what it shares is handed out in the order of asking."""

    def __init__(self, block: int, number: int, threads: int, shared: list[Any], now: Any) -> None:
        self.blockIdx, self.threadIdx = SimpleNamespace(x=block), SimpleNamespace(x=number)
        self.blockDim, self._shared, self._asked = SimpleNamespace(x=threads), shared, 0
        self.shared = SimpleNamespace(array=self._array)
        self.local = SimpleNamespace(array=_unfilled)
        self.jit = lambda **_: lambda function: function
        self._now = now

    def grid(self, _: int) -> int:
        return int(self.blockIdx.x * self.blockDim.x + self.threadIdx.x)

    def gridsize(self, _: int) -> int:
        return int(self.blockDim.x)

    def _array(self, size: int, dtype: Any) -> Any:
        if self._asked == len(self._shared):
            self._shared.append(Shared(_unfilled(size, dtype), self._now))
        self._asked += 1
        return self._shared[self._asked - 1]


def _unfilled(size: int, dtype: Any) -> Any:
    return np.full(size, np.nan if np.dtype(dtype).kind == "f" else 77).astype(dtype)


class Interpreted:
    """A function of a kernel, launched as numba's is.

    Args:
        program: whose it is.
        number: which of a program of several; there the arrays that they are given are watched.
    """

    def __init__(self, program: CudaProgram | GridProgram, number: int | None = None) -> None:
        self.number, self.together = number, number is not None or program.block
        text = program.text if number is None else program.text.loops
        names = dict(NAMES)
        for name, value in text.constants.items():
            names[name] = eval(value, names)
        source = text.source if number is None else program.text.source
        source = source.replace("cuda.syncthreads()", "yield")
        self.names, self.code = names, compile(source, "<kernel>", "exec")

    def __getitem__(self, grid: tuple[int, int, int]) -> Any:
        blocks, threads = grid[0], min(grid[1], THREADS) if self.together else grid[1]
        if self.number is not None:  # those of all blocks, at once
            blocks, threads = 1, threads * min(blocks, 2)

        def launch(*arguments: Any) -> None:
            with np.errstate(all="ignore"):
                for block in range(blocks):
                    self._run(block, threads, arguments)

        return launch

    def _run(self, block: int, threads: int, arguments: Any) -> None:
        now, shared, running = SimpleNamespace(barrier=0, thread=0), [], []
        if self.number is not None:
            arguments = [Shared(a, now) if isinstance(a, np.ndarray) else a for a in arguments]
        for now.thread in range(threads):
            thread = Thread(block, now.thread, threads, shared, now)
            names = {**self.names, "cuda": thread}
            exec(self.code, names)
            run = f"run_{self.number}" if self.number else "run"
            running.append(names[run](*arguments))
        while any(running):
            alive = []
            for now.thread, thread in enumerate(running):
                alive += [thread] if next(thread, "end") != "end" else []
            assert len(alive) in (0, threads), "some threads wait for others that do not come"
            now.barrier, running = now.barrier + 1, alive


def interpret(program: CudaProgram | GridProgram) -> None:
    """Give a program functions that Python runs."""
    if isinstance(program, CudaProgram):
        program.function = Interpreted(program)
    else:
        kernels = program.calls - len(program.products)
        program.functions = [Interpreted(program, number) for number in range(kernels + 1)]


class KernelReplay(NumPyReplay):
    """Runs steps as CUDA kernels, a member a block; the rest as NumPy's runner does."""

    def make(self, carry: Any, data: Any, batch_rows: Any, given: Any) -> Any:
        rows = None if batch_rows is None else batch_rows[0, ...]
        arguments = self.step, carry, data, rows, HERE, given, not self.varies
        try:
            program = self.program_of(arguments)
        except Untraceable:
            return super().make(carry, data, batch_rows, given)
        self.decided = True
        return program

    def program_of(self, arguments: Any) -> Any:
        program = kernel_of(*arguments, block=True)
        if program.text.work * (program.members or 1) > MOST // 2:
            raise Untraceable("too large for an interpreter")
        interpret(program)
        return program


class GridReplay(KernelReplay):
    """Runs steps as kernels of a grid and products; the rest as NumPy's runner does."""

    def program_of(self, arguments: Any) -> Any:
        program = grids_of(*arguments, large=100, small=30)
        if program.text.loops.work > MOST // 2:
            raise Untraceable("too large for an interpreter")
        interpret(program)
        return program
