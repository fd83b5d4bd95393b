"""The two halves of a step, done by turns: as programs in common buffers, or call by call."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.compiler.plain import Runner
from xpnet.compiler.program import Runs
from xpnet.compiler.replay import Replay
from xpnet.distributed.room import Shares
from xpnet.training.step import SUMS
from xpnet.training.streamed import Part, Streamed
from xpnet.types import Array, Carry


@dataclass
class Slots:
    """Where a program reads which samples a step has.

    Attributes:
        rows: the numbers of these, ``(1, samples)``.
        filled: which are real, and their places, as of `Shares`.
    """

    backend: backends.Backend
    rows: Array
    filled: tuple[Array, ...]

    def put(self, rows: np.ndarray, filled: list[np.ndarray], own: slice = slice(None)) -> None:
        """Have those of a step there, ``own`` of all of this rank."""
        host = self.backend.to_host  # which shares memory with what programs read
        host(self.rows)[0] = rows[own]
        for there, values in zip(self.filled, filled, strict=True):
            host(there)[...] = values[own]


@dataclass
class Hand:
    """What a thread has of the first half.

    Attributes:
        runner: runs it.
        rows: which of the samples are its own.
        of: out of how many.
        slots: where it reads which these are in a step; ``None`` where none are chosen.
    """

    runner: Runner
    rows: slice
    of: int
    slots: Slots | None
    known: dict[Any, tuple[Any, Any]] = field(default_factory=dict)

    def data(self, data: Any) -> Any:
        """Its share of data that a step takes whole; the same arrays for the same data."""
        if self.slots is not None or self.rows == slice(0, self.of):
            return tuple(data)
        key = tuple(map(id, data))
        if key not in self.known:
            if len(self.known) == Replay.KEPT:
                del self.known[next(iter(self.known))]
            rows = ..., self.rows, slice(None)
            self.known[key] = data, tuple(None if a is None else a[rows] for a in data)
        return self.known[key][1]

    def bind(self, data: Any) -> None:
        """Have data of a step where its program reads them."""
        assert isinstance(self.runner, Replay)
        self.runner.bind((*data, *(self.slots.filled if self.slots else ())))


class Feed:
    """The samples of a rank, of one step after the other.

    Args:
        data: in memory, or `Streamed`.
        shares: which of them each step has; ``None`` for all.
        within: closes what is read.
    """

    def __init__(self, data: Any, shares: Shares | None, within: ExitStack) -> None:
        self.data, self.shares = data, shares
        self._parts: Iterator[Part] | None = None
        self._ahead: tuple[Any, np.ndarray] | None = None
        if isinstance(data, Streamed):
            assert shares is not None
            parts = data.parts(shares.order())
            within.callback(parts.close)
            self._parts = parts
            self._ahead = self._read()  # what is wrong with it is found before the others wait

    def _read(self) -> tuple[Any, np.ndarray]:
        assert self._parts is not None
        part = next(self._parts)
        return self.data.data(part), self.data.backend.to_host(part.rows)[0]

    def first(self) -> Any:
        """The data of the first step."""
        return self.data if self._ahead is None else self._ahead[0]

    def at(self, k: int) -> tuple[Any, Any, list[np.ndarray]]:
        """Data of step ``k``, which is asked for once; on the host, the numbers of its samples in
        them, and which are real, and their places, if not all are.
        """
        if self.shares is None:
            return self.data, None, []
        rows, *rest = self.shares.at(k)
        filled = [one for one in rest if one is not None]
        if self._parts is None:
            return self.data, rows, filled
        found, self._ahead = self._ahead or self._read(), None
        return *found, filled


class Turns(ABC):
    """An interval of steps, gradient and update by turns."""

    @abstractmethod
    def gradient(self, k: int) -> Array:
        """The `SUMS` of this rank in step ``k``; to be changed in place."""

    @abstractmethod
    def update(self, sums: Array) -> None:
        """Go on by those of all ranks."""

    @abstractmethod
    def carry(self) -> Carry:
        """Parameters and state behind the last step."""


class Called(Turns):
    """Both halves are called anew for each step, as where a library records none.

    Args:
        backend: where they are computed.
        hand: the first, of all samples.
        update: the second.
        own, rest: what either carries.
        feed: of which samples.
    """

    def __init__(
        self,
        backend: backends.Backend,
        hand: Hand,
        update: Runner,
        own: Carry,
        rest: Carry,
        feed: Feed,
    ) -> None:
        self.backend, self.hand, self.feed = backend, hand, feed
        self._update, self.own, self.rest = update, own, rest

    def gradient(self, k: int) -> Array:
        slots, asarray = self.hand.slots, self.backend.asarray
        data, rows, filled = self.feed.at(k)
        if slots is not None:
            slots.put(rows, filled)
            rows, filled = slots.rows, [*slots.filled]
        elif rows is not None:
            dtypes = self.backend.dtype_name(self.own["theta"]), "int64"
            rows = asarray(rows[None], "int64")
            filled = [asarray(one, dtype) for one, dtype in zip(filled, dtypes, strict=False)]
        self.own, _ = self.hand.runner(self.own, (*data, *filled), 1, rows)
        return self.own[SUMS]

    def update(self, sums: Array) -> None:
        after, _ = self._update({**self.rest, SUMS: sums}, (), 1)
        self.rest = {name: after[name] for name in self.rest}
        self.own = {**self.own, "theta": self.rest["theta"], SUMS: sums}

    def carry(self) -> Carry:
        return self.rest


class Replayed(Turns):
    """Both halves are programs, which have parameters and sums in common.

    Args:
        backend: where they are computed.
        hands, programs: the first, each thread's.
        update: the second.
        own, rest: what either carries.
        feed: of which samples.
        within: ends the threads.
    """

    def __init__(
        self,
        backend: backends.Backend,
        hands: list[Hand],
        programs: list[Runs],
        update: Runs,
        own: Carry,
        rest: Carry,
        feed: Feed,
        within: ExitStack,
    ) -> None:
        self.backend, self.hands, self.feed = backend, hands, feed
        self.sums = programs[0].carry[SUMS]
        self._host = [backend.to_host(program.carry[SUMS]) for program in programs]
        self._update, self._after = update.begin({**rest, SUMS: self.sums}, None)
        self._steps = []
        for hand, program in zip(hands, programs, strict=True):
            mine = {**own, SUMS: program.carry[SUMS]}
            self._steps.append(program.begin(mine, hand.slots and hand.slots.rows)[0])
        count = len(hands) - 1
        self._pool = within.enter_context(ThreadPoolExecutor(count)) if count else None

    def gradient(self, k: int) -> Array:
        if self.feed.shares is not None:
            data, rows, filled = self.feed.at(k)
            for hand in self.hands:
                if hand.slots is not None:
                    hand.slots.put(rows, filled, hand.rows)
                if isinstance(self.feed.data, Streamed):
                    hand.bind(data)
        if self._pool is None:
            self._steps[0]()
            return self.sums
        as_here = self.backend.elsewhere()

        def work(step: Any) -> None:
            with self.backend.alone(), as_here():
                step()

        others = [self._pool.submit(work, step) for step in self._steps[1:]]
        try:
            self._steps[0]()
        finally:
            failed = [other.exception() for other in others]  # until none writes any more
        for error in failed:
            if error is not None:
                raise error
        for part in self._host[1:]:
            self._host[0] += part
        return self.sums

    def update(self, sums: Array) -> None:
        self._update()

    def carry(self) -> Carry:
        return self._after()
