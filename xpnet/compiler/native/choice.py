"""When machine code pays: what it costs to make, against what it saves."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xpnet.compiler.native.machine import is_any_loaded, is_loaded

if TYPE_CHECKING:
    from xpnet.compiler.native.program import NativeProgram

CALL, NUMBER = 0.7e-6, 1.0e-9
"""What a call of NumPy takes at the least, and a number that machine code computes at the most, in
seconds."""

COMPILING, PER_LINE, LOADING = 0.2, 0.003, 0.15
"""What LLVM takes to compile a program, and each of its lines, and to find it on disk."""

MARGIN = 1.25
"""How many times its cost is to be saved."""

FEW = 3000
"""Of how few steps nothing is to be gained, whatever they take."""

LARGE = 1 << 15
"""From how many multiplications a product is BLAS's, which is faster than a loop."""


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
        most = self.steps * recorded.calls * CALL
        if self.always or most >= MARGIN * LOADING or is_any_loaded():
            return ""
        return f"{self.steps:.0f} steps take {most:.1f} s at the least, too few to load it for"

    def refuses(self, recorded: Any, native: NativeProgram) -> str:
        """Why a step is better left to NumPy; empty where it is not.

        By counts alone, and whether the program is on disk: what is measured would be another thing
        in the next run, and so the last digits.
        """
        text = native.text
        if text.product > LARGE:
            return f"a product of {text.product} multiplications is faster by BLAS"
        members = native.members or 1
        machine = text.work * members * NUMBER
        saved = self.steps * (recorded.calls * CALL + machine - machine * 2)
        cost = COMPILING + PER_LINE * len(text.lines)
        if native.is_kept:
            cost = LOADING
        if is_loaded(native.key):
            cost = 0.0
        if saved < MARGIN * cost:
            return (
                f"{self.steps:.0f} steps would save {max(saved, 0):.1f} s or more, and "
                f"{'loading' if native.is_kept else 'compiling'} takes {cost:.1f} s or more"
            )
        return ""


def chosen(backend: Any, native: bool | str, steps: int) -> Native | None:
    """What is asked for by ``native``, of so many steps; ``None`` where nothing is to be gained."""
    if not native or not backend.native:
        return None
    if native is True:
        return Native(always=True)
    return Native(steps=steps) if steps >= FEW else None


def is_installed() -> bool:
    """Whether there is a compiler."""
    return importlib.util.find_spec("llvmlite") is not None
