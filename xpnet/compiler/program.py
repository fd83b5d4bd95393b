"""A recorded step as a program: every buffer there, every call written, run ``n`` times."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from threading import Lock
from types import CodeType
from typing import Any

from xpnet.compiler.bits import Draw, Drawing
from xpnet.compiler.ir import Node, Recording
from xpnet.compiler.layout import Buffer, Ref
from xpnet.compiler.library import Library
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.plain import never
from xpnet.compiler.writers.base import Text, Writer
from xpnet.compiler.writers.names import Blocks, Scalar
from xpnet.types import Array, Carry, Metrics

KEPT = 64
"""How many texts are kept: as small as they are, networks of one form come by the thousand."""

_TEXTS: OrderedDict[Any, tuple[Text, CodeType]] = OrderedDict()
_LOCK = Lock()


@lru_cache(maxsize=KEPT)
def _code(source: str) -> CodeType:
    """Compiled text, which networks of other sizes often share."""
    return compile(source, "<xpnet step>", "exec")


class Runs(ABC):
    """What runs a step many times, for one set of shapes, in buffers of its own.

    Attributes:
        carry: the arrays of the carry, by name.
        threads: over how many threads a step is split.
        is_native: whether it is machine code.
    """

    carry: dict[str, Array]
    threads = 1
    is_native = False

    @property
    @abstractmethod
    def calls(self) -> int:
        """How many calls a step is."""

    @property
    def largest(self) -> int:
        """How many elements the largest array has that calls compute."""
        return 0

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """How much memory its buffers have, those of others among them."""

    @abstractmethod
    def run(
        self, carry: Carry, n: int, batch_rows: Array | None, interrupted: Callable[[], bool]
    ) -> tuple[Carry, Metrics]:
        """Run ``n`` steps from ``carry``; what is returned lies in this program's own buffers."""

    def begin(
        self, carry: Carry, batch_rows: Array | None
    ) -> tuple[Callable[[], Any], Callable[[], Carry]]:
        """What does the next step each time, of a step without metrics, and what tells the carry.

        Between two steps the arrays of ``carry`` and ``batch_rows`` may be written into, the first
        where this program has them; a step is of the first row of these.
        """

        def step() -> None:
            nonlocal carry
            carry, _ = self.run(carry, 1, batch_rows, never)

        return step, lambda: carry

    def take(self, carry: Carry) -> None:
        """Have the arrays of a carry in the buffers of this program."""
        for name, buffer in self.carry.items():
            if carry[name] is not buffer:
                buffer[...] = carry[name]


class Program(Runs):
    """A recorded step for one set of shapes; owns the buffers of all that it computes.

    Long, since it is both what a text becomes and what is run.

    The text is kept: a step of the same form, on other arrays, is not written again.
    ``print(program)`` shows what it does, and what the names in it stand for.

    Args:
        recording: the step.
        given: buffers of the carry, by name, that are somebody else's.
    """

    def __init__(self, recording: Recording, given: dict[str, Array] | None = None) -> None:
        self.library = self.made_for()
        sources = recording.sources()
        self._sources = [self.library.given(node.value) for node in sources]
        self.text, code = self._written(recording, sources)
        self._arrays: dict[Buffer, Array] = {}
        for name, ref in self.text.carry.items():
            if given and name in given:
                self._arrays[ref.buffer] = given[name]
        self.carry = {name: self._array(ref) for name, ref in self.text.carry.items()}
        names = {name: self._value(value) for name, value in self.text.names.items()}
        exec(code, names)
        self._run = names.pop("run")  # or it would keep its own globals, and the buffers
        del self._sources

    def _written(self, recording: Recording, sources: dict[Node, int]) -> tuple[Text, CodeType]:
        """The text of a step of this form, and as it is compiled."""

        def given(node: Node) -> Any:
            number = sources[node]
            return number, node.dtype, self.library.layout(self._sources[number])

        form = type(self), self.settings(), recording.xp, *recording.says(given)
        with _LOCK:
            found = _TEXTS.get(form)
        if found is None:
            text = self.writer(self.planned(recording, sources)).write()
            found = text, _code(text.source)
        with _LOCK:
            _TEXTS[form] = found
            _TEXTS.move_to_end(form)
            while len(_TEXTS) > KEPT:
                _TEXTS.popitem(last=False)
        return found

    @abstractmethod
    def made_for(self) -> Library:
        """The library."""

    @abstractmethod
    def settings(self) -> tuple[Any, ...]:
        """What the text depends on, besides the step."""

    @abstractmethod
    def planned(self, recording: Recording, sources: dict[Node, int]) -> Placement:
        """By the passes of the library, the plan."""

    @abstractmethod
    def writer(self, plan: Placement) -> Writer:
        """What writes the plan."""

    @property
    def source(self) -> str:
        """The text of ``n`` steps."""
        return self.text.source

    def __str__(self) -> str:
        width = max(map(len, self.text.names), default=0)
        legend = [
            f"# {name:<{width}}  {_said(value)}"
            for name, value in self.text.names.items()
            if isinstance(value, (Ref, Blocks))
        ]
        return "\n".join([self.source, "", *legend])

    # ---- names to values

    def _value(self, value: Any) -> Any:
        """What a name stands for while the program runs."""
        if isinstance(value, Ref):
            return self._array(value)
        if isinstance(value, Scalar):
            number = self._sources[value.source][()]
            return number.item() if value.plain else number
        if isinstance(value, Drawing):
            refs = [ref for ref in (value.out, value.key, value.step) if ref is not None]
            out, key, *step = (self.library.on_host(self._array(ref)) for ref in refs)
            return Draw(out, key, step[0] if step else None, value.static)
        return self._rows(value) if isinstance(value, Blocks) else value

    def _array(self, ref: Ref) -> Array:
        buffer = ref.buffer
        if buffer not in self._arrays:
            self._arrays[buffer] = self._memory(buffer)
        base = self._arrays[buffer]
        # The very array where it is one, by which a carry is known.
        same = tuple(base.shape) == ref.shape and self.library.layout(base) == ref.layout
        return base if same else self.library.view(base, ref.layout)

    def _memory(self, buffer: Buffer) -> Array:
        if buffer.source is not None:
            return self._sources[buffer.source]
        if buffer.fill is not None:
            return self.library.full((buffer.size,), buffer.fill, buffer.dtype)
        return self.library.empty((buffer.size,), buffer.dtype)

    def _rows(self, blocks: Blocks) -> list[tuple[Array, ...]]:
        """The parts of each block."""
        columns = []
        for ref, is_block in blocks.arrays:
            array = self._array(ref)
            if is_block:
                columns.append([array[: part.stop - part.start] for part in blocks.parts])
            else:
                source = array.reshape(-1) if blocks.flat else array
                columns.append([source[part] for part in blocks.parts])
        return list(zip(*columns, strict=True))

    @property
    def calls(self) -> int:
        """How many calls a step is."""
        return sum("(" in line for line in self.text.lines)

    @property
    def largest(self) -> int:
        """How many elements the largest array has that calls compute."""
        return self.text.largest

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
        self.take(carry)
        metrics = {
            name: self.library.empty((n, *shape), dtype)
            for name, (shape, dtype) in self.text.metrics.items()
        }
        numbers = self.numbers(carry)
        histories = [self.rows(history) for history in metrics.values()]
        with self.running():
            done, counters = self._run(n, batch_rows, interrupted, *numbers, *histories)
        found = {name: history[:done] for name, history in metrics.items()}
        return self._after(carry, counters), found

    def begin(
        self, carry: Carry, batch_rows: Array | None
    ) -> tuple[Callable[[], Any], Callable[[], Carry]]:
        self.take(carry)
        numbers: Iterable[float] = self.numbers(carry)

        def step() -> None:
            nonlocal numbers
            with self.running():
                _, numbers = self._run(1, batch_rows, never, *numbers)

        return step, lambda: self._after(carry, numbers)

    def _after(self, carry: Carry, counters: Iterable[float]) -> Carry:
        """The carry behind a step, of the names of this one."""
        after = dict(self.carry)
        for name, value in zip(self.text.counters, counters, strict=True):
            after[name] = self.library.full((), value, self.text.dtypes[name])
        return {name: after[name] for name in carry}

    def running(self) -> AbstractContextManager[Any]:
        """What is entered while steps run."""
        return nullcontext()

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
        with self.running():
            return list(self._run(1, None, never, *counters)[1])

    def rows(self, history: Array) -> Any:
        """What the program writes row ``k`` of a history into."""
        return history


def _said(value: Ref | Blocks) -> str:
    """What a name stands for, in a line."""
    if isinstance(value, Blocks):
        step = value.parts[0].stop
        return f"{len(value.parts)} blocks of {step} of {len(value.arrays)} arrays"
    layout, buffer = value.layout, value.buffer
    kind = str(buffer.dtype).rpartition(".")[2]
    where = "" if value.is_whole else f", element {layout.offset} on, strides {layout.strides}"
    filled = "" if buffer.fill is None else f", of {buffer.fill}"
    return f"{kind} {layout.shape} in {buffer.size} elements{where}{filled}"
