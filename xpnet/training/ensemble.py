"""The networks that are trained at once: in blocks that fit the cache, until they leave."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.backends.base import Runner
from xpnet.compiler.pure import is_ours
from xpnet.layers.base import Array
from xpnet.losses import Share, evaluate
from xpnet.training.step import Carry, Data, TrainingStep


@dataclass
class _Block:
    """Members that are computed together."""

    carry: Carry
    data: Data
    run: Runner


@dataclass
class Moment:
    """The members as they were, to come back to, and to go on from once more.

    Attributes:
        columns: their numbers, block by block.
        blocks: what they were computed in, with copies of the carry.
    """

    columns: np.ndarray
    blocks: list[_Block]

    def holding(self, columns: np.ndarray) -> Iterator[tuple[_Block, np.ndarray, np.ndarray]]:
        """Each block with some of these members: where they are in it, and among ``columns``."""
        start = 0
        place = {int(column): i for i, column in reversed(list(enumerate(self.columns)))}
        places = np.array([place[int(column)] for column in columns], dtype=int)
        for block in self.blocks:
            theta = block.carry["theta"]
            stop = start + (theta.shape[0] if theta.ndim == 2 else 1)
            among = np.flatnonzero((start <= places) & (places < stop))
            if len(among):
                yield block, places[among] - start, among
            start = stop


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
        # A runner that records may have computed with its data: not where each block has its own.
        own = len(parts) > 1 and any(a is not None and len(a.shape) == 3 for a in data)
        for runner in self.runners:
            if hasattr(runner, "varies"):
                runner.varies = own
        if len(parts) == 1 and len(everyone) == len(self.columns):
            self.blocks = [_Block(carry, data, self.runners[0])]
            return
        self.columns = self.columns[everyone]
        self.blocks = []
        for rows in parts:
            runner = self.runners[len(self.blocks) % len(self.runners)]
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
        self, n: int, batch_rows: Array | None, interrupted: Callable[[], bool]
    ) -> dict[str, Array] | None:
        """Run ``n`` steps; return the metrics ``(steps, …)``, or ``None`` if blocks were cut short.

        A single block that is cut short returns the steps that it did.
        """
        if len(self.blocks) == 1:
            block = self.blocks[0]
            block.carry, metrics = block.run(block.carry, block.data, n, batch_rows, interrupted)
            return metrics
        before = None if batch_rows is None else self.snapshot()
        count = min(len(self.runners), len(self.blocks))
        as_here = self.backend.elsewhere()

        def work(first: int) -> list[dict[str, Array]]:
            parts = []
            with as_here():
                for block in self.blocks[first::count]:
                    carry, metrics = block.run(block.carry, block.data, n, batch_rows, interrupted)
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

    def snapshot(self) -> Moment:
        """All that is trained as it is now."""
        copy = self.backend.copy
        return Moment(self.columns, [_Block(copy(b.carry), b.data, b.run) for b in self.blocks])

    def restore(self, moment: Moment) -> None:
        """Come back to a moment since which nobody was left out."""
        for block, kept in zip(self.blocks, moment.blocks, strict=True):
            block.carry = kept.carry

    def last_good(
        self,
        moment: Moment,
        columns: np.ndarray,
        limits: np.ndarray,
        batch_rows: Callable[[], Iterator[Array]] | None,
    ) -> np.ndarray:
        """Put members aside as they last were before a loss, or a parameter, was not finite.

        They are run again from ``moment``, a step at a time: by what computed them the first time,
        so that the digits are the same (but for those of JAX, whose programs are one a number of
        steps; so it is looked at what is computed now, not at what was).

        Args:
            moment: from when on.
            columns: which members.
            limits: of each, how many of its steps count.
            batch_rows: gives the samples of the steps, ``(steps, batch)`` by ``(steps, batch)``.

        Returns:
            Which of ``columns`` were put aside; the others were not good at ``moment`` itself.
        """
        found = np.ones(len(columns), dtype=bool)
        if len(self.blocks) == 1:  # whose carry lies in the buffers of the runner that runs again
            self.blocks[0].carry = self.backend.copy(self.blocks[0].carry)
        for block, rows, among in moment.holding(columns):
            carry = self.backend.copy(block.carry)
            earlier, before = None, self._rows([carry], rows)
            for done, batch in enumerate(_one_by_one(batch_rows), 1):
                carry, metrics = block.run(carry, block.data, 1, batch)
                loss = self.backend.to_host(metrics["loss"]).reshape(-1)[rows]
                good = np.isfinite(loss) & self._finite(before["theta"])
                enough = done >= limits[among]
                if not good.all():
                    if earlier is None:
                        found[among[~good]] = False
                    else:
                        self.put_aside(columns[among[~good]], [earlier], np.flatnonzero(~good))
                if (good & enough).any():
                    which = np.flatnonzero(good & enough)
                    self.put_aside(columns[among[which]], [before], which)
                on = np.flatnonzero(good & ~enough)
                if not len(on):
                    break
                earlier = before if len(on) == len(rows) else self._rows([before], on)
                rows, among = rows[on], among[on]
                before = self._rows([carry], rows)
        return found

    # ---- whether they are still good

    def finite(self) -> np.ndarray:
        """Whether all parameters of each member are finite."""
        return np.concatenate([self._finite(block.carry["theta"]) for block in self.blocks])

    def all_finite(self) -> bool:
        """Whether all parameters of all are."""
        if self.backend.near and len(self.blocks) == 1:  # without what only members need
            return bool(np.isfinite(self.backend.to_host(self.blocks[0].carry["theta"])).all())
        return bool(self.finite().all())

    def _finite(self, theta: Array) -> np.ndarray:
        host = self.backend.to_host
        if self.backend.near:
            return np.asarray(np.isfinite(host(theta)).all(axis=-1)).reshape(-1)
        # One operation where all is well: a sum that is finite has none but finite terms.
        finite = np.isfinite(host(self.xp.sum(theta, axis=-1))).reshape(-1)
        if not finite.all():
            finite = host(self.xp.all(self.xp.isfinite(theta), axis=-1)).reshape(-1)
        return np.asarray(finite)

    def losses(self, rows: np.ndarray, samples: int) -> np.ndarray:
        """What the losses of these members are now, on the first so many samples."""
        data: Any = tuple(
            a if a is None or a.shape[-2] == samples else a[..., :samples, :] for a in self.data
        )
        if self.members is None:
            return self._loss(self.blocks[0].carry["theta"], *data).reshape(-1)
        size, found, count = self.block, [], len(rows)
        if not self.backend.eager:  # every size is compiled for
            rows = np.pad(rows, (0, -count % size), mode="edge")
        thetas = [block.carry["theta"] for block in self.blocks]
        theta = self._take(thetas, self.backend.asarray(rows, "int64"))
        for start in range(0, len(rows), size):  # all at once may not fit in memory
            some = slice(start, min(start + size, len(rows)))
            found.append(self._loss(theta[some, :], *self._pick_data(data, rows[some])).reshape(-1))
        return np.concatenate(found)[:count]

    def _loss(self, theta: Array, *data: Any) -> np.ndarray:
        """The loss, on the host."""
        xp, to_host, step = self.xp, self.backend.to_host, self.step
        quick = not self.backend.eager and self.backend.near and is_ours(step)
        if quick:  # where each operation alone takes long, by NumPy instead
            xp = np
            theta, data = to_host(theta), tuple(a if a is None else to_host(a) for a in data)
        params, samples = step.network.views(xp, theta), data[0].shape[-2]

        def loss(x: Array, target: Array, weight: Array | None) -> Any:
            with np.errstate(all="ignore"):
                output = step.network.apply(xp, params, x)
                return evaluate(step.loss, xp, output, target, Share(samples, weight))[0]

        if quick:
            return np.asarray(loss(*data))
        if self.members is None and step.is_samplewise:
            return to_host(self.backend.sum_over(loss, theta, data, self.threads))
        return to_host(loss(*data))

    def release(self) -> None:
        """Take the members out of the buffers of their runners, which others may use now."""
        for block in self.blocks:
            block.carry = self.backend.copy(block.carry)

    # ---- coming and going

    def leave(self, which: np.ndarray) -> None:
        """Set members aside as they are now."""
        if which.any():
            rows = np.flatnonzero(which)
            self.put_aside(self.columns[rows], [block.carry for block in self.blocks], rows)
            self.alive &= ~which

    def put_aside(self, columns: np.ndarray, carries: list[Carry], rows: np.ndarray) -> None:
        """Keep rows of carries as what is returned of these members."""
        if not self.backend.eager:  # every new number of them is compiled for: powers of two
            spare = (1 << (len(rows) - 1).bit_length()) - len(rows)
            rows = np.pad(rows, (0, spare))
            columns = np.pad(columns, (0, spare), constant_values=-1)
        self.left.append((columns, self._rows(carries, rows)))

    def compact(self) -> None:
        """Go on with those members alone that are still trained, once that is worth it."""
        if self.members is None:
            return
        rows = np.flatnonzero(self.alive)
        if not self._worth_compacting(len(rows)):
            return
        data = self._pick_data(self.data, rows)
        carry = self._rows([block.carry for block in self.blocks], rows)
        self.columns = self.columns[rows]
        self._form_blocks(carry, data)

    def _worth_compacting(self, remaining: int) -> bool:
        """Whether it is worth going on with so few."""
        before = len(self.alive)
        if not remaining:
            return False
        if self.backend.eager:
            return remaining <= 0.95 * before
        return sum(map(len, self._parts(remaining))) < before

    def gather(self) -> Carry:
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
            if not arrays[0].ndim:  # a counter, which the members share: the latest
                return self.xp.asarray(arrays[-1], copy=True)
            return self._take(arrays, index)

        return {name: pick([carry[name] for carry in carries]) for name in carries[0]}

    def _take(self, arrays: list[Array], index: Array) -> Array:
        """Rows of arrays that are laid one behind the other."""
        whole = self.xp.concat(arrays, axis=0) if len(arrays) > 1 else arrays[0]
        return self.xp.take(whole, index, axis=0)

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


def _one_by_one(batch_rows: Callable[[], Iterator[Array]] | None) -> Iterator[Array | None]:
    """The samples of one step after the other, each as a runner takes them."""
    if batch_rows is None:
        while True:
            yield None
    for part in batch_rows():
        for k in range(part.shape[0]):
            yield part[k : k + 1, ...]
