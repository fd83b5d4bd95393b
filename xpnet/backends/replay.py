"""The runner that records a step and replays it."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from xpnet.backends.base import Array, Carry, Data, Metrics, never, run_plainly
from xpnet.backends.program import Program
from xpnet.backends.tape import Recording, Untraceable, record

Buffers = dict[str, Array]

_TOLD: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""The steps of which has been told that they run plainly, by their ids: once for all blocks."""


def _tell(step: Any, why: str) -> None:
    """Warn that a step is slow, once, and where this package was called."""
    if _TOLD.get(id(step)) is step:
        return
    _TOLD[id(step)] = step
    package, level, frame = str(Path(__file__).parents[1]), 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(
        f"A step runs operation by operation, which is slower, since it cannot be recorded: {why}.",
        RuntimeWarning,
        stacklevel=level,
    )


class Replay:
    """The runner that records a step and replays it.

    What cannot be recorded runs plainly, and a ``RuntimeWarning`` says why.

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
        self.refused = ""

    def __call__(
        self,
        carry: Carry,
        data: Data,
        n: int,
        orders: Array | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        program = self.program(carry, data, orders)
        result: tuple[Carry, Metrics]
        if program is None:
            # Told afterwards: where the step is wrong in itself, its error is what matters.
            result = run_plainly(self.xp, self.step, carry, data, n, orders, interrupted)
            _tell(self.step, self.refused)
            return result
        result = program.run(carry, n, orders, interrupted)
        return result

    def program(self, carry: Carry, data: Data, orders: Array | None = None) -> Any:
        """The program for these shapes and these very data, which it has computed with."""
        theta, state = carry
        key = (
            *map(id, data),
            None if orders is None else tuple(orders.shape[1:]),
            *((tuple(array.shape), array.dtype) for array in (theta, *state.values())),
        )
        if key not in self.programs:
            if len(self.programs) == self.KEPT:
                del self.programs[next(iter(self.programs))]
            try:
                program = self.make(carry, data, orders, self._shared(carry, data))
            except Untraceable as error:
                program, self.refused = None, str(error)
            # The data are held, so that no other data can get their ids.
            self.programs[key] = data, program
        return self.programs[key][1]

    def _shared(self, carry: Carry, data: Data) -> Buffers:
        """The buffers of a program for the same data, and a carry of the same form.

        So the carry need not be copied to and fro between whole batches and the last one.
        """
        theta, state = carry
        arrays = {"theta": theta, **state}
        for known, program in self.programs.values():
            if program is None or any(a is not b for a, b in zip(known, data, strict=True)):
                continue
            if all(
                name in arrays and (b.shape, b.dtype) == (arrays[name].shape, arrays[name].dtype)
                for name, b in program.carry.items()
            ):
                shared: Buffers = program.carry
                return shared
        return {}

    def make(self, carry: Carry, data: Data, orders: Array | None, given: Buffers) -> Any:
        """Record and write a program, or raise `Untraceable`."""
        rows = None if orders is None else orders[0, ...]
        return self.write(record(self.step, self.xp, carry, data, rows), given)
