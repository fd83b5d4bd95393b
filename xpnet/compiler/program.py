"""A recorded step as a program: every buffer there, every call written, run ``n`` times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import CodeType
from typing import Any

from xpnet.backends.base import Array, Carry, Metrics, never
from xpnet.compiler.bits import Draw, Drawing
from xpnet.compiler.ir import Recording
from xpnet.compiler.layout import Buffer, Ref
from xpnet.compiler.library import Library
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.writers.base import Text, Writer
from xpnet.compiler.writers.names import Blocks


@lru_cache(maxsize=64)
def _code(source: str) -> CodeType:
    """Compiled text: programs of one step, for other threads or blocks, often have the same."""
    return compile(source, "<xpnet step>", "exec")


class Program(ABC):
    """A recorded step for one set of shapes; owns the buffers of all that it computes.

    ``print(program)`` shows what it does, and what the names in it stand for.

    Args:
        recording: the step.
        given: buffers of the carry, by name, that are somebody else's.

    Attributes:
        carry: the arrays of the carry, by name.
        source: its text.
    """

    threads = 1
    """Over how many threads a step is split."""

    def __init__(self, recording: Recording, given: dict[str, Array] | None = None) -> None:
        self.library, plan = self.planned(recording, given or {})
        self.plan = plan
        self.text: Text = self.writer(plan).write()
        self.metrics = {n: (node.shape, node.dtype) for n, node in recording.metrics.items()}
        self._dtypes = {name: node.dtype for name, node in recording.carry.items()}
        self._arrays: dict[Buffer, Array] = {}
        self.carry = {name: self._array(ref) for name, ref in plan.carry.items()}
        self.source = self._whole(recording)
        names = {name: self._value(value) for name, value in self.text.names.items()}
        exec(_code(self.source), names)
        self._run = names.pop("run")  # or it would keep its own globals, and the buffers

    @abstractmethod
    def planned(self, recording: Recording, given: dict[str, Array]) -> tuple[Library, Placement]:
        """The library and, by its passes, the plan."""

    @abstractmethod
    def writer(self, plan: Placement) -> Writer:
        """What writes the plan."""

    def __str__(self) -> str:
        width = max(map(len, self.text.names), default=0)
        legend = [
            f"# {name:<{width}}  {_said(value)}"
            for name, value in self.text.names.items()
            if isinstance(value, (Ref, Blocks))
        ]
        return "\n".join([self.source, "", *legend])

    # ---- names to values

    def _whole(self, recording: Recording) -> str:
        counters = self.text.counters.values()
        histories = [f"history_{name}" for name in recording.metrics]
        rows = ["rows = batch_rows[k]"] if recording.rows is not None else []
        return "\n".join(
            [
                f"def run(n, batch_rows, interrupted, {', '.join([*counters, *histories])}):",
                "    for k in range(n):",
                *(f"        {line}" for line in [*rows, *self.text.lines]),
                "        if interrupted():",
                "            break",
                f"    return k + 1, ({''.join(f'{name}, ' for name in counters)})",
            ]
        )

    def _value(self, value: Any) -> Any:
        """What a name stands for while the program runs."""
        if isinstance(value, Ref):
            return self._array(value)
        if isinstance(value, Drawing):
            refs = [ref for ref in (value.out, value.key, value.step) if ref is not None]
            out, key, *step = (self.library.on_host(self._array(ref)) for ref in refs)
            return Draw(out, key, step[0] if step else None, value.static)
        return self._rows(value) if isinstance(value, Blocks) else value

    def _array(self, ref: Ref) -> Array:
        buffer = ref.buffer
        if buffer not in self._arrays:
            array = buffer.array
            if array is None and buffer.fill is not None:
                array = self.library.full((buffer.size,), buffer.fill, buffer.dtype)
            elif array is None:
                array = self.library.empty((buffer.size,), buffer.dtype)
            self._arrays[buffer] = array
        base = self._arrays[buffer]
        # The very array where it is one, by which a carry is known.
        same = buffer.array is not None and self.library.layout(base) == ref.layout
        return base if same else self.library.view(base, ref.layout)

    def _rows(self, blocks: Blocks) -> list[tuple[Array, ...]]:
        """The parts of each block."""
        columns, chain = [], blocks.chain
        for ref, is_block in blocks.arrays:
            array = self._array(ref)
            if is_block:
                columns.append([array[: b.stop - b.start] for b in chain.blocks])
            else:
                source = array.reshape(-1) if chain.flat else array
                columns.append([source[block] for block in chain.blocks])
        return list(zip(*columns, strict=True))

    @property
    def calls(self) -> int:
        """How many calls a step is."""
        return sum("(" in line for line in self.text.lines)

    @property
    def nbytes(self) -> int:
        """How much memory its buffers have, those of others among them."""
        itemsize = self.library.itemsize
        return sum(buffer.size * itemsize(buffer.dtype) for buffer in self._arrays)

    # ---- running

    def run(
        self, carry: Carry, n: int, batch_rows: Array | None, interrupted: Callable[[], bool]
    ) -> tuple[Carry, Metrics]:
        """Run ``n`` steps from ``carry``; what is returned lies in this program's own buffers."""
        for name, buffer in self.carry.items():
            if carry[name] is not buffer:
                buffer[...] = carry[name]
        metrics = {
            name: self.library.empty((n, *shape), dtype)
            for name, (shape, dtype) in self.metrics.items()
        }
        done, counters = self._run(
            n,
            batch_rows,
            interrupted,
            *self.numbers(carry),
            *(self.rows(history) for history in metrics.values()),
        )
        after = dict(self.carry)
        for name, value in zip(self.text.counters, counters, strict=True):
            after[name] = self.library.full((), value, self._dtypes[name])
        return (
            {name: after[name] for name in carry},
            {name: history[:done] for name, history in metrics.items()},
        )

    @property
    def counters(self) -> list[str]:
        """The names in the carry of what are Python numbers in the program."""
        return list(self.text.counters)

    def numbers(self, carry: Carry) -> list[float]:
        """The counters of a carry as Python's numbers, whole ones as integers."""
        return [carry[name].item() for name in self.text.counters]

    def advance(self, counters: Iterable[float]) -> list[float]:
        """Do one step of a recording without rows and metrics, where the carry lies; the counters
        are taken and returned.
        """
        return list(self._run(1, None, never, *counters)[1])

    def rows(self, history: Array) -> Any:
        """What the program writes row ``k`` of a history into."""
        return history


def _said(value: Ref | Blocks) -> str:
    """What a name stands for, in a line."""
    if isinstance(value, Blocks):
        chain = value.chain
        return f"{len(chain.blocks)} blocks of {chain.step} of {len(value.arrays)} arrays"
    layout, buffer = value.layout, value.buffer
    kind = str(buffer.dtype).rpartition(".")[2]
    where = "" if value.is_whole else f", element {layout.offset} on, strides {layout.strides}"
    filled = "" if buffer.fill is None else f", of {buffer.fill}"
    return f"{kind} {layout.shape} in {buffer.size} elements{where}{filled}"
