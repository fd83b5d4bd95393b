"""array-api-strict: NumPy behind the letter of the standard; the project's conscience."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.backends.numpy import NumPyBackend
from xpnet.compiler.plain import Plain, Runner, Step
from xpnet.types import Array, Data


class StrictBackend(NumPyBackend):
    """array-api-strict, whose ``device1`` refuses every way to the host but the explicit one."""

    name = "strict"
    module = "array_api_strict"
    install = "array-api-strict"
    usual_way = "plain"
    native = False

    @classmethod
    def _namespace(cls) -> Any:
        return cls._import()

    @classmethod
    def devices(cls) -> list[str]:
        return ["cpu", "device1", "device2"]

    def _find_device(self, name: str | None) -> Any:
        if name is not None and name not in self.devices():
            raise self._no_device(name)
        return self.xp.Device("CPU_DEVICE" if name in (None, "cpu") else name)

    @classmethod
    def of(cls, array: Array) -> StrictBackend:
        backend = cls()
        backend.device = array.device
        return backend

    @property
    def on_host(self) -> bool:
        return self.describe() == "cpu"

    @classmethod
    def check(cls, array: Array, name: str) -> None:
        """All that it has are plain arrays."""

    def cast(self, name: str, array: Array, dtype: str | None = None) -> str:
        if "complex" in self.dtype_name(array):
            return f"xp.real({name})"
        return self._cast(name, dtype or self._floats())

    def _cast(self, name: str, dtype: str) -> str:
        return f"xp.astype({name}, xp.{dtype})"

    def workers(self, threads: int | None = None) -> int:
        return 1

    def device_of(self, array: Array) -> Any:
        return array.device

    def frozen(self, array: Array) -> Array:
        return self.copy(array)

    def writer(self) -> Callable[[Any, Any], Any] | None:
        return None

    def kept(self, step: Step, data: Data, *also: Any) -> Any:
        return None

    def runner(self, step: Step, threads: int | None = None, native: Any = None) -> Runner:
        # The conscience: every operation goes through the standard's door, every time.
        return Plain(self.xp, step)

    def describe(self) -> str:
        name = str(self.device)
        return next((device for device in self.devices() if repr(device) in name), "cpu")

    def to_host(self, array: Array) -> np.ndarray:
        return np.array(array.to_device(self.xp.Device("CPU_DEVICE")))
