"""The runner that records a step and replays it."""

from __future__ import annotations

import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from xpnet.compiler.ir import Recording, Untraceable
from xpnet.compiler.plain import Plain, Runner, never
from xpnet.compiler.program import Program, Runs
from xpnet.compiler.pure import is_ours
from xpnet.compiler.record import record
from xpnet.compiler.step_key import ByIdentity, snapshot
from xpnet.types import Array, Carry, Data, Metrics

Buffers = dict[str, Array]

_TOLD: WeakValueDictionary[int, Any] = WeakValueDictionary()
"""The steps of which has been told that they run plainly, by their ids: once for all blocks."""


def tell(step: Any, text: str) -> None:
    """Warn that a step is slow, once, and where this package was called."""
    if _TOLD.get(id(step)) is step:
        return
    _TOLD[id(step)] = step
    package, level, frame = str(Path(__file__).parents[1]), 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, RuntimeWarning, stacklevel=level)


class Replay:
    """The runner that records a step and replays it.

    What cannot be recorded runs plainly, and a ``RuntimeWarning`` says why.

    Args:
        xp: the namespace.
        step: the step.
        write: makes a `Program` of a recording and buffers for the carry; not needed where `make`
            is another.

    Attributes:
        varies: from how many axes on data of one form come and go: 3, where members have their own,
            2, where all are read as they are needed, 0 for none. Programs read these from buffers,
            into which they are copied when they change, and nothing that follows from data is
            computed beforehand.
        buffers: those that its programs have in common with those of other runners, by the form of
            what they hold; ``None`` where there are none.
    """

    KEPT = 4
    """How many programs are kept: whole blocks and the last one, whole batches and the last one."""

    def __init__(
        self, xp: Any, step: Any, write: Callable[[Recording, Buffers], Program] | None = None
    ) -> None:
        self.xp, self.step, self.write = xp, step, write
        self.plain = Plain(xp, step)
        self.programs: dict[tuple[Any, ...], tuple[Data, Any]] = {}
        self.refused = ""
        self.varies = 0
        self.buffers: dict[Any, Array] | None = None
        self.bound: dict[Any, tuple[Data, Data]] = {}

    def __call__(
        self,
        carry: Carry,
        data: Data,
        n: int,
        batch_rows: Array | None = None,
        interrupted: Callable[[], bool] = never,
    ) -> tuple[Carry, Metrics]:
        program = self.prepared(carry, data, batch_rows)
        result: tuple[Carry, Metrics]
        if program is None:
            # Told afterwards: where the step is wrong in itself, its error is what matters.
            result = self.plain(carry, data, n, batch_rows, interrupted)
            tell(
                self.step,
                "A step runs operation by operation, which is slower, since it cannot be recorded: "
                f"{self.refused}.",
            )
            return result
        result = program.run(carry, n, batch_rows, interrupted)
        return result

    def prepared(self, carry: Carry, data: Data, batch_rows: Array | None = None) -> Any:
        """The program that runs these; ``None`` if the step runs plainly, as ``refused`` says."""
        return self.program(carry, self.bind(data) if self.varies else data, batch_rows)

    def bind(self, data: Data) -> Data:
        """Copy data into the buffers of their form, if they are not there; what is shared stays."""
        form = tuple(
            id(a) if a is None or a.ndim < self.varies else (tuple(a.shape), a.dtype) for a in data
        )  # of what is shared, that very array
        buffers, within = self.bound.get(form, (None, data))
        if buffers is None:
            buffers = tuple(
                a if a is None or a.ndim < self.varies else self.xp.asarray(a, copy=True)
                for a in data
            )
        elif any(a is not b for a, b in zip(data, within, strict=True)):
            for buffer, array in zip(buffers, data, strict=True):
                if buffer is not None and buffer is not array:
                    buffer[...] = array
        self.bound[form] = buffers, data
        return buffers

    def program(self, carry: Carry, data: Data, batch_rows: Array | None = None) -> Any:
        """The program for these shapes and these very data, which it has computed with."""
        key = (
            *map(id, data),
            None if batch_rows is None else tuple(batch_rows.shape[1:]),
            *((name, tuple(array.shape), array.dtype) for name, array in carry.items()),
        )
        if key not in self.programs:
            if len(self.programs) == self.KEPT:
                del self.programs[next(iter(self.programs))]
            try:
                program = self.make(carry, data, batch_rows, self._shared(carry, data))
            except Untraceable as error:
                program, self.refused = None, str(error)
            if self.buffers is not None and program is not None:
                for name, buffer in program.carry.items():
                    self.buffers.setdefault(_as_carried(name, buffer), buffer)
            # The data are held, so that no other data can get their ids.
            self.programs[key] = data, program
        return self.programs[key][1]

    def _shared(self, carry: Carry, data: Data) -> Buffers:
        """The buffers of a program for the same data, and a carry of the same form.

        So the carry need not be copied to and fro between whole batches and the last one.
        """
        if self.buffers is not None:
            found = {n: self.buffers.get(_as_carried(n, array)) for n, array in carry.items()}
            return {name: buffer for name, buffer in found.items() if buffer is not None}
        for known, program in self.programs.values():
            if program is None or any(a is not b for a, b in zip(known, data, strict=True)):
                continue
            if all(
                name in carry and (b.shape, b.dtype) == (carry[name].shape, carry[name].dtype)
                for name, b in program.carry.items()
            ):
                shared: Buffers = program.carry
                return shared
        return {}

    def make(self, carry: Carry, data: Data, batch_rows: Array | None, given: Buffers) -> Any:
        """Record and write a program, or raise `Untraceable`."""
        assert self.write is not None
        return self.written(carry, data, batch_rows, given, self.write)

    def written(
        self,
        carry: Carry,
        data: Data,
        batch_rows: Array | None,
        given: Buffers,
        write: Callable[[Recording, Buffers], Program],
    ) -> Any:
        """As `make`, by ``write``."""
        rows = None if batch_rows is None else batch_rows[0, ...]
        recording = record(self.step, self.xp, carry, data, rows, constant=not self.varies)
        return write(recording, given)


def _as_carried(name: str, array: Array) -> Any:
    """By what an entry of a carry is known to be that of another."""
    return name, tuple(array.shape), array.dtype


# ---- from one training to the next

DATA_BYTES, PROGRAM_BYTES, ALL_BYTES = 1 << 23, 1 << 24, 1 << 26
"""How large the data, and all buffers of the programs, may be that are kept for a training, and for
all of them: what is larger takes longer to train on than to record."""

NETWORKS, PER_NETWORK = 8, 2
"""Of how many networks programs are kept, and of each for how many steps or data."""


@dataclass(eq=False)
class KeptPrograms:
    """What a training may leave to the next one of the same network that does the same.

    Attributes:
        says: what must be equal: the step, where, in which shapes.
        data: copies that nobody else has, which the programs have computed with.
        programs: those of each runner; empty before there are any.
        nbytes: how much memory they hold.
    """

    says: Any
    data: Data
    programs: list[dict[tuple[Any, ...], tuple[Data, Any]]] = field(default_factory=list)
    nbytes: int = 0

    def lend(self, runners: Sequence[Runner]) -> None:
        """Give the programs to new runners."""
        if len(self.programs) == len(runners):
            for runner, programs in zip(runners, self.programs, strict=True):
                runner.programs = programs  # type: ignore[attr-defined]
        self.programs = []

    def put_back(self, network: Any, runners: Sequence[Runner]) -> None:
        """Take the programs from runners that are done, and keep them for the network."""
        if any(runner.varies for runner in runners):  # type: ignore[attr-defined]
            return  # they read other data than ours
        for runner in runners:
            known, runner.programs = runner.programs, {}  # type: ignore[attr-defined]
            self.programs.append({k: v for k, v in known.items() if isinstance(v[1], Runs)})
        made = [program for known in self.programs for _, program in known.values()]
        self.nbytes = sum(program.nbytes for program in made)
        if made and self.nbytes <= PROGRAM_BYTES:
            with _LOCK:
                ref, entries = _SHELF.pop(id(network), (None, []))
                if ref is None or ref() is not network:
                    number = id(network)
                    ref, entries = weakref.ref(network, lambda _: _SHELF.pop(number, None)), []
                _SHELF[id(network)] = ref, [*entries, self][-PER_NETWORK:]
                while len(_SHELF) > NETWORKS or _held() > ALL_BYTES:
                    _SHELF.pop(next(iter(_SHELF)), None)


def _held() -> int:
    return sum(entry.nbytes for _, entries in list(_SHELF.values()) for entry in entries)


_LOCK = threading.RLock()
_SHELF: dict[int, tuple[Any, list[KeptPrograms]]] = {}


def kept(backend: Any, step: Any, data: Data, *also: Any) -> KeptPrograms | None:
    """What an earlier training of this network has left, or room for what this one will leave.

    It is nobody else's as long as it is lent. What the step says is compared by value, and so are
    the data, bit by bit: an array that was changed in between is another. Layers, losses and
    optimizers that are not of xpnet may do what cannot be compared, such as drawing numbers while
    they are recorded; they are recorded anew for each training.

    Args:
        backend: where it is trained.
        step: the `TrainingStep`.
        data: the prepared data.
        also: what else must be the same.

    Returns:
        ``None`` if nothing can be kept: where the library records nothing, or it cannot be told
        whether the step is the same, or the data are large.
    """
    arrays = [a for a in data if a is not None]
    large = sum(_nbytes(backend, a) for a in arrays) > DATA_BYTES
    if large or 16 * step.network.size > PROGRAM_BYTES or not is_ours(step):
        return None  # 16 bytes: a parameter, its gradient and two moments in float32
    try:
        said = snapshot(step, {id(array) for array in step.per_member})
    except ByIdentity:
        return None
    shapes = [None if a is None else _form(backend, a) for a in data]
    says = (said, backend.name, str(backend.device), shapes, also)
    with _LOCK:
        ref, entries = _SHELF.get(id(step.network), (None, []))
        if ref is not None and ref() is step.network:
            for entry in entries:
                if entry.says == says and all(
                    a is b is None or _bits(backend, a) == _bits(backend, b)
                    for a, b in zip(entry.data, data, strict=True)
                ):
                    entries.remove(entry)
                    return entry
    return KeptPrograms(says, tuple(None if a is None else backend.copy(a) for a in data))


def _nbytes(backend: Any, array: Array) -> int:
    return int(backend.to_host(array).nbytes)


def _form(backend: Any, array: Array) -> tuple[Any, ...]:
    """Shape, dtype, and how it lies in memory, on which the last digits may depend."""
    return tuple(array.shape), str(array.dtype), backend.to_host(array).strides


def _bits(backend: Any, array: Array) -> bytes:
    found: bytes = backend.to_host(array).tobytes()
    return found
