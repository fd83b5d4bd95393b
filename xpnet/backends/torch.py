"""PyTorch, on the CPU or a GPU; its autograd is never used."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from xpnet.backends.base import Backend, Size
from xpnet.backends.shared_setting import Setting, SharedSetting, mkl
from xpnet.compiler.plain import Runner, Step
from xpnet.compiler.replay import Replay, kept
from xpnet.types import Array, Data

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
        found.append(mkl(library.MKL_Set_Num_Threads_Local))
    return found


ONE_THREAD = SharedSetting(_threads)
"""``with ONE_THREAD():`` PyTorch computes on the thread that calls it."""


class TorchBackend(Backend):
    """PyTorch through array-api-compat."""

    name = "torch"
    module = "torch"
    install = "torch"
    words = "int64"  # it has uint32, but no sums of it
    usual_way = "recorded"

    @classmethod
    def _namespace(cls) -> Any:
        return cls._compat()

    @classmethod
    def devices(cls) -> list[str]:
        torch = cls._import()
        found = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        return [*found, "mps"] if torch.backends.mps.is_available() else found

    def _find_device(self, name: str | None) -> Any:
        torch = self._import()
        if name is None:
            usual = torch.empty(0).device
            return torch.device("cpu") if usual.type == "meta" else usual  # which has no values
        full = f"cuda:{torch.cuda.current_device()}" if name == "cuda" and self._cuda() else name
        if full not in self.devices():
            raise self._no_device(name)
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

    @property
    def way(self) -> str:  # recorded programs have not been run on a GPU yet
        return self.usual_way if self.on_host else "plain"

    @property
    def on_host(self) -> bool:
        return bool(self.device.type == "cpu")

    @classmethod
    def check(cls, array: Array, name: str) -> None:
        torch = cls._import()
        if array.is_nested:
            raise TypeError(
                f"{name} must be a dense tensor, not a nested one; use {name}.to_padded_tensor(0)."
            )
        if array.layout is not torch.strided:
            kind = str(array.layout).rpartition(".")[2]
            raise TypeError(f"{name} must be a dense tensor, not {kind}; use {name}.to_dense().")
        if array.device.type == "meta":
            raise TypeError(
                f"{name} must hold values, not lie on the device 'meta', which keeps shapes alone; "
                "make it with device='cpu'."
            )
        if array.is_quantized:
            raise TypeError(f"{name} must be of floats, not quantized; use {name}.dequantize().")
        wrapped = torch._C._functorch
        while wrapped.is_functorch_wrapped_tensor(array):
            # xpnet computes outside of autograd, for which it would be a constant: gradient 0. What
            # goes forward (jvp, jacfwd) or is mapped alone (vmap) comes out right.
            if wrapped.is_gradtrackingtensor(array) and array.requires_grad:
                raise TypeError(
                    f"{name} must not be differentiated by torch.func, to which a network of xpnet "
                    "is a constant; use value_and_grad."
                )
            array = wrapped.get_unwrapped(array)

    def traced(self, array: Array) -> bool:
        return bool(self._import()._C._functorch.is_functorch_wrapped_tensor(array))

    def _cast(self, name: str, dtype: str) -> str:
        return f"{name}.to(torch.{dtype})"

    def _floats(self) -> str:
        return str(self._import().get_default_dtype()).rpartition(".")[2]

    def describe(self) -> str:
        if self.device.type == "cuda":
            return f"{self._import().cuda.get_device_name(self.device)} ({self.device})"
        return str(self.device)

    def context(self, size: Size | None = None) -> AbstractContextManager[Any]:
        # Gradients are ours: a tensor that asks for autograd must not grow a graph here. Dtypes are
        # too: autocast would round what is multiplied to half of the digits.
        torch = self._import()
        usual, kind = torch.empty(0).device, self.device.type
        within: AbstractContextManager[Any] = torch.no_grad()
        if usual.type != "cpu" and usual != self.device:
            within = _both(within, self.device)  # where numbers become tensors, wherever else
        if torch.is_autocast_enabled(kind):
            within = _both(within, torch.autocast(kind, enabled=False))
        if size is None or kind != "cpu" or size.array >= WORTH:
            return within
        return _both(ONE_THREAD(), within)

    def _copy(self, array: Array) -> Array:
        return array.detach().clone()  # asarray would hand on that it asks for autograd

    def bringing(self) -> Callable[[np.ndarray], Array]:
        torch = self._import()
        if self.device.type != "cuda":
            return self._moved
        stream = torch.cuda.current_stream(self.device)

        def bring(host: np.ndarray) -> Array:
            with torch.cuda.stream(stream):  # where steps that read it are queued behind it
                pinned = torch.from_numpy(host).pin_memory()  # kept by PyTorch until it is read
                return pinned.to(self.device, non_blocking=True)

        return bring

    def mark(self, array: Array) -> Callable[[], Any]:
        if self.device.type != "cuda":
            return super().mark(array)
        wait: Callable[[], Any] = (
            self._import().cuda.current_stream(self.device).record_event().synchronize
        )
        return wait

    def to_host(self, array: Array) -> np.ndarray:
        return np.asarray(array.detach().cpu().numpy())

    def kept(self, step: Step, data: Data, *also: Any) -> Any:
        if self.way == "plain":
            return None
        return kept(self, step, data, *also)

    def runner(self, step: Step, threads: int | None = None, native: Any = None) -> Runner:
        write = self.writer()
        return super().runner(step, threads) if write is None else Replay(self.xp, step, write)

    def alone(self) -> AbstractContextManager[Any]:
        return ONE_THREAD() if self.on_host else super().alone()

    def writer(self) -> Callable[[Any, Any], Any] | None:
        if self.way == "plain":
            return None
        from xpnet.compiler.writers.torch import TorchProgram

        return partial(TorchProgram, self.device, ONE_THREAD)

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            self._import().cuda.synchronize(self.device)


@contextmanager
def _both(
    first: AbstractContextManager[Any], second: AbstractContextManager[Any]
) -> Iterator[None]:
    with first, second:
        yield
