"""A recorded step as machine code: whole intervals without the interpreter."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, TypeVar

import numpy as np

from xpnet.compiler.ir import Node, Recording, Untraceable
from xpnet.compiler.layout import Layout
from xpnet.compiler.native.choice import CALL, LOADED, LOOPED, MULTIPLICATION, PRODUCT
from xpnet.compiler.native.compiled import folder, text_of
from xpnet.compiler.native.machine import Call, free_in_forks, is_kept
from xpnet.compiler.passes.chains import unchained
from xpnet.compiler.passes.lifetimes import lifetimes
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.passes.rewriting import rewritten
from xpnet.compiler.passes.views import reshapes
from xpnet.compiler.program import KEPT, Runs
from xpnet.compiler.record import record
from xpnet.compiler.writers.loop_calls import taken
from xpnet.compiler.writers.loops import Loops, LoopWriter
from xpnet.compiler.writers.numpy import NumPy
from xpnet.types import Carry, Data, Metrics

T = TypeVar("T")

LANE_BYTES = 32
"""How wide the members of an ensemble are that are computed at once: as a processor's registers."""

TURN = 0.05
"""For how many seconds steps run before it is asked whether somebody wants them to end."""

_TEXTS: OrderedDict[Any, tuple[Any, str, str]] = OrderedDict()
_LOCK = Lock()
COMPILING = free_in_forks(Lock())


class LoopNumPy(NumPy):
    """NumPy's memory; what has no axes lies in it too."""

    scalars = False


def planned(recording: Recording, library: LoopNumPy, sources: dict[Node, int]) -> Placement:
    """The plan of a program of loops."""
    recording = rewritten(recording, lambda rewriter: reshapes(library, rewriter))
    lives = lifetimes(recording)
    return Placement(recording, lives, unchained(lives), library, sources)


def written(form: Any, write: Callable[[], tuple[T, str, str]]) -> tuple[T, str, str]:
    """A program of loops, and its text and key: as it was written for the same form before."""
    with _LOCK:
        known = _TEXTS.get(form)
    found: tuple[T, str, str] = known or write()
    with _LOCK:
        _TEXTS[form] = found
        _TEXTS.move_to_end(form)
        while len(_TEXTS) > KEPT:
            _TEXTS.popitem(last=False)
    return found


class NativeProgram(Runs):
    """A recorded step for one set of shapes, as a function of machine code.

    Args:
        recording: the step; of an ensemble, of one of its members.
        given: buffers of the carry, by name, that are somebody else's.
        members: how many; ``None`` for one network.
        own: the data of all members by the `id` of those that the recording has of one.

    Raises:
        Untraceable: if it is not written as loops.
    """

    is_native = True

    def __init__(
        self,
        recording: Recording,
        given: dict[str, np.ndarray] | None = None,
        members: int | None = None,
        own: dict[int, np.ndarray] | None = None,
    ) -> None:
        self.members, self.library, own = members, LoopNumPy(), own or {}
        sources = recording.sources()
        arrays = [self.library.given(node.value) for node in sources]
        each = [node for node in sources if id(node.value) in own]
        lead = () if members is None else (members,)
        self.carry = {
            name: (given or {}).get(name, np.empty((*lead, *node.shape), node.dtype))
            for name, node in recording.carry.items()
            if not node.host
        }
        lanes = 0
        if members is not None:
            widest = max(node.dtype.itemsize for node in recording.carry.values() if not node.host)
            lanes = LANE_BYTES // widest
        self.text, self.file, self.key = self._written(recording, sources, arrays, each, lanes)
        self.function: Callable[..., Any] | None = None
        self._flat = [_flat(array, len(lead)) for array in self.carry.values()]
        self.numbers = np.array([*self.text.numbers, 0.0])
        self.given = []
        for number, layout in self.text.sources.values():
            whole = own.get(id(list(sources)[number].value))
            if whole is None:
                found = self.library.view(arrays[number], layout)
            else:
                found = members_of(self.library, whole, layout)
            self.given.append(found if found.flags.aligned else found.copy())
        self.pace = 1000.0
        """Steps a second, as far as is known."""

    def _written(
        self,
        recording: Recording,
        sources: dict[Node, int],
        arrays: list[np.ndarray],
        each: list[Node],
        lanes: int,
    ) -> tuple[Loops, str, str]:
        def said(node: Node) -> Any:
            number = sources[node]
            scalar = arrays[number][()].item() if node.shape == () and node.host else None
            return number, node.dtype, self.library.layout(arrays[number]), node in each, scalar

        def write() -> tuple[Loops, str, str]:
            plan = planned(recording, self.library, sources)
            starts = [node for node in recording.carry.values() if lanes and not node.host]
            loops = LoopWriter(plan, lanes, [*starts, *each]).write()
            return loops, *text_of(loops.constants, loops.source)

        return written((lanes, taken(recording), *recording.says(said)), write)

    @property
    def is_kept(self) -> bool:
        """Whether its machine code is on disk."""
        return is_kept(self.key, folder())

    @property
    def is_loaded(self) -> bool:
        """Whether this process has it."""
        return self.key in LOADED

    @property
    def length(self) -> int:
        """How many lines there are to compile."""
        return len(self.text.lines)

    def saves(self, calls: int) -> float:
        """How many seconds a step takes less, at the least, than with so many calls of NumPy."""
        products = self.text.products
        theirs = sum(max(PRODUCT, n * MULTIPLICATION) for n in products if self.members)
        ours = sum(products) * LOOPED
        return calls * CALL + (self.members or 1) * (theirs - ours)

    @property
    def calls(self) -> int:
        """0: there are none in a step."""
        return 0

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take."""
        return self.text.nbytes + sum(int(array.nbytes) for array in self.carry.values())

    def __str__(self) -> str:
        return self.file

    def compile(self) -> None:
        """Make machine code of it, or find it on disk.

        Raises:
            Untraceable: if something in it has none.
        """
        with COMPILING:  # of several threads one compiles, and the others find it
            if self.function is None:
                self.function = self._compiled()

    def _compiled(self) -> Callable[..., Any]:
        function = Call(self.file, self.key, folder(), unrolled=not self.text.lanes)
        # No step, for the types of what it is given.
        self._call(function, 0, 0, None, *self._counters({}), self._histories(0))
        return function

    def _counters(self, carry: Carry) -> tuple[np.ndarray, np.ndarray]:
        whole, real = (
            np.zeros(len(self.text.counters) + 1, np.int64),
            np.zeros(len(self.text.counters) + 1),
        )
        for i, name in enumerate(self.text.counters):
            if name in carry:
                store = whole if np.dtype(self.text.dtypes[name]).kind in "iub" else real
                store[i] = carry[name].item()
        return whole, real

    def _histories(self, n: int) -> dict[str, np.ndarray]:
        lead = (n,) if self.members is None else (n, self.members)
        return {
            name: np.empty((*lead, *shape), dtype)
            for name, (shape, dtype) in self.text.metrics.items()
        }

    def _call(
        self,
        function: Callable[..., Any],
        start: int,
        stop: int,
        rows: np.ndarray | None,
        whole: np.ndarray,
        real: np.ndarray,
        histories: dict[str, np.ndarray],
    ) -> None:
        lead = 0 if self.members is None else 1
        shown = [_flat(array, lead + 1) for array in histories.values()]
        function(start, stop, *self._given(rows, whole, real), *shown)

    def _given(self, rows: np.ndarray | None, whole: np.ndarray, real: np.ndarray) -> list[Any]:
        """What a function is given besides the steps and where their metrics are to be."""
        if rows is None:
            rows = np.zeros((1, 1), np.int64)
        return [self.members or 1, rows, whole, real, self.numbers, *self.given, *self._flat]

    def run(
        self,
        carry: Carry,
        n: int,
        batch_rows: np.ndarray | None,
        interrupted: Callable[[], bool],
    ) -> tuple[Carry, Metrics]:
        """Run ``n`` steps from ``carry``; what is returned lies in this program's own buffers."""
        self.compile()
        assert self.function is not None
        self.take(carry)
        histories = self._histories(n)
        whole, real = self._counters(carry)
        if batch_rows is not None:
            batch_rows = np.ascontiguousarray(batch_rows, np.int64)
        done = 0
        while done < n:
            some = min(n - done, max(1, int(self.pace * TURN)))
            began = time.perf_counter()
            self._call(self.function, done, done + some, batch_rows, whole, real, histories)
            took = time.perf_counter() - began
            self.pace = some / max(took, 1e-9)
            done += some
            if interrupted():
                break
        found = {name: history[:done] for name, history in histories.items()}
        return self._after(carry, whole, real), found

    def begin(
        self, carry: Carry, batch_rows: np.ndarray | None
    ) -> tuple[Callable[[], Any], Callable[[], Carry]]:
        self.compile()
        assert self.function is not None
        self.take(carry)
        whole, real = self._counters(carry)
        step = partial(self.function, 0, 1, *self._given(batch_rows, whole, real))
        return step, lambda: self._after(carry, whole, real)

    def _after(self, carry: Carry, whole: np.ndarray, real: np.ndarray) -> Carry:
        """The carry behind a step, of the names of this one."""
        after: Carry = dict(self.carry)
        for i, (name, dtype) in enumerate(self.text.dtypes.items()):
            store = whole if np.dtype(dtype).kind in "iub" else real
            after[name] = np.full((), store[i], dtype)
        return {name: after[name] for name in carry}


def native_of(
    step: Any,
    carry: Carry,
    data: Data,
    rows: np.ndarray | None,
    given: dict[str, np.ndarray] | None = None,
    constant: bool = True,
) -> NativeProgram:
    """The program of a step; of an ensemble it is recorded of its first member.

    Args:
        step, carry, data: what is run.
        rows: those of a batch, or ``None``.
        given: buffers of the carry that are somebody else's.
        constant: whether what follows from the data alone stays what it is.

    Raises:
        Untraceable: if it cannot be recorded, or is not written as loops.
    """
    recording, members, own = recorded_of_one(step, carry, data, rows, constant)
    return NativeProgram(recording, given, members, own)


def recorded_of_one(
    step: Any, carry: Carry, data: Data, rows: np.ndarray | None, constant: bool
) -> tuple[Recording, int | None, dict[int, np.ndarray]]:
    """A step of NumPy on tape, of an ensemble that of its first member.

    Returns:
        The recording; how many members there are, ``None`` for one network alone; the data of all
        by the `id` of the first one's.

    Raises:
        Untraceable: if it cannot be recorded.
    """
    theta = carry.get("theta")
    if theta is None or theta.ndim != 2 or not getattr(step, "members_first", False):
        return record(step, np, carry, data, rows, constant), None, {}
    members = len(theta)
    if any(array.ndim and len(array) != members for array in carry.values()):
        raise Untraceable("a carry of which not all is of the members")
    own = [a for a in data if a is not None and a.ndim == 3]
    ones = {id(a): a[0] for a in own}
    first = {name: array[0] if array.ndim else array for name, array in carry.items()}
    alone = tuple(a if a is None else ones.get(id(a), a) for a in data)
    recording = record(step, np, first, alone, rows, constant and not own)
    if any(node.ndim for node in recording.carry.values() if node.host):
        raise Untraceable("a counter that is an array")
    return recording, members, {id(ones[id(a)]): a for a in own}


def members_of(library: NumPy, whole: np.ndarray, one: Layout) -> np.ndarray:
    """The memory of each member, ``(members, …)``, where that of the first one is ``one``."""
    step = whole.strides[0] // whole.itemsize
    lie = Layout((len(whole), one.size), (step, 1), one.offset)
    return library.view(whole, lie)


def _flat(array: np.ndarray, lead: int) -> np.ndarray:
    """An array with one axis behind the first ones."""
    return array.reshape(*array.shape[:lead], math.prod(array.shape[lead:]))
