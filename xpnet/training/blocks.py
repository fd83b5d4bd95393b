"""Members in blocks that suit the cache, each run by a runner, and spread over threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import cycle, zip_longest
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.compiler.native.choice import Native
from xpnet.compiler.plain import Runner, never
from xpnet.distributed.ranks import Ranks
from xpnet.training.rows import data_rows, have_own, rows_of
from xpnet.training.step import Data, TrainingStep
from xpnet.training.streamed import Streamed, joined
from xpnet.types import Array, Carry


@dataclass
class Block:
    """Members that are computed together, on `Data` or what is `Streamed`."""

    carry: Carry
    data: Any
    run: Runner

    @property
    def size(self) -> int:
        """How many members there are in it."""
        theta = self.carry["theta"]
        return int(theta.shape[0]) if len(theta.shape) == 2 else 1


class Blocks:
    """What is computed: one network, or the members of an ensemble dealt out into blocks.

    Members are independent of one another, so that how they are put together changes nothing but
    the time.

    Args:
        backend: where they are.
        step: what is done to them.
        size: how many are computed together.
        threads: over how many threads blocks, or the samples of a step, are spread where the
            library computes on one core; ``None`` for as many as pay.
        native: whether machine code is asked for.
        ranks: with whom they are trained, or ``None``.
        runners: what runs them then.

    Attributes:
        data: those of all members that are computed, shared or ``(members, …)``.
    """

    def __init__(
        self,
        backend: backends.Backend,
        step: TrainingStep,
        size: int,
        threads: int | None = None,
        native: Native | None = None,
        ranks: Ranks | None = None,
        runners: list[Any] | None = None,
    ) -> None:
        self.backend, self.step, self.size, self.threads = backend, step, size, threads
        self.ranks = ranks
        self.runners: list[Any] = runners or backend.runners(step, threads, native)
        self.data: Any
        self._blocks: list[Block] = []
        self._copies: list[Block] | None = None

    def __len__(self) -> int:
        return len(self._blocks)

    def __iter__(self) -> Iterator[Block]:
        return iter(self._blocks)

    def __getitem__(self, i: int) -> Block:
        return self._blocks[i]

    @property
    def is_native(self) -> bool:
        """Whether steps are machine code."""
        return any(getattr(runner, "is_native", False) for runner in self.runners)

    def go_on(self, native: bool) -> None:
        """Run steps as they were run in another training, to the last digit."""
        for runner in self.runners:
            if hasattr(runner, "go_on"):
                runner.go_on(native)

    @property
    def carries(self) -> list[Carry]:
        """The carry of each block."""
        return [block.carry for block in self._blocks]

    # ---- dealing out

    def deal(
        self,
        carry: Carry,
        data: Data | Streamed,
        count: int,
        sizes: list[int] | None = None,
    ) -> np.ndarray:
        """Deal ``count`` members out, as evenly as may be; return their rows, block by block.

        What comes behind the first ``count`` fills up the last block. With ``sizes`` it is done as
        it was where blocks had these, since the last digits may depend on it.
        """
        parts = self._parts(count) if sizes is None else split(count, sizes)
        everyone = np.concatenate(parts)
        # A runner that records may have computed with its data: not where each block has its own.
        varies = 3 if len(parts) > 1 and have_own(data) else 0
        for runner in self.runners:
            if hasattr(runner, "varies"):
                runner.varies = 2 if isinstance(data, Streamed) else varies
        self.data, self._copies = data, None
        if len(parts) == 1 and len(everyone) == count:
            self._blocks = [Block(carry, data, self.runners[0])]
        else:
            self._blocks = in_blocks(self.backend, self.runners, carry, data, parts)
        return everyone

    def saves(self, count: int, before: int) -> bool:
        """Whether it is worth dealing out anew once ``count`` of ``before`` are still trained."""
        if self.backend.eager:
            return 0 < count <= 0.95 * before
        return count > 0 and sum(map(len, self._parts(count))) < before

    def _parts(self, count: int) -> list[np.ndarray]:
        """The rows of every block: an even number of them, since cores are, whatever the threads.

        Where steps are compiled, all blocks are of one size, which they keep or halve when members
        leave. The first member fills up the last block, and is not looked at there.
        """
        number = -(-count // self.size)
        if number > 1:
            number = min(number + number % 2, count)
        if self.backend.eager:
            return np.array_split(np.arange(count), number)
        if not self._blocks:
            self.size = -(-count // number)
        size = self.size
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

        A single block that is cut short returns the steps that it did, and so do blocks of which
        the samples of each step are read, of those ``batch_rows`` on the host. What reads for a
        rank is its runner.
        """
        if not isinstance(self.data, Streamed) or self.ranks is not None:
            return self._run(n, batch_rows, interrupted, [block.data for block in self._blocks])
        found: list[Any] = []
        pace = self.data.paced()
        with closing(self.data.parts(batch_rows)) as parts:
            for part in parts:
                data = [block.data.data(part) for block in self._blocks]
                found.append(self._run(1, part.rows, never, data))
                pace(found[-1]["loss"])
                if interrupted():
                    break
        return {name: joined(self.backend.xp, [m[name] for m in found]) for name in found[0]}

    def _run(
        self,
        n: int,
        batch_rows: Array | None,
        interrupted: Callable[[], bool],
        data: list[Data],
    ) -> dict[str, Array] | None:
        """`run` on the data of each block."""
        several, whole = len(self._blocks) > 1, batch_rows is None or interrupted is never
        before = self.copies() if several and not whole else None
        self._copies = None
        if not several:
            block = self._blocks[0]
            block.carry, metrics = block.run(block.carry, data[0], n, batch_rows, interrupted)
            return metrics
        count = min(len(self.runners), len(self._blocks))
        as_here = self.backend.elsewhere()

        def work(first: int) -> list[dict[str, Array]]:
            parts = []
            with as_here():
                for block, own in zip(self._blocks[first::count], data[first::count], strict=True):
                    carry, metrics = block.run(block.carry, own, n, batch_rows, interrupted)
                    block.carry = self.backend.copy(carry)  # the buffers serve the next block
                    parts.append(metrics)
                    if interrupted():
                        break
            return parts

        with ThreadPoolExecutor(count - 1) if count > 1 else nullcontext() as pool:
            others = [pool.submit(work, first) for first in range(1, count)] if pool else []
            shares = [work(0), *(other.result() for other in others)]
        parts = [part for turn in zip_longest(*shares) for part in turn if part is not None]
        if len(parts) < len(self._blocks) or any(p["loss"].shape[0] < n for p in parts):
            if before is not None:
                self.come_back(before)  # all members at one step
            return None
        return {name: self.backend.xp.concat([p[name] for p in parts], axis=1) for name in parts[0]}

    def copies(self) -> list[Block]:
        """The blocks as they are now, with carries that nobody writes into; made once for all."""
        if self._copies is None:
            copy = self.backend.copy
            self._copies = [Block(copy(b.carry), b.data, b.run) for b in self._blocks]
        return self._copies

    def come_back(self, copies: list[Block]) -> None:
        """Be as they were when they were copied, since when none were dealt out anew."""
        self._copies = copies
        for block, kept in zip(self._blocks, copies, strict=True):
            block.carry = self.backend.copy(kept.carry)

    def release(self) -> None:
        """Take the members out of the buffers of their runners, which others may use now."""
        for block in self._blocks:
            block.carry = self.backend.copy(block.carry)


def in_blocks(
    backend: backends.Backend,
    runners: list[Runner],
    carry: Carry,
    data: Data | Streamed,
    parts: list[np.ndarray],
) -> list[Block]:
    """Blocks of these rows of carry and data, the runners by turns."""
    return [
        Block(rows_of(backend, [carry], rows), data_rows(backend, data, rows), runner)
        for rows, runner in zip(parts, cycle(runners), strict=False)
    ]


def laid_out(blocks: list[Block]) -> dict[str, Any]:
    """Where members lie in blocks, and what they carry, for a file."""
    sizes, carries = [block.size for block in blocks], [block.carry for block in blocks]
    return {"sizes": sizes, "carry": carries}


def split(count: int, sizes: list[int]) -> list[np.ndarray]:
    """The rows of blocks of these sizes, one behind the other."""
    return np.split(np.arange(count), np.cumsum(sizes)[:-1])
