"""PyTorch, on the CPU or a GPU; its autograd is never used."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from xpnet.backends.base import Array, Backend, Runner, Size, Step
from xpnet.backends.held import Held, Setting
from xpnet.backends.replay import Replay

WORTH = 1 << 15
"""From how many elements on threads compute longer than they wait for one another."""


def _threads() -> list[Setting]:
    """How many threads PyTorch takes, as each thread's own numbers of OpenMP and of MKL.

    Not by ``torch.set_num_threads``: a thread that meets PyTorch for the first time meanwhile would
    have the 1 for good.
    """
    torch = importlib.import_module("torch")
    setting = Setting(torch.get_num_threads, torch.set_num_threads, shared=False)
    try:
        library = ctypes.CDLL(torch._C.__file__)  # finds the functions of all that it is linked to
        openmp = library.omp_set_num_threads
    except (OSError, AttributeError):  # another system, where it must do
        return [setting]
    # To ask PyTorch is what makes it set up a thread's numbers, which it must not do later.
    found = [Setting(torch.get_num_threads, openmp, shared=False)]
    with suppress(AttributeError):
        get, put = library.MKL_Get_Max_Threads, library.MKL_Set_Num_Threads_Local
        found.append(Setting(get, put, shared=False))
    return found


ONE_THREAD = Held(_threads)
"""``with ONE_THREAD():`` PyTorch computes on the thread that calls it."""


@contextmanager
def _alone(plain: AbstractContextManager[Any]) -> Iterator[None]:
    with ONE_THREAD(), plain:
        yield


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

    def context(self, size: Size | None = None) -> AbstractContextManager[Any]:
        # Gradients are ours: a tensor that asks for autograd must not grow a graph here.
        plain: AbstractContextManager[Any] = self._import().no_grad()
        if size is None or self.device.type != "cpu" or size.array >= WORTH:
            return plain
        return _alone(plain)

    def to_host(self, array: Array) -> np.ndarray:
        return np.asarray(array.detach().cpu().numpy())

    def runner(self, step: Step, threads: int | None = None) -> Runner:
        if self.device.type != "cpu":  # recorded programs have not been run on a GPU yet
            return super().runner(step, threads)
        from xpnet.backends.torch_program import TorchProgram

        return Replay(self.xp, step, partial(TorchProgram, self.device))

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            self._import().cuda.synchronize(self.device)
