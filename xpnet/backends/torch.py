"""PyTorch, on the CPU or a GPU; its autograd is never used."""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from xpnet.backends.base import Array, Backend, Data, Runner, Step
from xpnet.backends.replay import Replay, kept


class TorchBackend(Backend):
    """PyTorch through array-api-compat."""

    name = "torch"
    module = "torch"
    install = "torch"

    @classmethod
    def _namespace(cls) -> Any:
        cls._import()
        return importlib.import_module("array_api_compat.torch")

    @classmethod
    def devices(cls) -> list[str]:
        torch = cls._import()
        found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        return [*found, "mps"] if torch.backends.mps.is_available() else found

    def _find_device(self, name: str | None) -> Any:
        torch = self._import()
        if name is None:
            return torch.empty(0).device
        full = f"cuda:{torch.cuda.current_device()}" if name == "cuda" and self._cuda() else name
        if full not in self.devices():
            known = ", ".join(self.devices())
            raise ValueError(f"device must be one of {known} for backend 'torch', not {name!r}.")
        return torch.device(full)

    @classmethod
    def _cuda(cls) -> bool:
        return bool(cls._import().cuda.is_available())

    @classmethod
    def of(cls, array: Array) -> TorchBackend:
        backend = cls.__new__(cls)
        backend.xp = cls._namespace()
        backend.device = array.device
        return backend

    def describe(self) -> str:
        if self.device.type == "cuda":
            return f"{self._import().cuda.get_device_name(self.device)} ({self.device})"
        return str(self.device)

    def context(self) -> AbstractContextManager[Any]:
        # Gradients are ours: a tensor that asks for autograd must not grow a graph here.
        context: AbstractContextManager[Any] = self._import().no_grad()
        return context

    def to_host(self, array: Array) -> np.ndarray:
        return np.asarray(array.detach().cpu().numpy())

    def kept(self, step: Step, data: Data, *also: Any) -> Any:
        if self.device.type != "cpu":
            return None
        return kept(self, step, data, *also)

    def runner(self, step: Step, threads: int | None = None) -> Runner:
        if self.device.type != "cpu":  # recorded programs have not been run on a GPU yet
            return super().runner(step, threads)
        from xpnet.backends.torch_program import TorchProgram

        return Replay(self.xp, step, partial(TorchProgram, self.device))

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            self._import().cuda.synchronize(self.device)
