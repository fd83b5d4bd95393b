"""NumPy, on the CPU."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from xpnet.backends.base import Array, Backend, Runner, Step
from xpnet.backends.numpy_program import NumPyProgram
from xpnet.backends.program import Replay


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
        return _BACKEND

    def context(self) -> AbstractContextManager[Any]:
        # exp(-x) of the sigmoid may overflow to infinity, whose inverse is the right answer, 0.
        return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")

    def runner(self, step: Step) -> Runner:
        return Replay(np, step, NumPyProgram)


_BACKEND = NumPyBackend()
