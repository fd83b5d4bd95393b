"""Data of which some is read as it is needed: each batch while the one before is trained on."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.checks.network import check_input
from xpnet.network import Sequential
from xpnet.training.sources import Source
from xpnet.training.step import Data
from xpnet.types import Array


@dataclass
class Part:
    """A batch that was read, on the device.

    Attributes:
        x, y: its rows, as they lie in the file, of what is read; else ``None``.
        chosen: their numbers, ``(batch,)``.
        rows: which of them come one after the other in the batch, ``(1, batch)``.
    """

    x: Array | None
    y: Array | None
    chosen: Array
    rows: Array


@dataclass
class Streamed:
    """What stands for `Data` where some of it is read.

    Args:
        backend: where it is trained.
        network: what is trained.
        x: ``(samples, features)``.
        target: as prepared, or read and then prepared.
        weight: as prepared, or ``None``.
        prepare: makes what a step wants of ``y`` that was read; ``None`` where it is not.
        counted: whether ``x`` is as `Sequential.counted` has it, as for a gradient.
    """

    backend: backends.Backend
    network: Sequential
    x: Array | Source
    target: Array | Source
    weight: Array | None
    prepare: Callable[[Array], Array] | None = None
    counted: bool = False

    def __iter__(self) -> Iterator[Any]:
        """``x``, targets and weights, as of `Data`."""
        return iter((self.x, self.target, self.weight))

    @property
    def samples(self) -> int:
        """How many there are."""
        return int(self.x.shape[0])

    def parts(self, order: Any) -> Generator[Part, None, None]:
        """Read the rows of one batch after the other, one ahead, on a thread of its own.

        A row that a batch names twice is read once, and behind those that it has is one of them
        as often again, so that batches of one size stay that.

        It ends with the iteration: close that if you leave it early. What is wrong with a batch is
        raised where the batch would be.
        """
        bring, as_here = self.backend.bringing(), self.backend.elsewhere()

        def read(rows: np.ndarray) -> Part:
            chosen = np.unique(rows)  # files are read from beginning to end
            x, y = (
                source.read(chosen) if isinstance(source, Source) else None
                for source in (self.x, self.target)
            )
            if x is not None:
                check_input(self.network, backends.get("numpy"), x)
            places, more = np.searchsorted(chosen, rows)[None], len(rows) - len(chosen)

            def filled(array: np.ndarray) -> np.ndarray:
                return np.concatenate([array, array[:1].repeat(more, axis=0)]) if more else array

            with as_here():
                x, y = (a if a is None else bring(filled(a)) for a in (x, y))
                return Part(x, y, bring(filled(chosen)), bring(places))

        with ThreadPoolExecutor(1, "xpnet reads ahead") as pool:
            following = iter(order)
            ahead = pool.submit(read, next(following))
            for rows in chain(following, [None]):
                part = ahead.result()
                if rows is not None:
                    ahead = pool.submit(read, rows)
                yield part

    def data(self, part: Part) -> Data:
        """A batch as a step wants it, but for the order of its rows."""

        def take(array: Array) -> Array:
            return self.backend.xp.take(array, part.chosen, axis=-2)

        x = take(self.x) if part.x is None else part.x
        target = self.prepare(part.y) if self.prepare else take(self.target)
        weight = None if self.weight is None else take(self.weight)
        return self.network.counted(self.backend, x, weight) if self.counted else x, target, weight

    def paced(self) -> Callable[[Array], None]:
        """What is told what came of each step, and waits until the one before it is done.

        Else a device that is behind would have all batches waiting for it that were read meanwhile.
        """
        waits: list[Callable[[], Any]] = []

        def pace(found: Array) -> None:
            waits.append(self.backend.mark(found))
            if len(waits) > 1:
                waits.pop(0)()

        return pace

    def first(self, samples: int) -> Data:
        """The first so many samples."""
        with closing(self.parts([np.arange(samples)])) as parts:
            return self.data(next(parts))


TOGETHER = 64
"""How many arrays are joined at once."""


def joined(xp: Any, arrays: list[Array], axis: int = 0) -> Array:
    """One array of many, not all at once: JAX compiles a concatenation for each number of them."""
    while len(arrays) > 1:
        some = [arrays[i : i + TOGETHER] for i in range(0, len(arrays), TOGETHER)]
        arrays = [xp.concat(few, axis=axis) for few in some]
    return arrays[0]
