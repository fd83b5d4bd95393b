"""What the names in a program stand for."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from xpnet.compiler.ir import Untraceable
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
    """The number in an array of no axes that a step finds."""

    source: int


class Names:
    """Gives names: to a buffer its kind and a number, to a view of it one more number.

    Args:
        carried: the names that buffers of the carry have, which they keep.

    Attributes:
        known: what each name stands for: a place, the blocks of a chain, a function, a number.
    """

    def __init__(self, carried: Collection[str]) -> None:
        self.known: dict[str, Any] = {}
        self._carried = carried
        self._given: dict[Any, str] = {}
        self._counts: dict[str, int] = {}

    def array(self, ref: Ref) -> str:
        """The name of an array."""
        if ref not in self._given:
            stem = self._given.get(ref.buffer)
            if stem is None:
                kind = ref.buffer.of
                stem = self.stem(kind) if kind in self._carried else f"{kind}{self._next(kind)}"
                self._given[ref.buffer] = stem
            name = stem if ref.is_whole and stem not in self.known else f"{stem}_{self._next(stem)}"
            self._given[ref] = name
            self.known[name] = ref
        return self._given[ref]

    def function(self, function: Any, name: str = "") -> str:
        """The name of a function, as it is called or as it should be."""
        name = name or function.__name__
        if self.known.setdefault(name, function) != function:
            raise Untraceable(f"two functions called {name}")
        return name

    def new(self, kind: str, value: Any) -> str:
        """A name for something else."""
        name = f"{kind}{self._next(kind)}"
        self.known[name] = value
        return name

    def stem(self, name: str) -> str:
        """A name of the carry as one of Python that no other has."""
        stem = re.sub(r"\W", "_", name)
        number = self._next(f"{stem} ")
        return f"{stem}__{number}" if number else stem

    def _next(self, stem: str) -> int:
        self._counts[stem] = self._counts.get(stem, -1) + 1
        return self._counts[stem]
