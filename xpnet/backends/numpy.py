"""NumPy, on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from xpnet.backends.base import (
    Array,
    Backend,
    Carry,
    Data,
    Metrics,
    Runner,
    Step,
    never,
    run_plainly,
)
from xpnet.backends.numpy_program import Program
from xpnet.backends.tape import Untraceable, record


class NumPyBackend(Backend):
    """NumPy itself: since 2.0 its own namespace is the standard's, and needs no wrapper."""

    name = "numpy"
    module = "numpy"
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
        return _BACKEND

    def context(self) -> AbstractContextManager[Any]:
        # exp(-x) of the sigmoid may overflow to infinity, whose inverse is the right answer, 0.
        return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")

    def runner(self, step: Step) -> Runner:
        return Replay(step)


class Replay:
    """Records a step and replays it as a `Program`; a step that cannot be recorded runs plainly."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.program: Program | None = None
        self.key: tuple[Any, ...] = ()

    def __call__(
        self,
        carry: Carry,
        data: Data,
        n: int,
        orders: Array | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        theta, state = carry
        # A program holds for these very data (it has computed with them) and these shapes.
        key = (
            *map(id, data),
            None if orders is None else orders.shape[1:],
            *(a.shape for a in (theta, *state.values())),
        )
        if key != self.key:
            self.key, self.data = key, data  # held, so that no other data can get their ids
            self.program = None  # frees its buffers before the next one takes its own
            try:
                rows = None if orders is None else orders[0]
                self.program = Program(record(self.step, np, carry, data, rows))
            except Untraceable:
                pass
        if self.program is None:
            return run_plainly(np, self.step, carry, data, n, orders, interrupted)
        return self.program.run(carry, n, orders, interrupted)


_BACKEND = NumPyBackend()
