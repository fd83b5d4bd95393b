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
from xpnet.compiler.native import cuda as native

HERE = native.Device(np, lambda array: array, lambda: 0, np.asarray)
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
        self._now = now

    def grid(self, _: int) -> int:
        return int(self.blockIdx.x * self.blockDim.x + self.threadIdx.x)

    def _array(self, size: int, dtype: Any) -> Any:
        if self._asked == len(self._shared):
            self._shared.append(Shared(_unfilled(size, dtype), self._now))
        self._asked += 1
        return self._shared[self._asked - 1]


def _unfilled(size: int, dtype: Any) -> Any:
    return np.full(size, np.nan if np.dtype(dtype).kind == "f" else 77).astype(dtype)


class Interpreted:
    """The function of a kernel, launched as numba's is."""

    def __init__(self, program: native.CudaProgram) -> None:
        self.block = program.block
        names = dict(NAMES)
        for name, value in program.text.constants.items():
            names[name] = eval(value, names)
        source = program.text.source.replace("cuda.syncthreads()", "yield")
        self.names, self.code = names, compile(source, "<kernel>", "exec")

    def __getitem__(self, grid: tuple[int, int, int]) -> Any:
        blocks, threads = grid[0], THREADS if self.block else grid[1]

        def launch(*arguments: Any) -> None:
            with np.errstate(all="ignore"):
                for block in range(blocks):
                    self._run(block, threads, arguments)

        return launch

    def _run(self, block: int, threads: int, arguments: Any) -> None:
        now, shared, running = SimpleNamespace(barrier=0, thread=0), [], []
        for number in range(threads):
            names = {**self.names, "cuda": Thread(block, number, threads, shared, now)}
            exec(self.code, names)
            running.append(names["run"](*arguments))
        while self.block and running:
            alive = []
            for now.thread, thread in enumerate(running):
                alive += [thread] if next(thread, "end") != "end" else []
            assert len(alive) in (0, threads), "some threads wait for others that do not come"
            now.barrier, running = now.barrier + 1, alive


class KernelReplay(NumPyReplay):
    """Runs steps as CUDA kernels, a member a block; the rest as NumPy's runner does."""

    def make(self, carry: Any, data: Any, batch_rows: Any, given: Any) -> Any:
        rows = None if batch_rows is None else batch_rows[0, ...]
        try:
            program = native.kernel_of(
                self.step, carry, data, rows, HERE, given, not self.varies, block=True
            )
            if program.text.work * (program.members or 1) > MOST // 2:
                raise Untraceable("too large for an interpreter")
        except Untraceable:
            return super().make(carry, data, batch_rows, given)
        program.function, self.decided = Interpreted(program), True
        return program
