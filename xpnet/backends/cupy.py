"""CuPy, on NVIDIA GPUs (and AMD's, where CuPy is built for them)."""

from __future__ import annotations

import importlib
import os
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

from xpnet._optional import optional
from xpnet.backends.base import Backend, BackendUnavailable, Size
from xpnet.compiler.ir import Untraceable
from xpnet.compiler.layout import Layout
from xpnet.compiler.native.choice import Native
from xpnet.compiler.native.gpu import Device
from xpnet.compiler.native.kernels import Kernels
from xpnet.compiler.plain import Runner, Step
from xpnet.types import Array

KERNELS = "XPNET_CUDA_KERNELS"
"""The variable of the environment by which steps become CUDA kernels, which nothing else does until
they have run on a GPU: ``1``, of trainings that do not refuse it, ``all``, of whatever is run."""


class CuPyBackend(Backend):
    """CuPy through array-api-compat; every operation is queued, nothing waits inside a run."""

    name = "cupy"
    module = "cupy"
    install = "cupy-cuda13x (or cupy-cuda12x for a CUDA 12 driver)"
    compiler = "numba_cuda"
    not_native = (
        "CUDA kernels have not run on a GPU yet, and are tried with XPNET_CUDA_KERNELS=1 in the "
        "environment"
    )
    not_recorded = "CUDA kernels are not asked for, or switched off (docs/native.md)"

    @classmethod
    def _namespace(cls) -> Any:
        return cls._compat()

    @classmethod
    def devices(cls) -> list[str]:
        return [f"cuda:{i}" for i in range(cls._count())]

    @classmethod
    def _count(cls) -> int:
        # `import cupy` succeeds on a machine without a GPU: the driver is first asked here.
        try:
            return int(cls._import().cuda.runtime.getDeviceCount())
        except BackendUnavailable:
            raise
        except Exception as error:
            raise BackendUnavailable(
                f"backend 'cupy' is installed but finds no GPU; the driver said: {error}"
            ) from error

    def _find_device(self, name: str | None) -> Any:
        count = self._count()
        cuda = self._import().cuda
        if name in (None, "cuda", "gpu"):
            return cuda.Device()
        kind, _, index = str(name).partition(":")
        if kind not in ("cuda", "gpu") or not index.isdecimal() or int(index) >= count:
            raise self._no_device(str(name))
        return cuda.Device(int(index))

    @classmethod
    def of(cls, array: Array) -> CuPyBackend:
        return cls(f"cuda:{array.device.id}")

    def describe(self) -> str:
        properties = self._import().cuda.runtime.getDeviceProperties(self.device.id)
        return f"{properties['name'].decode()} (cuda:{self.device.id})"

    def context(self, size: Size | None = None) -> AbstractContextManager[Any]:
        context: AbstractContextManager[Any] = self._import().cuda.Device(self.device.id)
        return context

    def asarray(self, values: Any, dtype: str) -> Array:
        with self.context():
            return self._import().asarray(np.array(values, dtype=dtype, order="C"))

    def bringing(self) -> Callable[[np.ndarray], Array]:
        cupy, cupyx = self._import(), importlib.import_module("cupyx")
        stream = cupy.cuda.get_current_stream()
        reading: deque[tuple[Any, np.ndarray]] = deque()

        def bring(host: np.ndarray) -> Array:
            pinned = cupyx.empty_like_pinned(host)
            pinned[...] = host
            with stream:  # where steps that read it are queued behind it
                there = cupy.empty(host.shape, host.dtype)
                there.set(pinned, stream)
                reading.append((stream.record(), pinned))
            while reading and reading[0][0].done:  # CuPy would use the memory again before
                reading.popleft()
            return there

        def wait() -> None:
            while reading:
                reading[0][0].synchronize()
                reading.popleft()  # now its memory may be used again

        weakref.finalize(bring, wait)  # which keeps the memory of the last copies until then
        return bring

    def mark(self, array: Array) -> Callable[[], Any]:
        wait: Callable[[], Any] = self._import().cuda.get_current_stream().record().synchronize
        return wait

    def to_host(self, array: Array) -> np.ndarray:
        return np.asarray(self._import().asnumpy(array))

    def synchronize(self) -> None:
        self.device.synchronize()

    @property
    def native(self) -> bool:
        return os.environ.get(KERNELS, "") not in ("", "0")

    def runner(
        self, step: Step, threads: int | None = None, native: Native | None = None
    ) -> Runner:
        unasked = native is None and os.environ.get(KERNELS) != "all"
        if unasked or not self.native:
            return super().runner(step, threads, native)
        return Kernels(self.xp, step, self._numba)

    def _numba(self) -> Device:
        """How numba takes these arrays: on CuPy's stream, and without waiting for it."""
        try:
            optional(self.compiler, "a CUDA kernel")
            cuda = importlib.import_module("numba.cuda")
        except ImportError as error:
            raise Untraceable(str(error)) from error
        cupy = self._import()
        current = cupy.cuda.get_current_stream

        def view(array: Array, layout: Layout) -> Array:
            strides = [step * array.itemsize for step in layout.steps]
            return cupy.lib.stride_tricks.as_strided(array[layout.offset :], layout.shape, strides)

        def product(a: Array, b: Array, out: Array) -> None:
            if not out.flags.c_contiguous:  # into which cuBLAS does not write
                out[...] = cupy.matmul(a, b)
            elif out.ndim == 2:
                cupy.dot(a, b, out)  # which takes the host less
            else:
                cupy.matmul(a, b, out=out)

        return Device(
            self.xp,
            partial(cuda.as_cuda_array, sync=False),
            lambda: cuda.external_stream(current().ptr),
            self.to_host,
            view,
            product,
        )
