"""What a backend knows of its library: where it is, how arrays go in and out, how steps are run."""

from __future__ import annotations

import importlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import numpy as np

from xpnet import checks
from xpnet.compiler.native.choice import Native
from xpnet.compiler.plain import Plain, Runner, Step, never
from xpnet.types import Array, Carry, Data, Metrics


class Size(NamedTuple):
    """How large a computation is: by which it is told whether threads are worth it."""

    product: int
    """How many multiplications its largest matrix product takes, of one member."""
    array: int
    """How many elements its largest array has."""


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def _name_of(library: str, dtype: Any) -> str:  # dtypes of two libraries are not to be compared
    return str(dtype).rpartition(".")[2]


class BackendUnavailable(ValueError):
    """The library of a backend is not installed, or has no device that works."""


class Backend(ABC):
    """One array library on one device.

    Long, since it is the list of all that a library is asked, most of it in a line or two.

    Args:
        device: the library's own name of a device (``"cpu"``, ``"cuda:1"``, ``"device1"``), or
            ``None`` for the one that the library would choose.
    """

    name: ClassVar[str]
    module: ClassVar[str]
    install: ClassVar[str]
    block_bytes: ClassVar[int] = 1 << 30
    """How large one layer's output may be for all members of a block, here what memory bears."""
    eager: ClassVar[bool] = True
    """Whether a step runs operation by operation, so that a run can be cut short between steps."""
    in_place: ClassVar[bool] = True
    """Whether arrays can be written into."""
    words: ClassVar[str] = "uint32"
    """The dtype of random words (``xpnet.noise``), wider where this one has no arithmetic."""
    compiler: ClassVar[str] = "llvmlite"
    """The package that makes machine code of a step."""
    not_native: ClassVar[str] = "no machine code is made of its steps; arrays of NumPy have it"
    """Why there is none where `native` says so, and the cure."""
    not_recorded: ClassVar[str] = "on this library and device none are recorded"
    """Why steps run operation by operation, where they do."""
    usual_way: ClassVar[str] = "plain"
    """How steps run on a CPU, as `explain` says it, ``"recorded"`` and replayed, ``"compiled"`` by
    the library, or ``"plain"``."""

    def __init__(self, device: str | None = None) -> None:
        self.xp = self._namespace()
        if device is not None and not isinstance(device, str):
            raise TypeError(
                f"device must be a name such as {self.devices()[0]!r}, not {checks.shown(device)}."
            )
        self.device = self._find_device(device)

    # ---- the library and its devices

    @classmethod
    @cache  # asked for dozens of times before a training; a failed import is tried again
    def _import(cls) -> ModuleType:
        try:
            return importlib.import_module(cls.module)
        except ImportError as error:
            raise BackendUnavailable(
                f"backend {cls.name!r} needs the package {cls.module!r}, which could not be "
                f"imported ({error}); install it with: pip install {cls.install}"
            ) from error

    @classmethod
    @cache
    def _compat(cls) -> ModuleType:
        """The library as the standard wants it, where it needs array-api-compat for that."""
        cls._import()
        try:
            return importlib.import_module(f"array_api_compat.{cls.module}")
        except ImportError as error:
            raise BackendUnavailable(
                f"backend {cls.name!r} needs the package 'array_api_compat', which could not be "
                f"imported ({error}); install it with: pip install array-api-compat"
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
    def _no_device(cls, name: str) -> ValueError:
        known = cls.devices()
        wanted = repr(known[0]) if len(known) == 1 else f"one of {', '.join(known)}"
        return ValueError(f"device must be {wanted} for backend {cls.name!r}, not {name!r}.")

    @classmethod
    @abstractmethod
    def of(cls, array: Array) -> Backend:
        """The backend of an array's library, on the array's device."""

    @classmethod
    def check(cls, array: Array, name: str) -> None:
        """Raise ``TypeError`` if this array of the library is of no kind to compute with.

        Such as a sparse one; the sentence names it ``name`` and says what makes a plain one.
        """

    @classmethod
    def as_taken(cls, array: Array, name: str) -> Array:
        """An array as it is computed with, where that may lie otherwise than it was given."""
        return array

    def traced(self, array: Array) -> bool:
        """Whether this stands for an array in a function that is traced, and has no values yet."""
        return False

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

    @property
    def way(self) -> str:
        """How steps run on this device, in the words of `usual_way`."""
        return self.usual_way

    @property
    def on_host(self) -> bool:
        """Whether arrays lie where Python runs, so that a look at their values waits for nobody."""
        return False

    @property
    def near(self) -> bool:
        """Whether the host reads arrays where they lie, though it may have to wait for them."""
        return self.on_host

    def describe(self) -> str:
        """The device in words, for a report."""
        return str(self.device)

    @classmethod
    def version(cls) -> str:
        """The version of the library."""
        return str(cls._import().__version__)

    def prepare(self, dtype: str) -> None:
        """Make the *process* ready for ``dtype``; for programs, never called by the library."""

    def context(self, size: Size | None = None) -> AbstractContextManager[Any]:
        """What must hold while the library computes: its current device, its warnings.

        Args:
            size: of what is computed; a library whose threads would wait for one another longer
                than they compute is held to one, for as long. ``None`` for what has no matrix
                products.
        """
        return nullcontext()

    def alone(self) -> AbstractContextManager[Any]:
        """What holds the library to the calling thread, however large what it computes is.

        For one of several processes, which have the cores between them.
        """
        return nullcontext()

    def elsewhere(self) -> Callable[[], AbstractContextManager[Any]]:
        """What another thread must enter to compute as this one would: its `context`, and more."""
        return self.context

    # ---- arrays in and out

    def cast(self, name: str, array: Array, dtype: str | None = None) -> str:
        """How one writes ``name`` of another dtype in this library: the cure in an error.

        Args:
            name: what the array is called.
            array: the array.
            dtype: which dtype it should have; ``None`` for the library's own floats.
        """
        if "complex" in self.dtype_name(array):
            return f"{name}.real"
        return self._cast(name, dtype or self._floats())

    def coded(self, name: str, array: Array) -> str:
        """How one writes labels as numbers: the cure in an error, as of `cast`."""
        return self.cast(name, array)

    def _cast(self, name: str, dtype: str) -> str:
        return f'{name}.astype("{dtype}")'

    def _floats(self) -> str:
        """The floats that the library makes of Python's."""
        return "float64"

    def dtype(self, name: str) -> Any:
        """The library's dtype called ``name``."""
        return getattr(self.xp, name)

    def dtype_name(self, array: Array) -> str:
        """The standard's name of an array's dtype."""
        return _name_of(type(array.dtype).__module__, array.dtype)

    def asarray(self, values: Any, dtype: str) -> Array:
        """Bring values of the host to the device, as an array that is this backend's own."""
        return self._moved(np.array(values, dtype=dtype, order="C"))

    def _moved(self, host: np.ndarray) -> Array:
        """An array of the host, which nobody else has, on the device."""
        return self.xp.asarray(host, device=self.device)

    def bringing(self) -> Callable[[np.ndarray], Array]:
        """What brings arrays of the host, which nobody else has, to the device, on a thread that
        reads ahead; asked for where steps are run, which it does not wait for.
        """
        return self._moved

    def mark(self, array: Array) -> Callable[[], Any]:
        """What waits until all has been done that ``array``, the latest result, came of."""
        return lambda: None

    def from_host(self, name: str, values: Any, dtype: str) -> Array:
        """As `asarray`, for what a user gives: numbers in lists or arrays of the host.

        Raises:
            TypeError: if they are no real numbers, with ``name``.
        """
        try:
            host = np.asarray(values)
        except Exception as error:  # rows of different lengths, arrays of another device
            raise TypeError(
                f"{name} must be an array of real numbers, not {checks.shown(values)}."
            ) from error
        if host.dtype.kind not in "biuf":
            raise TypeError(
                f"{name} must be an array of real numbers, not of {host.dtype}, as "
                f"{checks.shown(values)} is."
            )
        with np.errstate(over="ignore"):  # what becomes infinite is not finite
            return self.asarray(host, dtype)

    def check_finite(self, name: str, array: Array) -> None:
        """Raise ``ValueError`` if there is NaN or infinity in ``array``; waits for the device."""
        if self.traced(array):  # which will have values later
            return
        if not bool(self.xp.all(self.xp.isfinite(array))):
            host = self.to_host(array)
            place = tuple(map(int, np.argwhere(~np.isfinite(host))[0]))
            where = f"{name}[{', '.join(map(str, place))}]"
            raise ValueError(f"{name} must hold finite numbers, but {where} is {host[place]}.")

    def copy(self, arrays: Any) -> Any:
        """Copies of arrays in tuples and dicts, that share no memory with them."""
        if isinstance(arrays, dict):
            return {name: self.copy(array) for name, array in arrays.items()}
        if isinstance(arrays, tuple):
            return tuple(self.copy(array) for array in arrays)
        return self._copy(arrays)

    def _copy(self, array: Array) -> Array:
        return self.xp.asarray(array, copy=True)

    def frozen(self, array: Array) -> Array:
        """A copy to look at, which cannot be written into where the library knows such arrays."""
        return self.copy(array)

    def to_host(self, array: Array) -> np.ndarray:
        """Bring an array to the host; waits for the device."""
        return np.asarray(array)

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked; for clocks, never inside a run."""

    # ---- running

    def as_one(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function as the library runs it best by itself, outside of a step.

        Args:
            function: of a namespace, arrays, and by keyword alone hashable values that are none.
        """
        return function

    def runner(
        self, step: Step, threads: int | None = None, native: Native | None = None
    ) -> Runner:
        """How this library runs ``step`` many times; keep it for all intervals of a training.

        Args:
            step: the step.
            threads: over how many threads a step may be split, where the library leaves that to
                us; ``None`` for as many as pay.
            native: whether machine code may be made of it, where that can be; ``None`` for never.
        """
        return Plain(self.xp, step)

    def writer(self) -> Callable[[Any, Any], Any] | None:
        """What makes a ``Program`` of a recording and buffers; ``None`` where none are recorded."""
        return None

    def runners(
        self, step: Step, threads: int | None = None, native: Native | None = None
    ) -> list[Runner]:
        """One for each of the `workers` that run blocks of members at once."""
        # They have buffers of their own; or are programs, not to be compiled once a thread.
        count = self.workers(threads)
        if self.eager:
            return [self.runner(step, threads, native) for _ in range(count)]
        return [self.runner(step, threads, native)] * count

    def spread(self, samples: int, threads: int) -> list[slice]:
        """Which samples of a step each of so many threads has; all are of one, where the library
        has threads of its own.
        """
        return [slice(0, samples)]

    @property
    def native(self) -> bool:
        """Whether there is machine code of a step."""
        return False

    def kept(self, step: Step, data: Data, *also: Any) -> Any:
        """What an earlier training left for one that does the same; ``None`` where nothing is."""
        return None

    def workers(self, threads: int | None = None) -> int:
        """How many threads independent runs are spread over: one where the library has its own."""
        return 1

    def sum_over(
        self, work: Callable[..., Any], theta: Array, data: Data, threads: int | None = None
    ) -> Any:
        """The sum of what ``work`` finds for some of the samples each, over all of them.

        Args:
            work: is given the data of some samples: of those that a step has on one thread.
            theta: the parameters.
            data: those of all.
            threads: as for `runner`.
        """
        return work(*data)

    def run(
        self,
        step: Step,
        carry: Carry,
        data: Data,
        n: int,
        batch_rows: Array | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        """Run a pure step ``n`` times, with the library's `runner`."""
        return self.runner(step)(carry, data, n, batch_rows, interrupted)
