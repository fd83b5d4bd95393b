"""What happened in training, epoch by epoch, on the host."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np


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
        val_epochs: ``(checks,)``.
        best_epoch: behind which epoch the monitored number was best, 0 for never; as ``stop``.
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
    val_epochs: np.ndarray | None = None
    best_epoch: int | np.ndarray = 0
    exhausted: int | np.ndarray = 0
    restored: bool = False
    member: int | None = None

    def of_member(self, i: int) -> History:
        """That of member ``i`` of an ensemble alone, up to where it left."""
        stop, diverged, exhausted = (
            int(np.asarray(ends)[i]) for ends in (self.stop, self.diverged, self.exhausted)
        )
        best = int(np.broadcast_to(self.best_epoch, self.loss.shape[1:])[i])
        there = _filled(self.loss[:, i])
        if there < diverged <= len(self.loss) == self.epochs:
            there = diverged  # whose loss may be NaN itself
        checks = None if self.val_loss is None else slice(_filled(self.val_loss[:, i]))

        def until(values: np.ndarray | None, end: slice | None) -> np.ndarray | None:
            if values is None or end is None:
                return None
            return values[end].copy() if values.ndim == 1 else values[end, i].copy()

        loss = until(self.loss, slice(there))
        assert loss is not None
        return replace(
            self,
            loss=loss,
            accuracy=until(self.accuracy, slice(there)),
            epochs=min(filter(None, [stop, diverged, exhausted, self.epochs]), default=0),
            val_loss=until(self.val_loss, checks),
            val_accuracy=until(self.val_accuracy, checks),
            val_epochs=until(self.val_epochs, checks),
            best_epoch=best,
            member=i,
            stop=stop,
            diverged=diverged,
            exhausted=exhausted,
        )

    def last(self, name: str) -> np.ndarray:
        """What each member left with of ``"loss"``, ``"accuracy"``, ``"val_loss"`` or
        ``"val_accuracy"``: the entry of ``best_epoch`` where that is restored, else its last.

        Returns:
            ``(members,)``, NaN for who has none, and for a ``loss`` that diverged.
        """
        values = np.asarray(getattr(self, name))
        columns = np.arange(values.shape[1])
        rows = np.array([_filled(values[:, i]) - 1 for i in columns], dtype=np.int64)
        if self.val_epochs is not None and self.restored and name.startswith("val_"):
            best = np.searchsorted(self.val_epochs, self.best_epoch)
            rows = np.where(np.asarray(self.best_epoch) > 0, best, rows)
        found = np.where(rows >= 0, values[rows, columns], np.nan) if len(values) else np.nan
        lost = (np.asarray(self.diverged) > 0) & (not self.restored)
        return np.where(lost, np.nan, found)

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

    def get(self, name: str) -> np.ndarray | None:
        """All that was kept of a metric so far."""
        found = self.chunks.get(name)
        if found is None:
            return None
        if len(found) > 1:
            self.chunks[name] = found = [np.concatenate(found)]
        return found[0]
