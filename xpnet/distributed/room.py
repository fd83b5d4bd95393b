"""Which samples of each batch are those of a rank, and what fills them up to one number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from xpnet.distributed.ranks import Ranks


@dataclass
class Shares:
    """What a rank has of each step of an interval.

    Attributes:
        index: the numbers of its samples among its own, ``(steps, room)``.
        real: which of them are of the batch, and not there to fill it up; ``None`` if all are.
        places: where in the batch they are; ``None`` with ``real``.
    """

    index: np.ndarray
    real: np.ndarray | None = None
    places: np.ndarray | None = None

    @property
    def room(self) -> int:
        """How many samples a step has here, with those that fill it up."""
        return int(self.index.shape[1])


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
            return Shares(batch_rows)
        own = (batch_rows >= ranks.first) & (batch_rows < ranks.first + ranks.count)
        here = np.count_nonzero(own, axis=1)[:, None]
        part = ranks.count / ranks.samples
        spread = math.sqrt(size * part * (1 - part))
        most = max(self._sizes.get(size, round(size * part + 3 * spread)), int(here.max()))
        room = self._sizes[size] = min(-(-most // 8) * 8, size, ranks.count)
        places = np.argsort(~own, axis=1, kind="stable")[:, :room]  # its own first, in their order
        real = np.arange(room) < here
        index = np.take_along_axis(batch_rows, places, axis=1) - ranks.first
        # With one of the batch, if any is.
        index = np.where(real, index, np.where(here > 0, index[:, :1], 0))
        return Shares(index, real, np.where(real, places, 0))
