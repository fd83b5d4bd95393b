"""The runner that records a step and replays it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from xpnet.backends.base import Array, Carry, Data, Metrics, never, run_plainly
from xpnet.backends.program import Program
from xpnet.backends.tape import Recording, Untraceable, record

Buffers = dict[str, Array]


class Replay:
    """The runner that records a step and replays it; what cannot be recorded runs plainly.

    Args:
        xp: the namespace.
        step: the step.
        write: makes a `Program` of a recording and buffers for the carry.
    """

    KEPT = 4
    """How many programs are kept: whole blocks and the last one, whole batches and the last one."""

    def __init__(self, xp: Any, step: Any, write: Callable[[Recording, Buffers], Program]) -> None:
        self.xp, self.step, self.write = xp, step, write
        self.programs: dict[tuple[Any, ...], tuple[Data, Any]] = {}
        # One carry for all programs, so that it need not be copied from one to the other.
        self.buffers: Buffers = {}

    def __call__(
        self,
        carry: Carry,
        data: Data,
        n: int,
        orders: Array | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        program = self.program(carry, data, orders)
        if program is None:
            return run_plainly(self.xp, self.step, carry, data, n, orders, interrupted)
        result: tuple[Carry, Metrics] = program.run(carry, n, orders, interrupted)
        return result

    def program(self, carry: Carry, data: Data, orders: Array | None = None) -> Any:
        """The program for these shapes and these very data, which it has computed with."""
        theta, state = carry
        key = (
            *map(id, data),
            None if orders is None else tuple(orders.shape[1:]),
            *(tuple(array.shape) for array in (theta, *state.values())),
        )
        if key not in self.programs:
            if len(self.programs) == self.KEPT:
                del self.programs[next(iter(self.programs))]
            shapes = {name: array.shape for name, array in {"theta": theta, **state}.items()}
            if any(buffer.shape != shapes.get(name) for name, buffer in self.buffers.items()):
                self.buffers = {}
            try:
                program = self.make(carry, data, orders)
                self.buffers = program.carry
            except Untraceable:
                program = None
            # The data are held, so that no other data can get their ids.
            self.programs[key] = data, program
        return self.programs[key][1]

    def make(self, carry: Carry, data: Data, orders: Array | None) -> Any:
        """Record and write a program, or raise `Untraceable`."""
        rows = None if orders is None else orders[0, ...]
        return self.write(record(self.step, self.xp, carry, data, rows), self.buffers)
