"""Who is trained: one network, or the members of an ensemble, until they leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet import backends
from xpnet.training.blocks import Blocks, laid_out
from xpnet.training.finite import finite_in, losses_in
from xpnet.training.recent import Interval, Recent
from xpnet.training.rows import carry_like, data_rows, rows_of
from xpnet.training.step import Data
from xpnet.training.streamed import Streamed
from xpnet.types import Array, Carry, First


class Population:
    """One network (``members=None``), or an ensemble whose members leave as they are done.

    It keeps who is trained, and, of those who left, what they left with; those that are still
    trained close ranks.

    Args:
        blocks: what they are computed in.
        recent: where they have come from, for those that must go back.
        carry: parameters and state, ``(members, …)``.
        data: shared, or ``(members, …)``.
        members: their number, or ``None``.

    Attributes:
        columns: the numbers of the members that are computed, in their order.
        alive: which of them are still trained.
    """

    def __init__(
        self,
        blocks: Blocks,
        recent: Recent,
        carry: Carry,
        data: Data | Streamed,
        members: int | None,
    ) -> None:
        self.backend = blocks.backend
        self.blocks, self.recent, self.members = blocks, recent, members
        self.left: list[tuple[np.ndarray, Carry]] = []
        self._form(np.arange(members or 1), carry, data)

    def _form(self, columns: np.ndarray, carry: Carry, data: Data | Streamed) -> None:
        rows = self.blocks.deal(carry, data, len(columns))
        self.columns, self.alive = columns[rows], np.arange(len(rows)) < len(columns)

    # ---- an interval

    def begin(self, epochs: int) -> Interval:
        """Take down where an interval of so many epochs begins."""
        return self.recent.begin(self.columns, self.blocks, epochs)

    def advance(
        self,
        interval: Interval,
        n: int,
        batch_rows: Array | None,
        interrupted: Callable[[], bool],
    ) -> dict[str, Array] | None:
        """Train ``n`` steps of an interval, as `Blocks.run` does."""
        metrics = self.blocks.run(n, batch_rows, interrupted)
        interval.steps += 0 if metrics is None else metrics["loss"].shape[0]
        return metrics

    def settle(self, reached: np.ndarray, failed: np.ndarray, limits: np.ndarray) -> np.ndarray:
        """Let go whoever is done, and whoever has failed; the others close ranks.

        Args:
            reached: who has come to the goal.
            failed: who has had a loss that was not finite.
            limits: of those, after how many steps of the interval at the latest it still was.

        Returns:
            Whose parameters, or loss after the last update, are not finite: they have failed, too.
        """
        self._go_back(failed, limits)
        spoilt = ~finite_in(self.blocks) & self.alive & ~failed
        if (reached & ~spoilt).any():
            spoilt |= self._spoilt(reached & ~spoilt)
        self._go_back(spoilt)
        self._leave(reached & ~spoilt)
        self._close_ranks()
        return np.asarray(spoilt)

    def finish(self) -> np.ndarray:
        """Look once at the losses that the last update of all has left behind, as `settle` does."""
        spoilt = self._spoilt(self.alive)
        self._go_back(spoilt)
        return spoilt

    def _spoilt(self, which: np.ndarray) -> np.ndarray:
        """Those among ``which`` whose loss is not finite after the last update."""
        rows, samples = np.flatnonzero(which), self.recent.batches.part
        spoilt = ~finite_in(self.blocks) & which
        spoilt[rows] |= ~np.isfinite(losses_in(self.blocks, rows, samples))
        return np.asarray(spoilt)

    # ---- coming and going

    def _go_back(self, which: np.ndarray, limits: np.ndarray | None = None) -> None:
        """Set members aside as they were when their loss was last finite."""
        if not which.any():
            return
        if len(self.blocks) == 1:  # whose carry lies in the buffers of the runner that runs again
            self.blocks.release()
        known = None if limits is None else limits[which]
        for columns, carry, rows in self.recent.last_good(self.columns[which], known):
            self._set_aside(columns, [carry], rows)
        self.alive &= ~which

    def _leave(self, which: np.ndarray) -> None:
        """Set members aside as they are now."""
        if which.any():
            rows = np.flatnonzero(which)
            self._set_aside(self.columns[rows], self.blocks.carries, rows)
            self.alive &= ~which

    def _set_aside(self, columns: np.ndarray, carries: list[Carry], rows: np.ndarray) -> None:
        """Keep rows of carries as what is returned of these members."""
        if not self.backend.eager:  # every new number of them is compiled for: powers of two
            spare = (1 << (len(rows) - 1).bit_length()) - len(rows)
            rows = np.pad(rows, (0, spare))
            columns = np.pad(columns, (0, spare), constant_values=-1)
        self.left.append((columns, rows_of(self.backend, carries, rows)))

    def _close_ranks(self) -> None:
        """Go on with those members alone that are still trained, once that is worth it."""
        rows = np.flatnonzero(self.alive)
        if self.members is not None and self.blocks.saves(len(rows), len(self.alive)):
            data = data_rows(self.backend, self.blocks.data, rows)
            carry = rows_of(self.backend, self.blocks.carries, rows)
            self._form(self.columns[rows], carry, data)

    def gather(self) -> Carry:
        """All members in their order; those that left as they were when they left."""
        if self.members is None:
            last = self.left[0][1] if self.left else self.blocks[0].carry
            return rows_of(self.backend, [last], np.zeros(1, dtype=int))
        rows = np.flatnonzero(self.alive)
        parts = list(self.left)
        if len(rows):
            parts.append((self.columns[rows], rows_of(self.backend, self.blocks.carries, rows)))
        return gathered(self.backend, self.members, parts)

    # ---- from one training to another

    def progress(self) -> dict[str, Any]:
        """Who is trained and who has left, with what, for `resume`."""
        return {
            "columns": self.columns,
            "alive": self.alive.copy(),
            **laid_out(self.blocks.copies()),
            "left": First(self.left, len(self.left)),
            "last": self.recent.progress(),
        }

    def resume(self, part: dict[str, Any]) -> None:
        """Be as another was, of the same members, before anything is trained.

        They are in the blocks that they were in, since the last digits may depend on that.
        """
        data = self.blocks.data
        self.columns, self.alive = part["columns"], part["alive"]
        if part["left"]:
            columns, carry = part["left"]
            self.left = [(columns, self.placed(carry))]
        own, carry = self._data_of(self.columns, data), self.placed(part["carry"])
        self.blocks.deal(carry, own, len(self.columns), part["sizes"])
        if last := part["last"]:
            theirs = self._data_of(last["columns"], data)
            self.recent.resume(last, self.blocks, self.placed(last["carry"]), theirs)

    def placed(self, arrays: dict[str, np.ndarray]) -> Carry:
        """What members carry, from the host, as it is here."""
        return carry_like(self.backend, self.blocks[0].carry, arrays)

    def _data_of(self, columns: np.ndarray, data: Data) -> Data:
        """Those of these members, out of those of all."""
        everyone = np.array_equal(columns, np.arange(self.members or 1))
        return data if everyone else data_rows(self.backend, data, columns)


def gathered(
    backend: backends.Backend, members: int, parts: list[tuple[np.ndarray, Carry]]
) -> Carry:
    """All members in their order, out of carries of some each, behind whose numbers they come."""
    columns = np.concatenate([columns for columns, _ in parts])
    order = np.argsort(columns, kind="stable")[-members:]  # behind what only filled up
    return rows_of(backend, [carry for _, carry in parts], order)
