"""A recorded step as a CUDA kernel: many steps a launch, for each member of an ensemble."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.compiler.ir import Node, Recording, Untraceable
from xpnet.compiler.native.compiled import compiled, text_of
from xpnet.compiler.native.gpu import HEAD, Device, is_whole, refused
from xpnet.compiler.native.program import LoopNumPy, planned, written
from xpnet.compiler.program import Runs
from xpnet.compiler.writers.grids import HOW
from xpnet.compiler.writers.kernels import KernelWriter
from xpnet.compiler.writers.loop_calls import taken
from xpnet.compiler.writers.loops import Loops
from xpnet.types import Array, Carry, Metrics

MANY = 1024
"""From how many members on each is trained by one thread, where that has the memory."""

ALONE, TOGETHER = 32, 128
"""How many threads a block has: each with a member of its own, or all with one."""

LAUNCH = 1 << 25
"""How many numbers a thread computes in a launch, at most: what takes long keeps a screen from
being drawn, and a driver ends it."""


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
        self.device, self.members = device, members
        xp = device.xp
        sources = recording.sources()
        self.text, self.file, self.key, self.block = self._chosen(recording, sources, own, block)
        lead = () if members is None else (members,)
        self.carry = {
            name: (given or {}).get(name, xp.empty((*lead, *node.shape), dtype=node.dtype))
            for name, node in recording.carry.items()
            if not node.host
        }
        self.given = device.given(list(sources), self.text.sources.values(), there or {}, own)
        self.function: Callable[..., Any] | None = None
        count = members or 1
        self._scratch = [
            xp.empty((count, size), dtype=getattr(xp, name))
            for name, size in self.text.scratch.items()
        ]
        self.numbers = xp.asarray(np.asarray([*self.text.numbers, 0.0]))

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
            return loops, *text_of(loops.constants, loops.source, HEAD, HOW)

        return written(("cuda", block, taken(recording), *recording.says(said)), write)

    @property
    def calls(self) -> int:
        """0: there are none in a step."""
        return 0

    @property
    def told(self) -> str:
        """What it is, in words."""
        each = f"a block of {TOGETHER} threads" if self.block else "a thread"
        each = f"a member {each}" if self.members is not None else f"by {each}"
        return f"a CUDA kernel, many steps a launch, {each}"

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
            raise refused(error) from error
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
        stores = self.device.stores(carry, self.text.dtypes)
        after = [xp.zeros_like(store) for store in stores]
        arrays = [xp.reshape(array, (count, array.size // count)) for array in self.carry.values()]
        shown = [
            xp.reshape(array, (array.shape[0], count, math.prod(array.shape[1:]) // count))
            for array in histories.values()
        ]
        return [
            *after, *self._scratch, self.device.rows(batch_rows), *stores, self.numbers,
            *self.given, *arrays, *shown,
        ]  # fmt: skip

    def _launch(self, function: Callable[..., Any], start: int, stop: int, *arrays: Array) -> None:
        count = self.members or 1
        blocks, threads = (count, TOGETHER) if self.block else (-(-count // ALONE), ALONE)
        launch = self.device.launch(function, blocks, threads)
        launch(start, stop, count, *map(self.device.lent, arrays))

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
            store = whole if is_whole(dtype) else real
            after[name] = xp.reshape(xp.astype(store[i : i + 1], dtype), ())
        return (
            {name: after[name] for name in carry},
            {name: history[:done] for name, history in histories.items()},
        )
