"""What a training over a cluster tells its callbacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xpnet.distributed.kept import Piece
from xpnet.history import History
from xpnet.model import Model

if TYPE_CHECKING:  # whose modules are imported behind this one
    from xpnet.distributed.saved import BlockProgress
    from xpnet.training.asked import Asked


class Dealt:
    """A training whose members are dealt out to a cluster, as its callbacks see it.

    Attributes:
        network, x, y, loss: what is trained, on what, as it was given.
        epochs: how many epochs were asked for.
        epoch: how many are done: 0 until the end.
        check_every: how many lie between two checks of a member.
        acc_goal: the goal, or ``None``.
        members: the number of members; at the end ``None`` where the best alone was kept.
        done: how many of them have come back, those of files that it goes on from included.
        back: which came back last, a ``range`` of their numbers.
        latest: what these left with (`History.last`), ``(len(back),)`` by ``"loss"``,
            ``"val_accuracy"`` and so on; NaN for who diverged.
        means: the means of that over all who have come back, but for those who diverged or were
            ended before their time.
        counted: over how many members that of the loss is.
        progress: what is kept of them, for ``run.progress.write(path)``; ``None`` where they were
            ended before their time.
        keep: what is kept.
        resumed: a file that it goes on from, or ``None``.
        history: at the end that of all; before, of no epochs.
        model: at the end what `fit` returns; before that, and where it failed, ``None``.
    """

    dealt = True

    def __init__(
        self,
        asked: Asked,
        members: int,
        epochs: int,
        check_every: int,
        keep: str,
        history: History,
        resumed: Path | None = None,
    ) -> None:
        self.network, self.loss = asked.network, asked.loss
        self.x, self.y, self.acc_goal = asked.x, asked.y, asked.acc_goal
        self.epochs, self.check_every, self.keep = epochs, check_every, keep
        self.resumed = resumed
        self.members: int | None = members
        self.epoch = self.done = self.counted = 0
        self.back = range(0)
        self.latest: dict[str, np.ndarray] = {}
        self.model: Model | None = None
        self.stopping = False
        self._begun, self._sums = history, dict[str, tuple[float, int]]()
        self._progress: Callable[[], BlockProgress] | None = None

    def stop(self) -> None:
        """End the training, as Ctrl-C does."""
        self.stopping = True

    @property
    def history(self) -> History:
        found = None if self.model is None else self.model.history
        return self._begun if found is None else found

    @property
    def means(self) -> dict[str, float]:
        return {name: found / n if n else np.nan for name, (found, n) in self._sums.items()}

    @property
    def progress(self) -> BlockProgress | None:
        return None if self._progress is None else self._progress()

    def came(
        self, back: range, piece: Piece, progress: Callable[[], BlockProgress] | None = None
    ) -> None:
        """Know who has come back, and what with."""
        self.back, self.latest, self.done = back, piece.last, self.done + len(back)
        self._progress = progress if piece.whole else None
        if piece.whole:
            for name, values in piece.last.items():
                found, count = self._sums.get(name, (0.0, 0))
                there = int(np.count_nonzero(~np.isnan(values)))
                self._sums[name] = found + float(np.nansum(values)), count + there
            self.counted = self._sums["loss"][1]

    def end(self, model: Model) -> None:
        """Know what comes back."""
        self.model, self.members = model, model.members
        self.epoch = 0 if model.history is None else model.history.epochs
