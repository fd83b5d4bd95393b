"""The loops of machine code, run by Python's interpreter: what they say, without a compiler."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np

from xpnet.backends.numpy import NumPyReplay
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.native import choice
from xpnet.compiler.native.compiled import HEAD
from xpnet.compiler.native.fused import FusedProgram
from xpnet.compiler.native.program import NativeProgram, native_of
from xpnet.noise import PARITY, ROTATIONS, ROUNDS

MOST, WIDE = 30_000, 2_000
"""Up to how many numbers, and of how many in one array, a step is run so: larger ones would take
long, and say no more."""


def _threefry(k0: Any, k1: Any, a: Any, b: Any) -> tuple[Any, Any]:
    word, full = np.uint32, 0xFFFFFFFF
    keys = [int(k0), int(k1), int(k0) ^ int(k1) ^ PARITY]
    x, y = (int(a) + keys[0]) & full, (int(b) + keys[1]) & full
    for i in range(ROUNDS):
        turn = ROTATIONS[i % 8]
        x = (x + y) & full
        y = (((y << turn) | (y >> (32 - turn))) & full) ^ x
        if i % 4 == 3:
            n = i // 4 + 1
            x, y = (x + keys[n % 3]) & full, (y + keys[(n + 1) % 3] + n) & full
    return word(x), word(y)


_NAMES = ("sqrt", "sin", "cos", "tan", "log10", "sinh", "cosh", "copysign", "hypot")
_TURNED = {f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")}
NAMESPACE: dict[str, Any] = {
    "np": np,
    "local": np.empty,
    "float": np.float64,  # which divides by 0 as machine code does
    "math": SimpleNamespace(
        **{name: getattr(np, name) for name in _NAMES},
        **{name: getattr(np, of) for name, of in _TURNED.items()},
        atan2=np.arctan2,
    ),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "threefry": _threefry,
    **{
        f"{name}_{bits}": getattr(np, name)
        for name in ("exp", "expm1", "log", "log1p", "tanh", "logaddexp")
        for bits in (32, 64)
    },
}
"""What a program calls, by NumPy."""


def interpreted(program: NativeProgram) -> Any:
    """The function of a program, as Python runs it."""
    names = dict(NAMESPACE)
    for name, value in program.text.constants.items():
        names[name] = eval(value, names)
    exec(program.text.source, names)

    def run(*args: Any) -> None:
        with np.errstate(all="ignore"):
            names["run"](*args)

    return run


class InterpretedStretches(FusedProgram):
    """Calls of NumPy, and between them loops that Python runs."""

    def functions(self) -> dict[str, Any]:
        names = dict(NAMESPACE)
        machine = self.machine
        with np.errstate(all="ignore"):
            exec(machine.file.removeprefix(HEAD.format(key=machine.key)), names)
        return {name: names[value.name] for name, value in self.called.items()}


class LoopReplay(NumPyReplay):
    """Runs steps as the loops that machine code is made of; the rest as NumPy's runner does."""

    def make(self, carry: Any, data: Any, batch_rows: Any, given: Any) -> Any:
        rows = None if batch_rows is None else batch_rows[0, ...]
        try:
            program = native_of(self.step, carry, data, rows, given, not self.varies)
            if program.text.work * (program.members or 1) > MOST:
                raise Untraceable("too large for an interpreter")
        except Untraceable:
            return super().make(carry, data, batch_rows, given)
        self.made_of(program)
        self.decided = True
        return program

    def made_of(self, program: NativeProgram) -> None:
        """Give a program its function."""
        program.function = interpreted(program)


class MachineReplay(LoopReplay):
    """The same as machine code."""

    def made_of(self, program: NativeProgram) -> None:
        program.compile()


class StretchReplay(NumPyReplay):
    """Runs steps as NumPy's products, of any size, with loops between them."""

    def make(self, carry: Any, data: Any, batch_rows: Any, given: Any) -> Any:
        with patch.object(choice, "LARGE", 0), suppress(Untraceable):
            program = self._calls(carry, data, batch_rows, given, InterpretedStretches)
            if program.largest <= WIDE:
                return program
        return super().make(carry, data, batch_rows, given)
