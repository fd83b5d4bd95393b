"""A recorded step as calls of NumPy, with machine code between them: for large products.

A product of large matrices is BLAS's. What stands between two of them is one function of loops,
which reads each array once where NumPy would once an operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from xpnet.compiler.bits import Drawing
from xpnet.compiler.ir import Node, Recording, Untraceable
from xpnet.compiler.layout import Ref
from xpnet.compiler.library import Library
from xpnet.compiler.native import choice
from xpnet.compiler.native.choice import CALL, LOADED, PASS
from xpnet.compiler.native.compiled import folder, text_of
from xpnet.compiler.native.machine import Call, is_kept
from xpnet.compiler.native.program import COMPILING, LoopNumPy
from xpnet.compiler.native.values import type_of
from xpnet.compiler.passes.chains import Stretch
from xpnet.compiler.passes.lifetimes import lifetimes
from xpnet.compiler.passes.placement import Placement
from xpnet.compiler.passes.rewriting import Rewriter, Rule, rewritten
from xpnet.compiler.passes.stretches import stretches
from xpnet.compiler.passes.sums import Sums
from xpnet.compiler.passes.views import reshapes
from xpnet.compiler.writers.base import Text
from xpnet.compiler.writers.loop_calls import taken, unwritten
from xpnet.compiler.writers.loops import multiplications
from xpnet.compiler.writers.numpy import ADDED, NumPyProgram, NumPyWriter
from xpnet.compiler.writers.stretches import Function, StretchWriter
from xpnet.types import Carry, Metrics


@dataclass(frozen=True)
class Compiled:
    """A function of machine code.

    Attributes:
        name: what it is called.
        types: of what kind each number is that it is given, or each element of an array.
    """

    name: str
    types: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Memory:
    """All of the memory of an array, as a function of machine code takes it."""

    ref: Ref


@dataclass(frozen=True)
class Machine:
    """The functions of a program.

    Attributes:
        file: all of them, as a file has them.
        key: what that is called.
        length: how many lines there are to compile.
        spared: how many numbers no operation has to leave in memory for the next one.
    """

    file: str
    key: str
    length: int
    spared: int


def apart(node: Node) -> bool:
    """Whether an operation is a call of NumPy among functions of loops."""
    stacked = max(math.prod(node.shape[:-2]), 1)
    large = node.op == "matmul" and multiplications(node) > choice.LARGE * stacked
    return large or bool(unwritten(node))


class FusedWriter(NumPyWriter):
    """Writes NumPy's calls, and functions of loops."""

    def __init__(self, plan: Placement) -> None:
        super().__init__(plan)
        self.loops = StretchWriter(plan)
        self._places: list[tuple[int, Function]] = []

    def stretch(self, stretch: Stretch) -> None:
        function = self.loops.function(stretch)
        if not function.lines:  # all is there already, as are pieces of a whole
            self.loops.functions.remove(function)
            return
        self._places.append((len(self.lines), function))
        self.lines.append("")  # once it is known what it is given

    def write(self) -> Text:
        text = super().write()
        refs: list[Ref | None] = []
        for value in self.names.known.values():
            refs += [value] if isinstance(value, Ref) else []
            refs += [value.out, value.key, value.step] if isinstance(value, Drawing) else []
        elsewhere = [ref.buffer for ref in refs if ref is not None]
        constants, source = self.loops.finished(elsewhere)
        numbers = self.names.new("numbers", np.array([value for value, _, _ in self.loops.given]))
        for place, function in self._places:
            text.lines[place] = self._call(function, numbers)
        length = sum(len(function.lines) for function in self.loops.functions)
        text.machine = Machine(*text_of(constants, source), length, self.loops.spared)
        return text

    def _call(self, function: Function, numbers: str) -> str:
        given: list[tuple[str, str, bool]] = []
        if function.rows:
            given.append(("rows", "int64", True))
        if function.given:
            given.append((numbers, "float64", True))
        given += [(str(size), "int64", False) for size in function.sizes.values()]
        for node in function.counters.values():
            made, name = {"f": ("float", "float64"), "b": ("bool", "bool_")}.get(
                np.dtype(node.dtype).kind, ("int", "int64")
            )
            given.append((f"{made}({self.number(node, plain=True)})", name, False))
        for buffer in function.buffers.values():
            name = self.names.new("memory", Memory(self.loops.memory(buffer)))
            given.append((name, np.dtype(buffer.dtype).name, True))
        types = tuple((name, array) for _, name, array in given)
        called = self.names.new("loops", Compiled(function.name, types))
        return f"{called}({', '.join(text for text, _, _ in given)})"


class FusedProgram(NumPyProgram):
    """A recorded step, written in NumPy with functions of machine code."""

    is_native = True

    def __init__(self, recording: Recording, *args: Any) -> None:
        self._taken = taken(recording)
        super().__init__(recording, *args)
        self._is_compiled = False

    def made_for(self) -> Library:
        return LoopNumPy()

    def settings(self) -> tuple[Any, ...]:
        return choice.LARGE, self._taken

    def planned(self, recording: Recording, sources: dict[Node, int]) -> Placement:
        recording = rewritten(recording, partial(reshapes, self.library), self._long_sums)
        lives = lifetimes(recording)
        return Placement(recording, lives, stretches(lives, apart), self.library, sources)

    def _long_sums(self, rewriter: Rewriter) -> Rule:
        """As NumPy's: those of so many terms that no loop adds them up."""
        sums = Sums(self.library, ADDED, True, rewriter)
        return lambda node: sums(node) if node.op == "sum" and unwritten(node) else None

    def writer(self, plan: Placement) -> FusedWriter:
        return FusedWriter(plan)

    def _value(self, value: Any) -> Any:
        if isinstance(value, Memory):
            return self._array(value.ref)
        return super()._value(value)

    @property
    def machine(self) -> Machine:
        """Its functions."""
        found: Machine = self.text.machine
        return found

    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.machine.file}"

    def compile(self) -> None:
        """Make machine code of it, or find it on disk.

        Raises:
            Untraceable: if something in it has none.
        """
        with COMPILING:  # of several threads one compiles, and the others find it
            if not self._is_compiled:
                self._run.__globals__.update(self.functions())
                self._is_compiled = True

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The functions by their names in the program, compiled for what they are given."""
        made: dict[str, Callable[..., Any]] = {}
        for name, value in self.called.items():
            call = Call(self.machine.file, self.machine.key, folder(), value.name)
            call.prepare([(type_of(of), int(array)) for of, array in value.types])
            made[name] = call
        return made

    @property
    def called(self) -> dict[str, Compiled]:
        """Which functions it calls, by their names in the program."""
        return {n: value for n, value in self.text.names.items() if isinstance(value, Compiled)}

    def running(self) -> AbstractContextManager[Any]:
        if not self._is_compiled:
            self.compile()
        return super().running()

    def run(
        self,
        carry: Carry,
        n: int,
        batch_rows: np.ndarray | None,
        interrupted: Callable[[], bool],
    ) -> tuple[Carry, Metrics]:
        """As `Program.run`."""
        if batch_rows is not None:
            batch_rows = np.ascontiguousarray(batch_rows, np.int64)
        return super().run(carry, n, batch_rows, interrupted)

    def begin(
        self, carry: Carry, batch_rows: np.ndarray | None
    ) -> tuple[Callable[[], Any], Callable[[], Carry]]:
        """As `Program.begin`."""
        self.compile()
        return super().begin(carry, batch_rows)


@dataclass(frozen=True)
class Together:
    """The machine code of a step.

    Attributes:
        one: the programs of one of its threads.
        all: those of all.
    """

    one: Sequence[FusedProgram]
    all: Sequence[FusedProgram]

    @property
    def machines(self) -> dict[str, Machine]:
        """The functions by what they are called; threads that do the same have the same."""
        return {program.machine.key: program.machine for program in self.all if program.called}

    @property
    def length(self) -> int:
        """How many lines there are to compile."""
        return sum(machine.length for machine in self.machines.values())

    @property
    def is_kept(self) -> bool:
        """Whether all is on disk."""
        return all(is_kept(key, folder()) for key in self.machines)

    @property
    def is_loaded(self) -> bool:
        """Whether this process has all of it."""
        return self.machines.keys() <= LOADED

    def saves(self, calls: int) -> float:
        """How many seconds a step takes less, at the least, than with so many calls of NumPy."""
        fewer = calls - sum(program.calls for program in self.one)
        return fewer * CALL + sum(program.machine.spared for program in self.one) * PASS

    def compile(self) -> None:
        """Make machine code of it, or find it on disk.

        Raises:
            Untraceable: if something in it has none.
        """
        for program in self.all:
            program.compile()


def machine_of(program: Any) -> Together:
    """The machine code of a program, or of a step on several threads.

    Raises:
        Untraceable: if there is none.
    """
    alone = [program]
    found = Together(*([program.programs, program.all] if program.threads > 1 else [alone, alone]))
    if not found.machines:
        raise Untraceable("there is nothing in it but calls")
    return found
