"""NumPy, on the CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from xpnet.backends.base import Array, Backend, Carry, Data, Runner, Step, cores
from xpnet.backends.numpy_program import NumPyProgram
from xpnet.backends.numpy_threads import (
    ONE_BLAS_THREAD,
    ThreadedProgram,
    can_hold_blas,
    threads_for,
)
from xpnet.backends.replay import Buffers, Replay, kept
from xpnet.backends.tape import Untraceable

LONE_PRODUCT = 1 << 22
"""Up to how many multiplications a matrix product is not worth threads of BLAS, which then turn in
circles, or are waited for where another program has the core."""


class NumPyBackend(Backend):
    """NumPy itself: since 2.0 its own namespace is the standard's, and needs no wrapper."""

    name = "numpy"
    module = "numpy"
    block_bytes = 1 << 17  # a few arrays of a block fit in a core's cache
    install = "numpy"

    @classmethod
    def _namespace(cls) -> Any:
        return np

    @classmethod
    def devices(cls) -> list[str]:
        return ["cpu"]

    def _find_device(self, name: str | None) -> str:
        if name not in (None, "cpu"):
            raise ValueError(f"device must be 'cpu' for backend 'numpy', not {name!r}.")
        return "cpu"

    @classmethod
    def of(cls, array: Array) -> NumPyBackend:
        if isinstance(array, (np.matrix, np.ma.MaskedArray)):
            raise TypeError(
                f"arrays must be plain ones, not {type(array).__name__}; use np.asarray or filled."
            )
        return _BACKEND

    def frozen(self, array: Array) -> Array:
        array = self.copy(array)
        array.flags.writeable = False
        return array

    def device_of(self, array: Array) -> Any:
        return "cpu"  # the scalars of NumPy 2.0 do not say so themselves

    def context(self) -> AbstractContextManager[Any]:
        # exp(-x) of the sigmoid may overflow to infinity, whose inverse is the right answer, 0.
        return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")

    def workers(self, threads: int | None = None) -> int:
        return threads or cores()

    def kept(self, step: Step, data: Data, *also: Any) -> Any:
        return kept(self, step, data, *also)

    def runner(self, step: Step, threads: int | None = None) -> Runner:
        return NumPyReplay(step, threads)


class NumPyReplay(Replay):
    """Replays on NumPy: a large step on several threads.

    Args:
        step: the step.
        threads: how many at most; ``None`` for as many as there are cores, where that is worth it.
    """

    def __init__(self, step: Step, threads: int | None) -> None:
        super().__init__(np, step, NumPyProgram)
        self.threads = threads
        self.alone = False  # whether there are threads that BLAS's own would be in the way of

    def make(self, carry: Carry, data: Data, orders: Array | None, given: Buffers) -> Any:
        batch = data[0].shape[-2] if orders is None else orders.shape[1]
        threads = threads_for(carry, batch, self.threads)
        if threads > 1:
            try:
                # Already here: BLAS's own threads, once used, turn in circles for a tenth of a
                # second, on the cores that the program's threads are to have.
                with ONE_BLAS_THREAD:
                    program = ThreadedProgram(self.step, carry, data, orders, threads, given)
                self.alone = True
                return program
            except Untraceable:
                pass  # then on one
        program = super().make(carry, data, orders, given)
        if can_hold_blas() and (self.alone or program.largest_product() <= LONE_PRODUCT):
            program.around = ONE_BLAS_THREAD
        return program


_BACKEND = NumPyBackend()
