"""A recorded step as a CUDA kernel: many steps a launch, for each member of an ensemble."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Recording, Untraceable
from xpnet.compiler.native.compiled import compiled, text_of
from xpnet.compiler.native.program import LoopNumPy, planned, recorded_of_one, written
from xpnet.compiler.program import Runs
from xpnet.compiler.replay import Buffers, Replay
from xpnet.compiler.writers.kernels import KernelWriter
from xpnet.compiler.writers.loop_calls import taken
from xpnet.compiler.writers.loops import Loops
from xpnet.types import Array, Carry, Data, Metrics

HEAD = '''"""A training step, {key}, as xpnet has written it: a CUDA kernel."""

import math

import numpy as np
from numba import cuda

from xpnet.compiler.native.device import (
    ceil, exp as exp_32, exp as exp_64, expm1 as expm1_32, expm1 as expm1_64, floor,
    log as log_32, log as log_64, log1p as log1p_32, log1p as log1p_64, logaddexp as logaddexp_32,
    logaddexp as logaddexp_64, maximum, minimum, rint, sign, signbit, tanh as tanh_32,
    tanh as tanh_64, threefry, trunc,
)

'''

MANY = 1024
"""From how many members on each is trained by one thread, where that has the memory."""

ALONE, TOGETHER = 32, 128
"""How many threads a block has: each with a member of its own, or all with one."""

LAUNCH = 1 << 25
"""How many numbers a thread computes in a launch, at most: what takes long keeps a screen from
being drawn, and a driver ends it."""


@dataclass(frozen=True)
class Device:
    """Where kernels run.

    Attributes:
        xp: the namespace of the arrays there.
        lent: an array as numba's kernels take it; nothing waits for what is queued.
        stream: where a kernel is queued, behind what the library has queued before.
        to_host: brings an array to the host.
    """

    xp: Any
    lent: Callable[[Array], Any]
    stream: Callable[[], Any]
    to_host: Callable[[Array], np.ndarray]


class CudaProgram(Runs):
    """A recorded step for one set of shapes, as a kernel.

    Args:
        recording: the step on NumPy; of an ensemble, of one of its members.
        device: where it runs.
        given: buffers of the carry there, by name, that are somebody else's.
        members: how many; ``None`` for one network.
        there: the data on the device by the `id` of those that the recording has.
        own: those among them that have one array of each member.
        block: whether the threads of a block train a member; ``None`` for what suits.

    Raises:
        Untraceable: if it is not written as a kernel.
    """

    def __init__(
        self,
        recording: Recording,
        device: Device,
        given: dict[str, Array] | None = None,
        members: int | None = None,
        there: dict[int, Array] | None = None,
        own: frozenset[int] = frozenset(),
        block: bool | None = None,
    ) -> None:
        self.device, self.members, there = device, members, there or {}
        xp = device.xp
        sources = recording.sources()
        self.text, self.file, self.key, self.block = self._chosen(recording, sources, own, block)
        lead = () if members is None else (members,)
        self.carry = {
            name: (given or {}).get(name, xp.empty((*lead, *node.shape), dtype=node.dtype))
            for name, node in recording.carry.items()
            if not node.host
        }
        nodes = list(sources)
        self.given = []
        for number, layout in self.text.sources.values():
            value = nodes[number].value
            if id(value) in own:
                found = there[id(value)]
                found = xp.reshape(found, (len(found), math.prod(found.shape[1:])))
            elif id(value) in there:
                found = xp.reshape(there[id(value)], (-1,))
            else:
                host = LoopNumPy().view(LoopNumPy().given(value), layout)
                found = xp.asarray(np.ascontiguousarray(host))
            self.given.append(found)
        self.function: Callable[..., Any] | None = None
        count = members or 1
        self._scratch = [
            xp.empty((count, size), dtype=getattr(xp, name))
            for name, size in self.text.scratch.items()
        ]
        self.numbers = xp.asarray(np.asarray([*self.text.numbers, 0.0]))
        self._no_rows = xp.zeros((1, 1), dtype=xp.int64)

    def _chosen(
        self,
        recording: Recording,
        sources: dict[Node, int],
        own: frozenset[int],
        block: bool | None,
    ) -> tuple[Loops, str, str, bool]:
        if block is None and (self.members or 1) >= MANY:
            try:
                return *self._written(recording, sources, own, False), False
            except Untraceable:  # then its memory is that of several
                pass
        block = block is not False
        return *self._written(recording, sources, own, block), block

    def _written(
        self, recording: Recording, sources: dict[Node, int], own: frozenset[int], block: bool
    ) -> tuple[Loops, str, str]:
        library = LoopNumPy()
        each = [node for node in sources if id(node.value) in own]

        def said(node: Node) -> Any:
            value = np.asarray(node.value)
            scalar = value[()].item() if node.shape == () and node.host else None
            return sources[node], node.dtype, library.layout(value), node in each, scalar

        def write() -> tuple[Loops, str, str]:
            plan = planned(recording, library, sources)
            starts = [node for node in recording.carry.values() if not node.host]
            loops = KernelWriter(plan, [*starts, *each], block).write()
            return loops, *text_of(loops.constants, loops.source, HEAD, "cuda.jit")

        return written(("cuda", block, taken(recording), *recording.says(said)), write)

    @property
    def calls(self) -> int:
        """0: there are none in a step."""
        return 0

    @property
    def nbytes(self) -> int:
        """How much memory its arrays take."""
        return self.text.nbytes * (self.members or 1)

    def __str__(self) -> str:
        return self.file

    def compile(self) -> None:
        """Make a kernel of it.

        Raises:
            Untraceable: if numba cannot.
        """
        if self.function is not None:
            return
        function = compiled(self.file, self.key)
        try:  # no step, for the types of what it is given
            self._launch(function, 0, 0, *self.arguments({}, None, self._histories(1)))
        except Exception as error:
            said = str(error).strip().splitlines()
            raise Untraceable(f"numba refuses it: {said[-1] if said else error!r}") from error
        self.function = function

    def _histories(self, n: int) -> dict[str, Array]:
        xp, lead = self.device.xp, () if self.members is None else (self.members,)
        return {
            name: xp.empty((n, *lead, *shape), dtype=dtype)
            for name, (shape, dtype) in self.text.metrics.items()
        }

    def arguments(
        self, carry: Carry, batch_rows: Array | None, histories: dict[str, Array]
    ) -> list[Array]:
        """What the kernel is given besides its steps and members, in order."""
        xp, count = self.device.xp, self.members or 1
        stores = {
            "whole": xp.zeros(len(self.text.counters) + 1, dtype=xp.int64),
            "real": xp.zeros(len(self.text.counters) + 1, dtype=xp.float64),
        }
        for i, name in enumerate(self.text.counters):
            if name in carry:
                stores[self._store(name)][i, ...] = carry[name]
        after = [xp.zeros_like(store) for store in stores.values()]
        rows = self._no_rows if batch_rows is None else xp.astype(batch_rows, xp.int64)
        arrays = [xp.reshape(array, (count, array.size // count)) for array in self.carry.values()]
        shown = [
            xp.reshape(array, (len(array), count, array.size // (len(array) * count)))
            for array in histories.values()
        ]
        return [
            *after, *self._scratch, rows, *stores.values(), self.numbers, *self.given, *arrays,
            *shown,
        ]  # fmt: skip

    def _store(self, counter: str) -> str:
        return "whole" if np.dtype(self.text.dtypes[counter]).kind in "iub" else "real"

    def _launch(self, function: Callable[..., Any], start: int, stop: int, *arrays: Array) -> None:
        count = self.members or 1
        blocks, threads = (count, TOGETHER) if self.block else (-(-count // ALONE), ALONE)
        lent = map(self.device.lent, arrays)
        with warnings.catch_warnings():  # of a GPU of which most is idle, as it is of few members
            warnings.filterwarnings("ignore", "Grid size")
            launch = function[blocks, threads, self.device.stream()]  # type: ignore[index]
        launch(start, stop, count, *lent)

    def run(
        self, carry: Carry, n: int, batch_rows: Array | None, interrupted: Callable[[], bool]
    ) -> tuple[Carry, Metrics]:
        """Run ``n`` steps from ``carry``; what is returned lies in this program's own buffers."""
        self.compile()
        assert self.function is not None
        xp = self.device.xp
        for name, buffer in self.carry.items():
            if carry[name] is not buffer:
                buffer[...] = carry[name]
        histories = self._histories(n)
        arrays = self.arguments(carry, batch_rows, histories)
        before = len(self._scratch) + 3
        most = max(1, LAUNCH * (TOGETHER if self.block else 1) // max(self.text.work, 1))
        done = 0
        while done < n:
            some = min(n - done, most)
            self._launch(self.function, done, done + some, *arrays)
            arrays[before : before + 2] = [xp.asarray(array, copy=True) for array in arrays[:2]]
            done += some
            if interrupted():
                break
        whole, real = arrays[:2]
        after: Carry = dict(self.carry)
        for i, (name, dtype) in enumerate(self.text.dtypes.items()):
            store = whole if self._store(name) == "whole" else real
            after[name] = xp.reshape(xp.astype(store[i : i + 1], dtype), ())
        return (
            {name: after[name] for name in carry},
            {name: history[:done] for name, history in histories.items()},
        )


class Kernels(Replay):
    """The runner of steps as kernels; as they are written where that cannot be, with a warning.

    Args:
        xp: the namespace.
        step: the step.
        device: finds where they run, or raises `Untraceable`.
    """

    def __init__(self, xp: Any, step: Any, device: Callable[[], Device]) -> None:
        super().__init__(xp, step)
        self.device = device

    def make(self, carry: Carry, data: Data, batch_rows: Array | None, given: Buffers) -> Any:
        rows = None if batch_rows is None else batch_rows[0, ...]
        program = kernel_of(
            self.step, carry, data, rows, self.device(), given, constant=not self.varies
        )
        program.compile()
        return program


def kernel_of(
    step: Any,
    carry: Carry,
    data: Data,
    rows: Array | None,
    device: Device,
    given: dict[str, Array] | None = None,
    constant: bool = True,
    block: bool | None = None,
) -> CudaProgram:
    """The program of a step, recorded on the host, of an ensemble that of its first member.

    Args:
        step, carry, data: what is run, on the device.
        rows: those of a batch, or ``None``.
        device: where.
        given: buffers of the carry that are somebody else's.
        constant: whether what follows from the data alone stays what it is.
        block: see `CudaProgram`.

    Raises:
        Untraceable: if it cannot be recorded, or is not written as a kernel.
    """

    def host(array: Array) -> np.ndarray:
        return np.asarray(device.to_host(array), order="C")

    in_order = all(array is None or array.flags.c_contiguous for array in data)
    if not in_order and not constant:  # a copy in order would stay what it is
        raise Untraceable("data in another order that change from step to step")
    here = tuple(None if array is None else host(array) for array in data)
    first = {name: host(array) for name, array in carry.items()}
    recording, members, own = recorded_of_one(
        replace(step, xp=np), first, here, None if rows is None else host(rows), constant
    )
    there = {id(a): b for a, b in zip(here, data, strict=True) if a is not None}
    there |= {one: there[id(whole)] for one, whole in own.items()}
    return CudaProgram(recording, device, given, members, there, frozenset(own), block)
