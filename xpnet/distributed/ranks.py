"""What the ranks of a training agree on, and how those who go on hear of one who cannot."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.compiler.plain import never
from xpnet.distributed.comm import Communicator

WIDTH = 3
"""How many numbers an exchange carries."""

FAILED = float(1 << 20)
"""What a rank that cannot go on adds to the sum of a step; who was interrupted adds 1."""


class Ranks:
    """This process among those that train together.

    All ranks do the same, in the same order, so that what one does next is what all do next: an
    `exchange`, which comes before whatever else is summed up, or within an interval the sum of a
    step. A rank that fails takes part in it, saying so, and then nobody goes on.

    Attributes:
        counts, held: how many samples, and how many of validation, each rank has.
        pressed: whether Ctrl-C was pressed on this one.
        interrupted: whether it was on any, as all know.
    """

    def __init__(self, comm: Communicator) -> None:
        self.comm, self.size, self.rank = comm, comm.size, comm.rank
        self.counts = self.held = np.zeros(self.size, np.int64)
        self.pressed: Callable[[], bool] = never
        self.interrupted = False
        self._over = False

    @property
    def samples(self) -> int:
        """How many samples all ranks have."""
        return int(self.counts.sum())

    @property
    def first(self) -> int:
        """The number of this rank's first sample among those of all."""
        return int(self.counts[: self.rank].sum())

    @property
    def count(self) -> int:
        """How many samples this rank has."""
        return int(self.counts[self.rank])

    def is_interrupted(self) -> bool:
        """Whether Ctrl-C was pressed on any rank, as all know."""
        return self.interrupted

    # ---- exchanges

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Within it, an error of this rank is told to the others, who raise then as well."""
        try:
            yield
            self.exchange()  # nobody has failed at last
        except BaseException as error:
            if not self._over:
                self.exchange(error=error)
            raise

    def exchange(self, *numbers: int, error: BaseException | None = None) -> np.ndarray:
        """Some numbers of each rank, ``(ranks, numbers)``; raises if one has an error.

        Raises:
            TypeError, ValueError, RuntimeError: on all other ranks; whoever has an ``error`` raises
                that.
        """
        table = np.zeros((self.size, 1 + WIDTH), np.int64)
        table[self.rank, 0] = error is not None
        table[self.rank, 1 : 1 + len(numbers)] = numbers
        self._sum(table)
        failed = np.flatnonzero(table[:, 0])
        if len(failed):
            first = int(failed[0])
            said = self.comm.from_rank(_said(error) if error else None, first)
            self._over = True
            if error is None:
                kind, text = said
                raise _KINDS.get(kind, RuntimeError)(f"On rank {first}: {text}")
        return table[:, 1 : 1 + len(numbers)]

    def from_first(self, work: Callable[[], Any]) -> Any:
        """What rank 0 finds, on all."""
        found = work() if self.rank == 0 else None
        self.exchange()
        return self.comm.from_rank(found, 0)

    def sum(self, values: Any) -> np.ndarray:
        """The sum over all ranks of arrays of one shape."""
        total = np.array(values, order="C")
        self.exchange()
        self._sum(total.reshape(-1))
        return total

    def gather(self, numbers: list[float]) -> np.ndarray:
        """The numbers of all ranks, ``(ranks, numbers)``."""
        table = np.zeros((self.size, len(numbers)))
        table[self.rank] = numbers
        return self.sum(table)

    def joined(self, values: np.ndarray, counts: np.ndarray, axis: int = 0) -> np.ndarray:
        """The arrays of all ranks, of which each has so many rows, one behind the other."""
        shape = list(values.shape)
        shape[axis] = int(counts.sum())
        whole = np.zeros(shape, values.dtype)
        start = int(counts[: self.rank].sum())
        place: list[Any] = [slice(None)] * len(shape)
        place[axis] = slice(start, start + int(counts[self.rank]))
        whole[tuple(place)] = values
        self.exchange()
        self._sum(whole.reshape(-1).view(np.uint8))  # bytes, as where one has some others have 0
        return whole

    # ---- within an interval

    def sum_of_step(self, sums: np.ndarray, error: BaseException | None = None) -> None:
        """Put the sums over all ranks in place; the last of each row says how they are.

        Raises:
            TypeError, ValueError, RuntimeError: if a rank has failed.
        """
        sums[..., -1] = FAILED if error else float(self.pressed())
        self._sum(sums)
        self._go_on(float(sums[..., -1].max()), error)

    def sum_there(self, sums: Any, to_host: Callable[[Any], np.ndarray]) -> np.ndarray:
        """`sum_of_step` of who is well, of an array that the communicator `takes`.

        Returns:
            What ``to_host`` brings of it, of which the last of each row says how all are.
        """
        if self.pressed():
            sums[..., -1] = 1.0
        self._sum(sums)
        found = to_host(sums)
        self._go_on(float(found[..., -1].max()), None)
        return found

    def _go_on(self, worst: float, error: BaseException | None) -> None:
        """Raise if one has failed, and know if one was interrupted."""
        if not worst < FAILED:
            self.exchange(error=error)
            raise error or RuntimeError("A rank has failed.")
        self.interrupted = self.interrupted or worst > 0

    def _sum(self, values: Any) -> None:
        try:
            self.comm.sum(values)
        except Exception as error:
            self._over = True  # nobody is there to be told
            raise RuntimeError(
                f"Another rank has ended, as rank {self.rank} found while it waited for it: "
                f"{checks.cut(str(error))}"
            ) from error


_KINDS: dict[str, type[Exception]] = {"TypeError": TypeError, "ValueError": ValueError}


def _said(error: BaseException) -> tuple[str, str]:
    """The kind of an error, and its sentence."""
    kind, text = type(error).__name__, str(error)
    return kind, text if kind in _KINDS else f"{kind}: {text}" if text else f"{kind}."
