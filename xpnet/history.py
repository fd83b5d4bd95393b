"""What happened in training, epoch by epoch, on the host."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from xpnet import checks
from xpnet.types import First

GREATER = {"loss": False, "accuracy": True, "val_loss": False, "val_accuracy": True}
"""Of which numbers more is better."""


@dataclass(repr=False)
class History:
    """The loss and accuracy of every epoch, as they were *before* its update, and how it ended.

    Epochs count from 1, so ``loss[k]`` is that of epoch ``k + 1``. For an ensemble every entry has
    an axis of members more; where a member was no longer trained, it holds NaN. Where `fit` was
    asked for the checks alone (``every_epoch=False``), there is one entry a check.

    Attributes:
        loss: ``(epochs,)`` or ``(epochs, members)``.
        accuracy: the same, or ``None`` for a loss that does not tell classes apart.
        stop: the epoch at which the goal was seen to be reached, 0 for never (and where there was
            none, ``acc_goal=None``); an int, or an int array ``(members,)``.
        diverged: the first epoch whose loss was not finite, 0 for never; as ``stop``. It is one
            more than were trained where the last update of all made it so, which is looked at too.
        interrupted: whether a person ended the run, with Ctrl-C.
        epochs: how many epochs were trained.
        stopped: whether a callback ended it, with ``run.stop()``.
        acc_goal: the goal, or ``None``.
        val_loss: the loss on the samples of ``validation``, after the epochs ``val_epochs``;
            ``(checks,)`` or ``(checks, members)``, or ``None`` where there was no validation. It
            is taken behind an epoch's updates, and in inference, where ``loss`` is before them.
        val_accuracy: the accuracy there, where there is one.
        val_metrics: what `metrics` were there, by ``val_`` and their names, as ``val_loss``; each
            is also an attribute: ``history.val_auc``.
        greater: of which of these numbers more is better, by their names; ``None`` where that is
            not known, as of a function.
        val_epochs: ``(checks,)``.
        best_epoch: behind which epoch the monitored number was best, 0 for never; as ``stop``.
        monitor: what is monitored, such as ``"val_loss"``, or ``None``.
        trained: how many epochs it was trained, the one that diverged included; as ``stop``.
        exhausted: the epoch at which ``patience`` ended, 0 for never; as ``stop``.
        restored: whether the model is that of ``best_epoch``, of each member.
        member: of an ensemble this was member ``member``; ``None`` for an ensemble as a whole, and
            for a network that was trained alone.
    """

    loss: np.ndarray
    accuracy: np.ndarray | None
    stop: int | np.ndarray
    diverged: int | np.ndarray
    interrupted: bool = False

    epochs: int = 0
    stopped: bool = False
    acc_goal: float | None = None
    val_loss: np.ndarray | None = None
    val_accuracy: np.ndarray | None = None
    val_metrics: dict[str, np.ndarray] = field(default_factory=dict)
    greater: dict[str, bool | None] = field(default_factory=lambda: dict(GREATER))
    val_epochs: np.ndarray | None = None
    best_epoch: int | np.ndarray = 0
    monitor: str | None = None
    trained: int | np.ndarray = 0
    exhausted: int | np.ndarray = 0
    restored: bool = False
    member: int | None = None

    def __getattr__(self, name: str) -> Any:
        # Of what is no attribute; not before there is anything, as for copy and pickle.
        found = vars(self).get("val_metrics", {})
        if name not in found:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return found[name]

    def of_member(self, i: int) -> History:
        """That of member ``i`` of an ensemble alone, up to where it left.

        Raises:
            TypeError: if this is that of one network.
            IndexError: if there is no such member.
        """
        i = checks.index(i, self._members("of_member"), "member")
        stop, diverged, exhausted, trained, best = (
            int(np.broadcast_to(found, self.loss.shape[1:])[i])
            for found in (self.stop, self.diverged, self.exhausted, self.trained, self.best_epoch)
        )
        rows = slice(trained if self._every_epoch else _filled(self.loss[:, i]))
        checked = slice(0 if self.val_loss is None else _filled(self.val_loss[:, i]))

        def own(values: np.ndarray | None, rows: slice) -> Any:
            return None if values is None else values[rows, i].copy()

        to_the_end = not (stop or diverged or exhausted)
        return replace(
            self,
            loss=own(self.loss, rows),
            accuracy=own(self.accuracy, rows),
            stop=stop,
            diverged=diverged,
            interrupted=self.interrupted and to_the_end,
            epochs=trained,
            stopped=self.stopped and to_the_end,
            val_loss=own(self.val_loss, checked),
            val_accuracy=own(self.val_accuracy, checked),
            val_metrics={name: own(values, checked) for name, values in self.val_metrics.items()},
            val_epochs=None if self.val_epochs is None else self.val_epochs[checked].copy(),
            best_epoch=best,
            trained=trained,
            exhausted=exhausted,
            restored=self.restored and best > 0,
            member=i,
        )

    def last(self, name: str) -> np.ndarray:
        """What each member of an ensemble left with.

        Args:
            name: ``"loss"``, ``"accuracy"``, ``"val_loss"``, ``"val_accuracy"``, or ``val_`` and
                that of a metric.

        Returns:
            ``(members,)``: the entry of ``best_epoch`` where that was restored (of ``loss`` and
            ``accuracy``, which are before an epoch's updates, the one behind it, if there is one),
            else its last; NaN for who has none, and for who diverged and was not restored.

        Raises:
            TypeError: if this is that of one network.
            ValueError: if it has no such numbers.
        """
        members = self._members("last")
        values = getattr(self, checks.one_of("name", name, self.names))
        filled = np.zeros(members, dtype=np.int64)
        if len(values):
            there = ~np.isnan(values[::-1])
            filled = np.where(there.any(axis=0), len(values) - there.argmax(axis=0), 0)
        best = np.broadcast_to(self.best_epoch, (members,))
        back = (best > 0) & self.restored
        if name.startswith("val_") or not self._every_epoch:
            found = np.searchsorted(np.asarray(self.val_epochs), best) if back.any() else filled
        else:
            found = best
        rows = np.minimum(np.where(back, found, filled - 1), filled - 1)
        if not len(values):
            return np.full(members, np.nan)
        lost = (filled == 0) | ((np.asarray(self.diverged) > 0) & ~back)
        return np.where(lost, np.nan, values[rows, np.arange(members)])

    def scores(self, by: str | None = None) -> np.ndarray:
        """What each member of an ensemble left with, turned around where more of it is better.

        Args:
            by: as for `Model.best`.

        Raises:
            TypeError: if this is that of one network.
            ValueError: if it has no such number, or nobody knows whether more of it is better.
        """
        by = by or self.monitor or "loss"
        values = self.last(checks.one_of("by", by, self.names))
        if self.greater[by] is None:
            raise ValueError(
                f"by must be a number of which is known whether more of it is better, not {by!r}; "
                f"use xpnet.metrics.Function({by[4:]}, greater=True)."
            )
        return -values if self.greater[by] else values

    @property
    def names(self) -> list[str]:
        """Which numbers there are of every epoch or check."""
        return [name for name in GREATER if getattr(self, name) is not None] + [*self.val_metrics]

    @property
    def _every_epoch(self) -> bool:
        return len(self.loss) == self.epochs

    def _members(self, asked: str) -> int:
        if self.loss.ndim != 2:
            raise TypeError(f"{asked} needs the history of several networks, not of one.")
        return int(self.loss.shape[1])

    def __repr__(self) -> str:
        """In a line, for a prompt: how long, from where to where, and how it ended."""
        parts = [f"{self.epochs} epochs"]
        goal = ["stop"] * (self.acc_goal is not None)  # where there was none, nobody reached it
        if self.loss.ndim == 2:
            parts.append(f"{self.loss.shape[1]} members")
            for name in (*goal, "diverged"):
                parts.append(f"{name}: {np.count_nonzero(getattr(self, name))} of them")
        else:
            for name in ("loss", "accuracy"):
                values = getattr(self, name)
                if values is not None and len(values):
                    parts.append(f"{name}: {values[0]:.6g} to {values[-1]:.6g}")
            ends = [*goal, *["diverged"] * bool(self.diverged)]
            parts += [f"{name}: {getattr(self, name)}" for name in ends]
        if np.any(self.exhausted):
            many = f"{np.count_nonzero(self.exhausted)} of them"
            parts.append(f"exhausted: {many if self.loss.ndim == 2 else self.exhausted}")
        ended = [name for name in ("interrupted", "stopped") if getattr(self, name)]
        return f"History({', '.join([*parts, *ended])})"


def _filled(values: np.ndarray) -> int:
    """How many entries there are before only NaN comes."""
    there = np.flatnonzero(~np.isnan(values))
    return int(there[-1]) + 1 if len(there) else 0


@dataclass
class Recorder:
    """Collects the metrics of the intervals on the host, for members that come and go.

    Attributes:
        members: the number of members, or ``None`` for a single network.
        every_epoch: whether all epochs are kept, or the last of each interval alone.
        latest: all epochs of the last interval, by metric.
    """

    members: int | None
    every_epoch: bool = True
    latest: dict[str, np.ndarray] = field(default_factory=dict)
    chunks: dict[str, list[np.ndarray]] = field(default_factory=dict)

    def add(self, metrics: dict[str, np.ndarray], columns: np.ndarray | None) -> None:
        """Append epochs; ``columns`` are the members that the metrics' last axis stands for."""
        for name, values in metrics.items():
            if self.members is not None and columns is not None and len(columns) < self.members:
                wide = np.full((len(values), self.members), np.nan, dtype=values.dtype)
                wide[:, columns] = values
                values = wide
            self.latest[name] = values
            kept = values if self.every_epoch else values[-1:].copy()
            self.chunks.setdefault(name, []).append(kept)

    def progress(self) -> dict[str, Any]:
        """What is on record, for `resume`."""
        return {name: First(found, len(found)) for name, found in self.chunks.items()}

    def resume(self, part: dict[str, Any]) -> None:
        """Have on record what another had."""
        self.chunks = {name: [values] for name, values in part.items()}

    def get(self, name: str) -> np.ndarray | None:
        """All that was kept of a metric so far, in an array of its own."""
        found = self.chunks.get(name)
        if found is None:
            return None
        if len(found) > 1:
            self.chunks[name] = found = [np.concatenate(found)]
        return found[0].copy()
