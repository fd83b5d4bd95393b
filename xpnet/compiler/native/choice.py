"""When machine code pays: what it costs to make, against what it saves."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from xpnet.compiler.program import Runs

CALL, PASS = 0.7e-6, 1.0e-10
"""What a call of NumPy takes at the least, and a number that one operation of NumPy leaves in
memory for the next one, in seconds."""

PRODUCT, MULTIPLICATION, LOOPED = 2.5e-7, 1.0e-10, 2.5e-10
"""What NumPy takes at the least for each member's matrix product, and one of its multiplications,
and what machine code takes for one at the most, in seconds."""

LOADING = 0.15
"""What it takes to find a program on disk, in seconds."""

MARGIN = 1.25
"""How many times its cost is to be saved."""


LONG = 500
"""From how many lines on a program is several functions (`lowering`), which cost by the line."""


def compiling(lines: int) -> float:
    """What LLVM takes for a program of so many lines, in seconds: for 240 one, for 2000 fifteen."""
    some = min(lines, LONG)
    return (0.2 + 2e-3 * some + 1e-5 * some**2) * max(1.0, lines / LONG)


FEW, SOME = 1_000, 3_000
"""Of how few steps nothing is to be gained, whatever they take; and where they are small."""

LOADED: set[str] = set()
"""The programs of which this process has machine code, by their keys."""

LARGE = 1 << 15
"""From how many multiplications a product is BLAS's, which is faster than a loop."""


class Machine(Protocol):
    """A program of machine code, before it is made.

    Attributes:
        length: how many lines there are to compile.
        is_kept: whether what is compiled is on disk.
        is_loaded: whether this process has it.
    """

    @property
    def length(self) -> int: ...

    @property
    def is_kept(self) -> bool: ...

    @property
    def is_loaded(self) -> bool: ...

    def saves(self, calls: int) -> float:
        """How many seconds a step takes less, at the least, than with so many calls of NumPy."""
        ...

    def compile(self) -> None:
        """Make it, or find it on disk, or raise `Untraceable`."""


@dataclass(frozen=True)
class Native:
    """Whether machine code is asked for.

    Attributes:
        always: whether also where it does not pay.
        steps: how many steps may be done, at most, those of all blocks of members.
    """

    always: bool = False
    steps: float = math.inf

    @property
    def like(self) -> tuple[bool, int]:
        """What is equal where the same is chosen, but for what lies on disk by then."""
        return self.always, 0 if self.steps == math.inf else int(self.steps).bit_length()

    def hopeless(self, recorded: Any) -> str:
        """Why machine code is not even written down; empty where it might pay."""
        most = self.steps * recorded.calls * (CALL + recorded.largest * PASS)
        loaded = self.steps >= SOME and bool(LOADED)
        if self.always or most >= MARGIN * LOADING or loaded:
            return ""
        return f"{self.steps:.0f} steps take {most:.1f} s at the least, too few to load it for"

    def refuses(self, recorded: Runs, machine: Machine) -> str:
        """Why a step is better left to NumPy; empty where it is not.

        By counts alone, and whether the program is on disk: what is measured would be another thing
        in the next run, and so the last digits.
        """
        saved = self.steps * machine.saves(recorded.calls)
        cost = compiling(machine.length)
        kept, loaded = machine.is_kept, machine.is_loaded
        if kept or loaded:
            cost = 0.0 if loaded else LOADING
        if saved < MARGIN * cost:
            return (
                f"{self.steps:.0f} steps would save {max(saved, 0):.1f} s or more, and "
                f"{'loading' if kept else 'compiling'} takes {cost:.1f} s or more"
            )
        return ""


def chosen(backend: Any, native: bool | str, steps: int) -> Native | None:
    """What is asked for by ``native``, of so many steps; ``None`` where nothing is to be gained."""
    if not native or not backend.native:
        return None
    if native is True:
        return Native(always=True)
    # Of a GPU's there is no telling yet what pays: whoever has switched them on wants to see them.
    return Native(steps=steps) if steps >= FEW or not backend.on_host else None


def is_installed() -> bool:
    """Whether there is a compiler."""
    return importlib.util.find_spec("llvmlite") is not None
