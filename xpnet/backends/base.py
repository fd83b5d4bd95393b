"""What a backend knows of its library: where it is, how arrays go in and out, how steps are run."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import ModuleType
from typing import Any, ClassVar, Protocol

import numpy as np

Array = Any
Carry = Any
Data = tuple[Any, ...]
Metrics = dict[str, Any]


class Step(Protocol):
    """A pure training step: nothing is read or written but what is passed and returned.

    The step owns ``carry`` and may write into its arrays; the data it only reads.
    """

    def __call__(self, carry: Carry, batch: Data) -> tuple[Carry, Metrics]: ...

    def select(self, data: Data, rows: Array) -> Data:
        """The samples with the indices ``rows``."""
        ...


class Runner(Protocol):
    """Runs one step many times, as `run_plainly` does; never waits for the device.

    The carry that it returns may lie in buffers of its own: it is good until its next run.
    """

    def __call__(
        self,
        carry: Carry,
        data: Data,
        n: int,
        orders: Array | None = None,
        interrupted: Callable[[], bool] = ...,
    ) -> tuple[Carry, Metrics]: ...


def never() -> bool:
    """The answer of a run that nobody interrupts."""
    return False


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class BackendUnavailable(ValueError):
    """The library of a backend is not installed, or has no device that works."""


class Backend(ABC):
    """One array library on one device.

    Args:
        device: the library's own name of a device (``"cpu"``, ``"cuda:1"``, ``"device1"``), or
            ``None`` for the one that the library would choose.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    install: ClassVar[str]
    block_bytes: ClassVar[int] = 1 << 30
    """How large one layer's output may be for all members of a block: here, what memory bears."""
    eager: ClassVar[bool] = True
    """Whether a step runs operation by operation, so that a run can be cut short between steps."""

    def __init__(self, device: str | None = None) -> None:
        self.xp = self._namespace()
        self.device = self._find_device(device)

    # ---- the library and its devices

    @classmethod
    def _import(cls) -> ModuleType:
        try:
            return importlib.import_module(cls.module)
        except ImportError as error:
            raise BackendUnavailable(
                f"backend {cls.name!r} needs the package {cls.module!r}, which could not be "
                f"imported ({error}); install it with: pip install {cls.install}"
            ) from error

    @classmethod
    @abstractmethod
    def _namespace(cls) -> Any:
        """The array API namespace of the library."""

    @classmethod
    @abstractmethod
    def devices(cls) -> list[str]:
        """The names of the devices that can be used here."""

    @abstractmethod
    def _find_device(self, name: str | None) -> Any:
        """The library's device object for ``name``; ``ValueError`` if there is none."""

    @classmethod
    @abstractmethod
    def of(cls, array: Array) -> Backend:
        """The backend of an array's library, on the array's device."""

    def device_of(self, array: Array) -> Any:
        """Where ``array`` lies, comparable with ``self.device``."""
        return array.device

    @classmethod
    def probe(cls) -> None:
        """Allocate, run one elementwise operation and one product, and read the result back.

        Raises:
            BackendUnavailable: with what the library or its driver said.
        """
        try:
            backend = cls()
            with backend.context():
                ones = backend.asarray(np.ones((2, 2)), "float32")
                result = backend.to_host((ones + 1) @ ones)
        except BackendUnavailable:
            raise
        except Exception as error:  # whatever a driver raises is the answer to "why not?"
            raise BackendUnavailable(
                f"backend {cls.name!r} is installed but its device does not work: "
                f"{type(error).__name__}: {error}"
            ) from error
        if not (result == 4).all():
            raise BackendUnavailable(f"backend {cls.name!r} computed {result.tolist()} for 2 + 2.")

    def describe(self) -> str:
        """The device in words, for a report."""
        return str(self.device)

    @classmethod
    def version(cls) -> str:
        """The version of the library."""
        return str(cls._import().__version__)

    def prepare(self, dtype: str) -> None:
        """Make the *process* ready for ``dtype``; for programs, never called by the library."""

    def context(self) -> AbstractContextManager[Any]:
        """What must hold while the library computes: its current device, its warnings."""
        return nullcontext()

    def elsewhere(self) -> Callable[[], AbstractContextManager[Any]]:
        """What another thread must enter to compute as this one would: its `context`, and more."""
        return self.context

    # ---- arrays in and out

    def dtype(self, name: str) -> Any:
        """The library's dtype called ``name``."""
        return getattr(self.xp, name)

    def dtype_name(self, array: Array) -> str:
        """The standard's name of an array's dtype."""
        return str(array.dtype).rpartition(".")[2]

    def asarray(self, values: Any, dtype: str) -> Array:
        """Bring values of the host to the device, as an array that is this backend's own."""
        host = np.array(values, dtype=dtype, order="C")
        return self.xp.asarray(host, device=self.device)

    def copy(self, arrays: Any) -> Any:
        """Copies of arrays in tuples and dicts, that share no memory with them."""
        if isinstance(arrays, dict):
            return {name: self.copy(array) for name, array in arrays.items()}
        if isinstance(arrays, tuple):
            return tuple(self.copy(array) for array in arrays)
        return self.xp.asarray(arrays, copy=True)

    def frozen(self, array: Array) -> Array:
        """A copy to look at, which cannot be written into where the library knows such arrays."""
        return self.copy(array)

    def to_host(self, array: Array) -> np.ndarray:
        """Bring an array to the host; waits for the device."""
        return np.asarray(array)

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked; for clocks, never inside a run."""

    # ---- running

    def runner(self, step: Step, threads: int | None = None) -> Runner:
        """How this library runs ``step`` many times; keep it for all intervals of a training.

        Args:
            step: the step.
            threads: over how many threads a step may be split, where the library leaves that to
                us; ``None`` for as many as pay.
        """
        return partial(run_plainly, self.xp, step)

    def kept(self, step: Step, data: Data, *also: Any) -> Any:
        """What an earlier training left for one that does the same; ``None`` where nothing is."""
        return None

    def workers(self, threads: int | None = None) -> int:
        """How many threads independent runs are spread over: one where the library has its own."""
        return 1

    def run(
        self,
        step: Step,
        carry: Carry,
        data: Data,
        n: int,
        orders: Array | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        """Run a pure step ``n`` times, with the library's `runner`."""
        return self.runner(step)(carry, data, n, orders, interrupted)


def run_plainly(
    xp: Any,
    step: Step,
    carry: Carry,
    data: Data,
    n: int,
    orders: Array | None = None,
    interrupted: Callable[[], bool] = never,
) -> tuple[Carry, Metrics]:
    """The runner of every library, and what all others must agree with: call the step.

    Args:
        xp: the namespace.
        step: maps ``(carry, batch)`` to ``(carry, metrics)``.
        carry: what goes from a step to the next; consumed, use the one that is returned.
        data: the arrays that ``step`` reads.
        n: how many steps.
        orders: ``None`` to give every step all the data, or an integer array of shape
            ``(n, batch)``: the samples of each step.
        interrupted: asked between steps where steps run one by one; ``True`` ends the run.

    Returns:
        The last carry, and each metric stacked along a first axis of the steps that were done.
    """
    history: list[Metrics] = []
    for k in range(n):
        batch = data if orders is None else step.select(data, orders[k, ...])
        carry, metrics = step(carry, batch)
        history.append(metrics)
        if interrupted():
            break
    return carry, {name: xp.stack([row[name] for row in history]) for name in history[0]}
