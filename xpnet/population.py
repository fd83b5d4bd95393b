"""The networks that are trained at once: in blocks that fit the cache, until they leave."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np

from xpnet import backends
from xpnet.backends.base import Runner
from xpnet.layers.base import Array
from xpnet.step import Carry, Data, TrainingStep


@dataclass
class _Block:
    """Members that are computed together."""

    carry: Carry
    data: Data
    run: Runner


class Population:
    """One network (``members=None``), or an ensemble whose members leave as they are done.

    Members are independent of one another, so that how they are put together changes nothing but
    the time: they run in blocks, and those that are still trained close ranks.

    Args:
        backend: where they are.
        step: what is done to them.
        carry: parameters and state, ``(members, …)``.
        data: shared, or ``(members, …)``.
        members: their number, or ``None``.
        block: how many are computed together.
        threads: over how many threads blocks, or the samples of a step, are spread where the
            library computes on one core; ``None`` for as many as pay.

    Attributes:
        columns: the numbers of the members that are computed, in their order.
        alive: which of them are still trained.
    """

    def __init__(
        self,
        backend: backends.Backend,
        step: TrainingStep,
        carry: Carry,
        data: Data,
        members: int | None,
        block: int | None,
        threads: int | None = None,
    ) -> None:
        self.backend, self.xp, self.step = backend, backend.xp, step
        self.members, self.block = members, block or members or 1
        self.columns = np.arange(members or 1)
        self.alive = np.ones(members or 1, dtype=bool)
        self.threads = threads
        count = backend.workers(threads)
        if backend.eager:  # a runner has buffers of its own, so that each thread needs one
            self.runners = [backend.runner(step, threads) for _ in range(count)]
        else:  # or programs, which must not be compiled once a thread
            self.runners = [backend.runner(step, threads)] * count
        self.left: list[tuple[np.ndarray, Carry]] = []
        self.blocks: list[_Block] = []
        self._form_blocks(carry, data)

    def _form_blocks(self, carry: Carry, data: Data) -> None:
        """Deal the members in ``carry`` and ``data`` out, as evenly as may be."""
        self.data = data
        parts = self._parts(len(self.columns))
        everyone = np.concatenate(parts)
        self.alive = np.arange(len(everyone)) < len(self.columns)
        if len(parts) == 1 and len(everyone) == len(self.columns):
            self.blocks = [_Block(carry, data, self.runners[0])]
            return
        self.columns = self.columns[everyone]
        # A runner that records may have computed with its data: blocks that share them share the
        # runner too.
        own = self.backend.eager and any(
            array is not None and len(array.shape) == 3 for array in data
        )
        self.blocks = []
        for rows in parts:
            runner = self.runners[len(self.blocks) % len(self.runners)]
            if own:
                runner = self.backend.runner(self.step, self.threads)
            piece = self._pick([carry], rows), self._pick_data(data, rows)
            self.blocks.append(_Block(*piece, runner))

    def _parts(self, count: int) -> list[np.ndarray]:
        """The rows of every block: an even number of them, since cores are, whatever the threads.

        Where steps are compiled, all blocks are of one size, which they keep or halve when members
        leave. The first member fills up the last block, and is not looked at there.
        """
        number = -(-count // self.block)
        if number > 1:
            number = min(number + number % 2, count)
        if self.backend.eager:
            return np.array_split(np.arange(count), number)
        if not self.blocks:
            self.block = -(-count // number)
        size = self.block
        while size // 2 >= count:
            size //= 2
        number = -(-count // size)
        rows = np.arange(number * size)
        return np.split(np.where(rows < count, rows, 0), number)

    # ---- running

    def run(
        self, n: int, orders: Array | None, interrupted: Callable[[], bool]
    ) -> dict[str, Array] | None:
        """Run ``n`` steps; return the metrics ``(steps, …)``, or ``None`` if blocks were cut short.

        A single block that is cut short returns the steps that it did.
        """
        if len(self.blocks) == 1:
            block = self.blocks[0]
            block.carry, metrics = block.run(block.carry, block.data, n, orders, interrupted)
            return metrics
        before = None if orders is None else self.snapshot()
        count = min(len(self.runners), len(self.blocks))
        as_here = self.backend.elsewhere()

        def work(first: int) -> list[dict[str, Array]]:
            parts = []
            with as_here():
                for block in self.blocks[first::count]:
                    carry, metrics = block.run(block.carry, block.data, n, orders, interrupted)
                    block.carry = self.backend.copy(carry)  # the buffers serve the next block
                    parts.append(metrics)
                    if interrupted():
                        break
            return parts

        with ThreadPoolExecutor(count - 1) if count > 1 else nullcontext() as pool:
            others = [pool.submit(work, first) for first in range(1, count)] if pool else []
            shares = [work(0), *(other.result() for other in others)]
        parts = [part for turn in zip_longest(*shares) for part in turn if part is not None]
        if len(parts) < len(self.blocks) or any(p["loss"].shape[0] < n for p in parts):
            if before is not None:
                self.restore(before)  # all members at one step
            return None
        return {name: self.xp.concat([p[name] for p in parts], axis=1) for name in parts[0]}

    def snapshot(self) -> list[Carry]:
        """Copies of all that is trained, to come back to."""
        return [self.backend.copy(block.carry) for block in self.blocks]

    def restore(self, snapshot: list[Carry]) -> None:
        """Come back to a snapshot."""
        for block, carry in zip(self.blocks, snapshot, strict=True):
            block.carry = carry

    # ---- coming and going

    def leave(self, which: np.ndarray, snapshot: list[Carry] | None = None) -> None:
        """Set members aside as they are now, or as they were in ``snapshot``."""
        if which.any():
            rows = np.flatnonzero(which)
            columns = self.columns[rows]
            if not self.backend.eager:  # every new number of them is compiled for: powers of two
                spare = (1 << (len(rows) - 1).bit_length()) - len(rows)
                rows = np.pad(rows, (0, spare))
                columns = np.pad(columns, (0, spare), constant_values=-1)
            carries = snapshot or [block.carry for block in self.blocks]
            self.left.append((columns, self._rows(carries, rows)))
            self.alive &= ~which

    def close_ranks(self) -> None:
        """Go on with those members alone that are still trained, once that is worth it."""
        if self.members is None:
            return
        rows = np.flatnonzero(self.alive)
        if not self._pays(len(rows)):
            return
        data = self._pick_data(self.data, rows)
        carry = self._rows([block.carry for block in self.blocks], rows)
        self.columns = self.columns[rows]
        self._form_blocks(carry, data)

    def _pays(self, remaining: int) -> bool:
        """Whether it is worth going on with so few."""
        before = len(self.alive)
        if not remaining:
            return False
        if self.backend.eager:
            return remaining <= 0.95 * before
        return sum(map(len, self._parts(remaining))) < before

    def everyone(self) -> Carry:
        """All members in their order; those that left as they were when they left."""
        if self.members is None:
            last = self.left[0][1] if self.left else self.blocks[0].carry
            return self._rows([last], np.zeros(1, dtype=int))
        rows = np.flatnonzero(self.alive)
        parts = list(self.left)
        if len(rows):
            carries = [block.carry for block in self.blocks]
            parts.append((self.columns[rows], self._rows(carries, rows)))
        columns = np.concatenate([columns for columns, _ in parts])
        order = np.argsort(columns, kind="stable")[-self.members :]  # behind what only filled up
        return self._pick([carry for _, carry in parts], order)

    def _rows(self, carries: list[Carry], rows: np.ndarray) -> Carry:
        if self.members is None:
            copied: Carry = self.backend.copy(carries[0])
            return copied
        return self._pick(carries, rows)

    def _pick(self, carries: list[Carry], rows: np.ndarray) -> Carry:
        """Rows of carries that are laid one behind the other."""
        index = self.backend.asarray(rows, "int64")

        def pick(arrays: list[Array]) -> Array:
            if arrays[0].ndim != 2:  # a counter, which the members share: the latest
                return self.xp.asarray(arrays[-1], copy=True)
            whole = self.xp.concat(arrays, axis=0) if len(arrays) > 1 else arrays[0]
            return self.xp.take(whole, index, axis=0)

        states = [state for _, state in carries]
        return pick([theta for theta, _ in carries]), {
            name: pick([state[name] for state in states]) for name in states[0]
        }

    def _pick_data(self, data: Data, rows: np.ndarray) -> Data:
        """The data of these members; what all share as it is."""
        index = self.backend.asarray(rows, "int64")
        x, target, weight = (
            self.xp.take(array, index, axis=0)
            if array is not None and len(array.shape) == 3
            else array
            for array in data
        )
        return x, target, weight
