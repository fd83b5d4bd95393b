"""The array libraries: the only folder of xpnet that knows their names.

``get("cupy", "cuda:1")`` finds a library for a program that was told its name; ``of(x)`` finds the
library that an array belongs to; ``available()`` says what this machine can do, and why not the
rest. No library is imported before it is asked for, and none is the current one.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from xpnet import checks
from xpnet.backends.base import Backend, BackendUnavailable

__all__ = [
    "LIBRARIES",
    "NAMES",
    "Availability",
    "Backend",
    "BackendUnavailable",
    "available",
    "get",
    "of",
    "taken",
]

_CLASSES = {
    "numpy": "NumPyBackend",
    "cupy": "CuPyBackend",
    "torch": "TorchBackend",
    "jax": "JaxBackend",
    "strict": "StrictBackend",
}

NAMES = tuple(_CLASSES)
"""The names that ``get`` and ``--backend`` know."""

_ROOTS = {
    "numpy": "numpy",
    "cupy": "cupy",
    "torch": "torch",
    "jax": "jax",
    "jaxlib": "jax",
    "array_api_strict": "strict",
}

LIBRARIES = (*_ROOTS, "array_api_compat")
"""The packages that are array libraries, or make one of another."""


@dataclass(frozen=True)
class Availability:
    """Whether a backend can be used here: its devices and version, or the reason why not."""

    name: str
    devices: tuple[str, ...]
    version: str | None
    reason: str | None

    def __bool__(self) -> bool:
        return self.reason is None


@cache
def _class(name: str) -> type[Backend]:
    module = importlib.import_module(f"xpnet.backends.{name}")
    found: type[Backend] = getattr(module, _CLASSES[name])
    return found


def way(name: str) -> str:
    """How steps run on this library, on a CPU (`Backend.usual_way`); it need not be installed."""
    return _class(name).usual_way


def get(name: str, device: str | None = None) -> Backend:
    """Return the backend called ``name`` on ``device`` (``None``: the library's own choice).

    Raises:
        ValueError: if there is no such backend or device; ``BackendUnavailable``, which is one,
            if the library is not installed or its driver finds no device.
    """
    checks.one_of("backend", name, NAMES)
    return _class(name)(device)


def of(*arrays: Any, names: tuple[str, ...] = ()) -> Backend:
    """Return the backend of the library and device that all the arrays share.

    Args:
        arrays: at least one array; ``None`` is passed over.
        names: what to call them in an error.

    Raises:
        TypeError: if one is no array of a known library, or of a kind that cannot be computed with
            (sparse, masked), or they are of different libraries.
        ValueError: if they lie on different devices.
    """
    named = [
        (array, names[i] if i < len(names) else f"argument {i}")
        for i, array in enumerate(arrays)
        if array is not None
    ]
    if not named:
        raise TypeError("at least one array is needed to know the library.")
    first, first_name = named[0]
    backend = _library_of(first, first_name)
    place = backend.device_of(first)
    for array, name in named[1:]:
        if type(array) is type(first):
            backend.check(array, name)
        else:
            other = _library_of(array, name)
            if other.name != backend.name:
                raise TypeError(
                    f"{name} is an array of {other.name} but {first_name} one of {backend.name}; "
                    "bring them to one library."
                )
        elsewhere = backend.device_of(array)
        if elsewhere != place and elsewhere is not None and place is not None:
            one, two = (_class(backend.name).of(a).describe() for a in (array, first))
            if one == two or " " not in one + two:
                one, two = str(elsewhere), str(place)
            raise ValueError(
                f"{name} lies on {one} but {first_name} on {two}; move them to one device."
            )
    return backend


def _library_of(array: Any, name: str) -> Backend:
    if library := name_of(array):
        found = _class(library)
        found.check(array, name)
        return found.of(array)
    raise TypeError(
        f"{name} must be an array of {', '.join(NAMES)}, not {type(array).__name__}"
        f"{_cure(array, name)}."
    )


def name_of(array: Any) -> str:
    """The name of the library that an array is of; empty if it is of none."""
    if checks.is_array(array):
        for kind in type(array).__mro__:  # a subclass is for its library to take or to refuse
            if library := _ROOTS.get(kind.__module__.partition(".")[0]):
                return library
    return ""


def communicator(comm: Any) -> Any:
    """How processes of a library talk, where ``comm`` is of it; else ``None``."""
    module = getattr(comm, "__name__", type(comm).__module__)
    if isinstance(module, str) and _ROOTS.get(module.partition(".")[0]) == "torch":
        return importlib.import_module("xpnet.backends.torch_ranks").TorchCommunicator(comm)
    return None


HOST, CUDA = (1, 3, 11), 2
"""The kinds of devices, as DLPack counts them: memory of the host, and NVIDIA's GPUs."""


@lru_cache(256)
def _speaks_dlpack(kind: Any) -> bool:
    """Whether arrays of a type hand out their memory, and are of no library that is known here."""
    roots = {one.__module__.partition(".")[0] for one in kind.__mro__}
    return (
        hasattr(kind, "__dlpack__") and hasattr(kind, "__dlpack_device__") and not roots & {*_ROOTS}
    )


@lru_cache(256)
def _may_be_spread(kind: Any) -> bool:
    """Whether arrays of a type may have a part on each of several devices."""
    return any(one.__module__.partition(".")[0] in ("jax", "jaxlib") for one in kind.__mro__)


def _is_foreign(value: Any) -> bool:
    kind: Any = type(value)
    return _speaks_dlpack(kind)


def taken(**given: Any) -> dict[str, Any]:
    """The same by name, with arrays of libraries that are not known here taken over by DLPack.

    They become arrays of the library of the others, where that lies on such a device, else of
    NumPy, or on a GPU of CuPy or PyTorch. Nothing is copied, and nothing goes through the host.

    Args:
        given: arrays, or whatever else, which is handed on.

    Raises:
        TypeError: if the device, or the dtype, of one is none that a library here has.
    """
    kinds: list[Any] = [*map(type, given.values())]
    if any(map(_may_be_spread, kinds)):
        given = {
            name: _class("jax").as_taken(value, name) if _may_be_spread(kind) else value
            for (name, value), kind in zip(given.items(), kinds, strict=True)
        }
    if not any(map(_speaks_dlpack, kinds)):  # in a microsecond
        return given
    known = [(name, value) for name, value in given.items() if name_of(value)]
    others = of(known[0][1], names=(known[0][0],)) if known else None
    return {
        name: _taken(name, value, others) if _is_foreign(value) else value
        for name, value in given.items()
    }


def _taken(name: str, value: Any, others: Backend | None) -> Any:
    kind = int(value.__dlpack_device__()[0])
    if kind not in (*HOST, CUDA):
        raise TypeError(
            f"{name} must lie in the memory of the host or of an NVIDIA GPU to be taken over by "
            f"DLPack, not on its device {kind}; use np.asarray({name})."
        )
    if others is not None and others.near == (kind != CUDA):
        library = others.name
    else:
        library = _gpu_library() if kind == CUDA else "numpy"
    try:
        return _class(library)._namespace().from_dlpack(value)
    except Exception as error:  # each library has its own for a dtype that it has not
        raise TypeError(
            f"{name} must be an array whose memory {library} takes over by DLPack, not "
            f"{checks.shown(value)} ({checks.cut(str(error)).rstrip('.')})."
        ) from error


def _gpu_library() -> str:
    """The first library here that computes on an NVIDIA GPU."""
    for name in ("cupy", "torch"):
        try:
            _class(name)._namespace()
            return name
        except BackendUnavailable:
            pass
    raise BackendUnavailable(
        "an array on a GPU needs CuPy or PyTorch, neither of which could be imported; install "
        f"one with: pip install {_class('cupy').install}"
    )


def way_into_memory(array: Any) -> str:
    """The method by which data frames and the like become arrays; empty if there is none."""
    methods = ("to_numpy", "toarray", "todense", "to_dense")
    return next((name for name in methods if callable(getattr(type(array), name, None))), "")


def _cure(array: Any, name: str) -> str:
    """How to make an array of what is none."""
    if method := way_into_memory(array):
        return f"; use {name}.{method}()"
    if isinstance(array, (list, tuple)) or hasattr(type(array), "__array__"):
        return f"; use np.asarray({name})"
    return ""


def available() -> dict[str, Availability]:
    """Say for every backend what this machine can do, by doing it (imports what is installed)."""
    result = {}
    for name in NAMES:
        backend = _class(name)
        try:
            backend.probe()
            result[name] = Availability(name, tuple(backend.devices()), backend.version(), None)
        except BackendUnavailable as error:
            result[name] = Availability(name, (), None, str(error))
    return result
