"""Which samples of each batch are those of a rank, and what fills them up to one number."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np

from xpnet.distributed.ranks import Ranks

Share = tuple[np.ndarray, "np.ndarray | None", "np.ndarray | None"]
"""The numbers of some samples; which of them are of the batch, and not there to fill it up, and
their places in it: ``None`` where all are."""

TOGETHER = 1 << 17
"""For how many samples of batches it is found out at once."""


class Shares:
    """What a rank has of each step of an interval.

    Args:
        ranks: the ranks, of which this is one.
        batch_rows: the samples of all of them, ``(steps, size)``.
        room: how many samples there are to be of each step, with those that fill it up.
    """

    def __init__(self, ranks: Ranks, batch_rows: np.ndarray, room: int) -> None:
        self.ranks, self.batch_rows, self.room = ranks, batch_rows, room
        self.filled = ranks.size > 1
        self._some = max(1, TOGETHER // batch_rows.shape[1])
        self._known: OrderedDict[int, Share] = OrderedDict()

    def at(self, k: int) -> Share:
        """Its samples in step ``k``, ``(room,)``."""
        part, row = divmod(k, self._some)
        if part not in self._known:
            self._known[part] = self._found(self.batch_rows[part * self._some :][: self._some])
            if len(self._known) > 2:  # a step that is read ahead may be of the next one
                self._known.popitem(last=False)
        index, real, places = self._known[part]
        return (
            index[row],
            None if real is None else real[row],
            None if places is None else places[row],
        )

    def order(self) -> Iterator[np.ndarray]:
        """The numbers of its samples in one step after the other."""
        return (self.at(k)[0] for k in range(len(self.batch_rows)))

    def _found(self, rows: np.ndarray) -> Share:
        if not self.filled:
            return rows, None, None
        own = owned(self.ranks, rows)
        here = np.count_nonzero(own, axis=1)[:, None]
        places = np.argsort(~own, axis=1, kind="stable")[:, : self.room]  # in their order
        real = np.arange(self.room) < here
        index = np.take_along_axis(rows, places, axis=1) - self.ranks.first
        # With one of the batch, if any is.
        index = np.where(real, index, np.where(here > 0, index[:, :1], 0))
        return index, real, np.where(real, places, 0)


class Room:
    """How many samples the programs of a rank have room for, by the size of the batch of all.

    Args:
        ranks: the ranks, of which this is one.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self._sizes: dict[int, int] = {}

    def shares(self, batch_rows: np.ndarray) -> Shares:
        """What this rank has of the batches ``(steps, size)`` of all.

        All are filled up to one number, which but few batches have it grow.
        """
        ranks, size = self.ranks, batch_rows.shape[1]
        if ranks.size == 1:
            return Shares(ranks, batch_rows, size)
        part = ranks.count / ranks.samples
        spread = math.sqrt(size * part * (1 - part))
        most = self._sizes.get(size, round(size * part + 3 * spread))
        some = max(1, TOGETHER // size)
        for start in range(0, len(batch_rows), some):
            own = owned(ranks, batch_rows[start : start + some])
            most = max(most, int(np.count_nonzero(own, axis=1).max()))
        self._sizes[size] = min(-(-most // 8) * 8, size, ranks.count)
        return Shares(ranks, batch_rows, self._sizes[size])


def owned(ranks: Ranks, rows: np.ndarray) -> np.ndarray:
    """Which of these samples are those of this rank."""
    return np.asarray((rows >= ranks.first) & (rows < ranks.first + ranks.count))
