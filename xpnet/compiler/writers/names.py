"""What the names in a program stand for."""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from xpnet.compiler.layout import Ref


@dataclass(frozen=True)
class Blocks:
    """What the loop of a chain runs over: block by block, a part of each of several arrays.

    Attributes:
        parts: the blocks, of elements or along the first axis.
        flat: whether of elements.
        arrays: the arrays, each with whether it is one block itself.
    """

    parts: list[slice]
    flat: bool
    arrays: list[tuple[Ref, bool]]


@dataclass(frozen=True)
class Scalar:
    """The number in an array of no axes that a step finds.

    Attributes:
        source: which of the arrays that it finds.
        plain: whether as a number of Python, and not of the library, whose dtype counts.
    """

    source: int
    plain: bool


RESERVED = ("run", "n", "k", "rows", "batch_rows", "interrupted")
"""The names that a program has for itself."""

_TAKEN = frozenset((*RESERVED, *keyword.kwlist, *dir(builtins)))


class Names:
    """Gives names, each to one thing: to a buffer its kind and a number, to a view one more.

    Args:
        carried: the names that buffers of the carry have, which they keep as far as may be.

    Attributes:
        known: what each name stands for: a place, the blocks of a chain, a function, a number.
    """

    def __init__(self, carried: Collection[str]) -> None:
        self.known: dict[str, Any] = {}
        self._carried = carried
        self._taken = set(_TAKEN)
        self._given: dict[Any, str] = {}
        self._counts: dict[str, int] = {}

    def array(self, ref: Ref) -> str:
        """The name of an array."""
        name = self._given.get(ref)
        if name is None:
            buffer = ref.buffer
            if buffer not in self._given:
                kept = buffer.of in self._carried
                self._given[buffer] = self.variable(buffer.of) if kept else self.next(buffer.of)
            stem = self._given[buffer]
            name = stem if ref.is_whole and stem not in self.known else self.next(f"{stem}_")
            self._given[ref] = name
            self.known[name] = ref
        return name

    def function(self, function: Any, name: str = "") -> str:
        """The name of a function: as it is called, or as it should be."""
        key = name or function.__name__, function
        if key not in self._given:
            self._given[key] = self.variable(key[0])
            self.known[self._given[key]] = function
        return self._given[key]

    def new(self, kind: str, value: Any) -> str:
        """A name for something else."""
        name = self.next(kind)
        self.known[name] = value
        return name

    def variable(self, name: str) -> str:
        """A name as one of Python that no other has."""
        stem = re.sub(r"\W", "_", name)
        if stem in self._taken:
            return self.next(f"{stem}_")
        self._taken.add(stem)
        return stem

    def next(self, stem: str) -> str:
        """The next free name of a stem and a number."""
        while True:
            self._counts[stem] = self._counts.get(stem, -1) + 1
            name = f"{stem}{self._counts[stem]}"
            if name not in self._taken:
                self._taken.add(name)
                return name
