"""The last two checking intervals, and the way back into them to where a loss was last finite."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.training.batches import Batches
from xpnet.training.blocks import Block, Blocks, in_blocks, laid_out, split
from xpnet.training.finite import finite
from xpnet.training.rows import rows_of
from xpnet.training.step import Data
from xpnet.training.streamed import Streamed
from xpnet.types import Array, Carry

Found = tuple[np.ndarray, Carry, np.ndarray]
"""The numbers of members, a carry that they are in, and their rows in it."""


@dataclass
class Interval:
    """A checking interval, kept until it is certain that nobody goes back into it.

    Attributes:
        columns: the numbers of the members at its beginning, block by block.
        blocks: what they were computed in, with copies of the carry.
        drawn: how far the orders of the batches had been drawn.
        epochs: how many it was to have.
        steps: how many steps were done.
    """

    columns: np.ndarray
    blocks: list[Block]
    drawn: Any
    epochs: int
    steps: int = 0

    def holding(self, columns: np.ndarray) -> Iterator[tuple[Block, np.ndarray, np.ndarray]]:
        """Each block with some of these members: where they are in it, and among ``columns``."""
        start = 0
        place = {int(column): i for i, column in reversed(list(enumerate(self.columns)))}
        places = np.array([place[int(column)] for column in columns], dtype=int)
        for block in self.blocks:
            stop = start + block.size
            among = np.flatnonzero((start <= places) & (places < stop))
            if len(among):
                yield block, places[among] - start, among
            start = stop


class Recent:
    """The last checking interval, and the one before it.

    Args:
        backend: where it is trained.
        batches: on which samples.
    """

    def __init__(self, backend: backends.Backend, batches: Batches) -> None:
        self.backend, self.batches = backend, batches
        self.intervals: list[Interval] = []

    def begin(self, columns: np.ndarray, blocks: Blocks, epochs: int) -> Interval:
        """Take down how all is at the beginning of an interval, which may yet count for nothing."""
        return Interval(columns, blocks.copies(), self.batches.drawn(), epochs)

    def keep(self, interval: Interval) -> None:
        """Keep an interval that counts, in place of the one before the last."""
        self.intervals = [*self.intervals[-1:], interval]

    def progress(self) -> dict[str, Any] | None:
        """The last interval, for `resume`.

        It will do: who is still trained was good where it began, and behind the next one nobody
        goes back further.
        """
        if not self.intervals:
            return None
        last = self.intervals[-1]
        own = {name: getattr(last, name) for name in ("columns", "drawn", "epochs", "steps")}
        return {**own, **laid_out(last.blocks)}

    def resume(self, part: dict[str, Any], now: Blocks, carry: Carry, data: Data) -> None:
        """Know the last interval of another training.

        Args:
            part: what its `progress` was.
            now: what its members are computed in at the end of it.
            carry: what they carried at its beginning.
            data: theirs.
        """
        parts = split(len(part["columns"]), part["sizes"])
        blocks = in_blocks(self.backend, now.runners, carry, data, parts)
        if [block.size for block in now] == part["sizes"]:  # nobody has left: the data are theirs
            for block, other in zip(blocks, now, strict=True):
                block.data = other.data
        rest = (part[name] for name in ("drawn", "epochs", "steps"))
        self.intervals = [Interval(part["columns"], blocks, *rest)]

    def last_good(self, columns: np.ndarray, limits: np.ndarray | None) -> Iterator[Found]:
        """Find members as they last were before a loss, or a parameter, was not finite.

        Args:
            columns: those of which this is not true any more at the end of the last interval.
            limits: after how many steps of it at the latest it was; all of them, if ``None``.
        """
        for interval in reversed(self.intervals):
            most = np.full(len(columns), interval.steps) if limits is None else limits
            never = [columns[:0]]
            with self.batches.again(interval.drawn, interval.epochs) as batch_rows:
                for block, rows, among in interval.holding(columns):
                    part = block, rows, columns[among], most[among]
                    never.append((yield from self._run_again(*part, batch_rows)))
            columns, limits = np.concatenate(never), None
            if not len(columns):
                return
        for block, rows, among in self.intervals[0].holding(columns):  # as they were given
            yield columns[among], block.carry, rows

    def _run_again(
        self,
        block: Block,
        rows: np.ndarray,
        columns: np.ndarray,
        limits: np.ndarray,
        batch_rows: Callable[[], Iterator[Array]] | None,
    ) -> Generator[Found, None, np.ndarray]:
        """Run members of a block again from the beginning of an interval, a step at a time.

        By what computed them the first time, so that the digits are the same (but for those of JAX,
        whose programs are one a number of steps; so it is looked at what is computed now, not at
        what was).

        Args:
            block: as it was.
            rows: where they are in it.
            columns: their numbers.
            limits: of each, how many of its steps count.
            batch_rows: gives the samples of the steps, ``(steps, batch)`` by ``(steps, batch)``.

        Returns:
            Those that were not good at the beginning itself.
        """
        carry, never = self.backend.copy(block.carry), columns[:0]
        earlier, before = None, rows_of(self.backend, [carry], rows)
        for done, (data, batch) in enumerate(_one_by_one(block, batch_rows), 1):
            carry, metrics = block.run(carry, data, 1, batch)
            loss = self.backend.to_host(metrics["loss"]).reshape(-1)[rows]
            good = np.isfinite(loss) & finite(self.backend, before)
            enough = good & (done >= limits)
            if earlier is None:
                never = columns[~good]
            elif not good.all():
                yield columns[~good], earlier, np.flatnonzero(~good)
            if enough.any():
                yield columns[enough], before, np.flatnonzero(enough)
            on = np.flatnonzero(good & ~enough)
            if not len(on):
                break
            earlier = before if len(on) == len(rows) else rows_of(self.backend, [before], on)
            rows, columns, limits = rows[on], columns[on], limits[on]
            before = rows_of(self.backend, [carry], rows)
        return never


def _one_by_one(
    block: Block, batch_rows: Callable[[], Iterator[Array]] | None
) -> Iterator[tuple[Data, Array | None]]:
    """The data and rows of one step after the other, as a runner takes them."""
    data = block.data
    if batch_rows is None:
        while True:
            yield data, None
    for order in batch_rows():
        if isinstance(data, Streamed) and not getattr(block.run, "reads", False):
            with closing(data.parts(order)) as parts:
                yield from ((data.data(part), part.rows) for part in parts)
        else:
            yield from ((data, order[k : k + 1, ...]) for k in range(order.shape[0]))
