"""What a worker of a cluster does: it trains some members as `fit` would."""

from __future__ import annotations

import copy
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.compiler.native.choice import is_installed
from xpnet.distributed.kept import Piece, piece_of
from xpnet.distributed.parts import moved, where_is, with_samples
from xpnet.training.asked import Asked
from xpnet.training.callback import Run
from xpnet.training.fit import run_intervals
from xpnet.training.prepare import prepared

_ended: set[str] = set()
"""The trainings that this process was told to end."""


def end(name: str) -> None:
    """End the training of this name in this process, at the end of the step in hand."""
    _ended.add(name)


def is_ended(name: str) -> bool:
    """Whether this process was told to `end` it."""
    return name in _ended


@dataclass
class Work:
    """What all members share of a training, as it is sent to workers.

    Attributes:
        name: of the training.
        asked: what is asked for but `samples`, as cloudpickle has it: unpacked by a worker once it
            is ready for arrays of this dtype, and code of somebody's own along with it.
        samples: those that members share, with arrays of the host.
        library, device, dtype: where and in what it is computed.
        epochs, check_every, keep, native: as of `fit`.
        versions: what whoever sends it has.
    """

    name: str
    asked: bytes
    samples: dict[str, Any]
    library: str
    device: str | None
    dtype: str
    epochs: int
    check_every: int
    keep: str
    native: bool
    versions: dict[str, str]

    def __post_init__(self) -> None:
        self._placed: tuple[Asked, dict[str, Any]] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_placed": None}

    def asked_of(self, part: tuple[dict[str, Any], dict[str, Any]]) -> Asked:
        """What the members of a part are asked for, on the device; what they share brought once."""
        backend = backends.get(self.library, self.device)
        backend.prepare(self.dtype)  # before its first array of this dtype

        def bring(array: np.ndarray) -> Any:
            here = backends.name_of(array) == backend.name
            return array if here else backend.asarray(array, array.dtype.name)

        given, own = part
        with backend.context():
            if self._placed is None:
                shared = {name: moved(one, bring) for name, one in self.samples.items()}
                self._placed = pickle.loads(self.asked), shared
            asked, found = self._placed
            found = {**found, **moved(own, bring)}
            names = ("theta", "state", "layer_state")
            given = {n: moved(one, bring) if n in names else one for n, one in given.items()}
        threads = 1 if asked.threads is None else asked.threads
        # A generator is drawn from: each part draws the same.
        orders = copy.deepcopy(asked.shuffle_seed)
        return with_samples(
            replace(asked, **given, threads=threads, shuffle_seed=orders, native=self.native), found
        )


def train(
    work: Work,
    first: int,
    part: tuple[dict[str, Any], dict[str, Any]],
    ended: Callable[[], bool] | None = None,
) -> Piece:
    """Train the members from number ``first`` on; at the latest until it is ``ended``."""

    def told() -> bool:
        return work.name in _ended if ended is None else ended()

    backend = backends.get(work.library, work.device)
    said = [
        said_unlike(name, work.versions[name], version)
        for name, version in unlike(work.versions, versions_of(backend))
    ]
    asked = work.asked_of(part)
    with heard(said):
        with prepared(asked) as loop:
            run = Run(loop, asked, work.epochs, work.check_every)
            run_intervals(loop, run, [], lambda: nullcontext(told))
        piece = piece_of(run.model, work.keep, first)
    piece.said, piece.whole = tuple(dict.fromkeys(said)), not loop.interrupted
    piece.rng = where_is(asked.shuffle_seed)
    return piece


def here(library: str, device: str | None, dtype: str) -> tuple[dict[str, str], bool]:
    """What this process has, where it can compute so; whether it has a compiler.

    Raises:
        ValueError: if it cannot.
    """
    backend = backends.get(library, device)
    backend.prepare(dtype)
    type(backend).probe()
    return versions_of(backend), is_installed()


def versions_of(backend: backends.Backend) -> dict[str, str]:
    """The versions of what the digits of a training depend on."""
    import xpnet

    numpy = backends.get("numpy").version()
    return {"xpnet": xpnet.__version__, "numpy": numpy, backend.name: backend.version()}


def unlike(wanted: dict[str, str], found: dict[str, str]) -> list[tuple[str, str]]:
    """What is there in another version than was wanted, with that."""
    return [(name, found.get(name, "none")) for name in wanted if found.get(name) != wanted[name]]


def said_unlike(name: str, wanted: str, found: str) -> str:
    """What is to be warned of where a worker has another version."""
    return (
        f"A worker has {name} {found}, not {wanted} as this process: the last digits may be others."
    )


# ---- warnings, which nobody would read where a worker writes them

_listening: dict[int, list[str]] = {}
_lock = threading.Lock()
_python: list[Any] = []


@contextmanager
def heard(said: list[str]) -> Iterator[None]:
    """Collect the ``RuntimeWarning`` of this thread in place of showing them."""
    with _lock:
        if not _listening:
            _python[:] = [warnings.showwarning]
            warnings.showwarning = _hear
        _listening[threading.get_ident()] = said
    try:
        yield
    finally:
        with _lock:
            del _listening[threading.get_ident()]
            if not _listening and warnings.showwarning is _hear:
                warnings.showwarning = _python[0]


def _hear(message: Any, category: Any, *where: Any, **more: Any) -> None:
    said = _listening.get(threading.get_ident())
    if said is not None and issubclass(category, RuntimeWarning):
        said.append(str(message))
    else:
        _python[0](message, category, *where, **more)
